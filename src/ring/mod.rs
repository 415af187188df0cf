//! The ring: one camera's circular log on flash. Pure, over the [`Flash`] trait.
//!
//! Preallocated files are one run of bytes. Places in it are log positions, which only grow; the
//! physical one is the log position modulo the run's size. [`record`] draws the layout of a
//! segment. What keeps the video safe when power fails at any moment:
//!
//! 1. Synced bytes are never written again: what a sync covers ends on a page's boundary.
//! 2. Every check is seeded with the segment's key and chained to the one before, so only what
//!    was written for this segment, in this order, passes ([`record`]).
//! 3. A segment is overwritten only after the cursors that gave it up are durable ([`Ring`]).
//! 4. Of the two copies of the cursors one is always whole; the log is rolled forward from it,
//!    and found without it ([`Recovered`]).
//!
//! The flash thread owns a [`Ring`]. The upload thread reads through [`SegmentReader`], told what
//! to read by a [`RingView`].

mod body;
mod bytes;
mod cursors;
mod decision;
mod error;
mod eviction;
mod find;
mod flash;
mod fragments;
pub mod mem_flash;
mod missing;
#[cfg(test)]
mod power_cut;
mod reader;
pub mod record;
mod recovery;
#[expect(
    clippy::module_inception,
    reason = "the type gives the folder its name"
)]
mod ring;
mod scan;
mod seal;
#[cfg(test)]
mod testing;
mod upload;
mod words;
mod write;

pub use body::Body;
pub use cursors::{
    Boot, CLOCK_STEP_MILLIS, Counters, Cursors, Frozen, Place, SET_ASIDE_MAX, SetAside,
};
pub use decision::Source;
pub use error::RingError;
pub use eviction::point_in;
pub use flash::{Flash, FlashError, Operation, ReadAt};
pub use fragments::Fragments;
pub use reader::{Fragment, ReadError, ReadFault, Run, SegmentReader};
pub use recovery::{Cut, Progress, Recovered};
pub use ring::Ring;
pub use words::{Appended, Evicted, Rewound, RingSetup, RingView, Sealed};
pub use write::PIECES_MAX;
