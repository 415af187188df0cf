//! Short ways to record and send, for the tests of this folder.

use super::mem_flash::{MemFlash, SharedMemFlash};
use super::{Frozen, Place, Recovered, Ring, RingError, RingSetup, Run, SegmentReader};
use crate::gap::Hole;
use crate::media::Tracks;
use crate::segment::{FragmentInfo, SegmentEnd, SegmentStart};
use crate::time::{ClockQuality, Ticks, UtcOffset};

pub(super) const SECOND: u64 = 90_000;

/// UTC of tick 0 of boot `start`: boots are 1,000,000 s apart.
pub(super) fn offset(start: u32) -> UtcOffset {
    UtcOffset(i64::from(start) * 1_000_000 * 90_000)
}

/// Start number `start` of `cvr`, each after a start of the machine.
pub(super) fn setup(start: u32) -> RingSetup {
    RingSetup {
        offset: offset(start),
        clock: ClockQuality::Synchronized,
        machine: u64::from(start),
        identity: 0xC0FF_EE00,
        nonce: start,
        ..RingSetup::default()
    }
}

pub(super) fn new_flash(size: usize) -> SharedMemFlash {
    SharedMemFlash::new(MemFlash::new(size))
}

pub(super) fn open(flash: &SharedMemFlash, start: u32) -> (Ring<SharedMemFlash>, Recovered) {
    Ring::open(flash.clone(), setup(start), &mut |_| {}).unwrap()
}

/// A `moof` of 300 bytes and an `mdat` with `payload` bytes, different for each `tag`.
pub(super) fn fragment(tag: u64, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 44];
    bytes.extend(b"moof");
    bytes.extend(tag.to_le_bytes());
    bytes.resize(300, 7);
    bytes.extend(u32::try_from(payload + 8).unwrap().to_be_bytes());
    bytes.extend(b"mdat");
    bytes.resize(308 + payload, tag.to_le_bytes()[0].wrapping_mul(31));
    bytes
}

/// The start of a segment at second `t`, after `holes`.
pub(super) fn start(t: u64, holes: &[Hole]) -> SegmentStart {
    SegmentStart {
        start: Ticks(t * SECOND),
        holes: holes.iter().copied().collect(),
        continues: false,
        tracks: Tracks {
            video: true,
            audio: false,
        },
    }
}

/// A fragment of the second that begins at `t`.
pub(super) fn info(t: u64) -> FragmentInfo {
    FragmentInfo {
        start: Ticks(t * SECOND),
        end: Ticks((t + 1) * SECOND),
        video_samples: 25,
        begins_with_sync: true,
        ..FragmentInfo::default()
    }
}

/// The end of a segment at second `t`.
pub(super) fn end(t: u64) -> SegmentEnd {
    SegmentEnd {
        end: Ticks(t * SECOND),
    }
}

/// Appends the fragment of second `t` and syncs.
pub(super) fn append(ring: &mut Ring<SharedMemFlash>, t: u64) -> Result<(), RingError> {
    ring.append(&info(t), &[&fragment(t, 3000)], true, &mut |_| {})?;
    ring.sync()
}

/// Records the seconds from `from` to `to` as one segment, each a fragment with its own sync.
pub(super) fn record(ring: &mut Ring<SharedMemFlash>, from: u64, to: u64) -> Place {
    record_after(ring, &[], from, to)
}

/// As [`record`], after `holes`.
pub(super) fn record_after(
    ring: &mut Ring<SharedMemFlash>,
    holes: &[Hole],
    from: u64,
    to: u64,
) -> Place {
    let place = ring
        .begin(&start(from, holes), &[9; 700], &mut |_| {})
        .unwrap();
    for t in from..to {
        append(ring, t).unwrap();
    }
    ring.seal(&end(to)).unwrap();
    place
}

/// The next segment to send, as one run.
pub(super) fn next_whole(ring: &Ring<SharedMemFlash>) -> (u64, Run) {
    let upload = ring.view().cursors.upload;
    let (segment, _) = SegmentReader::open_sealed(ring.flash(), upload.position).unwrap();
    (upload.sequence, segment.whole().unwrap())
}

/// Sends the next segment.
pub(super) fn send(ring: &mut Ring<SharedMemFlash>) -> Frozen {
    let (sequence, run) = next_whole(ring);
    let frozen = ring.freeze(sequence, &run).unwrap();
    ring.uploaded(sequence).unwrap();
    frozen
}
