//! The headers of a Put Blob (DESIGN.md section 4).

use core::fmt::Write;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::gap::ToldGap;
use crate::limits::GAPS_MAX;
use crate::time::{ClockQuality, UtcMillis};

/// The service version asked for: the first that knows the tier `Cold`. From 2019-12-12 on a Put
/// Blob may be larger than 256 MiB.
pub const SERVICE_VERSION: &str = "2021-12-02";

/// `accessTier` of the configuration; the header `x-ms-access-tier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the service's own words")]
pub enum AccessTier {
    Hot,
    Cool,
    Cold,
}

impl AccessTier {
    /// All tiers in which a blob can be played at once.
    pub const ALL: [Self; 3] = [Self::Hot, Self::Cool, Self::Cold];

    /// The service's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "Hot",
            Self::Cool => "Cool",
            Self::Cold => "Cold",
        }
    }
}

/// What a segment's blob tells in its metadata. Fixed before the first Put Blob of the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// Name of the gateway that recorded it.
    pub gateway: &'a str,
    /// Name of the camera.
    pub camera: &'a str,
    /// The segment's number in its ring.
    pub sequence: u64,
    /// Start of the video.
    pub start: UtcMillis,
    /// End of the video.
    pub end: UtcMillis,
    /// What is known of the clock that `start` and `end` come from.
    pub clock: ClockQuality,
    /// Where in the blob the init segment begins, bytes.
    pub init_offset: u64,
    /// Length of the init segment, bytes.
    pub init_length: u64,
    /// Hash of the codec data: equal ones need no new init segment in a playlist.
    pub init_id: u64,
    /// Pictures missing inside.
    pub lost_pictures: u64,
    /// The time they would have filled, milliseconds.
    pub lost_milliseconds: u64,
    /// Video missing before it, oldest first; at most [`GAPS_MAX`] are told.
    pub gaps: &'a [ToldGap],
    /// It plays only after its predecessor.
    pub continues: bool,
}

/// All that the headers of a Put Blob are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest<'a> {
    /// Length of the body, bytes.
    pub length: u64,
    /// MD5 of the body.
    pub md5: [u8; 16],
    /// Where not the account's own.
    pub access_tier: Option<AccessTier>,
    /// What the blob tells of the segment.
    pub metadata: Metadata<'a>,
}

/// A request's headers: names and values, both ASCII.
pub type Headers = Vec<(&'static str, String)>;

impl PutRequest<'_> {
    /// The headers. Equal requests make equal headers, byte for byte.
    pub fn headers(&self) -> Headers {
        let mut headers = common(self.length, self.md5);
        // `sp=c` is enough of a SAS, and nothing is ever overwritten.
        headers.push(("If-None-Match", "*".to_owned()));
        headers.push(("Content-Type", "video/mp4".to_owned()));
        if let Some(tier) = self.access_tier {
            headers.push(("x-ms-access-tier", tier.as_str().to_owned()));
        }
        self.metadata.append(&mut headers);
        headers
    }
}

/// The headers of a Put Blob with no body and no metadata: asks for the container's answer.
pub fn probe_headers() -> Headers {
    // MD5 of nothing.
    let md5 = 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e_u128.to_be_bytes();
    let mut headers = common(0, md5);
    // No blob has this tag: the answer is 412 where all is well, and nothing is stored.
    headers.push(("If-Match", "\"0x0\"".to_owned()));
    headers
}

fn common(length: u64, md5: [u8; 16]) -> Headers {
    vec![
        ("x-ms-version", SERVICE_VERSION.to_owned()),
        ("x-ms-blob-type", "BlockBlob".to_owned()),
        ("Content-Length", length.to_string()),
        ("Content-MD5", BASE64_STANDARD.encode(md5)),
    ]
}

impl Metadata<'_> {
    fn append(&self, headers: &mut Headers) {
        headers.extend([
            ("x-ms-meta-gateway", ascii(self.gateway)),
            ("x-ms-meta-camera", ascii(self.camera)),
            ("x-ms-meta-sequence", self.sequence.to_string()),
            ("x-ms-meta-start", self.start.to_string()),
            ("x-ms-meta-end", self.end.to_string()),
            ("x-ms-meta-clock", self.clock.as_str().to_owned()),
            ("x-ms-meta-initoffset", self.init_offset.to_string()),
            ("x-ms-meta-initlength", self.init_length.to_string()),
            ("x-ms-meta-initid", format!("{:016x}", self.init_id)),
        ]);
        if self.lost_pictures > 0 || self.lost_milliseconds > 0 {
            headers.extend([
                ("x-ms-meta-lostpictures", self.lost_pictures.to_string()),
                (
                    "x-ms-meta-lostmilliseconds",
                    self.lost_milliseconds.to_string(),
                ),
            ]);
        }
        if !self.gaps.is_empty() {
            headers.push(("x-ms-meta-gaps", joined(self.gaps)));
        }
        if self.continues {
            headers.push(("x-ms-meta-continues", "true".to_owned()));
        }
    }
}

