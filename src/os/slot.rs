//! One open ring: the video on its way to it, and what happens while its card fails.
//!
//! A fragment goes back to the pool when it is durable. If the card fails, the ring's video waits
//! in the pool and is tried again [`TRIES`] times, a second apart; then it is let go, what is on
//! the card is sealed, and the ring rests before the next try. Nothing here sleeps: one bad card
//! costs no other ring anything. What is missing in the end is told by the next segment, as
//! `cacheFailed`; that begins at the first fragment with a sync sample.

use core::time::Duration;

use nix::libc::ENOSPC;

use crate::gap::Cause;
use crate::limits::{FRAGMENTS_IN_FLIGHT, INIT_SEGMENT_MAX};
use crate::media::Tracks;
use crate::recorder::fragment::Fragment;
use crate::ring::{Evicted, Flash, FlashError, PIECES_MAX, Ring, RingError, SegmentReader};
use crate::segment::{FragmentInfo, Holes, SegmentEnd, SegmentStart};
use crate::time::{Instant, Ticks, UtcMillis};

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

/// An open ring and what is not yet durable in it.
#[derive(Debug)]
pub struct Slot<F> {
    ring: Ring<F>,
    sync_interval: Duration,
    /// In the open segment, but not synced.
    written: heapless::Deque<Box<Fragment>, FRAGMENTS_IN_FLIGHT>,
    /// Not begun; more than one only while the card fails.
    todo: heapless::Deque<Step, { 4 * FRAGMENTS_IN_FLIGHT }>,
    /// Pool blocks in both.
    blocks: usize,
    unsynced_length: Duration,
    /// Sync then, whatever comes.
    due: Option<Instant>,
    /// End of the last fragment of a segment whose end was not told yet.
    last_end: Option<Ticks>,
    /// A sync failed: what is written is to be written again.
    rewrite: bool,
    /// The ring's open segment is to be sealed as it is.
    abandoned: bool,
    health: Health,
    lacks_room: bool,
    format: Box<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// It failed so often in a row; the video waits in memory for the next try.
    Trying {
        failures: u8,
        next: Instant,
    },
    /// Its video was let go. Nothing is taken before `until`, and one failure then is enough.
    Resting {
        until: Instant,
    },
}

/// What a segment that goes on after lost video begins with.
#[derive(Debug, Default)]
struct Format {
    tracks: Tracks,
    init: heapless::Vec<u8, INIT_SEGMENT_MAX>,
}

