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

mod bytes;
mod cursors;
mod eviction;
mod find;
mod flash;
pub mod mem_flash;
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
#[cfg(test)]
mod testing;
mod upload;

pub use cursors::{Boot, Counters, Cursors, Frozen, Place, SET_ASIDE_MAX, SetAside};
pub use eviction::point_in;
pub use flash::{Flash, FlashError, Operation, ReadAt};
pub use reader::{Body, Fragment, Fragments, ReadError, ReadFault, Run, SegmentReader};
pub use recovery::{Cut, Progress, Recovered, Source};
pub use ring::{
    Appended, Evicted, PIECES_MAX, Rewound, Ring, RingError, RingSetup, RingView, Sealed,
};
