//! Sample entries: `avc1` with `avcC` (ISO/IEC 14496-15), `mp4a` with `esds` (ISO/IEC 14496-14).

use core::fmt;

use crate::media::{AudioDescription, VideoDescription};
use crate::mp4::boxes::{BoxWriter, Full};

/// Why tracks cannot be described in an MP4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// Neither video nor audio.
    NoTrack,
    /// No SPS, or no PPS.
    NoParameterSets,
    /// The first SPS ends within, or has values out of range in, what `avcC` repeats of it.
    BadSps {
        /// Bits read of it when that was found.
        bit: usize,
    },
    /// AudioSpecificConfig is empty.
    NoAudioConfig,
    /// The buffer is too small.
    Full(Full),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTrack => write!(f, "no track"),
            Self::NoParameterSets => write!(f, "no SPS or no PPS"),
            Self::BadSps { bit } => write!(f, "SPS is wrong before bit {bit}"),
            Self::NoAudioConfig => write!(f, "no AudioSpecificConfig"),
            Self::Full(full) => full.fmt(f),
        }
    }
}

impl core::error::Error for EntryError {}

impl From<Full> for EntryError {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

/// What `avcC` repeats of the first SPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AvcHead {
    profile: u8,
    compatibility: u8,
    level: u8,
    /// `chroma_format_idc`, bits of luma and of chroma above 8.
    format: (u8, u8, u8),
}

impl AvcHead {
    /// Reads the beginning of the first SPS (ITU-T H.264 section 7.3.2.1.1).
    pub(super) fn of(video: &VideoDescription) -> Result<Self, EntryError> {
        let (Some(sps), false) = (video.sets.sps.first(), video.sets.pps.is_empty()) else {
            return Err(EntryError::NoParameterSets);
        };
        let mut bits = Bits::new(sps);
        let mut byte = || bits.read(8).map(|value| value.to_be_bytes()[3]);
        let (_nal_header, profile, compatibility, level) = (byte()?, byte()?, byte()?, byte()?);
        let _id = bits.exp_golomb()?;
        let mut format = (1, 0, 0);
        // The profiles whose SPS says its chroma format, 144 being the withdrawn High 4:4:4.
        if matches!(
            profile,
            44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139
        ) || matches!(profile, 144 | 244)
        {
            format.0 = bits.exp_golomb_max(3)?;
            if format.0 == 3 {
                let _separate_colour_plane = bits.read(1)?;
            }
            format.1 = bits.exp_golomb_max(6)?;
            format.2 = bits.exp_golomb_max(6)?;
        }
        Ok(Self {
            profile,
            compatibility,
            level,
            format,
        })
    }
}

/// `avc1` (ISO/IEC 14496-15 section 5.4.2), NAL units with 32-bit lengths.
pub(super) fn avc1(
    w: &mut BoxWriter<'_>,
    video: &VideoDescription,
    head: &AvcHead,
) -> Result<(), Full> {
    w.nested(b"avc1", |w| {
        w.bytes(&[0; 6])?;
        w.u16(1)?; // data_reference_index
        w.bytes(&[0; 16])?;
        w.u16(video.width)?;
        w.u16(video.height)?;
        w.u32(0x0048_0000)?; // 72 dpi
        w.u32(0x0048_0000)?;
        w.u32(0)?;
        w.u16(1)?; // pictures a sample
        w.bytes(&[0; 32])?; // compressorname
        w.u16(24)?; // depth
        w.u16(0xFFFF)?;
        w.nested(b"avcC", |w| avc_configuration(w, video, head))?;
        let (horizontal, vertical) = pixel_aspect(video);
        if horizontal == vertical {
            return Ok(());
        }
        w.nested(b"pasp", |w| {
            w.u32(horizontal.into())?;
            w.u32(vertical.into())
        })
    })
}

