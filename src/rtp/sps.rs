//! H.264 sequence parameter set (ITU-T H.264 sections 7.3.2.1.1 and E.1.1): what the MP4 needs.

use core::fmt;

use crate::media::{ParameterSets, VideoDescription};
use crate::rtp::nal::{self, BitReader, OutOfBits};

/// Describes the track whose parameter sets are `sets`, by its newest SPS.
pub fn describe(sets: &ParameterSets) -> Result<VideoDescription, SpsError> {
    let unit = sets.sps.last().ok_or(SpsError::Missing)?;
    let sps = Sps::parse(unit)?;
    Ok(VideoDescription {
        sets: sets.clone(),
        width: sps.width,
        height: sps.height,
        pixel_aspect: sps.pixel_aspect,
        reorder_depth: sps.reorder_depth,
    })
}

/// Why a parameter set says nothing useful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpsError {
    /// There is none.
    Missing,
    /// The NAL unit is of another type.
    Type {
        /// Its header byte.
        header: u8,
    },
    /// It is longer than is kept.
    TooLong {
        /// Bytes.
        len: usize,
    },
    /// It ends early.
    Truncated {
        /// Bits behind the NAL unit's header.
        at: usize,
    },
    /// A value that the standard does not allow.
    Value {
        /// Bits behind the NAL unit's header.
        at: usize,
        /// The value.
        value: u32,
    },
    /// A picture without samples, or with more than 65,535 in a row or column.
    Size,
}

impl fmt::Display for SpsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "no SPS"),
            Self::Type { header } => write!(f, "NAL header {header:#04x} is of another type"),
            Self::TooLong { len } => write!(f, "parameter set of {len} bytes"),
            Self::Truncated { at } => write!(f, "parameter set ends early, at bit {at}"),
            Self::Value { at, value } => {
                write!(f, "parameter set has the value {value} before bit {at}")
            }
            Self::Size => write!(f, "SPS has a picture size that cannot be"),
        }
    }
}

impl core::error::Error for SpsError {}

impl From<OutOfBits> for SpsError {
    fn from(error: OutOfBits) -> Self {
        Self::Truncated { at: error.at }
    }
}

struct Sps {
    width: u16,
    height: u16,
    pixel_aspect: (u16, u16),
    reorder_depth: u8,
}

/// Chroma format and what else only the high profiles tell.
struct Chroma {
    /// `ChromaArrayType`.
    array_type: u32,
}

impl Sps {
    fn parse(unit: &[u8]) -> Result<Self, SpsError> {
        let mut bits = BitReader::new(body(unit, nal::SPS)?);
        let bits = &mut bits;
        let profile = bits.byte()?;
        let constraints = bits.byte()?;
        let _level = bits.byte()?;
        bounded(bits.unsigned()?, 31, bits)?;
        let chroma = Chroma::parse(profile, bits)?;
        let _log2_max_frame_num = bits.unsigned()?;
        let order_count_type = picture_order_count(bits)?;
        let _max_num_ref_frames = bits.unsigned()?;
        let _gaps_allowed = bits.flag()?;
        let width_in_mbs = u64::from(bits.unsigned()?) + 1;
        let height_in_units = u64::from(bits.unsigned()?) + 1;
        let frames_only = bits.flag()?;
        if !frames_only {
            let _adaptive = bits.flag()?;
        }
        let _direct_8x8_inference = bits.flag()?;
        let fields = if frames_only { 1 } else { 2 };
        let (crop_x, crop_y) = cropping(chroma.array_type, fields, bits)?;
        // A VUI that ends early still counts up to there.
        let vui = match bits.flag() {
            Ok(true) => Vui::parse(bits),
            _ => Vui::default(),
        };
        let in_order = profile == 66 || order_count_type == 2 || intra_only(profile, constraints);
        Ok(Self {
            width: size(width_in_mbs * 16, crop_x)?,
            height: size(height_in_units * 16 * fields, crop_y)?,
            pixel_aspect: vui.pixel_aspect.unwrap_or((1, 1)),
            reorder_depth: if in_order { 0 } else { vui.reorder_depth },
        })
    }
}

