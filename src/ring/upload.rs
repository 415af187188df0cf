//! The sending side of the cursors: which segment is next, under which name, and what of the
//! timeline it tells. Called by the flash thread on the upload thread's behalf.

use super::cursors::Frozen;
use super::eviction::{end_point, point_in, with};
use super::find::next_of;
use super::flash::Flash;
use super::reader::{Run, SegmentReader};
use super::ring::{Evicted, Ring, RingError};
use crate::gap::{Cause, Gap, ToldGap};

impl<F: Flash> Ring<F> {
    /// Fixes name and headers of a run of the next segment to send, durably, before the first
    /// byte of its first Put. If they are fixed already, they stay.
    pub fn freeze(&mut self, sequence: u64, run: &Run) -> Result<Frozen, RingError> {
        self.must_be_next(sequence)?;
        if let Some(frozen) = &self.cursors.frozen
            && frozen.first_fragment == run.first_fragment
        {
            return Ok(frozen.clone());
        }
        self.unfreeze();
        let place = self.cursors.upload;
        let (segment, _) = SegmentReader::open_sealed(&self.flash, place.position)?;
        let open = segment.open;
        let (start, end) = (point_in(&open, run.start), point_in(&open, run.end));
        let cursors = &mut self.cursors;
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
        let frozen = Frozen {
            place,
            first_fragment: run.first_fragment,
            start: cursors.resolve(start),
            end: cursors.resolve(end),
            end_ticks: run.end,
            clock: cursors.clock(open.start.boot, open.clock),
            gaps: telling
                .iter()
                .map(|gap| ToldGap {
                    start: cursors.resolve(gap.start),
                    end: cursors.resolve(gap.end),
                    cause: gap.cause,
                })
                .collect(),
            may_have_arrived: false,
        };
        cursors.telling = telling;
        cursors.anchor = Some((end, frozen.end));
        cursors.frozen = Some(frozen.clone());
        self.write_cursors()?;
        Ok(frozen)
    }

    /// Notes durably that an attempt may deliver, or has delivered, its last byte.
    pub fn mark_attempted(&mut self, sequence: u64) -> Result<(), RingError> {
        let entry = self
            .cursors
            .set_aside
            .iter_mut()
            .find(|entry| entry.place.sequence == sequence);
        let flag = match (entry, &mut self.cursors.frozen) {
            (Some(entry), _) => &mut entry.may_have_arrived,
            (None, Some(frozen)) if frozen.place.sequence == sequence => {
                &mut frozen.may_have_arrived
            }
            _ => return Err(RingError::NotNext { sequence }),
        };
        if core::mem::replace(flag, true) {
            return Ok(());
        }
        self.write_cursors()
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
    /// is next. Of a segment that was passed already only the cursors are written again.
    pub fn uploaded(&mut self, sequence: u64) -> Result<(), RingError> {
        if sequence >= self.cursors.upload.sequence {
            let frozen = self.frozen(sequence)?;
            self.cursors.telling.clear();
            self.cursors.counters.sent += 1;
            self.pass_frozen(&frozen)?;
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
            let oldest = self.cursors.set_aside.remove(0);
            let records = SegmentReader::open_sealed(&self.flash, oldest.place.position);
            if let Ok((segment, seal)) = records {
                let gap = Gap {
                    start: segment.open.start,
                    end: end_point(&segment.open, &seal),
                    cause: Cause::UploadRefused,
                };
                self.cursors.untold = with(&self.cursors.untold, gap);
            }
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
        self.pass_next_to_send(next.place, end);
        Ok(())
    }
}
