//! One open ring: the video on its way to it, and what happens while its card fails.
//!
//! A fragment goes back to the pool when it is durable. If the card fails, the ring's video waits
//! in the pool and is tried three times in all, a second apart; then it is let go, what is on
//! the card is sealed, and the ring rests before the next try. Nothing here sleeps: one bad card
//! costs no other ring anything. What is missing in the end is told by the next segment, as
//! `cacheFailed`; that begins at the first fragment with a sync sample.

use core::time::Duration;

use nix::libc::ENOSPC;

use super::steps::{Listener, Prepare, Step, append, blocks_of, length_of, with_room};
use crate::limits::{FRAGMENTS_IN_FLIGHT, INIT_SEGMENT_MAX};
use crate::media::Tracks;
use crate::recorder::fragment::Fragment;
use crate::ring::{Ring, RingError, SegmentReader};
use crate::segment::{Holes, SegmentEnd, SegmentStart};
use crate::time::{Instant, Ticks};

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

    /// It failed for a full file system since this was asked last.
    pub fn take_lacks_room(&mut self) -> bool {
        core::mem::take(&mut self.lacks_room)
    }

    /// When [`Slot::run`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let from = match self.health {
            Health::Good => return self.due,
            Health::Trying { next, .. } => next,
            Health::Resting { until } => until,
        };
        if self.abandoned || self.rewrite || !self.todo.is_empty() {
            return Some(from);
        }
        // Nothing waits for another try; what was written since is synced when it is due.
        self.due.map(|due| due.max(from))
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
        self.lacks_room |= matches!(error, RingError::Flash(error) if error.code == ENOSPC);
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