/// Width of a pixel to its height, 1:1 where the SPS says nothing usable.
pub(super) const fn pixel_aspect(video: &VideoDescription) -> (u16, u16) {
    match video.pixel_aspect {
        (0, _) | (_, 0) => (1, 1),
        aspect => aspect,
    }
}

/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1).
fn avc_configuration(
    w: &mut BoxWriter<'_>,
    video: &VideoDescription,
    head: &AvcHead,
) -> Result<(), Full> {
    w.bytes(&[1, head.profile, head.compatibility, head.level])?;
    w.u8(0xFC | 3)?; // NALUnitLength takes 4 bytes
    w.u8(0xE0 | count(video.sets.sps.len()))?;
    for sps in &video.sets.sps {
        parameter_set(w, sps)?;
    }
    w.u8(count(video.sets.pps.len()))?;
    for pps in &video.sets.pps {
        parameter_set(w, pps)?;
    }
    // All but Baseline, Main and Extended go on.
    if matches!(head.profile, 66 | 77 | 88) {
        return Ok(());
    }
    let (chroma, luma_bits, chroma_bits) = head.format;
    w.bytes(&[0xFC | chroma, 0xF8 | luma_bits, 0xF8 | chroma_bits, 0])
}

/// A number of parameter sets; their list has room for a few only.
fn count(sets: usize) -> u8 {
    u8::try_from(sets).unwrap_or(u8::MAX)
}

fn parameter_set(w: &mut BoxWriter<'_>, set: &[u8]) -> Result<(), Full> {
    w.u16(u16::try_from(set.len()).map_err(|_| Full { at: w.position() })?)?;
    w.bytes(set)
}

/// Refuses what [`mp4a`] could not write.
pub(super) fn check_audio(audio: &AudioDescription) -> Result<(), EntryError> {
    if audio.config.is_empty() {
        return Err(EntryError::NoAudioConfig);
    }
    Ok(())
}

/// `mp4a` (ISO/IEC 14496-14 section 5.6).
pub(super) fn mp4a(w: &mut BoxWriter<'_>, audio: &AudioDescription) -> Result<(), Full> {
    w.nested(b"mp4a", |w| {
        w.bytes(&[0; 6])?;
        w.u16(1)?; // data_reference_index
        w.u64(0)?;
        w.u16(match audio.channels {
            0 => 2,
            channels => channels.into(),
        })?;
        w.u16(16)?; // bits
        w.u32(0)?;
        // Rates above 65,535 Hz stand in AudioSpecificConfig alone.
        w.u16(u16::try_from(audio.sample_rate).unwrap_or(0))?;
        w.u16(0)?;
        w.nested_full(b"esds", 0, 0, |w| es_descriptor(w, &audio.config))
    })
}

/// Most bytes of an AudioSpecificConfig, so that every length below takes 7 bits.
const AUDIO_CONFIG_MAX: usize = 64;

/// `ES_Descriptor` (ISO/IEC 14496-1 section 7.2.6.5) of an AAC track.
fn es_descriptor(
    w: &mut BoxWriter<'_>,
    config: &heapless::Vec<u8, AUDIO_CONFIG_MAX>,
) -> Result<(), Full> {
    const _: () = assert!(3 + 2 + 13 + 2 + AUDIO_CONFIG_MAX + 3 < 0x80);
    let len = u8::try_from(config.len()).map_err(|_| Full { at: w.position() })?;
    w.bytes(&[3, 3 + 2 + 13 + 2 + len + 3, 0, 0, 0])?;
    // DecoderConfigDescriptor: MPEG-4 audio, audio stream, sizes and rates not told.
    w.bytes(&[4, 13 + 2 + len, 0x40, 0x15])?;
    w.bytes(&[0; 11])?;
    w.bytes(&[5, len])?;
    w.bytes(config)?;
    // SLConfigDescriptor: as in MP4 files.
    w.bytes(&[6, 1, 2])
}

