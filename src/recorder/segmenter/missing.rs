//! Video that is missing before the next sample: holes without a break, each with its cause.

use crate::gap::{Cause, Hole};
use crate::segment::Holes;
use crate::time::Ticks;

/// What is missing since the last sample.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// The hole that goes on: its start and its cause.
    open: Option<(Ticks, Cause)>,
    /// The holes right before it, which had other causes.
    before: Holes,
}

impl Missing {
    /// Video is missing from `start` on.
    pub(super) fn new(start: Ticks, cause: Cause) -> Self {
        Self {
            open: Some((start, cause)),
            before: Holes::new(),
        }
    }

    /// Something is.
    pub(super) fn is_some(&self) -> bool {
        self.open.is_some()
    }

    /// More than one cause follow each other.
    pub(super) fn has_several_causes(&self) -> bool {
        !self.before.is_empty()
    }

    /// Video is missing from `end`, that of the last sample, on; if a hole goes on already, the
    /// cause is `cause` from `at` on.
    pub(super) fn lose(&mut self, end: Ticks, at: Ticks, cause: Cause) {
        match self.open {
            None => self.open = Some((end, cause)),
            Some((_, same)) if same == cause => {}
            Some((start, before)) => {
                let at = at.max(start);
                self.push(start, at, before);
                self.open = Some((at, cause));
            }
        }
    }

    /// All that is missing up to `end`, where the next sample begins. Nothing is from there on.
    pub(super) fn take(&mut self, end: Ticks) -> Holes {
        if let Some((start, cause)) = self.open.take() {
            self.push(start, end, cause);
        }
        core::mem::take(&mut self.before)
    }

    /// Nothing is missing: the segment counts it as lost pictures.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds a hole behind the others; without room the last grows, one without length is none.
    fn push(&mut self, start: Ticks, end: Ticks, cause: Cause) {
        if end <= start {
            return;
        }
        let hole = Hole { start, end, cause };
        if let Err(hole) = self.before.push(hole)
            && let Some(last) = self.before.last_mut()
        {
            last.end = hole.end;
        }
    }
}

/// The holes reach to `end` only.
pub(super) fn shorten(holes: &mut Holes, end: Ticks) {
    while holes.last().is_some_and(|last| last.start >= end) {
        holes.pop();
    }
    if let Some(last) = holes.last_mut() {
        last.end = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(missing: &mut Missing, end: u64) -> Vec<(u64, u64, Cause)> {
        let holes = missing.take(Ticks(end));
        holes
            .iter()
            .map(|hole| (hole.start.0, hole.end.0, hole.cause))
            .collect()
    }

    #[test]
    fn a_cause_holds_until_the_next() {
        let mut missing = Missing::new(Ticks(0), Cause::Restarted);
        missing.lose(Ticks(50), Ticks(100), Cause::CameraDisconnected);
        assert!(missing.has_several_causes());
        missing.lose(Ticks(50), Ticks(150), Cause::CameraDisconnected);
        // What is told of a time before replaces a hole without length.
        missing.lose(Ticks(50), Ticks(90), Cause::Inactive);
        assert_eq!(
            holes(&mut missing, 300),
            [(0, 100, Cause::Restarted), (100, 300, Cause::Inactive)]
        );
        assert!(!missing.is_some() && !missing.has_several_causes());
        missing.lose(Ticks(400), Ticks(450), Cause::MediaLost);
        assert_eq!(holes(&mut missing, 500), [(400, 500, Cause::MediaLost)]);
        assert_eq!(holes(&mut missing, 600), []);
    }

    #[test]
    fn the_last_hole_takes_in_those_without_room() {
        let mut missing = Missing::new(Ticks(0), Cause::Restarted);
        let causes = [Cause::MediaLost, Cause::Overload];
        for (at, cause) in (1..20).zip(causes.into_iter().cycle()) {
            missing.lose(Ticks(0), Ticks(at), cause);
        }
        let holes = holes(&mut missing, 100);
        assert_eq!((holes.len(), holes[7]), (8, (7, 100, Cause::MediaLost)));
    }

    #[test]
    fn holes_are_shortened_to_an_earlier_end() {
        let mut missing = Missing::new(Ticks(10), Cause::Restarted);
        missing.lose(Ticks(10), Ticks(20), Cause::CameraDisconnected);
        let mut holes = missing.take(Ticks(30));
        for (end, ends) in [(25, &[20, 25][..]), (20, &[20]), (15, &[15]), (10, &[])] {
            shorten(&mut holes, Ticks(end));
            assert!(holes.iter().map(|hole| hole.end.0).eq(ends.iter().copied()));
        }
    }
}
