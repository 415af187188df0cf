//! Segments that Blob storage refuses for themselves: one bad segment never stops the others
//! (DESIGN.md section 5).
//!
//! A ring sends strictly in order, so a refused segment is put aside on flash at once, and the
//! next one is tried. That next one's success, not the refusal, tells that the fault is the
//! segment's own: only then do five refusals settle its case.

use core::time::Duration;

use crate::limits::RINGS_MAX;
use crate::ring::SET_ASIDE_MAX;
use crate::time::Instant;

/// Refusals that settle a segment's case, if others succeed.
const REFUSALS_MAX: u8 = 5;

/// A refused segment is tried again after so long.
pub const HOLD: Duration = Duration::from_secs(60);

/// One whose case is settled, after so long.
const ROUND: Duration = Duration::from_secs(24 * 3600);

/// Refused segments remembered at once: all that flash notes, and one more of each ring.
const BOOK_MAX: usize = RINGS_MAX * (SET_ASIDE_MAX + 1);

/// A segment of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentId {
    /// The ring's identity.
    pub ring: u32,
    /// The segment's number in it.
    pub sequence: u64,
}

/// What a refusal says of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is tried again in a minute; others are tried meanwhile.
    HeldBack,
    /// Its case is settled by this refusal: to be named in log and state.
    SetAside,
    /// Its case was settled before: it is tried again in a day.
    StillSetAside,
}

/// The refused segments, of all rings, since `cvr` started.
///
/// Which are put aside is noted on flash, not here: after a start each of those is tried again.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    book: heapless::Vec<Refusal, BOOK_MAX>,
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    id: SegmentId,
    count: u8,
    /// Another segment was stored since the first refusal.
    others_succeed: bool,
    held_until: Instant,
}

impl Refusals {
    /// None.
    pub const fn new() -> Self {
        Self {
            book: heapless::Vec::new(),
        }
    }

    /// This segment may be tried now.
    pub fn may_try(&self, id: SegmentId, now: Instant) -> bool {
        self.find(id)
            .is_none_or(|refusal| now >= refusal.held_until)
    }

    /// `id` was refused for itself.
    pub fn refused(&mut self, id: SegmentId, now: Instant) -> Outcome {
        let known = self.book.iter().position(|refusal| refusal.id == id);
        let mut refusal = known.map_or(
            Refusal {
                id,
                count: 0,
                others_succeed: false,
                held_until: now,
            },
            |at| self.book.swap_remove(at),
        );
        let settled = refusal.is_settled();
        refusal.count = refusal.count.saturating_add(1);
        let (outcome, wait) = match (settled, refusal.is_settled()) {
            (true, _) => (Outcome::StillSetAside, ROUND),
            (false, true) => (Outcome::SetAside, ROUND),
            (false, false) => (Outcome::HeldBack, HOLD),
        };
        refusal.held_until = now + wait;
        if self.book.is_full() {
            self.forget_soonest();
        }
        self.book.push(refusal).expect("there is room for one");
        outcome
    }

    /// One more segment may be put aside in a ring whose flash can note only so many: there is
    /// room (`oldest_of_full` is `None`), or the one to be pushed out is settled.
    ///
    /// While everything is refused, as by a proxy, no segment is given up for another.
    pub fn may_put_aside(&self, oldest_of_full: Option<SegmentId>) -> bool {
        oldest_of_full.is_none_or(|oldest| self.find(oldest).is_some_and(Refusal::is_settled))
    }

    /// `id` is stored.
    pub fn stored(&mut self, id: SegmentId) {
        self.book.retain(|refusal| refusal.id != id);
        for refusal in &mut self.book {
            refusal.others_succeed = true;
        }
    }

    /// Segments of `ring` before `oldest` are evicted.
    pub fn evicted(&mut self, ring: u32, oldest: u64) {
        let gone = |id: SegmentId| id.ring == ring && id.sequence < oldest;
        self.book.retain(|refusal| !gone(refusal.id));
    }

    /// SIGHUP: each may be tried at once. What is known of it stays known.
    pub fn try_all(&mut self) {
        for refusal in &mut self.book {
            refusal.held_until = Instant::START;
        }
    }

