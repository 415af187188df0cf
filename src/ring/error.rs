//! Why the ring did not do what was asked.

use core::fmt;

use super::flash::FlashError;
use super::reader::ReadError;

/// Why the ring did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// The card failed. What was asked may be asked again.
    Flash(FlashError),
    /// A record does not read back.
    Read(ReadError),
    /// A sync failed: what was written since the last good one is in doubt, from log position
    /// `from` to `to`. [`Ring::rewind_to_synced`](super::Ring::rewind_to_synced), then write it again.
    InDoubt {
        /// First byte in doubt.
        from: u64,
        /// First byte behind.
        to: u64,
    },
    /// The files are not made up to here yet: prepare up to byte `needed` of the run, then ask
    /// again.
    NotPrepared {
        /// Bytes of the run.
        needed: u64,
    },
    /// No segment is open, or one is open that must be sealed first.
    WrongState,
    /// The fragment is not one `moof` and one `mdat`, or too long, or in too many pieces.
    Fragment,
    /// The init segment is longer than [`INIT_SEGMENT_MAX`](crate::limits::INIT_SEGMENT_MAX).
    InitSegment,
    /// The open segment would fill the ring or pass [`SEGMENT_BYTES_MAX`](crate::limits::SEGMENT_BYTES_MAX): seal it.
    SegmentFull,
    /// The run's size is no multiple of 4 KiB, or too small.
    Size(u64),
    /// The ring on flash was made with another size.
    OtherSize {
        /// Bytes of the ring on flash.
        found: u64,
        /// Bytes asked for.
        asked: u64,
    },
    /// That segment is not the one whose turn it is.
    NotNext {
        /// The one asked for.
        sequence: u64,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::InDoubt { from, to } => {
                write!(f, "a failed sync left positions {from} to {to} in doubt")
            }
            Self::NotPrepared { needed } => {
                write!(f, "the ring is not prepared up to byte {needed}")
            }
            Self::WrongState => f.write_str("no segment is open, or another one still is"),
            Self::Fragment => f.write_str("not a fragment of one moof and one mdat"),
            Self::InitSegment => f.write_str("the init segment is too long"),
            Self::SegmentFull => f.write_str("the segment is full"),
            Self::Size(size) => write!(f, "a ring cannot have {size} bytes"),
            Self::OtherSize { found, asked } => {
                write!(f, "the ring has {found} bytes, not {asked}")
            }
            Self::NotNext { sequence } => write!(f, "it is not the turn of segment {sequence}"),
        }
    }
}

impl core::error::Error for RingError {}

impl From<FlashError> for RingError {
    fn from(error: FlashError) -> Self {
        Self::Flash(error)
    }
}

impl From<ReadError> for RingError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}
