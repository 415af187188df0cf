//! Opens a ring: finds the end of the log whatever a power cut, or a bad card, has left.

use super::cursors::{Boot, Cursors, Place};
use super::decision::{Action, CopyState, Head, Source, act_on, begin_with};
use super::error::RingError;
use super::eviction::end_point;
use super::find::{Next, find, next_of};
use super::flash::Flash;
use super::reader::SegmentReader;
use super::record::{Names, OpenRecord, SealRecord};
use super::ring::Ring;
use super::scan::{from_records, last_good, place_of, scan};
use super::words::RingSetup;
use crate::gap::{Cause, Gap, Point};
use crate::limits::{BLOCK_SIZE, INIT_SEGMENT_MAX, PAGE};
use crate::time::{Ticks, UtcOffset};

/// What opening a ring is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Both copies of the cursors are lost: the records are looked for, `at` of `of` bytes.
    Scanning {
        /// Bytes done.
        at: u64,
        /// Bytes in all.
        of: u64,
    },
    /// An open segment's fragments are verified: bytes of it done.
    Verifying {
        /// Bytes done.
        at: u64,
    },
}

/// A segment that recovery ended after its last good fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where it lies.
    pub place: Place,
    /// There is a bad fragment with good ones behind it.
    pub damaged: bool,
}

/// What was found when the ring was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where the knowledge came from.
    pub source: Source,
    /// This boot's number.
    pub boot: u32,
    /// Why the video since the last boot is missing; `None`: there never was any.
    pub restart: Option<Cause>,
    /// Segments found sealed behind the cursors.
    pub rolled_forward: u64,
    /// The segment that was open.
    pub cut: Option<Cut>,
    /// What the newest segment was recorded as: an asset name stays over restarts.
    pub names: Option<Names>,
}

impl<F: Flash> Ring<F> {
    /// Opens the ring on `flash`, or makes one where there is no record of any.
    pub fn open(
        mut flash: F,
        setup: RingSetup,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Recovered), RingError> {
        let size = flash.size();
        if !size.is_multiple_of(PAGE as u64) || size < 16 * PAGE as u64 {
            return Err(RingError::Size(size));
        }
        let mut page = Box::new([0; PAGE]);
        let mut buf = vec![0; BLOCK_SIZE];
        let [first, second] = [0, 1].map(|slot| {
            flash
                .read_cursors(slot, &mut page)
                .ok()
                .and_then(|()| Cursors::decode(&page))
        });
        let (source, found) = where_to_begin(&flash, first, second, &mut buf, progress)?;
        let last = found.as_ref().and_then(|(_, last)| *last);
        let cursors = found.map_or_else(
            || Cursors {
                identity: setup.identity,
                ring_size: size,
                clean: true,
                ..Cursors::default()
            },
            |(cursors, _)| cursors,
        );
        if cursors.ring_size != size {
            return Err(RingError::OtherSize {
                found: cursors.ring_size,
                asked: size,
            });
        }
        let mut ring = Self {
            flash,
            room_from: cursors.oldest.position,
            cursors,
            open: None,
            slot: u8::from(source == Source::First),
            restart: Cause::Restarted,
            names: setup.names.clone(),
            nonce: setup.nonce,
            page,
            head: Box::new([0; PAGE + INIT_SEGMENT_MAX]),
            evicted_in_flight: None,
        };
        let mut recovered = Recovered {
            source,
            boot: 0,
            restart: None,
            rolled_forward: 0,
            cut: None,
            names: None,
        };
        ring.roll_forward(last, &mut recovered, &mut buf, progress)?;
        ring.drop_overwritten()?;
        ring.start_boot(&setup, &mut recovered);
        // Both copies: one that is lost from now on costs nothing that was known here.
        ring.write_cursors()?;
        ring.write_cursors()?;
        Ok((ring, recovered))
    }