/// The bits of a NAL unit, without its emulation prevention bytes (H.264 section 7.4.1).
struct Bits<'a> {
    nal: &'a [u8],
    zeros: u32,
    byte: u8,
    left: u32,
    read: usize,
}

impl<'a> Bits<'a> {
    const fn new(nal: &'a [u8]) -> Self {
        Self {
            nal,
            zeros: 0,
            byte: 0,
            left: 0,
            read: 0,
        }
    }

    fn read(&mut self, count: u32) -> Result<u32, EntryError> {
        let mut value = 0;
        for _ in 0..count {
            if self.left == 0 {
                self.byte = self.next_byte()?;
                self.left = 8;
            }
            self.left -= 1;
            self.read += 1;
            value = value << 1 | u32::from(self.byte >> self.left & 1);
        }
        Ok(value)
    }

    fn next_byte(&mut self) -> Result<u8, EntryError> {
        let end = EntryError::BadSps { bit: self.read };
        let (mut byte, mut rest) = self.nal.split_first().ok_or(end)?;
        if self.zeros >= 2 && *byte == 3 {
            self.zeros = 0;
            (byte, rest) = rest.split_first().ok_or(end)?;
        }
        self.zeros = if *byte == 0 { self.zeros + 1 } else { 0 };
        self.nal = rest;
        Ok(*byte)
    }

    /// `ue(v)` (section 9.1) below 2^16.
    fn exp_golomb(&mut self) -> Result<u32, EntryError> {
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros > 16 {
                return Err(EntryError::BadSps { bit: self.read });
            }
        }
        Ok((1 << zeros) - 1 + self.read(zeros)?)
    }

    fn exp_golomb_max(&mut self, max: u8) -> Result<u8, EntryError> {
        let value = u8::try_from(self.exp_golomb()?).ok();
        let bad = EntryError::BadSps { bit: self.read };
        value.filter(|value| *value <= max).ok_or(bad)
    }
}

#[cfg(test)]
#[expect(
    clippy::unusual_byte_groupings,
    reason = "bits are grouped as the fields of an SPS"
)]
mod tests {
    use super::*;
    use crate::media::ParameterSets;
    use crate::mp4::boxes::Boxes;

    fn video(sps: &[u8]) -> VideoDescription {
        let mut sets = ParameterSets::default();
        sets.sps
            .push(heapless::Vec::from_slice(sps).unwrap())
            .unwrap();
        sets.pps
            .push(heapless::Vec::from_slice(&[0x68, 0xEE]).unwrap())
            .unwrap();
        VideoDescription {
            sets,
            width: 1920,
            height: 1080,
            pixel_aspect: (1, 1),
            reorder_depth: 0,
        }
    }

    fn written(video: &VideoDescription) -> Vec<u8> {
        let mut out = [0; 512];
        let mut w = BoxWriter::new(&mut out);
        avc1(&mut w, video, &AvcHead::of(video).unwrap()).unwrap();
        let len = w.position();
        out[..len].to_vec()
    }

    #[test]
    fn avcc_repeats_the_profile_and_beyond_main_the_chroma_format() {
        // 4:2:0 with 8 bits in High; 4:2:2 with 10 bits in High 4:2:2; 4:4:4 with 9 and 8 bits.
        let cases: [(&[u8], &[u8]); 4] = [
            (&[0x67, 66, 0xC0, 30, 0xDA], &[]),
            (&[0x67, 100, 0, 40, 0b1_010_1_1_00], &[0xFD, 0xF8, 0xF8, 0]),
            (
                &[0x67, 122, 0, 40, 0b1_011_011_0, 0b11_000000],
                &[0xFE, 0xFA, 0xFA, 0],
            ),
            (
                &[0x67, 244, 0, 40, 0b1_00100_0_0, 0b10_1_00000],
                &[0xFF, 0xF9, 0xF8, 0],
            ),
        ];
        for (sps, extension) in cases {
            let entry = written(&video(sps));
            let mut expected = vec![1, sps[1], sps[2], sps[3], 0xFF, 0xE1, 0];
            expected.push(u8::try_from(sps.len()).unwrap());
            expected.extend(sps);
            expected.extend([1, 0, 2, 0x68, 0xEE]);
            expected.extend(extension);
            let avcc = Boxes::new(&entry[8 + 78..]).find_box(b"avcC").unwrap();
            assert_eq!(avcc.payload(), expected, "profile {}", sps[1]);
        }
    }

