//! The sending side of the cursors: which segment is next, under which name, and what of the
//! timeline it tells. Called by the flash thread on the upload thread's behalf.
//!
//! If the card fails, [`Ring::freeze`] and [`Ring::mark_attempted`], which must be durable before
//! anything is sent, take back what they did. What the others did holds, and goes to flash with
//! the next write of the cursors.

use super::cursors::Frozen;
use super::error::RingError;
use super::eviction::{end_point, point_in, with};
use super::find::next_of;
use super::flash::Flash;
use super::reader::{Run, SegmentReader};
use super::ring::Ring;
use super::words::Evicted;
use crate::gap::{Cause, Gap, Point, ToldGap};
use crate::limits::GAPS_MAX;
use crate::time::UtcMillis;

impl<F: Flash> Ring<F> {
    /// Fixes name and headers of a run of the next segment to send, durably, before the first
    /// byte of its first Put. If they are fixed already, they stay; but a name given while the
    /// clock was not known goes once it is, as long as no blob can have it.
    pub fn freeze(&mut self, sequence: u64, run: &Run) -> Result<Frozen, RingError> {
        self.must_be_next(sequence)?;
        if let Some(frozen) = &self.cursors.frozen
            && frozen.first_fragment == run.first_fragment
            && !self.is_outdated(frozen)
        {
            return Ok(frozen.clone());
        }
        let outdated = self.cursors.frozen.clone();
        let outdated = outdated.filter(|frozen| self.is_outdated(frozen));
        self.unfreeze();
        let place = self.cursors.upload;
        let (segment, _) = SegmentReader::open_sealed(&self.flash, place.position)?;
        let open = segment.open;
        let (start, end) = (point_in(&open, run.start), point_in(&open, run.end));
        let cursors = &mut self.cursors;
        if let Some(outdated) = outdated {
            let at = |point: Point| (point.boot, point.ticks);
            let before = cursors.passed.filter(|end| at(*end) == at(start));
            cursors.anchor = before.map(|end| (end, outdated.start));
        }
        let mut telling = core::mem::take(&mut cursors.untold);
        if !cursors.own_gaps_taken {
            telling.extend(&open.gaps);
            cursors.own_gaps_taken = true;
        }
        let from = cursors
            .run_end
            .map_or(open.start, |ticks| point_in(&open, ticks));
        if from < start {
            let cause = Cause::CacheCorrupt;
            let gap = Gap {
                start: from,
                end: start,
                cause,
            };
            telling.push(gap);
        }
        let mut gaps: heapless::Vec<ToldGap, GAPS_MAX> = telling
            .iter()
            .map(|gap| ToldGap {
                start: cursors.resolve(gap.start),
                end: cursors.resolve(gap.end),
                cause: gap.cause,
            })
            .collect();
        if let Some(step) = cursors.stepped_to(start) {
            // With all places taken the hole in the names tells it.
            let _ = gaps.push(step);
        }
        let frozen = Frozen {
            place,
            first_fragment: run.first_fragment,
            start: cursors.resolve(start),
            end: cursors.resolve(end),
            end_ticks: run.end,
            clock: cursors.clock(open.start.boot, open.clock),
            gaps,
            may_have_arrived: false,
        };
        cursors.telling = telling;
        let anchor = cursors.anchor.replace((end, frozen.end));
        cursors.frozen = Some(frozen.clone());
        if let Err(error) = self.write_cursors() {
            self.unfreeze();
            self.cursors.anchor = anchor;
            return Err(error);
        }
        Ok(frozen)
    }

    /// The name was given while the clock was not known, it is known now, and no attempt may have
    /// delivered the last byte.
    fn is_outdated(&self, frozen: &Frozen) -> bool {
        // The anchor is the frozen segment's end.
        let boot = self.cursors.anchor.map_or(0, |(end, _)| end.boot);
        !frozen.may_have_arrived && self.cursors.clock(boot, frozen.clock) != frozen.clock
    }

    /// Notes durably that an attempt may deliver, or has delivered, its last byte.
    pub fn mark_attempted(&mut self, sequence: u64) -> Result<(), RingError> {
        let not_next = RingError::NotNext { sequence };
        let flag = self.attempted(sequence).ok_or(not_next)?;
        if core::mem::replace(flag, true) {
            return Ok(());
        }
        let written = self.write_cursors();
        if written.is_err()
            && let Some(flag) = self.attempted(sequence)
        {
            *flag = false;
        }
        written
    }