impl Chroma {
    fn parse(profile: u8, bits: &mut BitReader<'_>) -> Result<Self, SpsError> {
        const HIGH: [u8; 13] = [44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244];
        if !HIGH.contains(&profile) {
            return Ok(Self { array_type: 1 });
        }
        let format = bounded(bits.unsigned()?, 3, bits)?;
        let separate_planes = format == 3 && bits.flag()?;
        let _bit_depth_luma = bits.unsigned()?;
        let _bit_depth_chroma = bits.unsigned()?;
        let _transform_bypass = bits.flag()?;
        if bits.flag()? {
            for list in 0..if format == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(if list < 6 { 16 } else { 64 }, bits)?;
                }
            }
        }
        Ok(Self {
            array_type: if separate_planes {
                0
            } else {
                u32::from(format)
            },
        })
    }
}

/// What is used of the VUI.
#[derive(Default)]
struct Vui {
    pixel_aspect: Option<(u16, u16)>,
    reorder_depth: u8,
}

impl Vui {
    fn parse(bits: &mut BitReader<'_>) -> Self {
        let mut vui = Self::default();
        // Some cameras' VUI ends in the middle; what came before it holds.
        let _: Result<(), OutOfBits> = vui.parse_bits(bits);
        vui
    }

    fn parse_bits(&mut self, bits: &mut BitReader<'_>) -> Result<(), OutOfBits> {
        if bits.flag()? {
            self.pixel_aspect = pixel_aspect(bits)?;
        }
        if bits.flag()? {
            let _overscan_appropriate = bits.flag()?;
        }
        if bits.flag()? {
            let _format_and_range = bits.bits(4)?;
            if bits.flag()? {
                let _colours = bits.bits(24)?;
            }
        }
        if bits.flag()? {
            let _top = bits.unsigned()?;
            let _bottom = bits.unsigned()?;
        }
        if bits.flag()? {
            let _units_in_tick = bits.bits(32)?;
            let _time_scale = bits.bits(32)?;
            let _fixed_rate = bits.flag()?;
        }
        let nal_hrd = bits.flag()?;
        if nal_hrd {
            skip_hrd(bits)?;
        }
        let vcl_hrd = bits.flag()?;
        if vcl_hrd {
            skip_hrd(bits)?;
        }
        if nal_hrd || vcl_hrd {
            let _low_delay = bits.flag()?;
        }
        let _pic_struct_present = bits.flag()?;
        if bits.flag()? {
            let _vectors_over_boundaries = bits.flag()?;
            for _ in 0..4 {
                bits.unsigned()?;
            }
            let reorder = bits.unsigned()?;
            let buffering = bits.unsigned()?;
            // More than the decoded picture buffer can hold is noise, not a depth.
            if buffering <= 16 && reorder <= buffering {
                self.reorder_depth = u8::try_from(reorder).unwrap_or_default();
            }
        }
        Ok(())
    }
}