const fn in_doubt(error: RingError) -> bool {
    matches!(error, RingError::InDoubt { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::Cause;
    use crate::recorder::fragment::Start;
    use crate::recorder::pool::Pool;
    use crate::ring::mem_flash::{Loss, MemFlash, SharedMemFlash};
    use crate::ring::{Evicted, Flash, FlashError, ReadAt, RingSetup};
    use crate::segment::FragmentInfo;
    use crate::time::{TIMESCALE, UtcMillis, UtcOffset};

    const BLOCKS: usize = 64;
    const SECOND: u64 = TIMESCALE as u64;

    impl Prepare for SharedMemFlash {
        fn prepare_to(&mut self, needed: u64) -> Result<(), FlashError> {
            self.card().set_prepared(needed);
            Ok(())
        }
    }

    /// A slot over a simulated card, with the pool that its fragments come from.
    struct Bench {
        flash: SharedMemFlash,
        slot: Slot<SharedMemFlash>,
        told: Told,
        now: Instant,
    }

    struct Told {
        pool: Pool,
        recorded: u64,
        sealed: u32,
        words: Vec<&'static str>,
    }

    impl Listener for Told {
        fn give_back(&mut self, fragment: Box<Fragment>) {
            self.pool.give_fragment(fragment);
        }
        fn recorded(&mut self, info: &FragmentInfo, _: u64) {
            self.recorded += info.end.since(info.start).0 / SECOND;
        }
        fn evicted(&mut self, _: Evicted) {
            self.words.push("evicted");
        }
        fn gap(&mut self, _: UtcMillis, _: UtcMillis, cause: Cause) {
            self.words.push(cause.as_str());
        }
        fn sealed(&mut self) {
            self.sealed += 1;
        }
        fn failing(&mut self, _: &'static str, _: RingError) {
            self.words.push("failing");
        }
        fn gave_up(&mut self) {
            self.words.push("gave up");
        }
        fn works_again(&mut self) {
            self.words.push("works again");
        }
    }

    fn setup(machine: u64) -> RingSetup {
        RingSetup {
            offset: UtcOffset(i64::try_from(machine).unwrap() << 40),
            machine,
            identity: 7,
            nonce: u32::try_from(machine).unwrap(),
            ..RingSetup::default()
        }
    }

    impl Bench {
        fn new() -> Self {
            let flash = SharedMemFlash::new(MemFlash::new(512 * 1024));
            let (ring, _) = Ring::open(flash.clone(), setup(1), &mut |_| {}).unwrap();
            Self {
                flash,
                slot: Slot::new(ring, Duration::from_secs(2)),
                told: Told {
                    pool: Pool::new(BLOCKS),
                    recorded: 0,
                    sealed: 0,
                    words: Vec::new(),
                },
                now: Instant::START,
            }
        }

        /// The fragment of second `t`; a segment's first one brings its start.
        fn fragment(&mut self, t: u64, first: bool) -> Box<Fragment> {
            let mut fragment = self.told.pool.take_fragment().unwrap();
            let mut bytes = [0, 0, 0, 16].to_vec();
            bytes.extend(b"moof");
            bytes.extend(t.to_le_bytes());
            bytes.extend([0, 0, 4, 8]);
            bytes.extend(b"mdat");
            bytes.resize(16 + 1032, 31);
            let head = fragment.head.as_mut().unwrap();
            head[..bytes.len()].copy_from_slice(&bytes);
            fragment.head_len = bytes.len();
            fragment.info = FragmentInfo {
                start: Ticks(t * SECOND),
                end: Ticks((t + 1) * SECOND),
                begins_with_sync: t.is_multiple_of(2),
                ..FragmentInfo::default()
            };
            fragment.start = first.then(|| Start {
                segment: Format::default().segment(Ticks(t * SECOND)),
                init: self.told.pool.take().unwrap(),
                init_len: 700,
            });
            fragment
        }

        /// A fragment second `t`, at that time; what is due before is done before.
        fn record(&mut self, t: u64, first: bool) {
            self.wait_until(t);
            let fragment = self.fragment(t, first);
            self.push(Step::Fragment(fragment));
        }

        fn push(&mut self, step: Step) {
            self.slot.push(self.now, step, &mut self.told);
        }

        fn end(&mut self, t: u64) {
            let end = Ticks(t * SECOND);
            self.push(Step::End(SegmentEnd { end }));
        }

        fn wait_until(&mut self, t: u64) {
            let until = Instant::from_millis(t * 1000);
            for _ in 0..100 {
                let Some(at) = self.slot.deadline().filter(|at| *at <= until) else {
                    self.now = until;
                    return;
                };
                self.now = self.now.max(at);
                self.slot.run(self.now, &mut self.told);
            }
            panic!("it asks for time again and again");
        }

        /// Segments from seconds `from` to `to`, of four fragments each.
        fn segments(&mut self, from: u64, to: u64) {
            for t in from..to {
                self.record(t, t.is_multiple_of(4));
                if t % 4 == 3 {
                    self.end(t + 1);
                }
            }
        }

        /// After a power cut now: each segment's first second, its good fragments, and the causes
        /// it tells.
        fn kept(&self) -> Vec<(u64, usize, Vec<Cause>)> {
            let flash = SharedMemFlash::new(self.flash.card().power_cut(Loss::All));
            let (ring, _) = Ring::open(flash.clone(), setup(2), &mut |_| {}).unwrap();
            let mut position = ring.cursors().oldest.position;
            let mut kept = Vec::new();
            while position < ring.cursors().write.position {
                let (segment, _) = SegmentReader::open_sealed(&flash, position).unwrap();
                let good = |fragment: &crate::ring::Fragment| {
                    segment.verify(fragment, &mut [0; 512]).is_ok()
                };
                kept.push((
                    segment.open.start.ticks.0 / SECOND,
                    segment.fragments().map(Result::unwrap).filter(good).count(),
                    segment.open.gaps.iter().map(|gap| gap.cause).collect(),
                ));
                position = segment.next_position().unwrap();
            }
            kept
        }
    }

    #[test]
    fn a_power_cut_costs_no_more_than_the_interval() {
        let mut bench = Bench::new();
        bench.record(0, true);
        assert_eq!(bench.told.recorded, 0);
        assert_eq!(bench.slot.blocks_to_sync(), 2);
        bench.record(1, false);
        assert_eq!((bench.told.recorded, bench.slot.blocks_to_sync()), (2, 0));
        assert_eq!(bench.told.pool.free(), BLOCKS);
        // The next one does not come.
        bench.record(2, false);
        bench.wait_until(3);
        assert_eq!(bench.told.recorded, 2);
        bench.wait_until(4);
        assert_eq!(bench.told.recorded, 3);
        bench.record(4, false);
        bench.slot.sync_now(bench.now, &mut bench.told);
        assert_eq!(bench.told.recorded, 4);
        assert_eq!(bench.kept(), [(0, 4, vec![])]);
        assert!(bench.told.words.is_empty());
    }

    #[test]
    fn a_failure_of_any_operation_costs_no_video() {
        let mut failed = 0;
        for operation in 0.. {
            let mut bench = Bench::new();
            let before = bench.flash.card().operations();
            bench.flash.card().fail_at(before + operation);
            bench.segments(0, 12);
            bench.wait_until(20);
            let whole = |t| (t, 4, vec![]);
            assert_eq!(bench.kept(), [whole(0), whole(4), whole(8)], "{operation}");
            assert_eq!((bench.told.recorded, bench.told.sealed), (12, 3));
            assert_eq!(bench.told.pool.free(), BLOCKS);
            if bench.flash.card().operations() <= before + operation {
                break;
            }
            // A failure of the cursors behind a durable seal is made up for without a word.
            let words = bench.told.words.as_slice();
            assert!(
                matches!(words, [] | ["failing", "works again"]),
                "{words:?}"
            );
            failed += usize::from(!words.is_empty());
        }
        assert!(failed > 20, "{failed} operations");
    }

    #[test]
    fn video_waits_while_a_card_fails_for_two_seconds() {
        for from in 0..4 {
            let mut bench = Bench::new();
            bench.segments(0, from);
            bench.flash.card().fail();
            bench.segments(from, from + 2);
            bench.flash.card().mend();
            bench.segments(from + 2, 8);
            assert_eq!(bench.kept(), [(0, 4, vec![]), (4, 4, vec![])], "{from}");
            assert_eq!(bench.told.words, ["failing", "works again"], "{from}");
        }
    }

    #[test]
    fn a_dead_card_holds_no_memory_and_is_told_once() {
        let mut bench = Bench::new();
        bench.segments(0, 4);
        bench.segments(4, 7);
        bench.flash.card().fail();
        bench.segments(7, 200);
        assert_eq!(bench.told.words, ["failing", "gave up"]);
        assert_eq!(bench.told.pool.free(), BLOCKS);
        assert_eq!(bench.told.recorded, 6);
        bench.flash.card().mend();
        bench.segments(200, 213);
        bench.slot.close(bench.now, &mut bench.told);
        // It rested until 206 or so, and went on with the next sync sample, not the next segment.
        let kept = bench.kept();
        let [first, open, resumed, rest @ ..] = kept.as_slice() else {
            panic!("{kept:?}");
        };
        assert_eq!((first, open), (&(0, 4, vec![]), &(4, 2, vec![])));
        assert_eq!(resumed.2, [Cause::CacheFailed]);
        assert!((200..=211).contains(&resumed.0), "{kept:?}");
        assert!(rest.iter().all(|segment| segment.2.is_empty()), "{kept:?}");
        let (failed, words) = ("cacheFailed", bench.told.words.as_slice());
        assert_eq!(words, ["failing", "gave up", failed, "works again"]);
        let fragments: usize = kept.iter().map(|(_, fragments, _)| fragments).sum();
        assert_eq!(u64::try_from(fragments).unwrap(), 6 + 213 - resumed.0);
        assert_eq!(bench.told.pool.free(), BLOCKS);
    }

    #[test]
    fn what_the_ring_refuses_costs_one_segment_a_part() {
        let mut bench = Bench::new();
        bench.segments(0, 2);
        bench.wait_until(2);
        let mut bad = bench.fragment(2, false);
        bad.head_len -= 1;
        bench.push(Step::Fragment(bad));
        assert_eq!(bench.told.words, ["failing", "gave up"]);
        bench.segments(3, 8);
        assert_eq!(
            bench.kept(),
            [(0, 2, vec![]), (4, 4, vec![Cause::CacheFailed])]
        );
        assert_eq!(bench.told.pool.free(), BLOCKS);
    }

    #[test]
    fn a_segment_whose_end_never_came_ends_with_its_last_fragment() {
        let mut bench = Bench::new();
        bench.record(0, true);
        bench.record(1, false);
        bench.record(2, true);
        bench.slot.close(bench.now, &mut bench.told);
        assert_eq!(bench.kept(), [(0, 2, vec![]), (2, 1, vec![])]);
        assert_eq!(bench.told.sealed, 2);
        // An end without a segment, and a fragment of one that never began, do no harm.
        bench.end(3);
        bench.record(3, false);
        assert_eq!(bench.told.pool.free(), BLOCKS);
        assert!(bench.told.words.is_empty());
    }

    #[test]
    fn a_stop_does_not_wait_for_a_dead_card() {
        let mut bench = Bench::new();
        bench.segments(0, 3);
        bench.flash.card().fail();
        bench.slot.close(bench.now, &mut bench.told);
        assert_eq!(bench.told.pool.free(), BLOCKS);
        assert_eq!(bench.kept(), [(0, 2, vec![])]);
        let mut bench = Bench::new();
        bench.segments(0, 3);
        let next = bench.flash.card().operations();
        bench.flash.card().fail_at(next);
        bench.slot.close(bench.now, &mut bench.told);
        assert_eq!(bench.kept(), [(0, 3, vec![])]);
    }

    #[test]
    fn the_files_are_made_as_recording_needs_them() {
        let mut bench = Bench::new();
        bench.flash.card().set_prepared(4096);
        bench.segments(0, 8);
        assert_eq!(bench.kept().len(), 2);
        let prepared = bench.flash.prepared();
        assert!(prepared < bench.flash.size() / 2, "{prepared}");
    }
}