    /// The frozen run of a damaged segment is in the cloud; more of the segment follows.
    pub fn run_uploaded(&mut self, sequence: u64) -> Result<(), RingError> {
        let frozen = self.frozen(sequence)?;
        self.cursors.run_end = Some(frozen.end_ticks);
        self.cursors.frozen = None;
        self.cursors.telling.clear();
        self.write_cursors()
    }

    /// The frozen segment, or its last run, is in the cloud: what it told is told, the next one
    /// is next. One that was evicted while it was under way is no longer missing.
    pub fn uploaded(&mut self, sequence: u64) -> Result<(), RingError> {
        if sequence >= self.cursors.upload.sequence {
            let frozen = self.frozen(sequence)?;
            self.pass_frozen(&frozen)?;
            self.cursors.telling.clear();
            self.cursors.counters.sent += 1;
        } else if let Some((_, end)) = self
            .evicted_in_flight
            .take_if(|(evicted, _)| *evicted == sequence)
        {
            // It was stored just before it was evicted: neither it nor what it told is missing.
            self.cursors.untold.forget_until(end);
            self.cursors.counters.evicted_unsent -= 1;
            self.cursors.counters.sent += 1;
        }
        self.write_cursors()
    }

    /// Nothing, or nothing more, of the next segment to send can be read: what is missing of it
    /// becomes a gap, `cacheCorrupt`.
    pub fn give_up(&mut self, sequence: u64) -> Result<(), RingError> {
        self.must_be_next(sequence)?;
        let next = next_of(&self.flash, &self.cursors, self.cursors.upload)?;
        self.lose_next_to_send(&next, Cause::CacheCorrupt);
        self.cursors.counters.evicted_unsent += 1;
        self.write_cursors()
    }

    /// Blob storage refused the frozen segment for itself: it keeps its name and is tried again
    /// later; the next one tells what it would have told. With too many set aside, the oldest is
    /// given up: a gap, `uploadRefused`.
    pub fn set_aside(&mut self, sequence: u64) -> Result<(), RingError> {
        let frozen = self.frozen(sequence)?;
        if self.cursors.set_aside.is_full() {
            self.lose_set_aside(0, Cause::UploadRefused);
        }
        self.unfreeze();
        self.pass_frozen(&frozen)?;
        // An entry was removed above if there was no room.
        let _ = self.cursors.set_aside.push(frozen.set_aside());
        self.write_cursors()
    }

    /// A segment that had been set aside is in the cloud.
    pub fn set_aside_uploaded(&mut self, sequence: u64) -> Result<(), RingError> {
        self.cursors
            .set_aside
            .retain(|entry| entry.place.sequence != sequence);
        self.cursors.counters.sent += 1;
        self.write_cursors()
    }

    /// A segment that had been set aside cannot be read any more: a gap, `cacheCorrupt`.
    pub fn give_up_set_aside(&mut self, sequence: u64) -> Result<(), RingError> {
        let at = self
            .cursors
            .set_aside
            .iter()
            .position(|entry| entry.place.sequence == sequence)
            .ok_or(RingError::NotNext { sequence })?;
        self.lose_set_aside(at, Cause::CacheCorrupt);
        self.cursors.counters.evicted_unsent += 1;
        self.write_cursors()
    }

    /// Gives up all segments older than `sequence`: they could not be sent whole before they are
    /// written over. They are evicted, and become gaps, `cacheFull`, that the next one tells.
    pub fn skip_to(
        &mut self,
        sequence: u64,
        on_evict: &mut dyn FnMut(Evicted),
    ) -> Result<(), RingError> {
        if sequence >= self.cursors.write.sequence {
            return Err(RingError::NotNext { sequence });
        }
        while self.cursors.upload.sequence < sequence {
            self.evict_oldest(on_evict)?;
        }
        self.write_cursors()
    }

