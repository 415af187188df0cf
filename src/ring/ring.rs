//! The writing side: segments and fragments onto flash, in the order that survives a power cut.

use crc32c::crc32c_append;
use heapless::Vec;

use super::cursors::{Boot, CLOCK_STEP_MILLIS, Cursors, Place};
use super::error::RingError;
use super::flash::{Flash, page_up};
use super::record::{CHECK_LEN, Check, Key, Names, OpenRecord, RECORDS_LEN, Totals};
use super::words::{Appended, Evicted, Rewound, RingView};
use super::write::{PIECES_MAX, fragment_length, padded, u32_of, write_wrapped, zeros};
use crate::gap::{Cause, Gaps, Point};
use crate::limits::{INIT_SEGMENT_MAX, PAGE, SEGMENT_BYTES_MAX};
use crate::segment::{FragmentInfo, SegmentStart};
use crate::time::{ClockQuality, Ticks, UtcOffset};

/// How far the open segment is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// Log position behind the last byte.
    pub(super) end: u64,
    /// Presentation time of the last video's end.
    pub(super) end_ticks: Ticks,
    pub(super) totals: Totals,
    /// CRC over all checks.
    pub(super) running: u32,
}

/// The segment being written.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) position: u64,
    pub(super) key: Key,
    pub(super) start: Ticks,
    pub(super) now: Written,
    /// As `now`, at the last sync that succeeded. `end` is `position` before the first one.
    pub(super) synced: Written,
    /// Bytes of open record and init segment in [`Ring::head`].
    pub(super) head: usize,
    /// A sync failed since `synced`.
    pub(super) in_doubt: bool,
    /// Its seal record may be on flash: nothing can be appended any more.
    pub(super) ending: bool,
    /// The gaps it carries, should it be withdrawn.
    pub(super) gaps: Gaps,
}

/// One camera's ring. Owned by the flash thread.
///
/// The order on flash: fragments, sync, seal record, sync, cursors; and on the other end: oldest
/// cursor, sync, then the first byte over the evicted segment. Allocates only in [`Ring::open`].
#[derive(Debug)]
pub struct Ring<F> {
    pub(super) flash: F,
    pub(super) cursors: Cursors,
    pub(super) open: Option<OpenSegment>,
    /// The copy of the cursors to be written next. Changes only when a write has succeeded, so
    /// that one in doubt never costs the good one.
    pub(super) slot: u8,
    /// Below this plus the ring's size may be written: the oldest cursor as last synced.
    pub(super) room_from: u64,
    /// Why the time before this boot's first video is missing.
    pub(super) restart: Cause,
    pub(super) names: Names,
    pub(super) nonce: u32,
    pub(super) page: Box<[u8; PAGE]>,
    /// Open record and init segment, kept until they are synced.
    pub(super) head: Box<[u8; PAGE + INIT_SEGMENT_MAX]>,
    /// The segment that was evicted while its Put was under way, and its end: the answer may
    /// still say that it was stored.
    pub(super) evicted_in_flight: Option<(u64, Point)>,
}