fn joined(gaps: &[ToldGap]) -> String {
    let mut value = String::new();
    for gap in gaps.iter().take(GAPS_MAX) {
        if !value.is_empty() {
            value.push(';');
        }
        write!(value, "{gap}").expect("a String takes all");
    }
    value
}

/// Names are letters, digits and dashes by the configuration's rule; a card that says otherwise
/// must not make a request that no server takes.
fn ascii(value: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic();
    value
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::Cause;

    fn at(text: &str) -> UtcMillis {
        UtcMillis::parse(text).unwrap()
    }

    fn request<'a>(gaps: &'a [ToldGap]) -> PutRequest<'a> {
        PutRequest {
            length: 5_000_000_000,
            md5: *b"0123456789abcdef",
            access_tier: None,
            metadata: Metadata {
                gateway: "warehouse-3",
                camera: "front-door",
                sequence: 42,
                start: at("2026-11-21T20:30:00.123Z"),
                end: at("2026-11-21T20:30:30.120Z"),
                clock: ClockQuality::Corrected,
                init_offset: 9216,
                init_length: 812,
                init_id: 0xabc,
                lost_pictures: 0,
                lost_milliseconds: 0,
                gaps,
                continues: false,
            },
        }
    }

    fn text(headers: &Headers) -> String {
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect()
    }

    #[test]
    fn a_plain_segment() {
        assert_eq!(
            text(&request(&[]).headers()),
            "x-ms-version: 2021-12-02\n\
             x-ms-blob-type: BlockBlob\n\
             Content-Length: 5000000000\n\
             Content-MD5: MDEyMzQ1Njc4OWFiY2RlZg==\n\
             If-None-Match: *\n\
             Content-Type: video/mp4\n\
             x-ms-meta-gateway: warehouse-3\n\
             x-ms-meta-camera: front-door\n\
             x-ms-meta-sequence: 42\n\
             x-ms-meta-start: 2026-11-21T20:30:00.123Z\n\
             x-ms-meta-end: 2026-11-21T20:30:30.120Z\n\
             x-ms-meta-clock: corrected\n\
             x-ms-meta-initoffset: 9216\n\
             x-ms-meta-initlength: 812\n\
             x-ms-meta-initid: 0000000000000abc\n"
        );
    }

    #[test]
    fn what_is_missing_is_told() {
        let gap = ToldGap {
            start: at("2026-11-21T20:29:00Z"),
            end: at("2026-11-21T20:30:00.123Z"),
            cause: Cause::PowerLost,
        };
        let gaps = [gap; GAPS_MAX + 1];
        let mut put = request(&gaps[..2]);
        put.access_tier = Some(AccessTier::Cold);
        put.metadata.lost_pictures = 3;
        put.metadata.continues = true;
        put.metadata.camera = "tür\r\n1";
        let headers = text(&put.headers());
        for line in [
            "x-ms-access-tier: Cold\n",
            "x-ms-meta-lostpictures: 3\nx-ms-meta-lostmilliseconds: 0\n",
            "x-ms-meta-gaps: 2026-11-21T20:29:00.000Z/2026-11-21T20:30:00.123Z/powerLost;\
             2026-11-21T20:29:00.000Z/2026-11-21T20:30:00.123Z/powerLost\n",
            "x-ms-meta-continues: true\n",
            "x-ms-meta-camera: t_r__1\n",
        ] {
            assert!(headers.contains(line), "{line} is not in {headers}");
        }
        assert_eq!(joined(&gaps).split(';').count(), GAPS_MAX);
    }

    #[test]
    fn a_probe_has_no_body_and_its_md5() {
        let headers = text(&probe_headers());
        assert!(headers.contains("Content-Length: 0\nContent-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\n"));
        assert!(!headers.contains("x-ms-meta"));
    }
}