    /// Forgets a segment that was set aside: a gap, which the next one tells.
    fn lose_set_aside(&mut self, at: usize, cause: Cause) {
        let lost = self.cursors.set_aside.remove(at);
        let records = SegmentReader::open_sealed(&self.flash, lost.place.position)
            .ok()
            .filter(|(segment, _)| segment.open.key.sequence == lost.place.sequence);
        let (start, end) = match records {
            Some((segment, seal)) => (segment.open.start, end_point(&segment.open, &seal)),
            // Its name is all that is left of it: moments of no known boot are their estimates.
            None => (named(lost.start), named(lost.end)),
        };
        self.cursors.untold = with(&self.cursors.untold, Gap { start, end, cause });
    }

    /// The flag of the segment in flight, or of one that was set aside.
    fn attempted(&mut self, sequence: u64) -> Option<&mut bool> {
        let cursors = &mut self.cursors;
        let set_aside = cursors
            .set_aside
            .iter_mut()
            .find(|entry| entry.place.sequence == sequence)
            .map(|entry| &mut entry.may_have_arrived);
        set_aside.or(cursors
            .frozen
            .as_mut()
            .filter(|frozen| frozen.place.sequence == sequence)
            .map(|frozen| &mut frozen.may_have_arrived))
    }

    fn must_be_next(&self, sequence: u64) -> Result<(), RingError> {
        let upload = self.cursors.upload;
        if upload.sequence == sequence && upload.position < self.cursors.write.position {
            Ok(())
        } else {
            Err(RingError::NotNext { sequence })
        }
    }

    fn frozen(&self, sequence: u64) -> Result<Frozen, RingError> {
        self.cursors
            .frozen
            .clone()
            .filter(|frozen| frozen.place.sequence == sequence)
            .ok_or(RingError::NotNext { sequence })
    }

    /// Moves on behind the frozen segment. What of it lies behind the frozen run is damaged.
    fn pass_frozen(&mut self, frozen: &Frozen) -> Result<(), RingError> {
        let next = next_of(&self.flash, &self.cursors, frozen.place)?;
        let end = match &next.records {
            Some((open, seal)) => {
                let start = point_in(open, frozen.end_ticks);
                let end = end_point(open, seal);
                if start < end {
                    let cause = Cause::CacheCorrupt;
                    self.cursors.untold.push(Gap { start, end, cause });
                }
                end
            }
            None => next.start,
        };
        self.pass_next_to_send(&next, end);
        Ok(())
    }
}

