//! Power cut at every operation, in a scenario that fills the ring twice.
//!
//! Invariants, checked after each restart:
//!
//! 1. Each fragment whose sync succeeded is there, byte for byte, unless its eviction was told.
//! 2. What is there was written: nothing passes with other bytes, in another order or place.
//! 3. A sequence number is never given twice.
//! 4. The upload cursor is not before an acknowledged `uploaded`, and passes nothing unsent.
//! 5. In the cloud there is neither a hole nor two names for one segment: every moment from the
//!    first blob to the last is video or a gap.

use std::collections::{BTreeMap, BTreeSet};

use super::mem_flash::{Loss, MemFlash, SharedMemFlash};
use super::testing::fragment;
use super::{Frozen, Recovered, Ring, RingError, RingSetup, SegmentReader, Source};
use crate::gap::{Cause, Hole};
use crate::media::Tracks;
use crate::segment::{FragmentInfo, SegmentEnd, SegmentStart};
use crate::time::{ClockQuality, Ticks, UtcOffset};

const SIZE: usize = 256 * 1024;
const SECOND: u64 = 90_000;

/// What the outside world knows for sure.
#[derive(Clone, Debug, Default)]
struct Model {
    segments: BTreeMap<u64, Recorded>,
    evicted: BTreeSet<u64>,
    /// Sent, as the ring has acknowledged.
    acknowledged: BTreeSet<u64>,
    cloud: BTreeMap<u64, Frozen>,
    starts: u32,
    random: u64,
    /// Both copies of the cursors were lost: evicted segments may be back, all are sent again.
    cursors_lost: bool,
}

#[derive(Clone, Debug, Default)]
struct Recorded {
    fragments: Vec<Vec<u8>>,
    synced: usize,
}