/// What failed, for log and state, and why.
type Failure = (&'static str, RingError);

/// A card that fails is tried so often before the video is let go...
const TRIES: u8 = 3;

/// ...so far apart...
const RETRY: Duration = Duration::from_secs(1);

/// ...and then again after this.
const REST: Duration = Duration::from_secs(10);

impl<F: Prepare> Slot<F> {
    /// Nothing is on its way.
    pub fn new(ring: Ring<F>, sync_interval: Duration) -> Self {
        Self {
            ring,
            sync_interval,
            written: heapless::Deque::new(),
            todo: heapless::Deque::new(),
            blocks: 0,
            unsynced_length: Duration::ZERO,
            due: None,
            last_end: None,
            rewrite: false,
            abandoned: false,
            health: Health::Good,
            lacks_room: false,
            format: Box::default(),
        }
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<F> {
        &self.ring
    }

    /// The ring, for the upload thread's work and for preparing it.
    pub fn ring_mut(&mut self) -> &mut Ring<F> {
        &mut self.ring
    }

    /// Syncs so often from now on.
    pub fn set_sync_interval(&mut self, interval: Duration) {
        self.sync_interval = interval;
    }

    /// Pool blocks that a sync would set free.
    pub fn blocks_to_sync(&self) -> usize {
        match self.health {
            Health::Good => self.blocks,
            Health::Trying { .. } | Health::Resting { .. } => 0,
        }
    }

    /// The last failure was a full file system.
    pub fn lacks_room(&self) -> bool {
        self.lacks_room
    }

    /// When [`Slot::run`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        match self.health {
            Health::Good => self.due,
            Health::Trying { next, .. } => Some(next),
            Health::Resting { until } if self.abandoned => Some(until),
            // Nothing waits; the next fragment is the next try.
            Health::Resting { until } => self.due.map(|due| due.max(until)),
        }
    }

    /// Takes a step and does it, or keeps it while the card fails.
    pub fn push(&mut self, now: Instant, step: Step, to: &mut dyn Listener) {
        if let Step::Fragment(fragment) = &step {
            self.remember_format(fragment);
        }
        if !self.takes(now, &step) {
            if let Step::Fragment(fragment) = step {
                to.give_back(fragment);
            }
            return;
        }
        match &step {
            Step::Fragment(fragment) => {
                if fragment.start.is_some() {
                    self.end_segment();
                }
                self.last_end = Some(fragment.info.end);
                self.blocks += blocks_of(fragment);
            }
            Step::End(_) => self.last_end = None,
            Step::Away(..) => {}
        }
        let pushed = self.todo.push_back(step);
        assert!(
            pushed.is_ok(),
            "there are only so many fragments, and few more ends"
        );
        self.run(now, to);
    }

    /// Does what is due.
    pub fn run(&mut self, now: Instant, to: &mut dyn Listener) {
        let from = match self.health {
            Health::Good => now,
            Health::Trying { next, .. } => next,
            Health::Resting { until } => until,
        };
        if from <= now
            && let Err(failure) = self.advance(now, to)
        {
            self.failed(now, failure, to);
        }
    }

    /// Syncs now: others need the blocks.
    pub fn sync_now(&mut self, now: Instant, to: &mut dyn Listener) {
        self.due = Some(now);
        self.run(now, to);
    }

    /// Seals what is open, at the end of its last fragment if its end was not told, and notes a
    /// clean stop. A card that fails is tried again at once: there is no later.
    pub fn close(&mut self, now: Instant, to: &mut dyn Listener) {
        self.end_segment();
        for tries_left in (0..TRIES).rev() {
            let closed = self.advance(now, to).and_then(|()| {
                let closed = self.ring.close(now.ticks());
                closed.map_err(|error| ("note a clean stop", error))
            });
            match closed {
                Ok(()) => break,
                Err(failure) if tries_left == 0 => {
                    self.failed(now, failure, to);
                    self.let_go(to);
                }
                Err((_, error)) => self.rewrite |= in_doubt(error),
            }
        }
    }

    /// Does all there is to do, up to the first failure; then it may be called again.
    fn advance(&mut self, now: Instant, to: &mut dyn Listener) -> Result<(), Failure> {
        if self.abandoned {
            self.settle().map_err(|error| ("seal a segment", error))?;
            self.abandoned = false;
            to.sealed();
        }
        if self.rewrite {
            self.write_again(to).map_err(|error| ("write", error))?;
        }
        while let Some(step) = self.todo.front() {
            match *step {
                Step::Fragment(_) => self.write(now, to)?,
                Step::End(end) => {
                    self.seal(end, to)
                        .map_err(|error| ("seal a segment", error))?;
                    self.todo.pop_front();
                }
                Step::Away(at, cause) => {
                    self.ring
                        .open_gap(at, cause)
                        .map_err(|error| ("note a gap", error))?;
                    self.todo.pop_front();
                }
            }
        }
        if self.due.is_some_and(|due| due <= now) {
            self.sync(to)?;
        }
        Ok(())
    }

    /// Writes the fragment whose turn it is.
    fn write(&mut self, now: Instant, to: &mut dyn Listener) -> Result<(), Failure> {
        if self.ring.open_place().is_none() {
            self.begin(to).map_err(|error| ("begin a segment", error))?;
        }
        let Some(Step::Fragment(fragment)) = self.todo.front() else {
            return Ok(());
        };
        let length = length_of(&fragment.info);
        // The last fragment before a sync sample may be twice as long as the others.
        let sync_now = self.unsynced_length + length + self.sync_interval / 2 > self.sync_interval
            || self.written.len() + 1 >= FRAGMENTS_IN_FLIGHT / 4;
        append(&mut self.ring, fragment, sync_now, to).map_err(|error| ("write", error))?;
        if let Some(Step::Fragment(fragment)) = self.todo.pop_front() {
            let kept = self.written.push_back(fragment);
            assert!(kept.is_ok(), "there are only so many fragments in all");
        }
        self.unsynced_length += length;
        // Should the next one not come, there is no more video to lose meanwhile.
        self.due.get_or_insert(now + self.sync_interval);
        if sync_now {
            self.sync(to)?;
        }
        Ok(())
    }

    /// Begins the segment of the fragment whose turn it is.
    fn begin(&mut self, to: &mut dyn Listener) -> Result<(), RingError> {
        let Some(Step::Fragment(fragment)) = self.todo.front() else {
            return Ok(());
        };
        let (segment, init) = match &fragment.start {
            Some(start) => {
                let init = start.init.get(..start.init_len).unwrap_or_default();
                (start.segment.clone(), init)
            }
            None => (self.format.segment(fragment.info.start), &*self.format.init),
        };
        let place = with_room(&mut self.ring, |ring| {
            ring.begin(&segment, init, &mut |evicted| to.evicted(evicted))
        })?;
        if let Ok(segment) = SegmentReader::open(self.ring.flash(), place.position) {
            let cursors = self.ring.cursors();
            for gap in segment.open.gaps.iter() {
                to.gap(
                    cursors.resolve(gap.start),
                    cursors.resolve(gap.end),
                    gap.cause,
                );
            }
        }
        Ok(())
    }

    /// Seals the segment. If it is sealed and only the cursors failed, the next write of them
    /// makes up for that.
    fn seal(&mut self, end: SegmentEnd, to: &mut dyn Listener) -> Result<(), RingError> {
        if self.ring.open_place().is_none() {
            return Ok(());
        }
        match self.ring.seal(&end) {
            Err(error) if self.ring.open_place().is_some() => return Err(error),
            Ok(None) => {}
            sealed => {
                self.release(to);
                to.sealed();
                if sealed.is_ok() {
                    self.proven(to);
                }
            }
        }
        Ok(())
    }

    fn sync(&mut self, to: &mut dyn Listener) -> Result<(), Failure> {
        if !self.written.is_empty() {
            self.ring.sync().map_err(|error| ("sync", error))?;
            self.proven(to);
        }
        self.release(to);
        Ok(())
    }

    /// After a failed sync: what it was to cover is written anew, and synced.
    fn write_again(&mut self, to: &mut dyn Listener) -> Result<(), RingError> {
        self.ring.rewind_to_synced()?;
        for fragment in &self.written {
            append(&mut self.ring, fragment, false, to)?;
        }
        self.ring.sync()?;
        self.rewrite = false;
        self.proven(to);
        self.release(to);
        Ok(())
    }

    /// The card has taken what was to be durable.
    fn proven(&mut self, to: &mut dyn Listener) {
        if core::mem::replace(&mut self.health, Health::Good) != Health::Good {
            self.lacks_room = false;
            to.works_again();
        }
    }

    /// What is written is durable: it goes back to the pool.
    fn release(&mut self, to: &mut dyn Listener) {
        while let Some(fragment) = self.written.pop_front() {
            self.blocks -= blocks_of(&fragment);
            let bytes: usize = fragment.pieces().map(<[u8]>::len).sum();
            to.recorded(&fragment.info, bytes as u64);
            to.give_back(fragment);
        }
        (self.unsynced_length, self.due) = (Duration::ZERO, None);
    }

    /// The policy of a failing card.
    fn failed(&mut self, now: Instant, (what, error): Failure, to: &mut dyn Listener) {
        self.rewrite |= in_doubt(error);
        self.lacks_room = matches!(error, RingError::Flash(error) if error.code == ENOSPC);
        let card = matches!(error, RingError::Flash(_) | RingError::InDoubt { .. });
        let failures = match self.health {
            Health::Good => {
                to.failing(what, error);
                1
            }
            Health::Trying { failures, .. } => failures + 1,
            Health::Resting { .. } => TRIES,
        };
        if card && failures < TRIES {
            let next = now + RETRY;
            self.health = Health::Trying { failures, next };
            return;
        }
        if !matches!(self.health, Health::Resting { .. }) {
            to.gave_up();
        }
        self.let_go(to);
        // What the ring refuses for itself it may take in the next segment.
        let until = now + if card { REST } else { RETRY };
        self.health = Health::Resting { until };
    }

    /// Gives all video back. What is written and not in doubt is sealed first, if that can be.
    fn let_go(&mut self, to: &mut dyn Listener) {
        if !self.rewrite && self.settle().is_ok() {
            self.release(to);
        }
        while let Some(fragment) = self.written.pop_front() {
            to.give_back(fragment);
        }
        while let Some(step) = self.todo.pop_front() {
            if let Step::Fragment(fragment) = step {
                to.give_back(fragment);
            }
        }
        (self.blocks, self.unsynced_length) = (0, Duration::ZERO);
        (self.due, self.last_end) = (None, None);
        // Else it is tried when the ring has rested.
        self.abandoned = self.settle().is_err();
    }

    /// Seals the ring's open segment, if there is one, after its last fragment that is not in
    /// doubt.
    fn settle(&mut self) -> Result<(), RingError> {
        if self.ring.open_place().is_none() {
            return Ok(());
        }
        if self.rewrite {
            self.ring.rewind_to_synced()?;
            self.rewrite = false;
        }
        match self.ring.seal_as_written() {
            Err(error) if self.ring.open_place().is_some() => {
                self.rewrite |= in_doubt(error);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// A segment whose end was not told ends with its last fragment.
    fn end_segment(&mut self) {
        if let Some(end) = self.last_end.take() {
            let pushed = self.todo.push_back(Step::End(SegmentEnd { end }));
            assert!(pushed.is_ok(), "there are fewer ends than fragments");
        }
    }

    /// A resting ring takes nothing; after lost video only a sync sample begins a segment.
    fn takes(&self, now: Instant, step: &Step) -> bool {
        if matches!(self.health, Health::Resting { until } if now < until) {
            return false;
        }
        match step {
            Step::Fragment(fragment) => {
                let resumes = fragment.info.begins_with_sync && !self.format.init.is_empty();
                fragment.start.is_some() || self.last_end.is_some() || resumes
            }
            Step::End(_) => self.last_end.is_some(),
            Step::Away(..) => self.todo.len() < FRAGMENTS_IN_FLIGHT,
        }
    }

    fn remember_format(&mut self, fragment: &Fragment) {
        if let Some(start) = &fragment.start {
            let init = start.init.get(..start.init_len).unwrap_or_default();
            self.format.tracks = start.segment.tracks;
            self.format.init.clear();
            // One that is too long the ring refuses, too.
            let _ = self.format.init.extend_from_slice(init);
        }
    }
}

impl Format {
    /// A segment that begins at `start`, in the middle of one of the recorder's.
    fn segment(&self, start: Ticks) -> SegmentStart {
        SegmentStart {
            start,
            holes: Holes::new(),
            continues: false,
            tracks: self.tracks,
        }
    }
}

fn append<F: Prepare>(
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
fn with_room<F: Prepare, T>(
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

const fn in_doubt(error: RingError) -> bool {
    matches!(error, RingError::InDoubt { .. })
}

/// Each piece is a block; the init segment is another.
fn blocks_of(fragment: &Fragment) -> usize {
    fragment.pieces().count() + usize::from(fragment.start.is_some())
}

fn length_of(info: &FragmentInfo) -> Duration {
    Duration::from_millis(info.end.since(info.start).as_millis())
}