    #[test]
    fn emulation_prevention_bytes_are_passed_over() {
        // Compatibility 0 and level 0 would otherwise be followed by a chroma format of 3.
        let plain = AvcHead::of(&video(&[0x67, 100, 0, 0, 3, 0b1_010_1_1_00])).unwrap();
        assert_eq!((plain.level, plain.format), (0, (1, 0, 0)));
    }

    #[test]
    fn a_broken_sps_is_an_error_with_its_position() {
        let cases: [(&[u8], usize); 5] = [
            (&[], 0),
            (&[0x67, 66, 0], 24),
            (&[0x67, 66, 0, 30], 32),
            (&[0x67, 100, 0, 30, 0b1_00101_00], 38),
            (&[0x67, 66, 1, 30, 0, 0, 0], 49),
        ];
        for (sps, bit) in cases {
            let error = AvcHead::of(&video(sps)).unwrap_err();
            assert_eq!(error, EntryError::BadSps { bit }, "{sps:?}");
        }
        let mut none = video(&[0x67, 66, 0, 30, 0x80]);
        none.sets.pps.clear();
        assert_eq!(AvcHead::of(&none), Err(EntryError::NoParameterSets));
    }

    #[test]
    fn pasp_stands_only_where_pixels_are_not_square() {
        let mut video = video(&[0x67, 66, 0xC0, 30, 0xDA]);
        for (aspect, expected) in [
            ((1, 1), None),
            ((0, 7), None),
            ((8, 8), None),
            ((4, 3), Some([0, 0, 0, 4, 0, 0, 0, 3])),
        ] {
            video.pixel_aspect = aspect;
            let entry = written(&video);
            let pasp = Boxes::new(&entry[8 + 78..]).find_box(b"pasp").ok();
            let payload = pasp.map(|pasp| pasp.payload().to_vec());
            assert_eq!(payload, expected.map(Vec::from), "{aspect:?}");
        }
    }

    #[test]
    fn esds_lengths_fit_what_follows() {
        for len in [2, 5, 64] {
            let audio = AudioDescription {
                config: heapless::Vec::from_iter(1..=len),
                sample_rate: 96_000,
                channels: 0,
                frame_length: 1024,
            };
            let mut out = [0; 256];
            let mut w = BoxWriter::new(&mut out);
            mp4a(&mut w, &audio).unwrap();
            let len = w.position();
            let entry = Boxes::new(&out[..len]).find_box(b"mp4a").unwrap();
            assert_eq!(entry.payload()[16..18], [0, 2]);
            assert_eq!(entry.payload()[24..28], [0; 4]);
            let esds = Boxes::new(&entry.payload()[28..])
                .find_box(b"esds")
                .unwrap();
            let [3, es, _, _, 0, decoder @ ..] = &esds.payload()[4..] else {
                panic!("no ES_Descriptor");
            };
            assert_eq!(usize::from(*es), 3 + decoder.len());
            let [4, length, 0x40, 0x15, rest @ ..] = decoder else {
                panic!("no DecoderConfigDescriptor");
            };
            assert_eq!(usize::from(*length), 2 + rest.len() - 3);
            let [5, length, config @ ..] = &rest[11..] else {
                panic!("no DecoderSpecificInfo");
            };
            assert_eq!(config[..usize::from(*length)], audio.config);
            assert_eq!(config[usize::from(*length)..], [6, 1, 2]);
        }
    }
}
