//! The cursors: the little that a ring must remember beside its records, kept twice.
//!
//! The copies are written in turn, each with the next generation, so a torn write costs one
//! step, and the log is rolled forward from the other copy. One page each, fields one behind the
//! other as in [`Cursors::encode`], little endian; its last four bytes are the CRC-32C of all
//! others.

use crc32c::crc32c;
use heapless::Vec;

use super::bytes::{In, Out, POINT_LEN};
use crate::gap::{Cause, Gaps, Point, ToldGap};
use crate::limits::{BOOTS_MAX, GAPS_MAX, PAGE};
use crate::time::{ClockQuality, Ticks, UtcMillis, UtcOffset};

/// Most segments set aside at a time.
pub const SET_ASIDE_MAX: usize = 8;

const MAGIC: &[u8; 8] = b"CVR-CURS";
const VERSION: u8 = 1;

/// A segment's place: its log position and its sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Log position of its first byte; the physical one is this modulo the ring's size.
    pub position: u64,
    /// Its sequence number; at the end of the log the next one to be given.
    pub sequence: u64,
}

/// A start of `cvr` on this ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// Its number, from 1.
    pub number: u32,
    /// UTC of its tick 0, as known best.
    pub offset: UtcOffset,
    /// What is known of that.
    pub clock: ClockQuality,
    /// Hash of the machine's boot identifier: the same if only `cvr` was started again.
    pub machine: u64,
}

/// Name and headers of the segment in flight, fixed before the first byte of its first Put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Which segment.
    pub place: Place,
    /// First fragment of the blob: 0, or later in a damaged segment.
    pub first_fragment: u32,
    /// Start of the blob's video.
    pub start: UtcMillis,
    /// End of the blob's video.
    pub end: UtcMillis,
    /// The same on the timeline of its boot.
    pub end_ticks: Ticks,
    /// What is known of the clock.
    pub clock: ClockQuality,
    /// The gaps it tells, oldest first.
    pub gaps: Vec<ToldGap, GAPS_MAX>,
    /// An attempt may have delivered its last byte.
    pub may_have_arrived: bool,
}

/// A segment that Blob storage refused for itself; it keeps its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Which segment.
    pub place: Place,
    /// As in [`Frozen`].
    pub first_fragment: u32,
    /// As in [`Frozen`].
    pub start: UtcMillis,
    /// As in [`Frozen`].
    pub end: UtcMillis,
    /// As in [`Frozen`].
    pub clock: ClockQuality,
    /// As in [`Frozen`].
    pub may_have_arrived: bool,
}

/// What a ring counts over its whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Segments evicted after they were sent.
    pub evicted_sent: u64,
    /// Segments evicted, or given up, before they were sent.
    pub evicted_unsent: u64,
    /// Segments sealed.
    pub sealed: u64,
    /// Segments sent.
    pub sent: u64,
}

/// One generation of the cursors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// Counts the writes; of two valid copies the higher holds.
    pub generation: u64,
    /// The ring's random identity.
    pub identity: u32,
    /// Bytes of the ring's run.
    pub ring_size: u64,
    /// The oldest segment; the end of the log if there is none.
    pub oldest: Place,
    /// The next segment to send; the end of the log if there is none.
    pub upload: Place,
    /// The end of the log: where the next segment begins.
    pub write: Place,
    /// Log position of the last sealed segment.
    pub newest: Option<u64>,
    /// Sealed segments from `upload` on.
    pub unsent_segments: u64,
    /// The last run was stopped, it did not die.
    pub clean: bool,
    /// Up to here the timeline is told, by video or by `pending`. None: never held video.
    pub accounted: Option<Point>,
    /// End of the last segment that `upload` has passed.
    pub passed: Option<Point>,
    /// Video is missing since then, and why.
    pub open_gap: Option<(Point, Cause)>,
    /// Gaps from earlier boots that the next segment to begin will carry.
    pub pending: Gaps,
    /// Gaps before the segment `upload` that no blob has told yet.
    pub untold: Gaps,
    /// The gaps that the frozen segment tells.
    pub telling: Gaps,
    /// The own gaps of segment `upload` are in `untold` or `telling` already, or were told.
    pub own_gaps_taken: bool,
    /// How far the runs of a damaged segment `upload` have been sent.
    pub run_end: Option<Ticks>,
    /// The segment in flight.
    pub frozen: Option<Frozen>,
    /// End of the last frozen segment and the millisecond it was given: the next one's start.
    pub anchor: Option<(Point, UtcMillis)>,
    /// Refused segments behind `upload`, oldest first.
    pub set_aside: Vec<SetAside, SET_ASIDE_MAX>,
    /// The last boots, oldest first.
    pub boots: Vec<Boot, BOOTS_MAX>,
    /// Counts.
    pub counters: Counters,
}