impl<F: Flash> Ring<F> {
    /// Begins a segment with its init segment. Nothing of it is durable before [`Ring::sync`].
    ///
    /// `on_evict` is called for each segment that loses its place, before that is written over.
    pub fn begin(
        &mut self,
        start: &SegmentStart,
        init: &[u8],
        on_evict: &mut dyn FnMut(Evicted),
    ) -> Result<Place, RingError> {
        if self.open.is_some() {
            return Err(RingError::WrongState);
        }
        if init.len() > INIT_SEGMENT_MAX {
            return Err(RingError::InitSegment);
        }
        let place = self.cursors.write;
        let data = place.position + RECORDS_LEN;
        let end = data + init.len() as u64;
        self.make_room(end, on_evict)?;
        let key = Key {
            identity: self.cursors.identity,
            sequence: place.sequence,
            nonce: self.nonce,
        };
        let boot = self.boot();
        let record = OpenRecord {
            key,
            position: place.position,
            ring_size: self.flash.size(),
            start: self.point(start.start),
            clock: boot.clock,
            names: self.names.clone(),
            tracks: start.tracks,
            continues: start.continues,
            init_length: u32::try_from(init.len()).map_err(|_| RingError::InitSegment)?,
            init_crc: crc32c_append(key.seed(), init),
            gaps: self.gaps_before(start),
        };
        record.encode(&mut self.page);
        let (front, back) = self.head.split_at_mut(PAGE);
        front.copy_from_slice(self.page.as_slice());
        if let Some(to) = back.get_mut(..init.len()) {
            to.copy_from_slice(init);
        }
        let head = PAGE + init.len();
        self.write_head(place.position, head)?;
        let written = Written {
            end,
            end_ticks: start.start,
            totals: Totals::default(),
            running: key.seed(),
        };
        self.open = Some(OpenSegment {
            position: place.position,
            key,
            start: start.start,
            now: written,
            synced: Written {
                end: place.position,
                ..written
            },
            head,
            in_doubt: false,
            ending: false,
            gaps: record.gaps,
        });
        // `pending` stays until the segment that carries it is sealed: cursors may be written
        // before any of it is durable.
        Ok(place)
    }

    /// Writes a fragment, `moof` and `mdat` in `pieces`, and its check.
    ///
    /// With `sync_after` the check is padded, so that the sync to follow ends on a page; without,
    /// [`Ring::sync`] adds padding of its own.
    pub fn append(
        &mut self,
        info: &FragmentInfo,
        pieces: &[&[u8]],
        sync_after: bool,
        on_evict: &mut dyn FnMut(Evicted),
    ) -> Result<Appended, RingError> {
        let length = fragment_length(pieces)?;
        let (now, position) = self.writable()?;
        let end = now.end + u64::from(length) + CHECK_LEN as u64;
        // Room for padding is part of it: a sync never needs to evict.
        let end_padded = padded(end);
        let most = SEGMENT_BYTES_MAX.min(self.flash.size());
        if end_padded - position > most {
            return Err(RingError::SegmentFull);
        }
        self.make_room(end_padded, on_evict)?;
        let open = self.open.as_mut().ok_or(RingError::WrongState)?;
        if open.ending {
            return Err(RingError::WrongState);
        }
        let content = pieces
            .iter()
            .fold(open.key.seed(), |crc, piece| crc32c_append(crc, piece));
        let end = if sync_after { page_up(end) } else { end };
        let mut check = Check {
            size: u32_of(end - now.end - u64::from(length)),
            number: now.totals.fragments,
            length,
            info: *info,
            content,
            running: 0,
            synced: u32_of(open.synced.end - position),
        };
        let bytes = check.encode(open.key, now.running);
        let padding = zeros(u64::from(check.size) - CHECK_LEN as u64);
        let mut all: Vec<&[u8], { PIECES_MAX + 2 }> = Vec::new();
        all.extend_from_slice(pieces)
            .and_then(|()| all.extend_from_slice(&[&bytes, padding]))
            .map_err(|_| RingError::Fragment)?;
        write_wrapped(&mut self.flash, now.end, &all)?;
        open.now.end = end;
        open.now.end_ticks = info.end;
        open.now.totals.add(info);
        open.now.running = check.running;
        Ok(Appended {
            number: check.number,
            segment_bytes: end - position,
        })
    }

    /// Makes all that was appended durable; its memory may be given back.
    ///
    /// [`RingError::InDoubt`] if the card failed: a second sync would prove nothing.
    pub fn sync(&mut self) -> Result<(), RingError> {
        self.writable()?;
        self.pad()?;
        self.sync_open()
    }

    /// After a failed sync: goes back to the last good one. The fragments since then, from
    /// `next_fragment` on, are to be appended again, or the segment sealed as it is.
    pub fn rewind_to_synced(&mut self) -> Result<Rewound, RingError> {
        let open = self.open.as_ref().ok_or(RingError::WrongState)?;
        let (position, head) = (open.position, open.head);
        let head_synced = open.synced.end > position;
        if !head_synced {
            self.write_head(position, head)?;
        }
        let open = self.open.as_mut().ok_or(RingError::WrongState)?;
        open.now = open.synced;
        if !head_synced {
            open.now.end = position + PAGE as u64 + head as u64;
        }
        open.in_doubt = false;
        Ok(Rewound {
            next_fragment: open.now.totals.fragments,
        })
    }

