//! Codecs in SDP: which there are, and what their `a=fmtp` says (RFC 6184 section 8.1, RFC 3640
//! section 4.1).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::address::hex;
use super::headers::parameter;
use crate::media::{AudioDescription, ParameterSet, ParameterSets};

/// What a track carries.
#[expect(
    clippy::large_enum_variant,
    reason = "a camera has two, and they are moved at the start of a session only"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackCodec {
    /// H.264 (RFC 6184).
    H264 {
        /// What `sprop-parameter-sets` holds; empty if they come in the video only.
        sets: ParameterSets,
        /// 0: single NAL units; 1: non-interleaved.
        packetization_mode: u8,
    },
    /// AAC (RFC 3640, modes AAC-hbr and AAC-lbr).
    Aac {
        /// Its sample rate and frame length are those of the core decoder. Explicit SBR doubles
        /// the output rate, which may be the RTP clock rate then.
        description: AudioDescription,
        /// Bits of AU-size.
        size_length: u8,
        /// Bits of AU-Index.
        index_length: u8,
        /// Bits of AU-Index-delta.
        index_delta_length: u8,
    },
    /// Something else, by its name in SDP.
    Unsupported {
        /// Upper case, with what is unsupported about it.
        name: String,
    },
}

impl TrackCodec {
    /// Its name in SDP, upper case.
    pub fn name(&self) -> &str {
        match self {
            Self::H264 { .. } => "H264",
            Self::Aac { .. } => "MPEG4-GENERIC",
            Self::Unsupported { name } => name,
        }
    }
}

/// H.264 by its `a=fmtp` (without the payload type).
pub(super) fn h264(fmtp: &str) -> TrackCodec {
    let packetization_mode = value(fmtp, "packetization-mode")
        .and_then(|mode| mode.parse().ok())
        .unwrap_or(0);
    if packetization_mode > 1 {
        return TrackCodec::Unsupported {
            name: format!("H264 with packetization-mode {packetization_mode}"),
        };
    }
    let mut sets = ParameterSets::default();
    for set in value(fmtp, "sprop-parameter-sets")
        .unwrap_or_default()
        .split(',')
    {
        // VStarcam: no base64. The sets come in the video as well.
        if let Ok(bytes) = BASE64.decode(set.trim()) {
            nal_units(&bytes).for_each(|unit| keep(&mut sets, unit));
        }
    }
    TrackCodec::H264 {
        sets,
        packetization_mode,
    }
}

/// AAC by its `a=fmtp` (without the payload type), RTP clock rate and channels of `a=rtpmap`.
pub(super) fn aac(fmtp: &str, clock_rate: u32, channels: u8) -> TrackCodec {
    let unsupported = |what: &str| TrackCodec::Unsupported {
        name: format!("MPEG4-GENERIC {what}").trim_end().to_owned(),
    };
    // RFC 3640 sections 3.3.5 and 3.3.6.
    let mode = value(fmtp, "mode").unwrap_or("AAC-hbr");
    let (size, index) = if mode.eq_ignore_ascii_case("AAC-hbr") {
        (13, 3)
    } else if mode.eq_ignore_ascii_case("AAC-lbr") {
        (6, 2)
    } else {
        return unsupported(&format!("with mode {mode}"));
    };
    let length = |name, default| match value(fmtp, name).map(str::parse::<u8>) {
        None | Some(Err(_)) => Some(default),
        Some(Ok(bits)) => (bits <= 32).then_some(bits),
    };
    let (Some(size_length), Some(index_length), Some(index_delta_length)) = (
        length("sizelength", size),
        length("indexlength", index),
        length("indexdeltalength", index),
    ) else {
        return unsupported("with overlong AU headers");
    };
    let config = value(fmtp, "config").unwrap_or_default();
    let description = match hex_bytes(config).as_deref() {
        // Some cameras leave `config` out: AAC-LC is what they send.
        None | Some([]) => low_complexity(clock_rate, channels),
        Some(config) => audio_description(config),
    };
    match description {
        Some(description) if size_length > 0 => TrackCodec::Aac {
            description,
            size_length,
            index_length,
            index_delta_length,
        },
        Some(_) => unsupported("without AU sizes"),
        None => unsupported("with an unknown config"),
    }
}

/// Cameras pad wrongly, or not at all.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Sampling frequencies (ISO/IEC 14496-3 table 1.18).
const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// The value of one parameter of an `a=fmtp`.
fn value<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';')
        .find_map(|part| parameter(part.trim(), name))
        .map(|value| value.trim_matches('"'))
}

