//! The end of a segment, and the end of the log behind it.

use super::cursors::Place;
use super::error::RingError;
use super::flash::{Flash, page_up};
use super::record::SealRecord;
use super::ring::Ring;
use super::words::Sealed;
use super::write::write_wrapped;
use crate::gap::Point;
use crate::limits::PAGE;
use crate::segment::SegmentEnd;
use crate::time::Ticks;

impl<F: Flash> Ring<F> {
    /// Ends the segment: what is left to sync, then the seal record, then the cursors.
    ///
    /// `None`: it held no fragment and is withdrawn. If this fails it may be called again, while
    /// [`Ring::open_place`] still names the segment; otherwise it is sealed, and only the cursors
    /// lag behind, which the next start would mend.
    pub fn seal(&mut self, end: &SegmentEnd) -> Result<Option<Sealed>, RingError> {
        let (now, position) = self.writable()?;
        if now.totals.fragments == 0 {
            return self.withdraw().map(|()| None);
        }
        let open = self.open.as_ref().ok_or(RingError::WrongState)?;
        if open.synced.end < now.end {
            self.sync_open()?;
        }
        let open = self.open.as_mut().ok_or(RingError::WrongState)?;
        open.ending = true;
        let record = SealRecord {
            key: open.key,
            length: now.end - position,
            end: end.end.max(open.start),
            totals: now.totals,
            checks: now.running,
            cut: false,
            damaged: false,
        };
        self.write_seal(position, &record)?;
        self.open = None;
        let end = self.point(record.end);
        self.count_sealed(position, &record, end);
        self.write_cursors()?;
        Ok(Some(Sealed {
            place: Place {
                position,
                sequence: record.key.sequence,
            },
            length: record.length,
        }))
    }

    /// Ends the segment at the end of its last fragment: nobody said where it was to end.
    pub fn seal_as_written(&mut self) -> Result<Option<Sealed>, RingError> {
        let end = self.writable()?.0.end_ticks;
        self.seal(&SegmentEnd { end })
    }

    /// Notes a clean stop at `at`. The open segment, if any, is to be sealed before. What was
    /// missing until now keeps its cause; only from here on it is the stop.
    pub fn close(&mut self, at: Ticks) -> Result<(), RingError> {
        if self.open.is_some() {
            return Err(RingError::WrongState);
        }
        if let Some((_, cause)) = self.cursors.open_gap.take() {
            self.account(at, cause);
        }
        self.cursors.clean = true;
        let written = self.write_cursors();
        self.cursors.clean = false;
        written
    }

    /// Counts the segment just sealed at `position` and moves the end of the log behind it.
    pub(super) fn count_sealed(&mut self, position: u64, seal: &SealRecord, end: Point) {
        let cursors = &mut self.cursors;
        cursors.write = Place {
            position: position + page_up(seal.length),
            sequence: seal.key.sequence + 1,
        };
        cursors.newest = Some(position);
        cursors.unsent_segments += 1;
        cursors.counters.sealed += 1;
        cursors.accounted = Some(end);
        cursors.pending.clear();
        cursors.open_gap = cursors.open_gap.filter(|(start, _)| *start >= end);
        let here = Place {
            position,
            sequence: seal.key.sequence,
        };
        for cursor in [&mut cursors.oldest, &mut cursors.upload] {
            if cursor.position == position {
                *cursor = here;
            }
        }
    }

    /// Writes and syncs the seal record of the segment at `position`.
    pub(super) fn write_seal(
        &mut self,
        position: u64,
        record: &SealRecord,
    ) -> Result<(), RingError> {
        record.encode(&mut self.page);
        write_wrapped(
            &mut self.flash,
            position + PAGE as u64,
            &[self.page.as_slice()],
        )?;
        Ok(self.flash.sync()?)
    }

    /// Takes back a segment without fragments; its sequence number is not given again.
    fn withdraw(&mut self) -> Result<(), RingError> {
        if let Some(open) = self.open.take() {
            self.cursors.pending = open.gaps;
            self.skip_sequence();
            self.cursors.accounted = self.cursors.accounted.map(|_| self.point(open.start));
        }
        self.write_cursors()
    }

    /// The next sequence number will not be given.
    pub(super) fn skip_sequence(&mut self) {
        let mut end = self.cursors.write;
        end.sequence += 1;
        self.move_end(end);
    }

    /// Moves the end of the log, and with it the cursors that are there: nothing lies between.
    pub(super) fn move_end(&mut self, end: Place) {
        let cursors = &mut self.cursors;
        for cursor in [&mut cursors.oldest, &mut cursors.upload] {
            if cursor.position == cursors.write.position {
                *cursor = end;
            }
        }
        cursors.write = end;
    }
}