    /// Goes forward from the cursors to the end of the log. With the records as source, damage
    /// before the segment `last` is passed.
    fn roll_forward(
        &mut self,
        last: Option<Place>,
        recovered: &mut Recovered,
        buf: &mut [u8],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), RingError> {
        loop {
            let before_last = self.jump_to_record(last)?;
            let (head, segment) = self.look_at_head(buf, progress)?;
            let action = act_on(self.cursors.clean, head);
            match (action, segment) {
                (Action::Take, Some((open, seal))) => {
                    recovered.rolled_forward += 1;
                    self.take(&open, &seal);
                }
                (Action::Seal | Action::SealDamaged, Some((open, mut seal))) => {
                    seal.damaged = action == Action::SealDamaged;
                    self.write_seal(open.position, &seal)?;
                    self.take(&open, &seal);
                    recovered.cut = Some(Cut {
                        place: place_of(&open),
                        damaged: seal.damaged,
                    });
                }
                (Action::Drop, Some((open, _))) => {
                    self.remember_boot(&open);
                    let mut end = place_of(&open);
                    end.sequence += 1;
                    end.position += if before_last { PAGE as u64 } else { 0 };
                    self.move_end(end);
                    if !before_last {
                        return Ok(());
                    }
                }
                (Action::EndSkipping, _) => {
                    self.skip_sequence();
                    return Ok(());
                }
                _ => return Ok(()),
            }
            self.cursors.clean = false;
        }
    }

    /// With the records as source: goes on to the next record up to segment `last`, and says
    /// whether that is an earlier one.
    fn jump_to_record(&mut self, last: Option<Place>) -> Result<bool, RingError> {
        let (identity, from) = (self.cursors.identity, self.cursors.write.position);
        let Some(last) = last.filter(|last| from <= last.position) else {
            return Ok(false);
        };
        if let Some(open) = find(&self.flash, identity, from, last.position + 1)? {
            self.move_end(place_of(&open));
        }
        Ok(self.cursors.write.position < last.position)
    }

    /// What lies at the end of the log that is known, with its seal record: the one on flash, or
    /// the one to be written.
    fn look_at_head(
        &self,
        buf: &mut [u8],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Head, Option<(OpenRecord, SealRecord)>), RingError> {
        let end = self.cursors.write;
        let Ok(segment) = SegmentReader::open(&self.flash, end.position) else {
            return Ok((Head::Nothing, None));
        };
        let key = segment.open.key;
        if key.identity != self.cursors.identity || key.sequence < end.sequence {
            return Ok((Head::Nothing, None));
        }
        if let Some(seal) = segment.seal {
            return Ok((Head::Sealed, Some((segment.open, seal))));
        }
        let seal = last_good(&segment, buf, progress);
        let head = match &seal {
            seal if seal.totals.fragments == 0 => Head::Empty,
            seal if seal.damaged => Head::Damaged,
            _ => Head::Torn,
        };
        Ok((head, Some((segment.open, seal))))
    }

    fn take(&mut self, open: &OpenRecord, seal: &SealRecord) {
        self.remember_boot(open);
        self.count_sealed(open.position, seal, end_point(open, seal));
    }

    /// Boots that only the records know.
    fn remember_boot(&mut self, open: &OpenRecord) {
        let Point {
            boot,
            ticks,
            estimate,
        } = open.start;
        if self.cursors.boot(boot).is_some() {
            return;
        }
        let ticks = i64::try_from(ticks.0).unwrap_or(i64::MAX);
        self.push_boot(Boot {
            number: boot,
            offset: UtcOffset(estimate.0.saturating_mul(90).saturating_sub(ticks)),
            clock: open.clock,
            machine: 0,
        });
    }

    fn push_boot(&mut self, boot: Boot) {
        let boots = &mut self.cursors.boots;
        if boots.is_full() {
            boots.remove(0);
        }
        boots.push(boot).expect("one was removed");
    }

    /// Old cursors may still name segments that the log has since been written over.
    fn drop_overwritten(&mut self) -> Result<(), RingError> {
        let size = self.flash.size();
        let end = self.cursors.write;
        let from = end.position.saturating_sub(size);
        if self.cursors.oldest.position >= from {
            return Ok(());
        }
        let found = find(&self.flash, self.cursors.identity, from, end.position)?;
        let start = found.as_ref().map(|open| open.start);
        let oldest = found.as_ref().map_or(end, place_of);
        self.cursors.oldest = oldest;
        self.cursors
            .set_aside
            .retain(|entry| entry.place.position >= oldest.position);
        if self.cursors.upload.position < oldest.position {
            self.unfreeze();
            let end = start.or(self.cursors.accounted).unwrap_or_default();
            if let Some(start) = self.cursors.passed.filter(|start| *start < end) {
                let cause = Cause::CacheFull;
                self.cursors.untold.push(Gap { start, end, cause });
            }
            let next = Next {
                records: None,
                place: oldest,
                start: end,
                damage_between: false,
            };
            self.pass_next_to_send(&next, end);
            self.cursors.unsent_segments = 0;
            let mut place = oldest;
            while place.position < self.cursors.write.position {
                self.cursors.unsent_segments += 1;
                place = next_of(&self.flash, &self.cursors, place)?.place;
            }
        }
        Ok(())
    }