/// The NAL units of one parameter set: itself, or those between Annex B start codes (macro-video,
/// V380).
fn nal_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let annex_b = bytes.starts_with(&[0, 0, 1]) || bytes.starts_with(&[0, 0, 0, 1]);
    let mut rest = Some(bytes);
    core::iter::from_fn(move || {
        let here = rest?;
        let start_code = annex_b
            .then(|| here.windows(3).position(|three| three == [0, 0, 1]))
            .flatten();
        let Some(at) = start_code else {
            rest = None;
            return Some(here);
        };
        rest = here.get(at + 3..);
        here.get(..at)
    })
    .map(move |unit| {
        let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
        unit.get(..unit.len() - zeros).unwrap_or_default()
    })
    .filter(|unit| !unit.is_empty())
}

/// Keeps an SPS or PPS once, as long as there is room; what is left out comes in the video.
fn keep(sets: &mut ParameterSets, unit: &[u8]) {
    let Ok(set) = ParameterSet::from_slice(unit) else {
        return;
    };
    match unit.first().map(|header| header & 0x1f) {
        Some(7) if !sets.sps.contains(&set) => drop(sets.sps.push(set)),
        Some(8) if !sets.pps.contains(&set) => drop(sets.pps.push(set)),
        _ => {}
    }
}

/// AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1) of AAC Main, LC, SSR or LTP, with SBR
/// and PS signalled before it or not at all.
fn audio_description(config: &[u8]) -> Option<AudioDescription> {
    let mut bits = Bits {
        bytes: config,
        at: 0,
    };
    let mut object_type = bits.object_type()?;
    let sample_rate = bits.sample_rate()?;
    let channels = match bits.read(4)? {
        // ISO/IEC 14496-3 table 1.19.
        channels @ 0..=6 => u8::try_from(channels).ok()?,
        7 => 8,
        _ => return None,
    };
    // 5: SBR, 29: SBR with PS; then the core's own object type follows.
    if matches!(object_type, 5 | 29) {
        bits.sample_rate()?;
        object_type = bits.object_type()?;
    }
    if !(1..=4).contains(&object_type) {
        return None;
    }
    Some(AudioDescription {
        config: heapless::Vec::from_slice(config).ok()?,
        sample_rate,
        channels,
        frame_length: if bits.read(1)? == 1 { 960 } else { 1024 },
    })
}

/// AAC-LC at `sample_rate`, one of the table's rates.
fn low_complexity(sample_rate: u32, channels: u8) -> Option<AudioDescription> {
    let index = SAMPLE_RATES.iter().position(|&rate| rate == sample_rate)?;
    let config = (2 << 11) | (u16::try_from(index).ok()? << 7) | (u16::from(channels) << 3);
    (1..=6)
        .contains(&channels)
        .then(|| audio_description(&config.to_be_bytes()))?
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(hex(*high)? << 4 | hex(*low)?))
        .collect()
}

/// Reads bits, most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Position in bits.
    at: usize,
}

