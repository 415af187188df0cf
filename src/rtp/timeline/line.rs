//! A track's line: straight pieces, one after the other.

/// Parts per million in 1.
pub(super) const MILLION: i64 = 1_000_000;

/// Ticks of the timeline as a function of media time. Never falls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    current: Piece,
    /// For pictures that are presented before the newest one: it reaches back at least
    /// [`BACKWARD_MAX`](super::track::BACKWARD_MAX), since blocks are longer.
    before: Piece,
}

/// From media time `from` on, which lies at `at`, ticks go by `ppm` parts per million faster.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: i64,
    at: i64,
    ppm: i64,
}

impl Line {
    /// From media time `from` on, which lies at `at`, in step with media time.
    pub(super) const fn new(from: i64, at: i64) -> Self {
        let piece = Piece { from, at, ppm: 0 };
        Self {
            current: piece,
            before: piece,
        }
    }

    /// Where media time `media` lies.
    pub(super) const fn at(&self, media: i64) -> i64 {
        let piece = if media >= self.current.from {
            self.current
        } else {
            self.before
        };
        let since = media.saturating_sub(piece.from);
        let steered = since.saturating_mul(piece.ppm).div_euclid(MILLION);
        piece.at.saturating_add(since).saturating_add(steered)
    }

    /// From media time `from` on it goes by `ppm` parts per million faster.
    pub(super) const fn bend(&mut self, from: i64, ppm: i64) {
        if ppm != self.current.ppm {
            let at = self.at(from);
            self.before = self.current;
            self.current = Piece { from, at, ppm };
        }
    }

    /// The line lies lower by `by`.
    pub(super) const fn move_back(&mut self, by: i64) {
        self.current.at -= by;
        self.before.at -= by;
    }

    /// How much faster than media time it goes now, in parts per million.
    pub(super) const fn ppm(&self) -> i64 {
        self.current.ppm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_bends_without_a_step_and_keeps_what_was_before() {
        let mut line = Line::new(1_000, 5_000);
        assert_eq!((line.at(1_000), line.at(0), line.ppm()), (5_000, 4_000, 0));
        line.bend(2_001_000, 500);
        assert_eq!(line.at(2_001_000), 2_005_000);
        assert_eq!(line.at(2_001_000 - 1), 2_005_000 - 1);
        assert_eq!(line.at(4_001_000), 4_005_000 + 1_000);
        line.move_back(5_000);
        assert_eq!((line.at(1_000), line.at(4_001_000)), (0, 4_001_000));
        assert_eq!(line.ppm(), 500);
    }
}
