//! What is known of a camera's tracks, and of each sample: the words shared by
//! SDP, depacketizers, MP4 writer and ring.

use crate::limits::PARAMETER_SET_MAX;

/// One SPS or PPS NAL unit, header included, without start code.
pub type ParameterSet = heapless::Vec<u8, PARAMETER_SET_MAX>;

/// The parameter sets of an H.264 track, as they go into `avcC`; one of each identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    /// Sequence parameter sets.
    pub sps: heapless::Vec<ParameterSet, 2>,
    /// Picture parameter sets.
    pub pps: heapless::Vec<ParameterSet, 8>,
}

/// An H.264 track (ISO/IEC 14496-15 `avc1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoDescription {
    /// All parameter sets in use.
    pub sets: ParameterSets,
    /// Luma samples in a row, after cropping.
    pub width: u16,
    /// Rows of luma samples, after cropping.
    pub height: u16,
    /// Width of a sample relative to its height (SPS VUI); 1:1 where absent.
    pub pixel_aspect: (u16, u16),
    /// Pictures that may precede any picture in decoding order and follow it in output order
    /// (`max_num_reorder_frames`); 0 where pictures come in output order.
    pub reorder_depth: u8,
}

/// An AAC track (ISO/IEC 14496-14 `mp4a`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioDescription {
    /// AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1).
    pub config: heapless::Vec<u8, 64>,
    /// Audio samples a second, and the RTP clock rate.
    pub sample_rate: u32,
    /// Channels; 0 where the configuration only refers to a program config element.
    pub channels: u8,
    /// Audio samples of one access unit: 1024 or 960.
    pub frame_length: u16,
}

/// One sample of a fragment (ISO/IEC 14496-12 section 8.8.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Bytes.
    pub size: u32,
    /// 90 kHz ticks until the next sample of the track.
    pub duration: u32,
    /// Presentation minus decoding time, 90 kHz ticks.
    pub composition_offset: i32,
    /// Decoding can begin here.
    pub sync: bool,
}

/// The tracks of an MP4 file; the number is the track's identifier in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TrackKind {
    /// Track 1.
    Video = 1,
    /// Track 2.
    Audio = 2,
}

/// Which tracks a segment has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    /// It has a video track.
    pub video: bool,
    /// It has an audio track.
    pub audio: bool,
}