impl Bits<'_> {
    /// Up to 32 bits.
    fn read(&mut self, n: usize) -> Option<u32> {
        (0..n).try_fold(0, |value, _| {
            let byte = self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | u32::from(bit))
        })
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.read(5)? {
            31 => Some(32 + self.read(6)?),
            object_type => Some(object_type),
        }
    }

    fn sample_rate(&mut self) -> Option<u32> {
        let rate = match self.read(4)? {
            15 => self.read(24)?,
            index => *SAMPLE_RATES.get(usize::try_from(index).ok()?)?,
        };
        (rate > 0).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets_of(fmtp: &str) -> ParameterSets {
        match h264(fmtp) {
            TrackCodec::H264 { sets, .. } => sets,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parameter_sets_are_read() {
        let sps: &[u8] = &[0x67, 0x42, 0x00, 0x1e, 0xab];
        let pps: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
        let annex_b = [&[0, 0, 0, 1], sps, &[0, 0, 1], pps, &[0, 0]].concat();
        let both = BASE64.encode(annex_b);
        for fmtp in [
            "packetization-mode=1;profile-level-id=42001E;sprop-parameter-sets=Z0IAHqs=,aM48gA==",
            "sprop-parameter-sets=Z0IAHqs,aM48gA",
            " Sprop-Parameter-Sets = \"Z0IAHqs=, aM48gA==\" ; packetization-mode=1;",
            "sprop-parameter-sets=Z0IAHqs=,aM48gA==,Z0IAHqs=,aM48gA==",
            "sprop-parameter-sets=Z0IAHqs=,!!!,aM48gA==,BgUB,",
            &format!("sprop-parameter-sets={both}"),
            "sprop-parameter-sets=AAAAAWdCAB6r,AAABaM48gA==",
        ] {
            let sets = sets_of(fmtp);
            assert_eq!(
                sets.sps.iter().map(|set| &**set).collect::<Vec<_>>(),
                [sps],
                "{fmtp}"
            );
            assert_eq!(
                sets.pps.iter().map(|set| &**set).collect::<Vec<_>>(),
                [pps],
                "{fmtp}"
            );
        }
    }

    #[test]
    fn parameter_sets_that_cannot_be_used_are_left_to_the_video() {
        let long = BASE64.encode([0x67; 513]);
        for fmtp in [
            "",
            "packetization-mode=1",
            "sprop-parameter-sets=",
            "sprop-parameter-sets=AAAAAQ==",
            &format!("sprop-parameter-sets={long}"),
        ] {
            assert_eq!(sets_of(fmtp), ParameterSets::default(), "{fmtp}");
        }
        let many: Vec<String> = (0..5).map(|n| BASE64.encode([0x67, n])).collect();
        let sets = sets_of(&format!("sprop-parameter-sets={}", many.join(",")));
        assert_eq!(sets.sps.len(), sets.sps.capacity());
    }

    #[test]
    fn interleaved_packetization_is_unsupported() {
        for (fmtp, mode) in [
            ("packetization-mode=1", 1),
            ("packetization-mode=x", 0),
            ("", 0),
        ] {
            let TrackCodec::H264 {
                packetization_mode, ..
            } = h264(fmtp)
            else {
                panic!("{fmtp}");
            };
            assert_eq!(packetization_mode, mode);
        }
        assert_eq!(
            h264("packetization-mode=2"),
            TrackCodec::Unsupported {
                name: "H264 with packetization-mode 2".to_owned()
            }
        );
    }

    #[test]
    fn aac_is_read() {
        // fmtp, rate, channels, frame length, size/index/delta.
        for (fmtp, rate, channels, frame_length, lengths) in [
            (
                "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;\
                 indexdeltalength=3;config=1190",
                48_000,
                2,
                1024,
                (13, 3, 3),
            ),
            (
                "mode=aac-HBR; Config=1588; sizeLength=13",
                8_000,
                1,
                1024,
                (13, 3, 3),
            ),
            ("mode=AAC-lbr;config=1408", 16_000, 1, 1024, (6, 2, 2)),
            ("config=\"1194\"", 48_000, 2, 960, (13, 3, 3)),
            // Explicit rate.
            ("config=17800FA008", 8_000, 1, 1024, (13, 3, 3)),
            // SBR signalled before (24 kHz core, 48 kHz output) and behind.
            ("config=2B118800", 24_000, 2, 1024, (13, 3, 3)),
            ("config=131056E598", 24_000, 2, 1024, (13, 3, 3)),
            // No config: from rtpmap.
            ("mode=AAC-hbr;config=", 16_000, 1, 1024, (13, 3, 3)),
            ("", 16_000, 1, 1024, (13, 3, 3)),
            ("config=119", 16_000, 1, 1024, (13, 3, 3)),
        ] {
            let TrackCodec::Aac {
                description,
                size_length,
                index_length,
                index_delta_length,
            } = aac(fmtp, 16_000, 1)
            else {
                panic!("{fmtp}");
            };
            assert_eq!(
                (
                    description.sample_rate,
                    description.channels,
                    description.frame_length
                ),
                (rate, channels, frame_length),
                "{fmtp}"
            );
            assert_eq!(
                (size_length, index_length, index_delta_length),
                lengths,
                "{fmtp}"
            );
            assert!(!description.config.is_empty());
        }
    }

    #[test]
    fn other_mpeg4_audio_is_unsupported_by_name() {
        let long = format!("config=1190{}", "00".repeat(63));
        for (fmtp, name) in [
            ("mode=CELP-vbr", "MPEG4-GENERIC with mode CELP-vbr"),
            ("sizelength=33", "MPEG4-GENERIC with overlong AU headers"),
            ("sizelength=0;config=1190", "MPEG4-GENERIC without AU sizes"),
            // AAC-LD, channel configuration 8, reserved rate, cut short, rate 0, too long.
            ("config=B8E00000", "MPEG4-GENERIC with an unknown config"),
            ("config=11C0", "MPEG4-GENERIC with an unknown config"),
            ("config=1690", "MPEG4-GENERIC with an unknown config"),
            ("config=11", "MPEG4-GENERIC with an unknown config"),
            ("config=1780000008", "MPEG4-GENERIC with an unknown config"),
            (&long, "MPEG4-GENERIC with an unknown config"),
        ] {
            let expected = TrackCodec::Unsupported {
                name: name.to_owned(),
            };
            assert_eq!(aac(fmtp, 16_000, 1), expected, "{fmtp}");
        }
        assert_eq!(
            aac("", 12_345, 1),
            TrackCodec::Unsupported {
                name: "MPEG4-GENERIC with an unknown config".to_owned()
            }
        );
    }
}
