//! Segments on their way from the recorder to the ring: what is said at the
//! start, with each fragment, and at the end.

use crate::gap::Hole;
use crate::media::Tracks;
use crate::time::Ticks;

/// Holes told at the start of one segment.
pub type Holes = heapless::Vec<Hole, 8>;

/// A segment begins. Its init segment comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStart {
    /// Presentation time of its first video sample (of its first audio sample where there is
    /// no video).
    pub start: Ticks,
    /// The run of holes between the end of the recorder's previous segment and `start`,
    /// without a break between them. The first segment of a boot has holes from tick 0 on.
    pub holes: Holes,
    /// It was cut inside a GOP: it plays only after its predecessor.
    pub continues: bool,
    /// Which tracks its init segment declares.
    pub tracks: Tracks,
}

/// A complete fragment: `moof` and `mdat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Presentation time of the first sample.
    pub start: Ticks,
    /// End of the last video sample (of the last audio sample where there is no video). A
    /// segment cut here by a power failure ends here.
    pub end: Ticks,
    /// Video samples in it.
    pub video_samples: u32,
    /// Audio samples in it.
    pub audio_samples: u32,
    /// Its first video sample is a sync sample.
    pub begins_with_sync: bool,
    /// Pictures missing inside it or right before it, within the segment.
    pub lost_pictures: u32,
    /// The time they would have filled.
    pub lost: Ticks,
}

/// A segment ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentEnd {
    /// End of its last video sample: in a run without a gap, the start of the next segment.
    pub end: Ticks,
}