impl Cursors {
    /// The page as on flash.
    pub fn encode(&self, page: &mut [u8; PAGE]) {
        let mut out = Out::new(page);
        out.bytes(MAGIC)
            .u8(VERSION)
            .u64(self.generation)
            .u32(self.identity)
            .u64(self.ring_size);
        for place in [self.oldest, self.upload, self.write] {
            put_place(&mut out, place);
        }
        out.option(self.newest, 8, |out, position| {
            out.u64(position);
        })
        .u64(self.unsent_segments)
        .flag(self.clean);
        for point in [self.accounted, self.passed] {
            out.option(point, POINT_LEN, |out, point| {
                out.point(point);
            });
        }
        out.option(self.open_gap, POINT_LEN + 1, |out, (start, cause)| {
            out.point(start).u8(cause as u8);
        })
        .gaps(&self.pending)
        .gaps(&self.untold)
        .gaps(&self.telling)
        .flag(self.own_gaps_taken)
        .option(self.run_end, 8, |out, end| {
            out.u64(end.0);
        })
        .option(self.frozen.as_ref(), FROZEN_LEN, put_frozen)
        .option(self.anchor, POINT_LEN + 8, |out, (point, utc)| {
            out.point(point).i64(utc.0);
        });
        for i in 0..SET_ASIDE_MAX {
            out.option(self.set_aside.get(i), SET_ASIDE_LEN, put_set_aside);
        }
        for i in 0..BOOTS_MAX {
            out.option(self.boots.get(i), BOOT_LEN, put_boot);
        }
        let counters = &self.counters;
        out.u64(counters.evicted_sent)
            .u64(counters.evicted_unsent)
            .u64(counters.sealed)
            .u64(counters.sent);
        if let Some((front, crc)) = page.split_last_chunk_mut() {
            *crc = crc32c(front).to_le_bytes();
        }
    }

    /// The cursors in `page`; `None` if it holds no whole ones.
    pub fn decode(page: &[u8; PAGE]) -> Option<Self> {
        let (front, crc) = page.split_last_chunk()?;
        let mut fields = In(front);
        fields.expect(MAGIC)?;
        fields.expect(&[VERSION])?;
        if crc32c(front) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut cursors = Self {
            generation: fields.u64()?,
            identity: fields.u32()?,
            ring_size: fields.u64()?,
            oldest: place(&mut fields)?,
            upload: place(&mut fields)?,
            write: place(&mut fields)?,
            newest: fields.option(8, In::u64)?,
            unsent_segments: fields.u64()?,
            clean: fields.flag()?,
            accounted: fields.option(POINT_LEN, In::point)?,
            passed: fields.option(POINT_LEN, In::point)?,
            open_gap: fields.option(POINT_LEN + 1, |fields| {
                Some((fields.point()?, fields.cause()?))
            })?,
            pending: fields.gaps()?,
            untold: fields.gaps()?,
            telling: fields.gaps()?,
            own_gaps_taken: fields.flag()?,
            run_end: fields.option(8, In::ticks)?,
            frozen: fields.option(FROZEN_LEN, frozen)?,
            anchor: fields.option(POINT_LEN + 8, |fields| {
                Some((fields.point()?, fields.utc()?))
            })?,
            ..Self::default()
        };
        for _ in 0..SET_ASIDE_MAX {
            let entry = fields.option(SET_ASIDE_LEN, set_aside)?;
            cursors.set_aside.extend(entry);
        }
        for _ in 0..BOOTS_MAX {
            cursors.boots.extend(fields.option(BOOT_LEN, boot)?);
        }
        cursors.counters = Counters {
            evicted_sent: fields.u64()?,
            evicted_unsent: fields.u64()?,
            sealed: fields.u64()?,
            sent: fields.u64()?,
        };
        let ordered = cursors.oldest.position <= cursors.upload.position
            && cursors.upload.position <= cursors.write.position;
        ordered.then_some(cursors)
    }

    /// The boot with this number, if it is still remembered.
    pub fn boot(&self, number: u32) -> Option<&Boot> {
        self.boots.iter().find(|boot| boot.number == number)
    }

    /// UTC of `point`: by its boot's offset as known best, else as it was believed then.
    pub fn resolve(&self, point: Point) -> UtcMillis {
        let by_boot = self
            .boot(point.boot)
            .map_or(point.estimate, |boot| boot.offset.utc(point.ticks));
        match self.anchor {
            // The offset may have been steered since the previous blob got its name.
            Some((end, utc)) if (end.boot, end.ticks) == (point.boot, point.ticks) => {
                if utc.0.abs_diff(by_boot.0) < CLOCK_STEP_MILLIS {
                    utc
                } else {
                    by_boot
                }
            }
            _ => by_boot,
        }
    }