/// A moment of which only the UTC is known.
fn named(utc: UtcMillis) -> Point {
    Point {
        estimate: utc,
        ..Point::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PAGE;
    use crate::ring::Place;
    use crate::ring::cursors::SET_ASIDE_MAX;
    use crate::ring::mem_flash::{Loss, SharedMemFlash};
    use crate::ring::testing::{new_flash, next_whole, offset, open, record, send};
    use crate::time::{Ticks, UtcOffset};

    type Memory = Ring<SharedMemFlash>;

    /// A ring with `n` segments of two seconds.
    fn recorded(n: u64) -> (Memory, Vec<Place>) {
        let (mut ring, _) = open(&new_flash(512 * 1024), 1);
        let places = (0..n).map(|i| record(&mut ring, 2 * i, 2 * i + 2));
        let places = places.collect();
        (ring, places)
    }

    fn after_power_cut(ring: &Memory) -> Memory {
        let card = ring.flash().card().power_cut(Loss::All);
        open(&SharedMemFlash::new(card), 2).0
    }

    /// Told gaps in seconds of boot 1.
    fn told(frozen: &Frozen) -> Vec<(i64, i64, Cause)> {
        let second = |utc: crate::time::UtcMillis| (utc.0 - offset(1).0 / 90) / 1000;
        frozen
            .gaps
            .iter()
            .map(|gap| (second(gap.start), second(gap.end), gap.cause))
            .collect()
    }

    #[test]
    fn a_name_once_given_outlasts_clock_and_power() {
        let (mut ring, _) = recorded(2);
        let (sequence, run) = next_whole(&ring);
        let frozen = ring.freeze(sequence, &run).unwrap();
        ring.mark_attempted(sequence).unwrap();
        let moved = UtcOffset(offset(1).0 + 90_000 * 3600);
        ring.set_clock(moved, crate::time::ClockQuality::Synchronized)
            .unwrap();
        let mut ring = after_power_cut(&ring);
        let again = ring.freeze(sequence, &run).unwrap();
        assert!(again.may_have_arrived && !frozen.may_have_arrived);
        assert_eq!((again.start, again.end), (frozen.start, frozen.end));
        ring.uploaded(sequence).unwrap();
        ring.uploaded(sequence).unwrap();
        assert_eq!(ring.view().cursors.counters.sent, 1);
        // A step of an hour is not hidden by the next name, a drift is.
        let next = send(&mut ring);
        assert_eq!(next.start.0 - frozen.end.0, 3_600_000);
    }

    #[test]
    fn a_name_given_without_a_clock_goes_once_there_is_one_unless_a_blob_may_have_it() {
        use crate::time::ClockQuality::{Corrected, Synchronized, Unsynchronized};
        for (attempted, sent_before) in [(false, false), (true, false), (false, true)] {
            let (mut ring, _) = open(&new_flash(512 * 1024), 1);
            ring.set_clock(UtcOffset(0), Unsynchronized).unwrap();
            for i in 0..3 {
                record(&mut ring, 2 * i, 2 * i + 2);
            }
            if sent_before {
                assert_eq!(send(&mut ring).clock, Unsynchronized);
            }
            let (sequence, run) = next_whole(&ring);
            let first = ring.freeze(sequence, &run).unwrap();
            assert_eq!(first.clock, Unsynchronized);
            assert_eq!(ring.freeze(sequence, &run).unwrap(), first);
            if attempted {
                ring.mark_attempted(sequence).unwrap();
            }
            ring.set_clock(offset(1), Synchronized).unwrap();
            let again = ring.freeze(sequence, &run).unwrap();
            if attempted {
                assert_eq!((again.start, again.clock), (first.start, Unsynchronized));
                continue;
            }
            let right = UtcMillis(first.start.0 + offset(1).0 / 90);
            assert_eq!((again.start, again.clock), (right, Corrected));
            let step = ToldGap {
                start: first.start,
                end: right,
                cause: Cause::ClockStepped,
            };
            let told: &[ToldGap] = if sent_before { &[step] } else { &[] };
            assert_eq!(again.gaps.as_slice(), told);
            ring.uploaded(sequence).unwrap();
            assert_eq!(send(&mut ring).start, again.end);
        }
    }

    #[test]
    fn what_must_be_durable_first_is_taken_back_if_the_card_fails() {
        let (mut ring, _) = recorded(2);
        send(&mut ring);
        let (sequence, run) = next_whole(&ring);
        let fail = |ring: &Memory| {
            let mut card = ring.flash().card();
            let next = card.operations();
            card.fail_at(next);
        };
        let before = ring.view().cursors;
        fail(&ring);
        assert!(ring.freeze(sequence, &run).is_err());
        let after = ring.view().cursors;
        assert_eq!((after.frozen, after.anchor), (None, before.anchor));
        ring.freeze(sequence, &run).unwrap();
        for frozen in [true, false] {
            fail(&ring);
            assert!(ring.mark_attempted(sequence).is_err());
            ring.mark_attempted(sequence).unwrap();
            let cursors = after_power_cut(&ring).view().cursors;
            if frozen {
                assert!(cursors.frozen.unwrap().may_have_arrived);
                ring.cursors.frozen.as_mut().unwrap().may_have_arrived = false;
                ring.set_aside(sequence).unwrap();
            } else {
                assert!(cursors.set_aside[0].may_have_arrived);
            }
        }
    }

    #[test]
    fn a_steered_clock_leaves_no_gap_between_two_names() {
        let (mut ring, _) = recorded(2);
        let first = send(&mut ring);
        let steered = UtcOffset(offset(1).0 + 90 * 40);
        ring.set_clock(steered, crate::time::ClockQuality::Synchronized)
            .unwrap();
        assert_eq!(send(&mut ring).start, first.end);
    }

    #[test]
    fn a_clock_stepped_forward_between_two_names_is_a_gap_that_says_so() {
        let (mut ring, _) = recorded(2);
        let first = send(&mut ring);
        let stepped = UtcOffset(offset(1).0 + 3600 * 90_000);
        ring.set_clock(stepped, crate::time::ClockQuality::Synchronized)
            .unwrap();
        let next = send(&mut ring);
        assert_eq!(next.start.0 - first.end.0, 3_600_000);
        let gap = ToldGap {
            start: first.end,
            end: next.start,
            cause: Cause::ClockStepped,
        };
        assert_eq!(next.gaps.as_slice(), [gap]);
    }

    #[test]
    fn only_the_next_segment_has_its_turn() {
        let (mut ring, places) = recorded(2);
        let (sequence, run) = next_whole(&ring);
        let other = places[1].sequence;
        let not_next = |sequence| Err(RingError::NotNext { sequence });
        assert_eq!(ring.freeze(other, &run).map(|_| ()), not_next(other));
        assert_eq!(ring.uploaded(sequence), not_next(sequence));
        assert_eq!(ring.mark_attempted(sequence), not_next(sequence));
        assert_eq!(ring.set_aside(sequence), not_next(sequence));
        assert_eq!(ring.give_up(other), not_next(other));
        assert_eq!(ring.skip_to(99, &mut |_| {}), not_next(99));
        send(&mut ring);
        send(&mut ring);
        let end = ring.view().cursors.write.sequence;
        assert_eq!(ring.freeze(end, &run).map(|_| ()), not_next(end));
    }

    #[test]
    fn skipped_segments_become_a_gap_of_the_next() {
        let (mut ring, places) = recorded(5);
        send(&mut ring);
        let mut evicted = Vec::new();
        ring.skip_to(places[3].sequence, &mut |e| {
            evicted.push((e.sequence, e.unsent));
        })
        .unwrap();
        assert_eq!(
            evicted,
            [
                (places[0].sequence, false),
                (places[1].sequence, true),
                (places[2].sequence, true)
            ]
        );
        let mut ring = after_power_cut(&ring);
        let frozen = send(&mut ring);
        assert_eq!(told(&frozen), [(2, 6, Cause::CacheFull)]);
        assert!(send(&mut ring).gaps.is_empty());
    }

    #[test]
    fn what_a_frozen_segment_would_have_told_is_told_by_the_next_if_it_is_evicted() {
        let (mut ring, places) = recorded(5);
        ring.skip_to(places[1].sequence, &mut |_| {}).unwrap();
        let (sequence, run) = next_whole(&ring);
        let frozen = ring.freeze(sequence, &run).unwrap();
        assert_eq!(told(&frozen), [(0, 2, Cause::CacheFull)]);
        let mut in_flight = Vec::new();
        ring.skip_to(places[3].sequence, &mut |e| in_flight.push(e.in_flight))
            .unwrap();
        assert_eq!(in_flight, [true, false]);
        assert_eq!(told(&send(&mut ring)), [(0, 6, Cause::CacheFull)]);
    }

    #[test]
    fn a_segment_stored_while_it_was_evicted_is_not_missing() {
        let (mut ring, places) = recorded(5);
        ring.skip_to(places[1].sequence, &mut |_| {}).unwrap();
        let (sequence, run) = next_whole(&ring);
        ring.freeze(sequence, &run).unwrap();
        ring.skip_to(places[3].sequence, &mut |_| {}).unwrap();
        ring.uploaded(sequence).unwrap();
        let mut ring = after_power_cut(&ring);
        assert_eq!(ring.view().cursors.counters.evicted_unsent, 2);
        assert_eq!(told(&send(&mut ring)), [(4, 6, Cause::CacheFull)]);
    }

    #[test]
    fn a_refused_segment_is_kept_and_told_when_it_is_evicted() {
        let (mut ring, places) = recorded(4);
        send(&mut ring);
        let (sequence, run) = next_whole(&ring);
        let frozen = ring.freeze(sequence, &run).unwrap();
        ring.set_aside(sequence).unwrap();
        send(&mut ring);
        let mut ring = after_power_cut(&ring);
        let entry = ring.view().cursors.set_aside[0];
        assert_eq!(entry, frozen.set_aside());
        ring.mark_attempted(sequence).unwrap();
        assert!(ring.view().cursors.set_aside[0].may_have_arrived);
        // Evicted before it could be sent: the next one tells it.
        ring.evict_oldest(&mut |_| {}).unwrap();
        ring.evict_oldest(&mut |e| assert!(e.unsent)).unwrap();
        assert!(ring.view().cursors.set_aside.is_empty());
        assert_eq!(ring.view().cursors.oldest, places[2]);
        assert_eq!(told(&send(&mut ring)), [(2, 4, Cause::UploadRefused)]);
    }

    #[test]
    fn a_refused_segment_can_be_sent_later() {
        let (mut ring, _) = recorded(2);
        let (sequence, run) = next_whole(&ring);
        ring.freeze(sequence, &run).unwrap();
        ring.set_aside(sequence).unwrap();
        ring.set_aside_uploaded(sequence).unwrap();
        ring.evict_oldest(&mut |e| assert!(!e.unsent)).unwrap();
        assert!(send(&mut ring).gaps.is_empty());
    }

    #[test]
    fn the_ninth_refused_segment_pushes_out_the_first() {
        let (mut ring, _) = recorded(SET_ASIDE_MAX as u64 + 2);
        for _ in 0..=SET_ASIDE_MAX {
            let (sequence, run) = next_whole(&ring);
            ring.freeze(sequence, &run).unwrap();
            ring.set_aside(sequence).unwrap();
        }
        assert_eq!(ring.view().cursors.set_aside.len(), SET_ASIDE_MAX);
        assert_eq!(told(&send(&mut ring)), [(0, 2, Cause::UploadRefused)]);
    }

    #[test]
    fn a_refused_segment_that_goes_bad_is_told_even_without_its_records() {
        for records_gone in [false, true] {
            let (mut ring, places) = recorded(3);
            send(&mut ring);
            let (sequence, run) = next_whole(&ring);
            ring.freeze(sequence, &run).unwrap();
            ring.set_aside(sequence).unwrap();
            if records_gone {
                ring.flash().card().spoil(places[1].position, PAGE);
            }
            ring.give_up_set_aside(sequence).unwrap();
            assert_eq!(
                ring.give_up_set_aside(sequence),
                Err(RingError::NotNext { sequence })
            );
            let mut ring = after_power_cut(&ring);
            assert_eq!(told(&send(&mut ring)), [(2, 4, Cause::CacheCorrupt)]);
        }
    }

    #[test]
    fn each_good_run_of_a_damaged_segment_is_sent_and_the_rest_told() {
        let (mut ring, _) = open(&new_flash(512 * 1024), 1);
        record(&mut ring, 0, 6);
        record(&mut ring, 6, 8);
        let offsets: Vec<u64> = SegmentReader::open(ring.flash(), 0)
            .unwrap()
            .fragments()
            .flatten()
            .map(|fragment| fragment.offset)
            .collect();
        for bad in [2, 5] {
            ring.flash().card().spoil(offsets[bad] + 500, 1);
        }
        let mut buf = [0; 800];
        let (mut sent, mut last) = (Vec::new(), None);
        loop {
            let (segment, _) = SegmentReader::open_sealed(ring.flash(), 0).unwrap();
            let Some(run) = segment.next_run(last.as_ref(), &mut buf).unwrap() else {
                break;
            };
            let frozen = ring.freeze(0, &run).unwrap();
            sent.push((run.start, run.end, told(&frozen)));
            ring.run_uploaded(0).unwrap();
            ring = after_power_cut(&ring);
            last = Some(run);
        }
        let second = |n: u64| Ticks(n * 90_000);
        assert_eq!(
            sent,
            [
                (second(0), second(2), vec![]),
                (second(3), second(5), vec![(2, 3, Cause::CacheCorrupt)])
            ]
        );
        ring.give_up(0).unwrap();
        assert_eq!(told(&send(&mut ring)), [(5, 6, Cause::CacheCorrupt)]);
    }

    #[test]
    fn a_segment_whose_records_are_gone_is_passed() {
        // Spoilt before or after the one before it is sent; by its sender or by eviction.
        for (before, evicts) in [(false, false), (true, false), (false, true), (true, true)] {
            let (mut ring, places) = recorded(4);
            let spoil = |ring: &Memory| {
                ring.flash().card().spoil(places[1].position, PAGE);
            };
            if before {
                spoil(&ring);
            }
            send(&mut ring);
            if !before {
                spoil(&ring);
            }
            if evicts {
                ring.skip_to(places[2].sequence, &mut |_| {}).unwrap();
            } else if !before {
                ring.give_up(places[1].sequence).unwrap();
            }
            assert_eq!(ring.view().cursors.upload, places[2]);
            assert_eq!(told(&send(&mut ring)), [(2, 4, Cause::CacheCorrupt)]);
            send(&mut ring);
            assert_eq!(ring.view().cursors.unsent_segments, 0);
        }
    }
}
