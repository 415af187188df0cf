//! Where each value of a file stands.

use core::fmt;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Text,
    Number,
    Word,
    List,
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Word => "true, false or null",
            Self::List => "a list",
            Self::Object => "an object",
        })
    }
}

/// One value of a file, as the scanner met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As in `cameras[1].segmentLength`; empty for the whole file.
    pub(super) path: String,
    /// Line of the key, or of the value where there is no key; counts from 1.
    pub(super) line: u32,
    pub(super) kind: Kind,
}

/// Every value of one file with its line, in the order of the file.
#[derive(Clone, Debug)]
pub struct Places {
    file: String,
    /// The first entry is the whole file.
    entries: Vec<Entry>,
}

impl Places {
    pub(super) fn new(file: &str, entries: Vec<Entry>) -> Self {
        Self {
            file: file.to_owned(),
            entries,
        }
    }

    /// Where the value of `path` stands; for one that is missing, where its object stands.
    pub fn place(&self, path: &str) -> Place {
        let line = self.entry(path).map_or(1, |(_, entry)| entry.line);
        Place {
            file: self.file.clone(),
            line,
            path: path.to_owned(),
        }
    }

    /// What stands at `path`, if anything.
    pub(super) fn kind(&self, path: &str) -> Option<Kind> {
        let entry = self.entries.iter().find(|entry| entry.path == path)?;
        Some(entry.kind)
    }

    /// Rank of `path` in the order of the file; a missing value ranks as its object.
    pub(super) fn order(&self, path: &str) -> usize {
        self.entry(path).map_or(0, |(order, _)| order)
    }

    /// All paths, in the order of the file.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.path.as_str())
    }

    fn entry(&self, path: &str) -> Option<(usize, &Entry)> {
        let mut path = path;
        loop {
            let found = self
                .entries
                .iter()
                .enumerate()
                .find(|(_, entry)| entry.path == path);
            if found.is_some() || path.is_empty() {
                return found;
            }
            path = path
                .rfind(['.', '['])
                .and_then(|end| path.get(..end))
                .unwrap_or_default();
        }
    }
}

/// A place in a file: `cvr.json:14: cameras[1].segmentLength`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) path: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        Ok(())
    }
}

/// Appends a key to a path. A key that is not a plain name may be a misplaced secret: it is
/// shown as `...`.
pub(super) fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | '$');
    let is_name = (1..=64).contains(&key.len()) && key.chars().all(plain);
    path.push_str(if is_name { key } else { "..." });
}

/// Appends an index to a path.
pub(super) fn push_index(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let entry = |path: &str, line, kind| Entry {
            path: path.to_owned(),
            line,
            kind,
        };
        Places::new(
            "cvr.json",
            vec![
                entry("", 1, Kind::Object),
                entry("cameras", 2, Kind::List),
                entry("cameras[0]", 3, Kind::Object),
                entry("cameras[0].name", 4, Kind::Text),
            ],
        )
    }

    #[test]
    fn a_missing_value_stands_where_its_object_stands() {
        for (path, shown, order) in [
            ("cameras[0].name", "cvr.json:4: cameras[0].name", 3),
            ("cameras[0].rtspUrl", "cvr.json:3: cameras[0].rtspUrl", 2),
            ("cameras[7].name", "cvr.json:2: cameras[7].name", 1),
            ("gatewayName", "cvr.json:1: gatewayName", 0),
            ("", "cvr.json:1", 0),
        ] {
            assert_eq!(places().place(path).to_string(), shown);
            assert_eq!(places().order(path), order, "{path}");
        }
        assert_eq!(places().kind("cameras"), Some(Kind::List));
        assert_eq!(places().kind("cameras[0].rtspUrl"), None);
    }

    #[test]
    fn a_key_that_is_no_name_is_not_shown() {
        for (key, shown) in [
            ("@type", "a.@type"),
            ("https://host/?sig=1", "a...."),
            ("", "a...."),
            (&"k".repeat(65), "a...."),
        ] {
            let mut path = "a".to_owned();
            push_key(&mut path, key);
            assert_eq!(path, shown);
        }
    }
}