impl Model {
    fn random(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn setup(&mut self) -> RingSetup {
        self.starts += 1;
        RingSetup {
            offset: UtcOffset(i64::from(self.starts) * 1_000_000 * 90_000),
            clock: ClockQuality::Synchronized,
            machine: u64::from(self.starts),
            identity: 0xC0FF_EE00 + self.starts,
            nonce: self.starts,
            ..RingSetup::default()
        }
    }
}

type Opened = Result<(Ring<SharedMemFlash>, Recovered), RingError>;

fn open(flash: &SharedMemFlash, model: &mut Model) -> Opened {
    Ring::open(flash.clone(), model.setup(), &mut |_| {})
}

/// Records one segment of a few fragments, from `t` on; returns its end.
fn record(ring: &mut Ring<SharedMemFlash>, model: &mut Model, t: u64) -> Result<u64, RingError> {
    let mut holes = crate::segment::Holes::new();
    if t == 3 * SECOND {
        let hole = Hole {
            start: Ticks(0),
            end: Ticks(t),
            cause: Cause::Restarted,
        };
        holes.push(hole).unwrap();
    }
    let start = SegmentStart {
        start: Ticks(t),
        holes,
        continues: false,
        tracks: Tracks {
            video: true,
            audio: false,
        },
    };
    let evicted = &mut BTreeSet::new();
    let begun = ring.begin(&start, &[9; 700], &mut |e| {
        evicted.insert(e.sequence);
    });
    model.evicted.append(evicted);
    let sequence = begun?.sequence;
    let before = model.segments.insert(sequence, Recorded::default());
    assert!(before.is_none(), "sequence {sequence} was given twice");
    let count = 1 + model.random(5);
    for i in 0..count {
        let payload = usize::try_from(1000 + model.random(9000)).unwrap();
        let bytes = fragment(sequence * 1000 + i, payload);
        let info = FragmentInfo {
            start: Ticks(t + i * SECOND),
            end: Ticks(t + (i + 1) * SECOND),
            video_samples: 25,
            begins_with_sync: true,
            ..FragmentInfo::default()
        };
        let sync = i % 2 == 1;
        let pad = model.random(2) == 0;
        let (front, back) = bytes.split_at(payload / 2);
        // It may reach the card even if the call fails.
        let recorded = model.segments.get_mut(&sequence).unwrap();
        recorded.fragments.push(bytes.clone());
        let appended = ring.append(&info, &[front, back], sync && pad, &mut |e| {
            evicted.insert(e.sequence);
        });
        model.evicted.append(evicted);
        appended?;
        if sync {
            ring.sync()?;
            let recorded = model.segments.get_mut(&sequence).unwrap();
            recorded.synced = recorded.fragments.len();
        }
    }
    let end = t + count * SECOND;
    let sealed = ring.seal(&SegmentEnd { end: Ticks(end) });
    if ring.open_place().is_none() {
        let recorded = model.segments.get_mut(&sequence).unwrap();
        recorded.synced = recorded.fragments.len();
    }
    sealed?;
    Ok(end)
}

/// Sends the next segment, if there is one.
fn upload(ring: &mut Ring<SharedMemFlash>, model: &mut Model) -> Result<(), RingError> {
    let cursors = ring.view().cursors;
    if cursors.upload.position == cursors.write.position {
        return Ok(());
    }
    let (segment, _) = SegmentReader::open_sealed(ring.flash(), cursors.upload.position)?;
    let run = segment.whole().expect("nothing is damaged here");
    let sequence = cursors.upload.sequence;
    let frozen = ring.freeze(sequence, &run)?;
    ring.mark_attempted(sequence)?;
    let frozen = Frozen {
        may_have_arrived: true,
        ..frozen
    };
    // If-None-Match: a second one is refused, and must have the same name.
    let before = model.cloud.insert(sequence, frozen.clone());
    if let Some(before) = before {
        assert_eq!((before.start, before.end), (frozen.start, frozen.end));
        assert!(model.cursors_lost || before == frozen, "other headers");
    }
    ring.uploaded(sequence)?;
    model.acknowledged.insert(sequence);
    Ok(())
}

fn run(
    ring: &mut Ring<SharedMemFlash>,
    model: &mut Model,
    segments: usize,
) -> Result<(), RingError> {
    let mut t = 3 * SECOND;
    for i in 0..segments {
        t = record(ring, model, t)?;
        if i % 8 < 5 && model.random(8) != 0 {
            upload(ring, model)?;
        }
        if i % 11 == 9 {
            upload(ring, model)?;
            upload(ring, model)?;
            upload(ring, model)?;
        }
    }
    Ok(())
}

fn check(ring: &Ring<SharedMemFlash>, model: &Model) {
    let cursors = ring.view().cursors;
    let mut position = cursors.oldest.position;
    let mut found = BTreeSet::new();
    let mut unsent = 0;
    while position < cursors.write.position {
        let (segment, seal) = SegmentReader::open_sealed(ring.flash(), position).unwrap();
        let sequence = segment.open.key.sequence;
        unsent += u64::from(position >= cursors.upload.position);
        found.insert(sequence);
        position = segment.next_position().unwrap();
        if model.cursors_lost && model.evicted.contains(&sequence) {
            continue;
        }
        let recorded = &model.segments[&sequence];
        let run = segment.whole().expect("a cut is not damage");
        let mut number = 0;
        for fragment in segment.fragments() {
            let fragment = fragment.unwrap();
            let bytes = &recorded.fragments[number];
            assert_eq!(fragment.length as usize, bytes.len());
            segment.verify(&fragment, &mut [0; 1000]).unwrap();
            number += 1;
        }
        assert_eq!(number, seal.totals.fragments as usize);
        assert!(
            number >= recorded.synced && number > 0,
            "{sequence}: {number} of {} synced fragments are there",
            recorded.synced
        );
        let mut body = segment.body(&run);
        let (mut bytes, mut buf) = (Vec::new(), [0; 777]);
        loop {
            let n = body.read(&mut buf).unwrap();
            bytes.extend_from_slice(&buf[..n]);
            if n == 0 {
                break;
            }
        }
        assert_eq!(bytes.len() as u64, 700 + run.end_offset - run.offset);
        let mut at = 700;
        for expected in &recorded.fragments[..number] {
            assert_eq!(&bytes[at..at + expected.len()], expected);
            at += expected.len();
            while bytes.get(at + 4..at + 8) == Some(b"free") {
                at += u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            }
        }
        assert_eq!(at, bytes.len());
    }
    assert_eq!(unsent, cursors.unsent_segments);
    for (sequence, recorded) in &model.segments {
        if recorded.synced > 0 && !model.evicted.contains(sequence) {
            assert!(found.contains(sequence), "{sequence} is lost");
        }
        if *sequence < cursors.upload.sequence && recorded.synced > 0 {
            let passed = model.cloud.contains_key(sequence) || model.evicted.contains(sequence);
            assert!(passed, "{sequence} was passed unsent");
        }
    }
    if model.cursors_lost {
        return;
    }
    for sequence in &model.acknowledged {
        assert!(*sequence < cursors.upload.sequence, "{sequence} again");
    }
    check_cloud(model);
}

fn check_cloud(model: &Model) {
    let mut told: Vec<(i64, i64)> = Vec::new();
    for frozen in model.cloud.values() {
        assert!(frozen.start < frozen.end);
        told.extend(frozen.gaps.iter().map(|gap| (gap.start.0, gap.end.0)));
        told.push((frozen.start.0, frozen.end.0));
    }
    told.sort_unstable();
    let mut until = told.first().map_or(0, |first| first.0);
    for (start, end) in told {
        assert!(start <= until, "nothing tells {until} to {start}");
        until = until.max(end);
    }
}

const SEGMENTS: usize = 34;

/// What a cut in operation `at` leaves: by a seed, and in turn all and nothing.
fn losses(at: u64) -> [Loss; 2] {
    let whole = if at.is_multiple_of(2) {
        Loss::All
    } else {
        Loss::None
    };
    [whole, Loss::Seeded(at)]
}

/// Operations of the whole scenario without a cut.
fn operations() -> u64 {
    let mut model = Model::default();
    let flash = SharedMemFlash::new(MemFlash::new(SIZE));
    let (mut ring, _) = open(&flash, &mut model).unwrap();
    run(&mut ring, &mut model, SEGMENTS).unwrap();
    check(&ring, &model);
    let view = ring.view();
    assert!(
        view.written > 2 * SIZE as u64,
        "the ring is filled twice: {}",
        view.written
    );
    assert!(view.cursors.counters.evicted_unsent > 0);
    assert!(view.cursors.counters.evicted_sent > 0);
    flash.card().operations()
}

/// Runs on `flash` until power fails in operation `at`; what is left of the card.
fn cut(flash: MemFlash, model: &mut Model, at: u64, segments: usize, loss: Loss) -> MemFlash {
    let flash = SharedMemFlash::new(flash);
    flash.card().cut_at(at);
    if let Ok((mut ring, _)) = open(&flash, model) {
        run(&mut ring, model, segments).unwrap_err();
    }
    flash.card().power_cut(loss)
}

/// Starts on `flash`, checks, records, sends all, checks again.
fn go_on(flash: MemFlash, model: &mut Model) -> Recovered {
    let flash = SharedMemFlash::new(flash);
    let (mut ring, recovered) = open(&flash, model).unwrap();
    check(&ring, model);
    run(&mut ring, model, 4).unwrap();
    while ring.view().cursors.unsent_segments > 0 {
        upload(&mut ring, model).unwrap();
    }
    check(&ring, model);
    recovered
}

#[test]
fn synced_video_survives_a_cut_at_every_operation() {
    for at in 0..operations() {
        for loss in losses(at) {
            let mut model = Model::default();
            let flash = cut(MemFlash::new(SIZE), &mut model, at, SEGMENTS, loss);
            let restart = go_on(flash, &mut model).restart;
            assert!(restart.is_none_or(|cause| cause == Cause::PowerLost));
        }
    }
}

#[test]
fn a_second_cut_during_or_after_recovery_loses_nothing_either() {
    for at in (0..operations()).step_by(17) {
        for second in 0..24 {
            let loss = Loss::Seeded(at ^ second << 32);
            let mut model = Model::default();
            let flash = cut(MemFlash::new(SIZE), &mut model, at, SEGMENTS, loss);
            let flash = cut(flash, &mut model, second, 4, loss);
            go_on(flash, &mut model);
        }
    }
}

#[test]
fn video_is_found_without_the_cursors_too() {
    for at in (0..operations()).step_by(5) {
        for loss in losses(at) {
            let mut model = Model::default();
            let mut flash = cut(MemFlash::new(SIZE), &mut model, at, SEGMENTS, loss);
            flash.spoil_cursors(0);
            flash.spoil_cursors(1);
            model.cursors_lost = true;
            let flash = SharedMemFlash::new(flash);
            let (mut ring, recovered) = open(&flash, &mut model).unwrap();
            if recovered.source == Source::New {
                let mut all = model.segments.values();
                assert!(all.all(|recorded| recorded.synced == 0), "{at} {loss:?}");
                model.segments.clear();
            } else {
                assert_eq!(recovered.source, Source::Records);
            }
            check(&ring, &model);
            run(&mut ring, &mut model, 3).unwrap();
            check(&ring, &model);
        }
    }
}

#[test]
fn one_lost_copy_of_the_cursors_costs_no_video() {
    for at in (0..operations()).step_by(5) {
        for slot in [0, 1] {
            let mut model = Model::default();
            let mut flash = cut(MemFlash::new(SIZE), &mut model, at, SEGMENTS, Loss::All);
            flash.spoil_cursors(slot);
            model.cursors_lost = true;
            let flash = SharedMemFlash::new(flash);
            let (mut ring, _) = open(&flash, &mut model).unwrap();
            check(&ring, &model);
            run(&mut ring, &mut model, 3).unwrap();
            check(&ring, &model);
        }
    }
}

/// Sends what can be sent, run by run, as an uploader does with a damaged segment.
fn send_what_is_left(ring: &mut Ring<SharedMemFlash>) {
    let mut buf = [0; 5000];
    for _ in 0..SEGMENTS * 20 {
        let cursors = ring.view().cursors;
        let sequence = cursors.upload.sequence;
        if cursors.upload.position == cursors.write.position {
            return;
        }
        let mut last = None;
        while let Ok((segment, _)) =
            SegmentReader::open_sealed(ring.flash(), cursors.upload.position)
        {
            let Some(run) = segment.next_run(last.as_ref(), &mut buf).unwrap() else {
                break;
            };
            let mut body = segment.body(&run);
            let mut length = 0;
            loop {
                match body.read(&mut buf).unwrap() {
                    0 => break,
                    n => length += n as u64,
                }
            }
            assert_eq!(length, 700 + run.end_offset - run.offset);
            ring.freeze(sequence, &run).unwrap();
            ring.run_uploaded(sequence).unwrap();
            last = Some(run);
        }
        ring.give_up(sequence).unwrap();
    }
    panic!("the upload does not end");
}

#[test]
fn a_spoilt_card_costs_what_was_spoilt_and_never_the_process() {
    let mut model = Model::default();
    let flash = SharedMemFlash::new(MemFlash::new(SIZE));
    let (mut ring, _) = open(&flash, &mut model).unwrap();
    run(&mut ring, &mut model, SEGMENTS).unwrap();
    let full = flash.card().power_cut(Loss::None);
    for seed in 0..300 {
        let mut dice = Model {
            random: seed,
            starts: 1,
            ..Model::default()
        };
        let mut card = full.clone();
        for _ in 0..=dice.random(12) {
            let at = dice.random(SIZE as u64);
            let long = usize::try_from(dice.random(9000)).unwrap();
            let record = dice.random(2) == 0;
            let at = if record { at / 4096 * 4096 } else { at };
            card.spoil(at, if record { 100 } else { long });
        }
        for slot in [0, 1] {
            if dice.random(3) == 0 {
                card.spoil_cursors(slot);
            }
        }
        let flash = SharedMemFlash::new(card);
        let (mut ring, _) = open(&flash, &mut dice).unwrap();
        send_what_is_left(&mut ring);
        dice.cursors_lost = true;
        run(&mut ring, &mut dice, 12).unwrap();
        send_what_is_left(&mut ring);
    }
}