/// `aspect_ratio_idc` (table E-1), none where it says nothing.
fn pixel_aspect(bits: &mut BitReader<'_>) -> Result<Option<(u16, u16)>, OutOfBits> {
    const EXTENDED: usize = 255;
    const RATIOS: [(u16, u16); 17] = [
        (0, 0),
        (1, 1),
        (12, 11),
        (10, 11),
        (16, 11),
        (40, 33),
        (24, 11),
        (20, 11),
        (32, 11),
        (80, 33),
        (18, 11),
        (15, 11),
        (64, 33),
        (160, 99),
        (4, 3),
        (3, 2),
        (2, 1),
    ];
    let ratio = match usize::from(bits.byte()?) {
        EXTENDED => {
            let [a, b, c, d] = bits.bits(32)?.to_be_bytes();
            (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
        }
        index => RATIOS.get(index).copied().unwrap_or_default(),
    };
    Ok((ratio.0 > 0 && ratio.1 > 0).then_some(ratio))
}

/// `hrd_parameters()` (section E.1.2); a count above 32 is noise and ends the VUI.
fn skip_hrd(bits: &mut BitReader<'_>) -> Result<(), OutOfBits> {
    let count = bits.unsigned()?;
    if count > 31 {
        return Err(bits.out_of_bits());
    }
    let _scales = bits.bits(8)?;
    for _ in 0..=count {
        let _bit_rate = bits.unsigned()?;
        let _size = bits.unsigned()?;
        let _constant = bits.flag()?;
    }
    let _lengths = bits.bits(20)?;
    Ok(())
}

/// `scaling_list()` (section 7.3.2.1.1.1).
fn skip_scaling_list(len: u32, bits: &mut BitReader<'_>) -> Result<(), OutOfBits> {
    let mut scale = 8;
    for _ in 0..len {
        scale = (scale + bits.signed()?.rem_euclid(256)) % 256;
        if scale == 0 {
            break;
        }
    }
    Ok(())
}

/// `pic_order_cnt_type` and what belongs to it.
fn picture_order_count(bits: &mut BitReader<'_>) -> Result<u8, SpsError> {
    let kind = bounded(bits.unsigned()?, 2, bits)?;
    if kind == 0 {
        let _log2_max_lsb = bits.unsigned()?;
    }
    if kind == 1 {
        let _delta_always_zero = bits.flag()?;
        let _non_ref_offset = bits.signed()?;
        let _top_to_bottom = bits.signed()?;
        for _ in 0..bounded(bits.unsigned()?, 255, bits)? {
            bits.signed()?;
        }
    }
    Ok(kind)
}

/// Luma samples cut off in a row and in a column (equations 7-19 to 7-22).
fn cropping(
    chroma_array_type: u32,
    fields: u64,
    bits: &mut BitReader<'_>,
) -> Result<(u64, u64), OutOfBits> {
    if !bits.flag()? {
        return Ok((0, 0));
    }
    let (unit_x, unit_y) = match chroma_array_type {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let left = u64::from(bits.unsigned()?);
    let right = u64::from(bits.unsigned()?);
    let top = u64::from(bits.unsigned()?);
    let bottom = u64::from(bits.unsigned()?);
    Ok(((left + right) * unit_x, (top + bottom) * unit_y * fields))
}

/// Profiles that hold only intra pictures (section A.2).
const fn intra_only(profile: u8, constraints: u8) -> bool {
    const CONSTRAINT_SET3: u8 = 0x10;
    profile == 44
        || matches!(profile, 86 | 100 | 110 | 122 | 244) && constraints & CONSTRAINT_SET3 != 0
}

fn size(coded: u64, cropped: u64) -> Result<u16, SpsError> {
    let size = coded.checked_sub(cropped).filter(|size| *size > 0);
    u16::try_from(size.ok_or(SpsError::Size)?).map_err(|_| SpsError::Size)
}

/// What comes behind the header of a NAL unit of type `kind`.
pub(super) fn body(unit: &[u8], kind: u8) -> Result<&[u8], SpsError> {
    match unit.split_first() {
        Some((header, body)) if nal::kind(*header) == kind => Ok(body),
        Some((header, _)) => Err(SpsError::Type { header: *header }),
        None => Err(SpsError::Missing),
    }
}

/// `value`, if it is at most `max`.
pub(super) fn bounded(value: u32, max: u8, bits: &BitReader<'_>) -> Result<u8, SpsError> {
    let at = bits.position();
    match u8::try_from(value) {
        Ok(small) if small <= max => Ok(small),
        _ => Err(SpsError::Value { at, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::ParameterSet;

    fn unit(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    fn described(unit: &[u8]) -> Result<(u16, u16, (u16, u16), u8), SpsError> {
        let mut sets = ParameterSets::default();
        sets.sps
            .push(ParameterSet::from_slice(unit).unwrap())
            .unwrap();
        describe(&sets).map(|d| (d.width, d.height, d.pixel_aspect, d.reorder_depth))
    }

    const BASELINE: &str = "6742c00cd901419f9f011000000300100000030320f142a480";
    const WITH_VUI: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";

    /// What x264 writes, and what cameras do; the expected values are ffprobe's.
    #[test]
    fn sizes_aspects_and_reordering_are_as_ffprobe_sees_them() {
        let cases = [
            ("baseline", BASELINE, (320, 180, (1, 1), 0)),
            ("high, cropped, B-frames", WITH_VUI, (1920, 1080, (1, 1), 2)),
            (
                "interlaced, 16:11",
                "6764001eacd940b424d8208000000300800000190f8a14cb",
                (720, 576, (16, 11), 2),
            ),
            (
                "4:2:2, cropped, extended 7:5",
                "677a001ebcd940a02fea2fff000700051000000300100000030320f162d960",
                (638, 358, (7, 5), 2),
            ),
            (
                "4:4:4, cropped",
                "67f4000d919b282a33c7c5e022000003000200000300641e28532c",
                (322, 182, (1, 1), 2),
            ),
            (
                "NAL HRD",
                "6764001eacd940a02ff9701100000300010000030032604000f424001e84a4c30078b16cb0",
                (640, 360, (1, 1), 2),
            ),
            (
                "intra only",
                "676e100da6cb8283f6022000000300200000064080",
                (320, 240, (1, 1), 0),
            ),
            (
                "V380",
                "274de0288d680a03da1000000300100000030280f1422a",
                (640, 480, (1, 1), 0),
            ),
            ("Reolink", "67640033ac1514a0a03d90", (640, 480, (1, 1), 0)),
            (
                "Reolink, bytes behind the SPS",
                "67640033ac1514a0a03da1000004f6000063380404",
                (640, 480, (1, 1), 0),
            ),
            (
                "Wyze, HRD and end in the middle of the VUI",
                "274d0029e7403c0113f2cd4040407c000003000400000300a0d1800ea60015f97fff0280",
                (1920, 1080, (1, 1), 0),
            ),
            (
                "VStarcam",
                "674d0028e900f0044fcb0800001f48000754e020",
                (1920, 1080, (1, 1), 0),
            ),
        ];
        for (name, hex, expected) in cases {
            assert_eq!(described(&unit(hex)), Ok(expected), "{name}");
        }
    }

    #[test]
    fn a_truncated_sps_is_an_error_and_a_truncated_vui_is_not() {
        let whole = unit(WITH_VUI);
        let lens = (0..whole.len()).map(|len| described(&whole[..len]).map(|d| (d.0, d.1)));
        let results: Vec<_> = lens.collect();
        assert_eq!(results[0], Err(SpsError::Missing));
        let vui = results.iter().position(Result::is_ok).unwrap();
        for result in &results[1..vui] {
            assert!(
                matches!(result, Err(SpsError::Truncated { .. })),
                "{result:?}"
            );
        }
        assert!(vui < 14, "{vui}");
        for result in &results[vui..] {
            assert_eq!(*result, Ok((1920, 1080)));
        }
    }

    /// Writes the fields of an SPS.
    #[derive(Default)]
    struct Writer {
        bits: Vec<bool>,
    }

    impl Writer {
        fn u(mut self, count: u32, value: u32) -> Self {
            self.bits
                .extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn ue(self, value: u32) -> Self {
            let len = (value + 1).ilog2();
            self.u(len, 0).u(len + 1, value + 1)
        }

        fn se(self, value: i32) -> Self {
            let code = value.unsigned_abs() * 2;
            self.ue(if value > 0 { code - 1 } else { code })
        }

        /// With the emulation prevention bytes it needs.
        fn sps(mut self) -> Vec<u8> {
            self = self.u(1, 1);
            let mut unit = vec![0x67];
            for byte in self.bits.chunks(8) {
                let byte =
                    byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)) << (8 - byte.len());
                if unit.ends_with(&[0, 0]) && byte <= 3 {
                    unit.push(3);
                }
                unit.push(byte);
            }
            unit
        }
    }

    fn main_profile() -> Writer {
        Writer::default().u(8, 77).u(16, 30).ue(0).ue(0)
    }

    #[test]
    fn picture_order_types_and_scaling_lists_are_passed_over() {
        let size = |w: Writer| w.ue(1).u(1, 0).ue(9).ue(4).u(1, 1).u(1, 1).u(2, 0).sps();
        let order_type_1 = main_profile()
            .ue(1)
            .u(1, 0)
            .se(-7)
            .se(9)
            .ue(3)
            .se(1)
            .se(-1)
            .se(300);
        assert_eq!(described(&size(order_type_1)), Ok((160, 80, (1, 1), 0)));
        let mut lists = Writer::default()
            .u(8, 100)
            .u(16, 30)
            .ue(0)
            .ue(1)
            .ue(0)
            .ue(0)
            .u(2, 1);
        // A full list, one that ends at once, and none.
        lists = (0..16).fold(lists.u(1, 1), |lists, i| {
            lists.se(if i % 2 == 0 { 3 } else { -2 })
        });
        lists = lists.u(1, 1).se(-8).u(4, 0);
        lists = (0..64).fold(lists.u(1, 1), |lists, _| lists.se(0)).u(1, 0);
        assert_eq!(
            described(&size(lists.ue(0).ue(2))),
            Ok((160, 80, (1, 1), 0))
        );
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        let frame = |w: Writer, width, height| w.ue(1).u(1, 0).ue(width).ue(height).u(2, 3);
        let poc = || main_profile().ue(2);
        let cases = [
            (frame(poc(), 4095, 0).u(2, 0).sps(), SpsError::Size),
            (frame(poc(), u32::MAX - 2, 0).u(2, 0).sps(), SpsError::Size),
            (
                frame(poc(), 0, 0)
                    .u(1, 1)
                    .ue(4)
                    .ue(4)
                    .ue(0)
                    .ue(0)
                    .u(1, 0)
                    .sps(),
                SpsError::Size,
            ),
            (
                main_profile().ue(3).sps(),
                SpsError::Value { at: 31, value: 3 },
            ),
            (
                Writer::default().u(24, 77 << 16).ue(32).sps(),
                SpsError::Value { at: 35, value: 32 },
            ),
            (
                main_profile().ue(1).u(1, 0).se(0).se(0).ue(256).sps(),
                SpsError::Value { at: 49, value: 256 },
            ),
            (vec![0x68, 1, 2, 3], SpsError::Type { header: 0x68 }),
        ];
        for (unit, expected) in cases {
            assert_eq!(described(&unit), Err(expected), "{unit:x?}");
        }
        assert_eq!(
            describe(&ParameterSets::default()).err(),
            Some(SpsError::Missing)
        );
    }

    #[test]
    fn reordering_without_sense_counts_as_none() {
        let with = |profile, poc: u32, reorder, buffering| {
            let sps = Writer::default()
                .u(8, profile)
                .u(16, 30)
                .ue(0)
                .ue(0)
                .ue(poc);
            let sps = if poc == 0 { sps.ue(0) } else { sps };
            let sps = sps.ue(1).u(1, 0).ue(9).ue(4).u(2, 3).u(1, 0).u(1, 1);
            let vui = sps
                .u(9, 1)
                .u(1, 1)
                .ue(0)
                .ue(0)
                .ue(9)
                .ue(9)
                .ue(reorder)
                .ue(buffering);
            described(&vui.sps()).unwrap().3
        };
        assert_eq!(with(77, 0, 2, 4), 2);
        assert_eq!(with(77, 0, 5, 4), 0);
        assert_eq!(with(77, 0, 17, 17), 0);
        assert_eq!(with(77, 2, 2, 4), 0);
        assert_eq!(with(66, 0, 2, 4), 0);
    }
}