    /// UTC of this boot's tick 0, as known now. Written at once if its quality changes or it is
    /// stepped, else with the next cursors.
    pub fn set_clock(&mut self, offset: UtcOffset, clock: ClockQuality) -> Result<(), RingError> {
        let Some(boot) = self.cursors.boots.last_mut() else {
            return Ok(());
        };
        let step = boot.offset.utc(Ticks(0)).0.abs_diff(offset.utc(Ticks(0)).0);
        let at_once = boot.clock != clock || step >= CLOCK_STEP_MILLIS;
        (boot.offset, boot.clock) = (offset, clock);
        if at_once {
            self.write_cursors()
        } else {
            Ok(())
        }
    }

    /// From the next segment on, records under these names.
    pub fn set_names(&mut self, names: Names) {
        self.names = names;
    }

    /// The segment being written.
    pub fn open_place(&self) -> Option<Place> {
        self.open.as_ref().map(|open| Place {
            position: open.position,
            sequence: open.key.sequence,
        })
    }

    /// Log position behind the last byte written.
    pub fn written(&self) -> u64 {
        self.open
            .as_ref()
            .map_or(self.cursors.write.position, |open| open.now.end)
    }

    /// What is known of the ring now.
    pub fn view(&self) -> RingView {
        let written = self.written();
        let cursors = self.cursors.clone();
        RingView {
            open: self.open_place(),
            written,
            free: (cursors.oldest.position + self.flash.size()).saturating_sub(written),
            prepared: self.flash.prepared(),
            unsent_bytes: cursors.write.position - cursors.upload.position,
            in_doubt: self.open.as_ref().is_some_and(|open| open.in_doubt),
            cursors,
        }
    }

    /// The cursors as they are now.
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// The card under it.
    pub fn flash(&self) -> &F {
        &self.flash
    }

    /// The card under it, to prepare it further. The ring's bytes are not to be touched.
    pub fn flash_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// The card under it.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Writes and syncs the cursors' next generation over the older copy.
    pub(super) fn write_cursors(&mut self) -> Result<(), RingError> {
        self.cursors.generation += 1;
        self.cursors.encode(&mut self.page);
        self.flash.write_cursors(self.slot, &self.page)?;
        self.flash.sync_cursors(self.slot)?;
        self.slot ^= 1;
        self.room_from = self.cursors.oldest.position;
        Ok(())
    }

    /// The time at `ticks` of this boot.
    pub(super) fn point(&self, ticks: Ticks) -> Point {
        let boot = self.boot();
        Point {
            boot: boot.number,
            ticks,
            estimate: boot.offset.utc(ticks),
        }
    }

    pub(super) fn boot(&self) -> Boot {
        self.cursors.boots.last().copied().unwrap_or_default()
    }

    /// The open segment's state, if fragments can be written to it.
    pub(super) fn writable(&self) -> Result<(Written, u64), RingError> {
        let open = self.open.as_ref().ok_or(RingError::WrongState)?;
        if open.in_doubt {
            return Err(RingError::InDoubt {
                from: open.synced.end,
                to: open.now.end,
            });
        }
        Ok((open.now, open.position))
    }

    /// Ends what was written on a page's boundary, by a check without a fragment.
    fn pad(&mut self) -> Result<(), RingError> {
        let open = self.open.as_mut().ok_or(RingError::WrongState)?;
        let now = open.now;
        if now.end == page_up(now.end) {
            return Ok(());
        }
        let end = page_up(now.end + CHECK_LEN as u64);
        let mut check = Check {
            size: u32_of(end - now.end),
            number: now.totals.fragments,
            synced: u32_of(open.synced.end - open.position),
            ..Check::default()
        };
        let bytes = check.encode(open.key, now.running);
        let padding = zeros(u64::from(check.size) - CHECK_LEN as u64);
        write_wrapped(&mut self.flash, now.end, &[&bytes, padding])?;
        open.now.end = end;
        open.now.running = check.running;
        Ok(())
    }