    /// The gap that a clock stepped forward leaves before `start`, where the last blob ended.
    pub fn stepped_to(&self, start: Point) -> Option<ToldGap> {
        let (end, utc) = self.anchor?;
        let now = self.resolve(start);
        let goes_on = (end.boot, end.ticks) == (start.boot, start.ticks);
        (goes_on && now > utc).then_some(ToldGap {
            start: utc,
            end: now,
            cause: Cause::ClockStepped,
        })
    }

    /// What is known today of the clock of a segment recorded in boot `number`.
    pub fn clock(&self, number: u32, recorded: ClockQuality) -> ClockQuality {
        match (recorded, self.boot(number).map(|boot| boot.clock)) {
            (ClockQuality::Unsynchronized, Some(ClockQuality::Unsynchronized) | None)
            | (ClockQuality::Synchronized | ClockQuality::Corrected, _) => recorded,
            (ClockQuality::Unsynchronized, Some(_)) => ClockQuality::Corrected,
        }
    }
}

/// Clock errors below this are steered, larger ones are steps (DESIGN.md section 4, "Timeline").
pub const CLOCK_STEP_MILLIS: u64 = 500;

const PLACE_LEN: usize = 16;
const TOLD_GAP_LEN: usize = 17;
const NAME_LEN: usize = PLACE_LEN + 4 + 8 + 8 + 1 + 1;
const FROZEN_LEN: usize = NAME_LEN + 8 + 1 + GAPS_MAX * TOLD_GAP_LEN;
const SET_ASIDE_LEN: usize = NAME_LEN;
const BOOT_LEN: usize = 4 + 8 + 1 + 8;

fn put_place(out: &mut Out<'_>, place: Place) {
    out.u64(place.position).u64(place.sequence);
}

fn place(fields: &mut In<'_>) -> Option<Place> {
    Some(Place {
        position: fields.u64()?,
        sequence: fields.u64()?,
    })
}

fn put_set_aside(out: &mut Out<'_>, entry: &SetAside) {
    put_place(out, entry.place);
    out.u32(entry.first_fragment)
        .i64(entry.start.0)
        .i64(entry.end.0)
        .clock(entry.clock)
        .flag(entry.may_have_arrived);
}

fn set_aside(fields: &mut In<'_>) -> Option<SetAside> {
    Some(SetAside {
        place: place(fields)?,
        first_fragment: fields.u32()?,
        start: fields.utc()?,
        end: fields.utc()?,
        clock: fields.clock()?,
        may_have_arrived: fields.flag()?,
    })
}

fn put_frozen(out: &mut Out<'_>, frozen: &Frozen) {
    put_set_aside(out, &frozen.set_aside());
    let count = u8::try_from(frozen.gaps.len()).expect("at most GAPS_MAX");
    out.u64(frozen.end_ticks.0).u8(count);
    for gap in &frozen.gaps {
        out.i64(gap.start.0).i64(gap.end.0).u8(gap.cause as u8);
    }
}

fn frozen(fields: &mut In<'_>) -> Option<Frozen> {
    let name = set_aside(fields)?;
    let end_ticks = fields.ticks()?;
    let mut gaps = Vec::new();
    for _ in 0..fields.u8()? {
        let gap = ToldGap {
            start: fields.utc()?,
            end: fields.utc()?,
            cause: fields.cause()?,
        };
        gaps.push(gap).ok()?;
    }
    Some(Frozen {
        place: name.place,
        first_fragment: name.first_fragment,
        start: name.start,
        end: name.end,
        end_ticks,
        clock: name.clock,
        gaps,
        may_have_arrived: name.may_have_arrived,
    })
}

impl Frozen {
    /// What is kept of it when it is set aside.
    pub fn set_aside(&self) -> SetAside {
        SetAside {
            place: self.place,
            first_fragment: self.first_fragment,
            start: self.start,
            end: self.end,
            clock: self.clock,
            may_have_arrived: self.may_have_arrived,
        }
    }
}

fn put_boot(out: &mut Out<'_>, boot: &Boot) {
    out.u32(boot.number)
        .i64(boot.offset.0)
        .clock(boot.clock)
        .u64(boot.machine);
}

