//! Missing video: its causes while it is missing, and what the next segment tells of it.

use super::cursors::Cursors;
use super::error::RingError;
use super::flash::Flash;
use super::ring::Ring;
use crate::gap::{Cause, Gap, Gaps, Hole};
use crate::segment::SegmentStart;
use crate::time::Ticks;

impl<F: Flash> Ring<F> {
    /// Video is missing from `start` on because of `cause`, until the next segment begins.
    pub fn open_gap(&mut self, start: Ticks, cause: Cause) -> Result<(), RingError> {
        let gap = Some((self.point(start), cause));
        let open = self.cursors.open_gap;
        // With no segment since, it is the same gap: each failed attempt to connect ends here.
        let same = self.open.is_none() && open.is_some_and(|(_, before)| before == cause);
        if same || open == gap {
            return Ok(());
        }
        let before = core::mem::replace(&mut self.cursors.open_gap, gap);
        let written = self.write_cursors();
        if written.is_err() {
            self.cursors.open_gap = before;
        }
        written
    }

    /// The recorder has delivered video since `first`, but the ring was not open yet: that, and
    /// not the restart, is why it is missing from there on.
    pub fn delivered_since(&mut self, first: Ticks) {
        self.account(first, self.restart);
    }

    /// The same camera's ring on `flash`, of another size and empty: gaps, boots and counts are
    /// carried on. Nothing unsent may be left in this one.
    pub fn remade(self, flash: F, identity: u32) -> Result<Self, RingError> {
        let old = self.cursors;
        if self.open.is_some() || old.upload != old.write {
            return Err(RingError::WrongState);
        }
        let cursors = Cursors {
            identity,
            ring_size: flash.size(),
            accounted: old.accounted,
            passed: old.passed,
            pending: old.pending,
            untold: old.untold,
            boots: old.boots,
            counters: old.counters,
            ..Cursors::default()
        };
        let mut ring = Self {
            flash,
            cursors,
            slot: 0,
            room_from: 0,
            ..self
        };
        ring.write_cursors()?;
        ring.write_cursors()?;
        Ok(ring)
    }

    /// Notes, with the next cursors, why video is missing up to `end`; the next segment to begin
    /// tells it.
    pub(super) fn account(&mut self, end: Ticks, cause: Cause) {
        let end = self.point(end);
        let Some(start) = self.cursors.accounted.filter(|start| *start < end) else {
            return;
        };
        self.cursors.pending.push(Gap { start, end, cause });
        self.cursors.accounted = Some(end);
    }

