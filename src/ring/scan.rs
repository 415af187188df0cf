//! Finds a ring in its records alone, and the last good fragment of an open segment.

use super::cursors::{Cursors, Place};
use super::error::RingError;
use super::find::find;
use super::flash::{Flash, ReadAt, page_up};
use super::reader::SegmentReader;
use super::record::{OpenRecord, SealRecord, Totals};
use super::recovery::Progress;
use crate::limits::PAGE;

/// Looks at every page for records of one ring, the first met; from a sealed segment it goes on
/// at its end. The newest one found.
pub(super) fn scan<F: Flash>(
    flash: &F,
    buf: &mut [u8],
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<OpenRecord>, RingError> {
    let of = flash.prepared().min(flash.size());
    let mut newest: Option<OpenRecord> = None;
    let mut other_size = None;
    let mut at = 0;
    while at < of {
        progress(Progress::Scanning { at, of });
        let n = usize::try_from(of - at)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let (chunk, _) = buf.split_at_mut(n);
        // A sector that cannot be read is one without a record.
        if flash.read_at(at, chunk).is_err() {
            at += PAGE as u64;
            continue;
        }
        let (pages, _) = chunk.as_chunks::<PAGE>();
        let record = pages.iter().zip(0u64..).find_map(|(page, i)| {
            let at = at + i * PAGE as u64;
            OpenRecord::decode(page)
                .filter(|open| open.position.checked_rem(open.ring_size) == Some(at))
                .map(|open| (at, open))
        });
        let Some((found_at, open)) = record else {
            at += pages.len().max(1) as u64 * PAGE as u64;
            continue;
        };
        at = found_at + PAGE as u64;
        if open.ring_size != flash.size() {
            other_size = Some(open.ring_size);
            continue;
        }
        if let Some(next) = SegmentReader::open(flash, open.position)
            .ok()
            .and_then(|segment| segment.next_position())
        {
            at = found_at + (next - open.position);
        }
        let newer = newest.as_ref().is_none_or(|newest| {
            newest.key.identity == open.key.identity && newest.key.sequence < open.key.sequence
        });
        if newer {
            newest = Some(open);
        }
    }
    match (newest, other_size) {
        (None, Some(found)) => Err(RingError::OtherSize {
            found,
            asked: flash.size(),
        }),
        (newest, _) => Ok(newest),
    }
}

/// Cursors at the oldest segment that the log up to `newest` has left whole.
pub(super) fn from_records<F: Flash>(
    flash: &F,
    newest: &OpenRecord,
    buf: &mut [u8],
    progress: &mut dyn FnMut(Progress),
) -> Result<Cursors, RingError> {
    let segment = SegmentReader::open(flash, newest.position)?;
    let length = match segment.seal {
        Some(seal) => seal.length,
        None => last_good(&segment, buf, progress).length,
    };
    let end = newest.position + page_up(length);
    let from = end.saturating_sub(flash.size());
    let identity = newest.key.identity;
    let oldest = find(flash, identity, from, newest.position + 1)?;
    let oldest = oldest.as_ref().map_or_else(|| place_of(newest), place_of);
    Ok(Cursors {
        identity,
        ring_size: flash.size(),
        oldest,
        upload: oldest,
        write: oldest,
        ..Cursors::default()
    })
}

/// The seal record for an open segment, after its last good fragment.
///
/// A bad fragment with good ones behind it is either torn, if what followed reached the card
/// before it, or damaged, if it had been synced. Later checks tell: each says up to where the
/// segment was synced when it was written. A torn one ends the segment.
pub(super) fn last_good<R: ReadAt>(
    segment: &SegmentReader<'_, R>,
    buf: &mut [u8],
    progress: &mut dyn FnMut(Progress),
) -> SealRecord {
    let mut seal = SealRecord {
        key: segment.open.key,
        length: segment.open.data_offset(),
        end: segment.open.start.ticks,
        totals: Totals::default(),
        checks: segment.open.key.seed(),
        cut: true,
        damaged: false,
    };
    if segment.init(buf).is_err() {
        return seal;
    }
    let mut fragments = segment.fragments();
    let mut totals = seal.totals;
    let mut bad_at = None;
    while let Some(found) = fragments.next() {
        let verified = found.and_then(|fragment| {
            progress(Progress::Verifying {
                at: fragment.offset,
            });
            segment.verify(&fragment, buf).map(|()| fragment)
        });
        match verified {
            Ok(fragment) => {
                totals.add(&fragment.info);
                if bad_at.is_some_and(|bad| fragment.synced <= bad) {
                    continue;
                }
                seal.damaged |= bad_at.take().is_some();
                seal.length = fragment.offset + fragment.full_length;
                seal.end = fragment.info.end;
                seal.totals = totals;
                seal.checks = fragments.running().unwrap_or(seal.checks);
            }
            Err(error) => {
                bad_at.get_or_insert(error.position.saturating_sub(segment.open.position));
                if !fragments.skip_damage(error) {
                    break;
                }
            }
        }
    }
    seal
}

/// Where the segment of `open` lies.
pub(super) fn place_of(open: &OpenRecord) -> Place {
    Place {
        position: open.position,
        sequence: open.key.sequence,
    }
}