    /// Begins this boot: its number, and what is missing since the last one.
    fn start_boot(&mut self, setup: &RingSetup, recovered: &mut Recovered) {
        let last = self.cursors.boots.last().copied();
        let same_machine = last.is_some_and(|boot| boot.machine == setup.machine);
        self.restart = if self.cursors.clean || same_machine {
            Cause::Restarted
        } else {
            Cause::PowerLost
        };
        let number = self.cursors.boots.iter().map(|boot| boot.number).max();
        self.push_boot(Boot {
            number: number.map_or(1, |number| number.saturating_add(1)),
            offset: setup.offset,
            clock: setup.clock,
            machine: setup.machine,
        });
        let now = self.point(Ticks(0));
        recovered.boot = now.boot;
        let gap = self.cursors.open_gap.take();
        self.cursors.clean = false;
        let Some(accounted) = self.cursors.accounted else {
            return;
        };
        recovered.restart = Some(self.restart);
        let cause = gap.map_or(self.restart, |(_, cause)| cause);
        self.cursors.pending.push(Gap {
            start: accounted,
            end: now,
            cause,
        });
        self.cursors.accounted = Some(now);
        recovered.names = self
            .cursors
            .newest
            .and_then(|position| SegmentReader::open(&self.flash, position).ok())
            .map(|segment| segment.open.names);
    }
}

type Found = Option<(Cursors, Option<Place>)>;

