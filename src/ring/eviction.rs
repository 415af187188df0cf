//! Room: the oldest segments give way, and what was not sent becomes a gap.
//!
//! As late as possible: only when the next write would reach the oldest segment.

use super::cursors::Place;
use super::error::RingError;
use super::find::{Next, next_of};
use super::flash::Flash;
use super::record::{OpenRecord, SealRecord};
use super::ring::Ring;
use super::words::Evicted;
use crate::gap::{Cause, Gap, Gaps, Point};
use crate::time::{Ticks, UtcMillis};

impl<F: Flash> Ring<F> {
    /// Makes sure that everything below log position `end` may be written.
    ///
    /// Evicts what is in the way, then writes and syncs the cursors: only then is an evicted
    /// segment's first byte written over.
    pub(super) fn make_room(
        &mut self,
        end: u64,
        on_evict: &mut dyn FnMut(Evicted),
    ) -> Result<(), RingError> {
        let (size, prepared) = (self.flash.size(), self.flash.prepared());
        if prepared < size && end > prepared {
            let needed = end.min(size);
            return Err(RingError::NotPrepared { needed });
        }
        while self.cursors.oldest.position + size < end {
            if self.cursors.oldest.position >= self.cursors.write.position {
                return Err(RingError::SegmentFull);
            }
            self.evict_oldest(on_evict)?;
        }
        if self.room_from + size < end {
            self.write_cursors()?;
        }
        Ok(())
    }

    /// Takes the oldest segment's place from it, in memory.
    pub(super) fn evict_oldest(
        &mut self,
        on_evict: &mut dyn FnMut(Evicted),
    ) -> Result<(), RingError> {
        let here = self.cursors.oldest;
        let next = next_of(&self.flash, &self.cursors, here)?;
        let upload = self.cursors.upload;
        if upload.position > here.position && upload.position < next.place.position {
            // The next to send cannot be read any more, else it would be next here, too.
            let after = next_of(&self.flash, &self.cursors, upload)?;
            self.tell_evicted(upload, true, on_evict);
            self.lose_next_to_send(&after, Cause::CacheCorrupt);
            self.cursors.counters.evicted_unsent += 1;
        }
        let refused = self
            .cursors
            .set_aside
            .iter()
            .position(|entry| entry.place == here);
        let unsent = here.position >= upload.position;
        self.tell_evicted(here, unsent || refused.is_some(), on_evict);
        let frozen = self.cursors.frozen.as_ref();
        if frozen.is_some_and(|frozen| frozen.place == here) {
            let end = next
                .records
                .as_ref()
                .map(|(open, seal)| end_point(open, seal));
            self.evicted_in_flight = end.map(|end| (here.sequence, end));
        }
        if let Some(at) = refused {
            self.cursors.set_aside.remove(at);
            if let Some((open, seal)) = &next.records {
                let gap = Gap {
                    start: open.start,
                    end: end_point(open, seal),
                    cause: Cause::UploadRefused,
                };
                self.cursors.untold = with(&self.cursors.untold, gap);
            }
        }
        self.cursors.oldest = next.place;
        if unsent {
            self.lose_next_to_send(&next, Cause::CacheFull);
        }
        let counters = &mut self.cursors.counters;
        if unsent || refused.is_some() {
            counters.evicted_unsent += 1;
        } else {
            counters.evicted_sent += 1;
        }
        Ok(())
    }

    fn tell_evicted(&self, place: Place, unsent: bool, on_evict: &mut dyn FnMut(Evicted)) {
        let frozen = self.cursors.frozen.as_ref();
        on_evict(Evicted {
            sequence: place.sequence,
            unsent,
            in_flight: frozen.is_some_and(|frozen| frozen.place == place),
        });
    }

    /// Moves the upload cursor past a segment, all or the rest of which will not be sent: its
    /// time and the gaps it carried are untold from now on.
    pub(super) fn lose_next_to_send(&mut self, next: &Next, cause: Cause) {
        self.unfreeze();
        let cursors = &mut self.cursors;
        let (start, end, cause) = match &next.records {
            Some((open, seal)) => {
                if !cursors.own_gaps_taken {
                    cursors.untold.extend(&open.gaps);
                }
                let from = cursors.run_end.map(|end| point_in(open, end));
                let end = end_point(open, seal);
                (from.or(Some(open.start)), end, cause)
            }
            None => (cursors.passed, next.start, Cause::CacheCorrupt),
        };
        if let Some(start) = start.filter(|start| *start < end) {
            cursors.untold.push(Gap { start, end, cause });
        }
        self.pass_next_to_send(next, end);
    }

    /// Moves the upload cursor on to `next`, from a segment that ended at `end`.
    pub(super) fn pass_next_to_send(&mut self, next: &Next, mut end: Point) {
        let cursors = &mut self.cursors;
        if next.damage_between && end < next.start {
            cursors.untold.push(Gap {
                start: end,
                end: next.start,
                cause: Cause::CacheCorrupt,
            });
            end = next.start;
        }
        cursors.upload = next.place;
        cursors.passed = Some(end);
        cursors.frozen = None;
        cursors.run_end = None;
        cursors.own_gaps_taken = false;
        cursors.unsent_segments = if next.place == cursors.write {
            0
        } else {
            cursors.unsent_segments.saturating_sub(1)
        };
    }

