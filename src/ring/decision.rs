//! The decision table of recovery: every combination of what may be found is one row.

/// Where the knowledge of the ring came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Copy 0 of the cursors.
    First,
    /// Copy 1 of the cursors.
    Second,
    /// The records: both copies were lost.
    Records,
    /// There was no ring: it is new.
    New,
}

/// A copy of the cursors as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyState {
    Whole,
    /// Torn, damaged, or never written.
    Lost,
}

/// What lies at the end of the log that the cursors know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// No open record that could follow.
    Nothing,
    /// A sealed segment.
    Sealed,
    /// An open record without a good fragment.
    Empty,
    /// Good fragments up to a torn end.
    Torn,
    /// Good fragments behind a bad one that had been synced.
    Damaged,
}

/// What to do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The log ends here.
    End,
    /// The log ends here; a segment may have begun and never reached the card, so that the next
    /// sequence number is not given.
    EndSkipping,
    /// Go on behind it.
    Take,
    /// Leave it; its sequence number is not given again.
    Drop,
    /// Seal it after its last good fragment.
    Seal,
    /// The same, noting the damage.
    SealDamaged,
}

/// The decision table, first part: where to begin.
///
/// First copy, second copy, the second is newer, records are found; `None`: either.
type SourceRow = (CopyState, CopyState, Option<bool>, Option<bool>, Source);

#[rustfmt::skip]
const SOURCES: [SourceRow; 6] = {
    use CopyState::{Lost, Whole};
    [
        // first  second  newer        records      begin with
        (Whole,   Whole,  Some(false), None,        Source::First),
        (Whole,   Whole,  Some(true),  None,        Source::Second),
        (Whole,   Lost,   None,        None,        Source::First),
        (Lost,    Whole,  None,        None,        Source::Second),
        (Lost,    Lost,   None,        Some(true),  Source::Records),
        (Lost,    Lost,   None,        Some(false), Source::New),
    ]
};

/// The decision table, second part: what to do at the head, until the log ends.
///
/// The run ended cleanly and nothing was taken since; what is there; what to do.
type HeadRow = (Option<bool>, Head, Action);

#[rustfmt::skip]
const HEADS: [HeadRow; 6] = [
    // clean      head           action
    (Some(true),  Head::Nothing, Action::End),
    (Some(false), Head::Nothing, Action::EndSkipping),
    (None,        Head::Sealed,  Action::Take),
    (None,        Head::Empty,   Action::Drop),
    (None,        Head::Torn,    Action::Seal),
    (None,        Head::Damaged, Action::SealDamaged),
];

pub(super) fn begin_with(
    first: CopyState,
    second: CopyState,
    newer: bool,
    records: bool,
) -> Source {
    SOURCES
        .iter()
        .find(|row| source_matches(row, first, second, newer, records))
        .map(|row| row.4)
        .expect("the table covers every input: its test walks them all")
}

fn source_matches(
    row: &SourceRow,
    first: CopyState,
    second: CopyState,
    newer: bool,
    records: bool,
) -> bool {
    row.0 == first
        && row.1 == second
        && row.2.is_none_or(|wanted| wanted == newer)
        && row.3.is_none_or(|wanted| wanted == records)
}

pub(super) fn act_on(clean: bool, head: Head) -> Action {
    HEADS
        .iter()
        .find(|row| head_matches(row, clean, head))
        .map(|row| row.2)
        .expect("the table covers every input: its test walks them all")
}

fn head_matches(row: &HeadRow, clean: bool, head: Head) -> bool {
    row.0.is_none_or(|wanted| wanted == clean) && row.1 == head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_row_holds_for_every_input() {
        let copies = [CopyState::Whole, CopyState::Lost];
        let bools = [false, true];
        for first in copies {
            for second in copies {
                for newer in bools {
                    for records in bools {
                        let rows = SOURCES
                            .iter()
                            .filter(|row| source_matches(row, first, second, newer, records));
                        assert_eq!(rows.count(), 1, "{first:?} {second:?} {newer} {records}");
                    }
                }
            }
        }
        for clean in bools {
            for head in [
                Head::Nothing,
                Head::Sealed,
                Head::Empty,
                Head::Torn,
                Head::Damaged,
            ] {
                let rows = HEADS.iter().filter(|row| head_matches(row, clean, head));
                assert_eq!(rows.count(), 1, "{clean} {head:?}");
            }
        }
    }
}