    /// Gaps of earlier boots, then the holes of this one.
    ///
    /// What is missing between tick 0 and the first session of a boot belongs to the restart;
    /// what the recorder delivered and the card did not take is `cacheFailed`. A ring that never
    /// held video misses nothing before its first segment.
    pub(super) fn gaps_before(&self, start: &SegmentStart) -> Gaps {
        let mut gaps = self.cursors.pending.clone();
        let Some(accounted) = self.cursors.accounted else {
            return gaps;
        };
        let from_start = (accounted.boot, accounted.ticks) == (self.boot().number, Ticks(0));
        // A camera that was taken out of the configuration and put back tells again what is
        // told already.
        let untold = |hole: &Hole| Hole {
            start: hole.start.max(accounted.ticks),
            ..*hole
        };
        let holes = start.holes.iter().map(untold);
        let mut holes = holes.filter(|hole| hole.start < hole.end).peekable();
        let told_from = holes.peek().map_or(start.start, |hole| hole.start);
        if accounted.ticks < told_from {
            gaps.push(Gap {
                start: accounted,
                end: self.point(told_from),
                cause: if from_start {
                    self.restart
                } else {
                    Cause::CacheFailed
                },
            });
        }
        for hole in holes {
            let first = from_start && hole.start == Ticks(0);
            let cause = match hole.cause {
                Cause::Restarted if first => self.restart,
                cause => cause,
            };
            gaps.push(Gap {
                start: self.point(hole.start),
                end: self.point(hole.end),
                cause,
            });
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::SegmentReader;
    use crate::ring::mem_flash::SharedMemFlash;
    use crate::ring::testing::{SECOND, end, new_flash, open, record, record_after, send};

    type Told = Vec<(u32, u64, u32, u64, Cause)>;

    fn hole(from: u64, to: u64, cause: Cause) -> Hole {
        Hole {
            start: Ticks(from * SECOND),
            end: Ticks(to * SECOND),
            cause,
        }
    }

    /// The gaps in the record of the segment at `position`: boots and seconds.
    fn told(ring: &Ring<SharedMemFlash>, position: u64) -> Told {
        let segment = SegmentReader::open(ring.flash(), position).unwrap();
        let gaps = segment.open.gaps.iter().map(|gap| {
            let (start, end) = (gap.start, gap.end);
            let seconds = |ticks: Ticks| ticks.0 / SECOND;
            let (from, to) = (seconds(start.ticks), seconds(end.ticks));
            (start.boot, from, end.boot, to, gap.cause)
        });
        gaps.collect()
    }

    #[test]
    fn a_stop_does_not_take_the_blame_for_a_camera_that_was_away() {
        for cause in [Some(Cause::CameraDisconnected), Some(Cause::Inactive), None] {
            let flash = new_flash(256 * 1024);
            let (mut ring, _) = open(&flash, 1);
            record(&mut ring, 0, 2);
            if let Some(cause) = cause {
                ring.open_gap(end(2).end, cause).unwrap();
            }
            ring.close(end(11).end).unwrap();
            let (mut ring, _) = open(&flash, 2);
            let before = [hole(0, 1, Cause::Restarted)];
            let place = record_after(&mut ring, &before, 1, 2);
            let expected = match cause {
                Some(cause) => vec![(1, 2, 1, 11, cause), (1, 11, 2, 1, Cause::Restarted)],
                None => vec![(1, 2, 2, 1, Cause::Restarted)],
            };
            assert_eq!(told(&ring, place.position), expected);
        }
    }

    #[test]
    fn holes_that_are_told_already_are_not_told_again() {
        let (mut ring, _) = open(&new_flash(256 * 1024), 1);
        record(&mut ring, 0, 5);
        let away = [
            hole(0, 3, Cause::Restarted),
            hole(3, 9, Cause::CameraDisconnected),
        ];
        let place = record_after(&mut ring, &away, 9, 10);
        let expected = [(1, 5, 1, 9, Cause::CameraDisconnected)];
        assert_eq!(told(&ring, place.position), expected);
        let all_told = [hole(0, 10, Cause::Restarted)];
        let place = record_after(&mut ring, &all_told, 10, 11);
        assert_eq!(told(&ring, place.position), []);
    }

    #[test]
    fn the_same_gap_is_written_once() {
        let (mut ring, _) = open(&new_flash(256 * 1024), 1);
        record(&mut ring, 0, 2);
        let generation = |ring: &Ring<SharedMemFlash>| ring.view().cursors.generation;
        let before = generation(&ring);
        for (at, cause, written) in [
            (2, Cause::CameraDisconnected, 1),
            (3, Cause::CameraDisconnected, 1),
            (4, Cause::Inactive, 2),
            (5, Cause::CameraDisconnected, 3),
        ] {
            ring.open_gap(end(at).end, cause).unwrap();
            assert_eq!(generation(&ring), before + written, "{at}");
        }
        // After a segment it is another gap, even if that is told before the segment ends.
        let start = crate::ring::testing::start(6, &[]);
        ring.begin(&start, &[9; 700], &mut |_| {}).unwrap();
        crate::ring::testing::append(&mut ring, 6).unwrap();
        ring.open_gap(end(7).end, Cause::CameraDisconnected)
            .unwrap();
        ring.seal(&end(7)).unwrap();
        let gap = ring.view().cursors.open_gap;
        assert_eq!(gap.map(|(start, _)| start.ticks), Some(end(7).end));
    }

    #[test]
    fn a_ring_that_opens_late_tells_the_card_as_the_cause() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        record(&mut ring, 0, 2);
        ring.close(end(2).end).unwrap();
        let (mut ring, _) = open(&flash, 2);
        ring.delivered_since(end(3).end);
        let place = record(&mut ring, 60, 61);
        let expected = [
            (1, 2, 2, 3, Cause::Restarted),
            (2, 3, 2, 60, Cause::CacheFailed),
        ];
        assert_eq!(told(&ring, place.position), expected);
    }

    #[test]
    fn a_remade_ring_still_tells_what_is_missing() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        record(&mut ring, 0, 2);
        ring.close(end(2).end).unwrap();
        let (ring, _) = open(&flash, 2);
        let larger = new_flash(512 * 1024);
        assert_eq!(
            ring.remade(larger.clone(), 7).err(),
            Some(RingError::WrongState),
            "a segment is not sent"
        );
        let (mut ring, _) = open(&flash, 3);
        send(&mut ring);
        let mut ring = ring.remade(larger.clone(), 7).unwrap();
        let place = record(&mut ring, 4, 5);
        assert_eq!(
            told(&ring, place.position),
            [
                (1, 2, 2, 0, Cause::Restarted),
                (2, 0, 3, 4, Cause::PowerLost)
            ]
        );
        let (ring, recovered) = open(&larger, 4);
        assert_eq!((recovered.boot, ring.view().cursors.identity), (4, 7));
        assert_eq!(ring.view().cursors.unsent_segments, 1);
    }
}