/// By the first part of the table: the cursors to begin with, and, if they were made up from the
/// records, the newest segment.
fn where_to_begin<F: Flash>(
    flash: &F,
    first: Option<Cursors>,
    second: Option<Cursors>,
    buf: &mut [u8],
    progress: &mut dyn FnMut(Progress),
) -> Result<(Source, Found), RingError> {
    let state = |copy: &Option<Cursors>| match copy {
        Some(_) => CopyState::Whole,
        None => CopyState::Lost,
    };
    let newer = match (&first, &second) {
        (Some(first), Some(second)) => second.generation > first.generation,
        _ => false,
    };
    let records = if first.is_none() && second.is_none() {
        scan(flash, buf, progress)?
    } else {
        None
    };
    let source = begin_with(state(&first), state(&second), newer, records.is_some());
    let found = match source {
        Source::First => first.map(|cursors| (cursors, None)),
        Source::Second => second.map(|cursors| (cursors, None)),
        Source::Records => match records {
            Some(newest) => Some((
                from_records(flash, &newest, buf, progress)?,
                Some(place_of(&newest)),
            )),
            None => None,
        },
        Source::New => None,
    };
    Ok((source, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::{Gaps, Hole};
    use crate::ring::ReadAt;
    use crate::ring::mem_flash::{Loss, MemFlash, SharedMemFlash};
    use crate::ring::testing::fragment;
    use crate::ring::testing::{
        SECOND, append, end, info, new_flash, offset, open, record, record_after, setup, start,
    };

    fn cut(flash: &SharedMemFlash) -> SharedMemFlash {
        SharedMemFlash::new(flash.card().power_cut(Loss::All))
    }

    /// The gaps that the next segment carries, if it begins at second 5 after a restart.
    fn gaps_after(ring: &mut Ring<SharedMemFlash>) -> Vec<(u32, u64, u32, u64, Cause)> {
        let hole = Hole {
            start: Ticks(0),
            end: Ticks(5 * SECOND),
            cause: Cause::Restarted,
        };
        let place = record_after(ring, &[hole], 5, 6);
        let gaps: Gaps = SegmentReader::open(ring.flash(), place.position)
            .unwrap()
            .open
            .gaps;
        gaps.iter()
            .map(|gap| {
                let seconds = |point: Point| (point.boot, point.ticks.0 / SECOND);
                let (from, to) = (seconds(gap.start), seconds(gap.end));
                (from.0, from.1, to.0, to.1, gap.cause)
            })
            .collect()
    }

    #[test]
    fn a_ring_that_never_held_video_misses_none() {
        let flash = new_flash(256 * 1024);
        let (_, recovered) = open(&flash, 1);
        assert_eq!(recovered.source, Source::New);
        let (mut ring, recovered) = open(&cut(&flash), 2);
        assert_eq!((recovered.boot, recovered.restart), (2, None));
        assert_eq!(gaps_after(&mut ring), []);
    }

    #[test]
    fn the_gap_of_a_restart_has_its_cause() {
        let cases: [(bool, u64, Cause); 3] = [
            (true, 2, Cause::Restarted),
            (false, 1, Cause::Restarted),
            (false, 2, Cause::PowerLost),
        ];
        for (closed, machine, cause) in cases {
            let flash = new_flash(256 * 1024);
            let (mut ring, _) = open(&flash, 1);
            record(&mut ring, 0, 3);
            if closed {
                ring.close(Ticks(0)).unwrap();
            }
            let again = RingSetup {
                machine,
                ..setup(2)
            };
            let (mut ring, recovered) = Ring::open(cut(&flash), again, &mut |_| {}).unwrap();
            assert_eq!(recovered.restart, Some(cause));
            assert_eq!(gaps_after(&mut ring), [(1, 3, 2, 5, cause)]);
        }
    }

    #[test]
    fn an_open_gap_covers_the_time_up_to_the_restart() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        record(&mut ring, 0, 3);
        let camera = Cause::CameraDisconnected;
        ring.open_gap(Ticks(3 * SECOND), camera).unwrap();
        let flash = cut(&flash);
        let (mut ring, _) = open(&flash, 2);
        ring.open_gap(Ticks(0), Cause::Inactive).unwrap();
        let (mut ring, _) = open(&cut(&flash), 3);
        assert_eq!(
            gaps_after(&mut ring),
            [
                (1, 3, 2, 0, camera),
                (2, 0, 3, 0, Cause::Inactive),
                (3, 0, 3, 5, Cause::PowerLost)
            ]
        );
        // It ended with the segment: the next restart knows nothing of it.
        let (mut ring, _) = open(&cut(ring.flash()), 4);
        assert_eq!(gaps_after(&mut ring), [(3, 6, 4, 5, Cause::PowerLost)]);
    }

    #[test]
    fn boots_are_numbered_and_the_last_are_remembered() {
        let flash = new_flash(256 * 1024);
        for start in 1..=20 {
            let (ring, recovered) = open(&flash, start);
            assert_eq!(recovered.boot, start);
            let cursors = ring.view().cursors;
            assert_eq!(cursors.boot(start).unwrap().offset, offset(start));
            assert_eq!(cursors.boot(start.saturating_sub(16)), None);
        }
    }

    /// Five fragments, each with its own sync, and no seal.
    fn five_fragments() -> (SharedMemFlash, Vec<u64>) {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        ring.begin(&start(0, &[]), &[9; 700], &mut |_| {}).unwrap();
        for t in 0..5 {
            append(&mut ring, t).unwrap();
        }
        let segment = SegmentReader::open(ring.flash(), 0).unwrap();
        let offsets = segment.fragments().flatten().map(|f| f.offset).collect();
        (flash, offsets)
    }

    #[test]
    fn damage_in_the_middle_is_told_from_a_torn_end() {
        let (flash, offsets) = five_fragments();
        let places = [
            (offsets[2], 0, 5, true),            // the box's header
            (offsets[2] + 1000, 0, 5, true),     // content
            (offsets[3] - 4096 + 8, 0, 5, true), // the padding or the check of the third
            (offsets[4] + 1000, 0, 4, false),
            (offsets[4], 0, 4, false),
            (offsets[0] + 1000, 0, 5, true),
            (offsets[3] + 1000, offsets[4] + 1000, 3, false),
        ];
        for (first, second, fragments, damaged) in places {
            let mut card = flash.card().power_cut(Loss::All);
            card.spoil(first, 4);
            card.spoil(second, if second == 0 { 0 } else { 4 });
            let (ring, recovered) = open(&SharedMemFlash::new(card), 2);
            let (segment, seal) = SegmentReader::open_sealed(ring.flash(), 0).unwrap();
            assert_eq!(recovered.cut.map(|cut| cut.damaged), Some(damaged));
            assert_eq!((seal.cut, seal.damaged), (true, damaged));
            assert_eq!(seal.end, Ticks(fragments * SECOND), "{first}");
            assert_eq!(segment.whole().is_none(), damaged);
        }
    }

    #[test]
    fn what_reached_the_card_behind_a_torn_fragment_is_not_damage() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        ring.begin(&start(0, &[]), &[9; 700], &mut |_| {}).unwrap();
        append(&mut ring, 0).unwrap();
        for t in 1..4 {
            ring.append(&info(t), &[&fragment(t, 3000)], true, &mut |_| {})
                .unwrap();
        }
        let segment = SegmentReader::open(ring.flash(), 0).unwrap();
        let torn = segment.fragments().flatten().nth(1).unwrap().offset;
        let mut card = flash.card().power_cut(Loss::None);
        card.spoil(torn + 1000, 1);
        let (ring, recovered) = open(&SharedMemFlash::new(card), 2);
        assert!(!recovered.cut.unwrap().damaged);
        let (_, seal) = SegmentReader::open_sealed(ring.flash(), 0).unwrap();
        assert_eq!((seal.totals.fragments, seal.end), (1, Ticks(SECOND)));
    }

    #[test]
    fn a_segment_without_a_good_fragment_is_left() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        let first = ring.begin(&start(0, &[]), &[9; 700], &mut |_| {}).unwrap();
        ring.sync().unwrap();
        let (mut ring, recovered) = open(&cut(&flash), 2);
        assert_eq!((recovered.cut, recovered.restart), (None, None));
        let second = record(&mut ring, 0, 2);
        assert_eq!(second.position, first.position);
        assert_eq!(second.sequence, first.sequence + 1);
    }

    #[test]
    fn another_size_is_refused_with_and_without_cursors() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        record(&mut ring, 0, 2);
        for spoil in [false, true] {
            let mut larger = MemFlash::new(512 * 1024);
            let mut page = [0; PAGE];
            for at in (0..256 * 1024).step_by(PAGE) {
                flash.card().read_at(at, &mut page).unwrap();
                larger.write(at, &[&page]).unwrap();
            }
            flash.card().read_cursors(0, &mut page).unwrap();
            larger.write_cursors(0, &page).unwrap();
            if spoil {
                larger.spoil_cursors(0);
            }
            let opened = Ring::open(larger, setup(2), &mut |_| {});
            assert_eq!(
                opened.err(),
                Some(RingError::OtherSize {
                    found: 256 * 1024,
                    asked: 512 * 1024
                })
            );
        }
        for size in [0, PAGE, 100_000] {
            let opened = Ring::open(MemFlash::new(size), setup(1), &mut |_| {});
            assert_eq!(opened.err(), Some(RingError::Size(size as u64)));
        }
    }

    #[test]
    fn without_cursors_boots_and_names_come_from_the_records() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        record(&mut ring, 0, 2);
        let (mut ring, _) = open(&cut(&flash), 2);
        let asset = "gateway-door";
        ring.set_names(Names {
            asset: asset.try_into().unwrap(),
            ..Names::default()
        });
        record(&mut ring, 0, 2);
        let flash = ring.into_flash();
        flash.card().spoil_cursors(0);
        flash.card().spoil_cursors(1);
        let mut scanned = false;
        let (ring, recovered) = Ring::open(flash, setup(3), &mut |progress| {
            scanned |= matches!(progress, Progress::Scanning { .. });
        })
        .unwrap();
        assert!(scanned);
        assert_eq!((recovered.source, recovered.boot), (Source::Records, 3));
        assert_eq!(recovered.rolled_forward, 2);
        assert_eq!(recovered.names.unwrap().asset, asset);
        let cursors = ring.view().cursors;
        assert_eq!(cursors.boot(1).unwrap().offset, offset(1));
        assert_eq!(cursors.boot(2).unwrap().offset, offset(2));
        assert_eq!(cursors.unsent_segments, 2);
    }

    #[test]
    fn garbage_is_no_ring_and_does_no_harm() {
        let mut card = MemFlash::new(256 * 1024);
        let garbage: Vec<u8> = (0u32..256 * 1024)
            .map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect();
        card.write(0, &[&garbage]).unwrap();
        let page: &[u8; PAGE] = garbage.first_chunk().unwrap();
        card.write_cursors(0, page).unwrap();
        card.write_cursors(1, page).unwrap();
        let (mut ring, recovered) = open(&SharedMemFlash::new(card), 1);
        assert_eq!(recovered.source, Source::New);
        ring.begin(&start(0, &[]), &[9; 700], &mut |_| {}).unwrap();
        append(&mut ring, 0).unwrap();
        ring.seal(&end(1)).unwrap();
        assert_eq!(ring.view().cursors.unsent_segments, 1);
    }
}