    pub(super) fn sync_open(&mut self) -> Result<(), RingError> {
        let synced = self.flash.sync();
        let open = self.open.as_mut().ok_or(RingError::WrongState)?;
        match synced {
            Ok(()) => open.synced = open.now,
            Err(_) => open.in_doubt = true,
        }
        let (from, to) = (open.synced.end, open.now.end);
        synced.map_err(|_| RingError::InDoubt { from, to })
    }

    fn write_head(&mut self, position: u64, len: usize) -> Result<(), RingError> {
        let (record, init) = self
            .head
            .split_at(len.min(self.head.len()))
            .0
            .split_at(PAGE);
        write_wrapped(&mut self.flash, position, &[record])?;
        write_wrapped(&mut self.flash, position + RECORDS_LEN, &[init])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::Gap;
    use crate::ring::mem_flash::{Loss, SharedMemFlash};
    use crate::ring::testing::{
        append, end, fragment, info, new_flash, open, record, setup, start,
    };
    use crate::ring::{RingSetup, SegmentReader};

    type Memory = Ring<SharedMemFlash>;

    fn fail_in(ring: &Memory, operations: u64) {
        let mut card = ring.flash().card();
        let at = card.operations() + operations;
        card.fail_at(at);
    }

    fn verified_fragments(flash: &SharedMemFlash, position: u64) -> usize {
        let segment = SegmentReader::open(flash, position).unwrap();
        segment
            .fragments()
            .map_while(Result::ok)
            .filter(|fragment| segment.verify(fragment, &mut [0; 512]).is_ok())
            .count()
    }

    #[test]
    fn after_a_failed_sync_the_content_is_written_again() {
        for first_sync in [true, false] {
            let flash = new_flash(256 * 1024);
            let (mut ring, _) = open(&flash, 1);
            ring.begin(&start(0, &[]), &[9; 700], &mut |_| {}).unwrap();
            if first_sync {
                append(&mut ring, 0).unwrap();
            }
            let from = u64::from(first_sync);
            fail_in(&ring, 1);
            let failed = append(&mut ring, from);
            assert!(matches!(failed, Err(RingError::InDoubt { .. })));
            // A second sync would prove nothing, so there is none.
            assert_eq!(ring.sync(), failed);
            assert_eq!(append(&mut ring, from), failed);
            assert!(ring.view().in_doubt);
            let rewound = ring.rewind_to_synced().unwrap();
            assert_eq!(u64::from(rewound.next_fragment), from);
            for t in from..3 {
                append(&mut ring, t).unwrap();
            }
            ring.seal(&end(3)).unwrap();
            let after = SharedMemFlash::new(flash.card().power_cut(Loss::All));
            let (ring, recovered) = open(&after, 2);
            assert_eq!(recovered.cut, None);
            assert_eq!(verified_fragments(ring.flash(), 0), 3);
            let segment = SegmentReader::open(ring.flash(), 0).unwrap();
            assert_eq!(segment.init(&mut [0; 1000]), Ok(700));
        }
    }

    #[test]
    fn a_failed_write_is_done_again_in_its_place() {
        let (mut ring, _) = open(&new_flash(256 * 1024), 1);
        fail_in(&ring, 1);
        assert!(ring.begin(&start(0, &[]), &[9; 700], &mut |_| {}).is_err());
        ring.begin(&start(0, &[]), &[9; 700], &mut |_| {}).unwrap();
        fail_in(&ring, 0);
        assert!(append(&mut ring, 0).is_err());
        append(&mut ring, 0).unwrap();
        // Its seal record: nothing can be appended, it can be sealed.
        fail_in(&ring, 0);
        assert!(ring.seal(&end(1)).is_err());
        assert_eq!(append(&mut ring, 1), Err(RingError::WrongState));
        assert!(ring.open_place().is_some());
        ring.seal(&end(1)).unwrap();
        assert_eq!(verified_fragments(ring.flash(), 0), 1);
    }

    #[test]
    fn a_failed_write_of_the_cursors_never_costs_the_good_copy() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        record(&mut ring, 0, 2);
        for _ in 0..3 {
            for operation in [0, 1] {
                fail_in(&ring, operation);
                assert!(ring.close(end(2).end).is_err());
            }
        }
        for seed in 0..50 {
            let card = flash.card().power_cut(Loss::Seeded(seed));
            let (_, recovered) = open(&SharedMemFlash::new(card), 2);
            assert_eq!(recovered.rolled_forward, 0, "the cursors knew the segment");
        }
    }

