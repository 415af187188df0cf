//! What is said to a ring, and what it answers.

use super::cursors::{Cursors, Place};
use super::record::Names;
use crate::time::{ClockQuality, UtcOffset};

/// What `cvr` knows when it opens a ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingSetup {
    /// New segments are recorded as this.
    pub names: Names,
    /// UTC of this boot's tick 0, as believed now.
    pub offset: UtcOffset,
    /// What is known of that.
    pub clock: ClockQuality,
    /// Hash of the machine's boot identifier.
    pub machine: u64,
    /// Random: the identity of an empty ring.
    pub identity: u32,
    /// Random, new at each start: seeds the checks of this run.
    pub nonce: u32,
}

/// A segment has lost its place. Told before the first byte of it is written over, so that a
/// Put of it in flight can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Its sequence number; of one that could not be read, what the cursors say.
    pub sequence: u64,
    /// It was not in the cloud.
    pub unsent: bool,
    /// It is the frozen one.
    pub in_flight: bool,
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The fragment's number in its segment.
    pub number: u32,
    /// Bytes the segment takes so far, records included.
    pub segment_bytes: u64,
}

/// A sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Where it lies.
    pub place: Place,
    /// Bytes from its first byte to the end of its last check.
    pub length: u64,
}

/// What [`Ring::rewind_to_synced`](super::Ring::rewind_to_synced) went back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// The number of the first fragment to be appended again.
    pub next_fragment: u32,
}

/// What anyone else may know of a ring: handed to the upload thread and the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingView {
    /// Positions, frozen segment, gaps, boots, counts.
    pub cursors: Cursors,
    /// The segment being written.
    pub open: Option<Place>,
    /// Log position behind the last byte written.
    pub written: u64,
    /// Bytes of the ring that may be written over without an eviction.
    pub free: u64,
    /// Bytes of the run that are made.
    pub prepared: u64,
    /// Bytes of sealed segments not sent.
    pub unsent_bytes: u64,
    /// A failed sync left bytes in doubt.
    pub in_doubt: bool,
}