fn boot(fields: &mut In<'_>) -> Option<Boot> {
    Some(Boot {
        number: fields.u32()?,
        offset: UtcOffset(fields.i64()?),
        clock: fields.clock()?,
        machine: fields.u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::Gap;

    fn point(boot: u32, ticks: u64) -> Point {
        Point {
            boot,
            ticks: Ticks(ticks),
            estimate: UtcMillis(77),
        }
    }

    /// Every list full: the largest record there is.
    fn full() -> Cursors {
        let place = |position| Place {
            position,
            sequence: position / 3,
        };
        let mut gaps = Gaps::new();
        for i in 0..GAPS_MAX as u64 {
            gaps.push(Gap {
                start: point(1, i * 10),
                end: point(1, i * 10 + 5),
                cause: Cause::CacheFull,
            });
        }
        let told = ToldGap {
            start: UtcMillis(1),
            end: UtcMillis(2),
            cause: Cause::PowerLost,
        };
        let frozen = Frozen {
            place: place(8192),
            first_fragment: 4,
            start: UtcMillis(5),
            end: UtcMillis(6),
            end_ticks: Ticks(9),
            clock: ClockQuality::Corrected,
            gaps: core::iter::repeat_n(told, GAPS_MAX).collect(),
            may_have_arrived: true,
        };
        let boot = Boot {
            number: 9,
            offset: UtcOffset(-1),
            clock: ClockQuality::Synchronized,
            machine: u64::MAX,
        };
        Cursors {
            generation: 12,
            identity: 0xFEDC_BA98,
            ring_size: 1 << 40,
            oldest: place(4096),
            upload: place(8192),
            write: place(1 << 50),
            newest: Some(12_288),
            unsent_segments: 3,
            clean: true,
            accounted: Some(point(2, 1)),
            passed: Some(point(2, 3)),
            open_gap: Some((point(2, 4), Cause::CameraDisconnected)),
            pending: gaps.clone(),
            untold: gaps.clone(),
            telling: gaps,
            own_gaps_taken: true,
            run_end: Some(Ticks(6)),
            set_aside: core::iter::repeat_n(frozen.set_aside(), SET_ASIDE_MAX).collect(),
            frozen: Some(frozen),
            anchor: Some((point(1, 1), UtcMillis(3))),
            boots: core::iter::repeat_n(boot, BOOTS_MAX).collect(),
            counters: Counters {
                evicted_sent: 1,
                evicted_unsent: 2,
                sealed: 3,
                sent: 4,
            },
        }
    }

    #[test]
    fn cursors_read_back_full_and_empty() {
        let mut page = [0; PAGE];
        for cursors in [full(), Cursors::default()] {
            cursors.encode(&mut page);
            assert_eq!(Cursors::decode(&page), Some(cursors));
        }
        assert_eq!(Cursors::decode(&[0; PAGE]), None);
    }

    #[test]
    fn no_changed_byte_passes() {
        let mut page = [0; PAGE];
        full().encode(&mut page);
        for at in 0..PAGE {
            page[at] ^= 1;
            assert_eq!(Cursors::decode(&page), None, "byte {at}");
            page[at] ^= 1;
        }
    }

    #[test]
    fn a_moment_is_resolved_by_its_boot_else_as_it_was_believed() {
        let boot = |number, clock| Boot {
            number,
            offset: UtcOffset(i64::from(number) * 90_000_000),
            clock,
            machine: 0,
        };
        let mut cursors = Cursors {
            boots: [
                boot(1, ClockQuality::Unsynchronized),
                boot(2, ClockQuality::Synchronized),
            ]
            .into_iter()
            .collect(),
            ..Cursors::default()
        };
        assert_eq!(cursors.resolve(point(2, 90)), UtcMillis(2_000_001));
        assert_eq!(cursors.resolve(point(3, 90)), UtcMillis(77));
        // A steered offset does not move the start of the next blob, a stepped one does.
        cursors.anchor = Some((point(2, 90), UtcMillis(2_000_300)));
        assert_eq!(cursors.resolve(point(2, 90)), UtcMillis(2_000_300));
        cursors.anchor = Some((point(2, 90), UtcMillis(2_000_600)));
        assert_eq!(cursors.resolve(point(2, 90)), UtcMillis(2_000_001));
        for (boot, recorded, now) in [
            (
                1,
                ClockQuality::Unsynchronized,
                ClockQuality::Unsynchronized,
            ),
            (2, ClockQuality::Unsynchronized, ClockQuality::Corrected),
            (
                3,
                ClockQuality::Unsynchronized,
                ClockQuality::Unsynchronized,
            ),
            (1, ClockQuality::Synchronized, ClockQuality::Synchronized),
            (3, ClockQuality::Synchronized, ClockQuality::Synchronized),
        ] {
            assert_eq!(cursors.clock(boot, recorded), now);
        }
    }
}