    fn find(&self, id: SegmentId) -> Option<&Refusal> {
        self.book.iter().find(|refusal| refusal.id == id)
    }

    /// Makes room: the one that is due soonest would be tried anyway.
    fn forget_soonest(&mut self) {
        let held = self.book.iter().enumerate();
        if let Some((at, _)) = held.min_by_key(|(_, refusal)| refusal.held_until) {
            self.book.swap_remove(at);
        }
    }
}

impl Refusal {
    const fn is_settled(&self) -> bool {
        self.count >= REFUSALS_MAX && self.others_succeed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const DAY: u64 = 24 * 60 * MINUTE;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn id(sequence: u64) -> SegmentId {
        SegmentId { ring: 7, sequence }
    }

    /// Segment 1 is refused five times, a minute apart, and segment 2 stored in between.
    fn settled() -> Refusals {
        let mut refusals = Refusals::new();
        for minute in 0..4 {
            let now = minute * MINUTE;
            assert!(refusals.may_try(id(1), at(now)));
            assert_eq!(refusals.refused(id(1), at(now)), Outcome::HeldBack);
            assert!(!refusals.may_try(id(1), at(now + 59)));
            assert!(refusals.may_try(id(2), at(now)));
            refusals.stored(id(2));
        }
        assert_eq!(refusals.refused(id(1), at(240)), Outcome::SetAside);
        refusals
    }

    #[test]
    fn five_refusals_while_others_succeed_set_a_segment_aside_for_a_day() {
        let mut refusals = settled();
        for day in 1..4 {
            assert!(!refusals.may_try(id(1), at(240 + day * DAY - 1)));
            let now = at(240 + day * DAY);
            assert!(refusals.may_try(id(1), now));
            assert_eq!(refusals.refused(id(1), now), Outcome::StillSetAside);
        }
    }

    #[test]
    fn nothing_is_settled_while_nothing_succeeds() {
        let mut refusals = Refusals::new();
        let all = BOOK_MAX as u64 + 50;
        for n in 0..10 * all {
            assert_eq!(refusals.refused(id(n % all), at(n)), Outcome::HeldBack);
        }
        assert_eq!(refusals.book.len(), BOOK_MAX);
        refusals.stored(id(u64::MAX));
        assert_eq!(refusals.refused(id(1), at(0)), Outcome::HeldBack);
        assert!(refusals.book.iter().filter(|r| r.others_succeed).count() >= BOOK_MAX - 1);
    }

    #[test]
    fn only_a_settled_segment_is_pushed_out_for_another() {
        let mut refusals = settled();
        assert!(refusals.may_put_aside(None));
        assert!(refusals.may_put_aside(Some(id(1))));
        refusals.refused(id(3), at(250));
        assert!(!refusals.may_put_aside(Some(id(3))));
        // Of one noted before the start nothing is known.
        assert!(!refusals.may_put_aside(Some(id(4))));
    }

    #[test]
    fn a_success_and_an_eviction_close_the_case() {
        let mut refusals = Refusals::new();
        for n in 0..4 {
            refusals.refused(id(1), at(n));
        }
        refusals.refused(id(3), at(4));
        refusals.stored(id(1));
        assert!(refusals.may_try(id(1), at(5)));
        refusals.evicted(8, 9);
        assert!(!refusals.may_try(id(3), at(5)));
        refusals.evicted(7, 4);
        assert!(refusals.may_try(id(3), at(5)));
    }

    #[test]
    fn after_sighup_each_is_tried_at_once_and_its_refusals_still_count() {
        let mut refusals = settled();
        refusals.refused(id(3), at(250));
        refusals.try_all();
        for n in [1, 3] {
            assert!(refusals.may_try(id(n), at(251)));
        }
        assert_eq!(refusals.refused(id(1), at(251)), Outcome::StillSetAside);
        assert_eq!(refusals.refused(id(3), at(251)), Outcome::HeldBack);
        assert!(!refusals.may_try(id(1), at(251 + DAY - 1)));
    }
}
