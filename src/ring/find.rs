//! Finds the segment behind another, also where records are damaged.

use super::cursors::{Cursors, Place};
use super::eviction::end_point;
use super::flash::{FlashError, ReadAt, read_wrapped};
use super::reader::SegmentReader;
use super::record::{OpenRecord, SealRecord};
use crate::gap::Point;
use crate::limits::PAGE;

/// A segment's records, and what follows it.
#[derive(Debug)]
pub(super) struct Next {
    /// Its records, if they can be read.
    pub(super) records: Option<(OpenRecord, SealRecord)>,
    /// The next segment, or the end of the log.
    pub(super) place: Place,
    /// Where the timeline is told again behind it.
    pub(super) start: Point,
    /// Between the two lies at least one segment whose records cannot be read.
    pub(super) damage_between: bool,
}

/// The sealed segment at `here`, and what follows it.
pub(super) fn next_of<R: ReadAt>(
    flash: &R,
    cursors: &Cursors,
    here: Place,
) -> Result<Next, FlashError> {
    let end = cursors.write;
    let records = SegmentReader::open(flash, here.position)
        .ok()
        .filter(|segment| segment.open.key.identity == cursors.identity)
        .and_then(|segment| {
            let next = segment.next_position()?;
            (next <= end.position).then_some((segment.open, segment.seal?, next))
        });
    let from = records
        .as_ref()
        .map_or(here.position + PAGE as u64, |(_, _, next)| *next);
    let next = find(flash, cursors.identity, from, end.position)?;
    let damage_between = next.as_ref().map_or(end.position, |open| open.position) > from;
    let start = match (&next, &records) {
        (Some(open), _) => open.gaps.iter().next().map_or(open.start, |gap| gap.start),
        (None, Some((open, seal, _))) if !damage_between => end_point(open, seal),
        (None, _) => cursors.accounted.unwrap_or_default(),
    };
    Ok(Next {
        damage_between: damage_between && records.is_some(),
        records: records.map(|(open, seal, _)| (open, seal)),
        place: next.map_or(end, |open| Place {
            position: open.position,
            sequence: open.key.sequence,
        }),
        start,
    })
}

/// The first open record of the ring from log position `from` on, before `until`.
///
/// Usually the first page looked at. If nothing is found and the card failed on the way, that is
/// an error: a card that is out has not lost its segments.
pub(super) fn find<R: ReadAt>(
    flash: &R,
    identity: u32,
    from: u64,
    until: u64,
) -> Result<Option<OpenRecord>, FlashError> {
    let mut page = [0; PAGE];
    let mut failed = None;
    for position in (from..until).step_by(PAGE) {
        match read_wrapped(flash, position, &mut page) {
            Err(error) => failed = Some(error),
            Ok(()) => {
                let found = OpenRecord::decode(&page).filter(|open| {
                    open.key.identity == identity
                        && open.position == position
                        && open.ring_size == flash.size()
                });
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
    }
    failed.map_or(Ok(None), Err)
}
