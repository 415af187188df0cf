//! The keys of the file, by serde-json-core.

use serde::Deserialize;
use serde::de::value::Error as ValueError;
use serde::de::{self, Error as _};
use serde_path_to_error::{Path, Segment};

use super::error::{Error, Problem};
use super::places::{Kind, Places, push_index, push_key};

/// The whole file. Every value may be missing; texts are judged later.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    pub(super) gateway_name: Option<String>,
    pub(super) container_sas_url: Option<String>,
    pub(super) trusted_certificates_path: Option<String>,
    pub(super) upload_maximum_kbps: Option<f64>,
    pub(super) local_media_cache_path: Option<String>,
    pub(super) status_path: Option<String>,
    pub(super) log_level: Option<String>,
    pub(super) flash_sync_interval: Option<String>,
    pub(super) access_tier: Option<String>,
    pub(super) segment_length: Option<String>,
    #[serde(rename = "localMediaCacheMaximumSizeMiB")]
    pub(super) ring_size: Option<String>,
    pub(super) asset_name_pattern: Option<String>,
    pub(super) cameras: Option<Vec<CameraEntry>>,
}

/// One entry of `cameras`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct CameraEntry {
    pub(super) name: Option<String>,
    pub(super) rtsp_url: Option<String>,
    pub(super) rtsp_user_name: Option<String>,
    pub(super) rtsp_password: Option<String>,
    pub(super) transport: Option<String>,
    pub(super) segment_length: Option<String>,
    #[serde(rename = "localMediaCacheMaximumSizeMiB")]
    pub(super) ring_size: Option<String>,
    pub(super) asset_name_pattern: Option<String>,
    pub(super) state: Option<String>,
}

/// Reads `json`, which has passed the scanner.
pub(super) fn deserialize(json: &str, places: &Places) -> Result<File, Error> {
    let mut unescaped = vec![0; json.len()];
    let mut deserializer =
        serde_json_core::de::Deserializer::new(json.as_bytes(), Some(&mut unescaped));
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = describe(error.path());
        Error {
            problem: problem(&place, places.kind(&place.path)),
            place: places.place(&place.path),
        }
    })
}

/// A place as serde saw it.
#[derive(Default)]
struct Described {
    /// As the scanner writes it.
    path: String,
    /// The last key; empty for the whole file and for an entry of a list.
    key: String,
    /// True if the last key stands at the top.
    at_top: bool,
}

fn describe(segments: &Path) -> Described {
    let mut place = Described::default();
    for segment in segments {
        match segment {
            Segment::Seq { index } => {
                push_index(&mut place.path, *index);
                place.key.clear();
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                place.at_top = place.path.is_empty();
                push_key(&mut place.path, key);
                place.key.clone_from(key);
            }
            Segment::Unknown => {}
        }
    }
    place
}

/// serde-json-core does not say what it stumbled over: the place and what stands there do.
fn problem(place: &Described, found: Option<Kind>) -> Problem {
    let found = found.unwrap_or(Kind::Object);
    let (top, camera) = (keys_of::<File>(), keys_of::<CameraEntry>());
    let (here, elsewhere, home) = if place.at_top {
        (top, camera, "a camera")
    } else {
        (camera, top, "the top")
    };
    let key = place.key.as_str();
    let known = here.contains(&key);
    match key {
        _ if key.is_empty() => Problem::WrongKind {
            found,
            allowed: "one object in { }",
        },
        "cameras" if known => Problem::WrongKind {
            found,
            allowed: "a list of objects, [{ ... }]",
        },
        "uploadMaximumKbps" if known => Problem::WrongKind {
            found,
            allowed: "a number without quotes, such as 2000",
        },
        "localMediaCacheMaximumSizeMiB" if known && found == Kind::Number => {
            Problem::SizeWithoutQuotes
        }
        _ if known => Problem::WrongKind {
            found,
            allowed: "a text in double quotes",
        },
        _ if elsewhere.contains(&key) => Problem::MisplacedKey { home },
        _ => Problem::UnknownKey {
            nearest: nearest(key, here),
        },
    }
}

/// The known key that is most like `key`, if one is.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    if key.len() > 64 {
        return None;
    }
    let (differences, nearest) = known
        .iter()
        .map(|known| (edit_distance(key, known), *known))
        .min()?;
    (differences <= 2.max(nearest.len() / 3)).then_some(nearest)
}

/// Levenshtein's distance, letter case ignored.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The keys of a struct, which its derived `Deserialize` tells to a deserializer.
fn keys_of<T: Deserialize<'static>>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // It ends with an error on purpose, as soon as the keys are known.
    let _ended = T::deserialize(KeyTaker(&mut keys));
    keys
}

struct KeyTaker<'a>(&'a mut &'static [&'static str]);

impl<'de> de::Deserializer<'de> for KeyTaker<'_> {
    type Error = ValueError;

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, ValueError> {
        *self.0 = fields;
        Err(ValueError::custom("the keys are known"))
    }

    fn deserialize_any<V: de::Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ValueError> {
        Err(ValueError::custom("not a struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_proposed_only_if_it_is_near() {
        let keys = keys_of::<CameraEntry>();
        for (key, expected) in [
            ("segmentLenght", Some("segmentLength")),
            ("RTSPURL", Some("rtspUrl")),
            ("rtspUsername", Some("rtspUserName")),
            (
                "localMediaCacheMaximumSizeMB",
                Some("localMediaCacheMaximumSizeMiB"),
            ),
            ("enableMotionDetection", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, keys), expected, "{key}");
        }
    }

    #[test]
    fn edit_distance_counts_single_changes() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("ABC", "abc", 0),
        ] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
    }
}