    /// Forgets the frozen name; what it would have told is untold again.
    pub(super) fn unfreeze(&mut self) {
        let cursors = &mut self.cursors;
        cursors.untold = cursors
            .untold
            .iter()
            .fold(cursors.telling.clone(), |gaps, gap| with(&gaps, *gap));
        cursors.telling.clear();
        cursors.frozen = None;
    }
}

/// `gaps` and `gap` among them, by its start.
pub(super) fn with(gaps: &Gaps, gap: Gap) -> Gaps {
    let mut all = Gaps::new();
    let (before, after): (heapless::Vec<_, { crate::limits::GAPS_MAX }>, _) = (
        gaps.iter()
            .filter(|g| g.start <= gap.start)
            .copied()
            .collect(),
        gaps.iter().filter(|g| g.start > gap.start),
    );
    before.into_iter().for_each(|gap| all.push(gap));
    all.push(gap);
    after.for_each(|gap| all.push(*gap));
    all
}

/// A moment of the boot in which `open` was recorded.
pub fn point_in(open: &OpenRecord, ticks: Ticks) -> Point {
    let start = open.start;
    let millis = |ticks: Ticks| i64::try_from(ticks.as_millis()).unwrap_or(i64::MAX);
    let since = millis(ticks).saturating_sub(millis(start.ticks));
    Point {
        boot: start.boot,
        ticks,
        estimate: UtcMillis(start.estimate.0.saturating_add(since)),
    }
}

/// The end of a segment.
pub(super) fn end_point(open: &OpenRecord, seal: &SealRecord) -> Point {
    point_in(open, seal.end)
}

#[cfg(test)]
mod tests {
    use crate::limits::MIB;
    use crate::ring::testing::{end, fragment, info, new_flash, open, start};
    use crate::ring::{Evicted, Flash, Ring};

    const PAYLOAD: usize = 250_000;

    /// Records 2 Mbit/s, a fragment and a check a second, a sync every second one, until the
    /// first eviction; the bytes of video in the ring just before.
    fn fill<F: Flash>(ring: &mut Ring<F>, segment_seconds: u64, segment_bytes: u64) -> u64 {
        let (mut t, mut video) = (0, 0);
        loop {
            let mut full = false;
            let on_evict = &mut |_: Evicted| full = true;
            ring.begin(&start(t, &[]), &[9; 800], on_evict).unwrap();
            let (from, mut bytes) = (t, 0);
            while t - from < segment_seconds && bytes < segment_bytes {
                let fragment = fragment(t, PAYLOAD);
                let sync = t % 2 == 1;
                let on_evict = &mut |_: Evicted| full = true;
                let appended = ring.append(&info(t), &[&fragment], sync, on_evict);
                if full {
                    return video;
                }
                bytes = appended.unwrap().segment_bytes;
                video += PAYLOAD as u64;
                t += 1;
                if sync {
                    ring.sync().unwrap();
                }
            }
            ring.seal(&end(t)).unwrap();
        }
    }

    #[test]
    fn a_full_ring_is_98_percent_video() {
        for (mib, seconds) in [(16, 30), (64, 30)] {
            let size = mib * MIB;
            let (mut ring, _) = open(&new_flash(usize::try_from(size).unwrap()), 1);
            let video = fill(&mut ring, seconds, size / 8);
            assert!(video * 100 >= size * 98, "{video} bytes of video in {size}");
        }
    }

    #[test]
    fn nothing_is_written_where_the_files_are_not_made() {
        let flash = new_flash(1 << 20);
        flash.card().set_prepared(64 * 1024);
        let (mut ring, _) = open(&flash, 1);
        ring.begin(&start(0, &[]), &[9; 800], &mut |_| {}).unwrap();
        let fragment = fragment(0, 30_000);
        let mut append = |t| ring.append(&info(t), &[&fragment], true, &mut |_| {});
        append(0).unwrap();
        let needed = match append(1) {
            Err(crate::ring::RingError::NotPrepared { needed }) => needed,
            other => panic!("{other:?}"),
        };
        flash.card().set_prepared(needed);
        append(1).unwrap();
        // The simulated card itself refuses a write behind that.
        assert!(needed > 64 * 1024 && needed < 96 * 1024);
    }

    #[test]
    fn a_segment_never_evicts_itself() {
        let (mut ring, _) = open(&new_flash(256 * 1024), 1);
        ring.begin(&start(0, &[]), &[9; 800], &mut |_| {}).unwrap();
        let fragment = fragment(0, 100_000);
        let mut append = |t| ring.append(&info(t), &[&fragment], true, &mut |_| {});
        append(0).unwrap();
        append(1).unwrap();
        assert_eq!(append(2), Err(crate::ring::RingError::SegmentFull));
        ring.seal(&end(2)).unwrap();
        assert_eq!(ring.view().cursors.unsent_segments, 1);
    }
}
