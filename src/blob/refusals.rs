//! Segments that Blob storage refuses for themselves: one bad segment never stops the others
//! (DESIGN.md section 5).

use core::time::Duration;

use crate::limits::RINGS_MAX;
use crate::time::Instant;

/// Refusals after which a segment is set aside, if others succeed.
const REFUSALS_MAX: u8 = 5;

/// A refused segment is held back for so long while others are tried.
const HOLD: Duration = Duration::from_secs(60);

/// Segments set aside are tried again after so long.
const ROUND: Duration = Duration::from_secs(24 * 3600);

/// Refused segments remembered at once.
const BOOK_MAX: usize = 32;

/// A segment of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentId {
    /// The ring's identity.
    pub ring: u32,
    /// The segment's number in it.
    pub sequence: u64,
}

/// What follows from a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is held back for a minute; others are tried meanwhile.
    HeldBack,
    /// It is set aside: to be noted on flash and named in log and state.
    SetAside,
}

/// The refused segments that are not set aside yet, and the daily round of those that are.
///
/// What is set aside is noted on flash, not here.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    book: heapless::Vec<Refusal, BOOK_MAX>,
    /// When the present round began, and where it has come to in each ring.
    round: Option<Instant>,
    rounds: heapless::Vec<SegmentId, RINGS_MAX>,
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
    /// None; a first round of what is set aside is due.
    pub const fn new() -> Self {
        Self {
            book: heapless::Vec::new(),
            round: None,
            rounds: heapless::Vec::new(),
        }
    }

    /// This segment may be tried now; `set_aside` as noted on flash.
    pub fn may_try(&self, id: SegmentId, set_aside: bool, now: Instant) -> bool {
        if set_aside {
            let next = self.rounds.iter().find(|at| at.ring == id.ring);
            return next.is_none_or(|at| id.sequence >= at.sequence) || self.round_is_due(now);
        }
        let refusal = self.book.iter().find(|refusal| refusal.id == id);
        refusal.is_none_or(|refusal| now >= refusal.held_until)
    }

    /// `id` was refused for itself.
    pub fn refused(&mut self, id: SegmentId, set_aside: bool, now: Instant) -> Outcome {
        if set_aside {
            self.round_passes(id, now);
            return Outcome::SetAside;
        }
        let at = self.book.iter().position(|refusal| refusal.id == id);
        let refusal = Refusal {
            id,
            count: 0,
            others_succeed: false,
            held_until: now,
        };
        let mut refusal = at.map_or(refusal, |at| self.book.swap_remove(at));
        refusal.count = refusal.count.saturating_add(1);
        refusal.held_until = now + HOLD;
        if refusal.count >= REFUSALS_MAX && refusal.others_succeed {
            self.round_passes(id, now);
            return Outcome::SetAside;
        }
        if self.book.is_full() {
            // All of the book is refused: the longest held is tried again soonest anyway.
            let oldest = self
                .book
                .iter()
                .enumerate()
                .min_by_key(|(_, r)| r.held_until);
            if let Some((oldest, _)) = oldest {
                self.book.swap_remove(oldest);
            }
        }
        self.book.push(refusal).expect("there is room for one");
        Outcome::HeldBack
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

    /// SIGHUP: all are tried again, held back, set aside or not.
    pub fn try_all(&mut self) {
        self.book.clear();
        self.rounds.clear();
        self.round = None;
    }

    fn round_is_due(&self, now: Instant) -> bool {
        self.round.is_none_or(|began| now.since(began) >= ROUND)
    }

    /// The round has come past `id` in its ring; a round that is due begins with it.
    fn round_passes(&mut self, id: SegmentId, now: Instant) {
        if self.round_is_due(now) {
            self.rounds.clear();
            self.round = Some(now);
        }
        let sequence = id.sequence.saturating_add(1);
        match self.rounds.iter_mut().find(|at| at.ring == id.ring) {
            Some(at) => at.sequence = at.sequence.max(sequence),
            None => {
                if self.rounds.is_full() {
                    self.rounds.swap_remove(0);
                }
                let at = SegmentId { sequence, ..id };
                self.rounds.push(at).expect("there is room for one");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn id(sequence: u64) -> SegmentId {
        SegmentId { ring: 7, sequence }
    }

    #[test]
    fn five_refusals_while_others_succeed_set_a_segment_aside() {
        let mut refusals = Refusals::new();
        for minute in 0..4 {
            let now = at(minute * MINUTE);
            assert!(refusals.may_try(id(1), false, now));
            assert_eq!(refusals.refused(id(1), false, now), Outcome::HeldBack);
            assert!(!refusals.may_try(id(1), false, at(minute * MINUTE + 59)));
            assert!(refusals.may_try(id(2 + minute), false, now));
            refusals.stored(id(2 + minute));
        }
        assert_eq!(refusals.refused(id(1), false, at(300)), Outcome::SetAside);
        assert!(!refusals.may_try(id(1), true, at(301)));
    }

    #[test]
    fn nothing_is_set_aside_while_nothing_succeeds() {
        let mut refusals = Refusals::new();
        for n in 0..1000 {
            assert_eq!(
                refusals.refused(id(n % 50), false, at(n)),
                Outcome::HeldBack
            );
        }
        refusals.stored(id(99));
        assert_eq!(refusals.book.len(), BOOK_MAX);
        assert!(refusals.book.iter().all(|refusal| refusal.others_succeed));
    }

    #[test]
    fn a_success_and_an_eviction_close_the_case() {
        let mut refusals = Refusals::new();
        for n in 0..4 {
            refusals.refused(id(1), false, at(n));
        }
        refusals.refused(id(3), false, at(4));
        refusals.stored(id(1));
        assert!(refusals.may_try(id(1), false, at(5)));
        assert!(!refusals.may_try(id(3), false, at(5)));
        refusals.evicted(8, 9);
        assert!(!refusals.may_try(id(3), false, at(5)));
        refusals.evicted(7, 4);
        assert!(refusals.may_try(id(3), false, at(5)));
    }

    #[test]
    fn what_is_set_aside_is_tried_at_start_daily_and_on_sighup() {
        let mut refusals = Refusals::new();
        let day = 24 * 60 * MINUTE;
        let tries = |refusals: &Refusals, seconds| {
            [1, 5].map(|sequence| refusals.may_try(id(sequence), true, at(seconds)))
        };
        for start in [0, day, 2 * day + 5] {
            assert_eq!(tries(&refusals, start), [true, true]);
            assert_eq!(refusals.refused(id(1), true, at(start)), Outcome::SetAside);
            assert_eq!(tries(&refusals, start), [false, true]);
            refusals.refused(id(5), true, at(start + 1));
            assert_eq!(tries(&refusals, start + 2), [false, false]);
            assert_eq!(tries(&refusals, start + day - 1), [false, false]);
        }
        refusals.try_all();
        assert_eq!(tries(&refusals, 2 * day + 6), [true, true]);
    }
}
