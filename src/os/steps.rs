//! What is to be done on a ring, how a card takes it, and what is told of it.

use core::time::Duration;

use crate::gap::Cause;
use crate::recorder::fragment::Fragment;
use crate::ring::{Evicted, Flash, FlashError, PIECES_MAX, Ring, RingError};
use crate::segment::{FragmentInfo, SegmentEnd};
use crate::time::{Ticks, UtcMillis};

/// A card that can be prepared further.
pub trait Prepare: Flash {
    /// Prepares at least the first `needed` bytes of the run.
    fn prepare_to(&mut self, needed: u64) -> Result<(), FlashError>;
}

/// What is to be done on a ring, in the recorder's order.
#[derive(Debug)]
pub enum Step {
    /// Write a fragment; a segment begins with it if it brings a start.
    Fragment(Box<Fragment>),
    /// Seal the segment.
    End(SegmentEnd),
    /// Video is missing from here on.
    Away(Ticks, Cause),
}

/// What a slot tells.
pub trait Listener {
    /// The fragment is done with.
    fn give_back(&mut self, fragment: Box<Fragment>);
    /// A fragment of so many bytes is durable.
    fn recorded(&mut self, info: &FragmentInfo, bytes: u64);
    /// A segment has lost its place.
    fn evicted(&mut self, evicted: Evicted);
    /// The segment that begins tells this gap.
    fn gap(&mut self, start: UtcMillis, end: UtcMillis, cause: Cause);
    /// A segment is sealed.
    fn sealed(&mut self);
    /// The ring has begun to fail; told once.
    fn failing(&mut self, what: &'static str, error: RingError);
    /// It was tried often enough: video is lost from now on.
    fn gave_up(&mut self);
    /// Something is durable again.
    fn works_again(&mut self);
}

/// Appends a fragment to the open segment.
pub(super) fn append<F: Prepare>(
    ring: &mut Ring<F>,
    fragment: &Fragment,
    sync_after: bool,
    to: &mut dyn Listener,
) -> Result<(), RingError> {
    let pieces: heapless::Vec<&[u8], PIECES_MAX> = fragment.pieces().collect();
    with_room(ring, |ring| {
        let on_evict = &mut |evicted| to.evicted(evicted);
        ring.append(&fragment.info, &pieces, sync_after, on_evict)
    })
    .map(|_| ())
}

/// Does `work`, making the ring's files first where recording has caught up with that.
pub(super) fn with_room<F: Prepare, T>(
    ring: &mut Ring<F>,
    mut work: impl FnMut(&mut Ring<F>) -> Result<T, RingError>,
) -> Result<T, RingError> {
    loop {
        match work(ring) {
            Err(RingError::NotPrepared { needed }) => ring.flash_mut().prepare_to(needed)?,
            done => return done,
        }
    }
}

/// Each piece is a block; the init segment is another.
pub(super) fn blocks_of(fragment: &Fragment) -> usize {
    fragment.pieces().count() + usize::from(fragment.start.is_some())
}

pub(super) fn length_of(info: &FragmentInfo) -> Duration {
    Duration::from_millis(info.end.since(info.start).as_millis())
}