    #[test]
    fn a_segment_without_a_fragment_is_withdrawn() {
        let (mut ring, _) = open(&new_flash(256 * 1024), 1);
        let first = record(&mut ring, 0, 2);
        let empty = ring.begin(&start(2, &[]), &[9; 700], &mut |_| {}).unwrap();
        assert_eq!(ring.seal(&end(3)), Ok(None));
        let place = record(&mut ring, 4, 5);
        assert_eq!(place.position, empty.position);
        assert_eq!(place.sequence, first.sequence + 2);
        let segment = SegmentReader::open(ring.flash(), place.position).unwrap();
        let gap = Gap {
            start: ring.point(end(2).end),
            end: ring.point(end(4).end),
            cause: Cause::CacheFailed,
        };
        assert!(segment.open.gaps.iter().eq([&gap]));
    }

    #[test]
    fn only_fragments_are_taken() {
        let (mut ring, _) = open(&new_flash(256 * 1024), 1);
        let good = fragment(1, 100);
        let mut try_append = |pieces: &[&[u8]]| {
            ring.append(&info(0), pieces, false, &mut |_| {})
                .map(|_| ())
        };
        assert_eq!(try_append(&[&good]), Err(RingError::WrongState));
        ring.begin(&start(0, &[]), &[9; 700], &mut |_| {}).unwrap();
        let mut try_append = |pieces: &[&[u8]]| {
            ring.append(&info(0), pieces, false, &mut |_| {})
                .map(|_| ())
        };
        let too_many = vec![&[][..]; PIECES_MAX + 1];
        for bad in [
            &[&good[..407]][..],
            &[&good[..], &[0]],
            &[&good[4..]],
            &[&good[300..]],
            &[],
            &too_many,
        ] {
            assert_eq!(try_append(bad), Err(RingError::Fragment));
        }
        let single: std::vec::Vec<&[u8]> = good.chunks(7).collect();
        assert_eq!(try_append(&single), Ok(()));
        let long = [0; INIT_SEGMENT_MAX + 1];
        let (mut ring, _) = open(&new_flash(256 * 1024), 1);
        assert_eq!(
            ring.begin(&start(0, &[]), &long, &mut |_| {}),
            Err(RingError::InitSegment)
        );
    }

    #[test]
    fn a_clock_step_is_kept_at_once_a_steered_clock_with_the_next_cursors() {
        let flash = new_flash(256 * 1024);
        let setup = RingSetup {
            clock: ClockQuality::Unsynchronized,
            ..setup(1)
        };
        let (mut ring, _) = Ring::open(flash.clone(), setup, &mut |_| {}).unwrap();
        let generation = |ring: &Memory| ring.view().cursors.generation;
        let before = generation(&ring);
        let mut offset = ring.boot().offset;
        for (millis, clock, written) in [
            (10, ClockQuality::Unsynchronized, 0),
            (10, ClockQuality::Synchronized, 1),
            (400, ClockQuality::Synchronized, 1),
            (600, ClockQuality::Synchronized, 2),
        ] {
            offset.0 += millis * 90;
            ring.set_clock(offset, clock).unwrap();
            assert_eq!(generation(&ring), before + written);
        }
        let (ring, _) = open(&flash, 2);
        assert_eq!(ring.view().cursors.boot(1).unwrap().offset, offset);
    }
}
