//! Blob names: a listing alone tells the whole timeline (DESIGN.md section 4).
//!
//! `ASSET/YYYY/MM/DD/YYYYMMDDTHHMMSS.mmmZ_DURATION_RING-SEQUENCE.mp4`, the date that of the UTC
//! start.

use core::fmt;

use crate::time::{Civil, UtcMillis};

/// The name of a segment's blob. `Display` is the name itself, not escaped for a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobName {
    /// Resolved asset name.
    pub asset: String,
    /// Start of the video.
    pub start: UtcMillis,
    /// Milliseconds from start to end.
    pub duration: u64,
    /// The ring's random identity.
    pub ring: u32,
    /// The segment's number in its ring.
    pub sequence: u64,
}

impl BlobName {
    /// Reads a name of a listing. None: it is not a name that [`BlobName`] writes, to the letter.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.rsplitn(5, '/');
        let file = parts.next()?.strip_suffix(".mp4")?;
        let asset = parts.nth(3)?;
        let mut fields = file.split('_');
        let (start, duration, id) = (fields.next()?, fields.next()?, fields.next()?);
        let (ring, sequence) = id.split_once('-')?;
        let parsed = Self {
            asset: asset.to_owned(),
            start: parse_compact(start)?,
            duration: duration.parse().ok()?,
            ring: u32::from_str_radix(ring, 16).ok()?,
            sequence: sequence.parse().ok()?,
        };
        // Signs, leading zeros, letter case and the date folder: what is written is compared.
        (!asset.is_empty() && parsed.to_string() == name).then_some(parsed)
    }

    /// The end of the video: in a run without a gap, the start of the next segment.
    pub fn end(&self) -> UtcMillis {
        UtcMillis(self.start.0.saturating_add_unsigned(self.duration))
    }

    /// What the names of all blobs of `asset` on the UTC day of `day` begin with.
    pub fn day_prefix(asset: &str, day: UtcMillis) -> String {
        let c = day.civil();
        format!("{asset}/{:04}/{:02}/{:02}/", c.year, c.month, c.day)
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.start.civil();
        write!(
            f,
            "{}/{:04}/{:02}/{:02}/",
            self.asset, c.year, c.month, c.day
        )?;
        write!(f, "{:04}{:02}{:02}T", c.year, c.month, c.day)?;
        write!(
            f,
            "{:02}{:02}{:02}.{:03}Z",
            c.hour, c.minute, c.second, c.millisecond
        )?;
        write!(
            f,
            "_{}_{:08x}-{}.mp4",
            self.duration, self.ring, self.sequence
        )
    }
}

/// The blob of a probe: never a video's, since no asset may be called as its gateway is.
pub fn probe_name(gateway: &str) -> String {
    format!("{gateway}/probe")
}

/// Escapes a blob name for the path of a URL: all bytes but RFC 3986's unreserved ones and `/`.
pub fn percent_encode(name: &str) -> String {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or('0');
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    escaped
}

/// `YYYYMMDDTHHMMSS.mmmZ`.
fn parse_compact(text: &str) -> Option<UtcMillis> {
    let number = |range: core::ops::Range<usize>| {
        let digits = text.get(range)?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<i64>().ok()).flatten()
    };
    UtcMillis::from_civil(Civil {
        year: number(0..4)?,
        month: number(4..6)?,
        day: number(6..8)?,
        hour: number(9..11)?,
        minute: number(11..13)?,
        second: number(13..15)?,
        millisecond: number(16..19)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> BlobName {
        BlobName {
            asset: "warehouse-3-front door".to_owned(),
            start: UtcMillis::parse("2026-11-21T23:59:59.007Z").unwrap(),
            duration: 30_040,
            ring: 0x00c0_ffee,
            sequence: 1234,
        }
    }

    const NAME: &str =
        "warehouse-3-front door/2026/11/21/20261121T235959.007Z_30040_00c0ffee-1234.mp4";

    #[test]
    fn a_name_is_written_and_read_back() {
        assert_eq!(name().to_string(), NAME);
        assert_eq!(BlobName::parse(NAME), Some(name()));
        assert_eq!(name().end().to_string(), "2026-11-22T00:00:29.047Z");
        assert_eq!(BlobName::day_prefix("a b", name().end()), "a b/2026/11/22/");
        let unicode = BlobName {
            asset: "Außen/Tor_1".to_owned(),
            sequence: u64::MAX,
            duration: 0,
            ..name()
        };
        assert_eq!(BlobName::parse(&unicode.to_string()), Some(unicode));
    }

    #[test]
    fn only_names_of_ours_are_read() {
        for (from, to) in [
            ("warehouse-3-front door/", ""),
            ("warehouse-3-front door", ""),
            ("2026/11/21/", "2026/11/22/"),
            ("2026/11/21/", "2026/11/"),
            ("T235959", "T235960"),
            ("T235959", "t235959"),
            (".007Z", ",007Z"),
            (".007Z", ".07Z"),
            ("20261121T", "2026112€T"),
            ("_30040", "_+30040"),
            ("_30040", "_030040"),
            ("_30040", "_"),
            ("_30040", "_99999999999999999999999"),
            ("00c0ffee", "c0ffee"),
            ("00c0ffee", "00C0FFEE"),
            ("00c0ffee", "100c0ffee"),
            ("-1234", "-01234"),
            ("-1234", ""),
            (".mp4", ".MP4"),
            (".mp4", "_.mp4"),
            (".mp4", ""),
        ] {
            let other = NAME.replacen(from, to, 1);
            assert_ne!(other, NAME);
            assert_eq!(BlobName::parse(&other), None, "{other}");
        }
        assert_eq!(BlobName::parse(""), None);
        assert_eq!(BlobName::parse("////"), None);
    }

    #[test]
    fn a_probe_is_no_video() {
        assert_eq!(BlobName::parse(&probe_name("warehouse-3")), None);
    }

    #[test]
    fn urls_hold_only_unreserved_characters() {
        assert_eq!(percent_encode("a b/ß~1.mp4"), "a%20b/%C3%9F~1.mp4");
        assert_eq!(percent_encode("#?%;&+=\"[]|^`{}"), {
            "%23%3F%25%3B%26%2B%3D%22%5B%5D%7C%5E%60%7B%7D"
        });
    }
}
