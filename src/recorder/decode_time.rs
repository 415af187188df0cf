//! Decoding times for pictures whose RTP time is their presentation time (RFC 6184 section 5.1).
//!
//! With at most `depth` pictures before any other in decoding order and behind it in output
//! order, the i-th picture is decoded at the (i - depth)-th smallest presentation time: never
//! after its own, and never going back.

use crate::time::Ticks;

/// Most pictures a decoder reorders (`max_num_reorder_frames`, ITU-T H.264 section E.2.1).
pub const DEPTH_MAX: u8 = 16;

/// A picture came that needs a deeper reordering than was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfOrder;

/// Gives each picture of a run its decoding time.
#[derive(Debug)]
pub struct DecodeTime {
    depth: u8,
    /// Presentation times not yet given out, ascending.
    waiting: heapless::Vec<Ticks, { DEPTH_MAX as usize + 1 }>,
    last: Option<Ticks>,
}

impl DecodeTime {
    /// For pictures that are reordered by at most `depth`.
    pub const fn new(depth: u8) -> Self {
        let depth = if depth > DEPTH_MAX { DEPTH_MAX } else { depth };
        Self {
            depth,
            waiting: heapless::Vec::new(),
            last: None,
        }
    }

    /// Pictures reordered at most.
    pub const fn depth(&self) -> u8 {
        self.depth
    }

    /// From the next picture on, for pictures that are reordered by at most `depth`, if that is
    /// more than before. Decoding times do not go back.
    pub fn deepen(&mut self, depth: u8) {
        self.depth = self.depth.max(depth).min(DEPTH_MAX);
    }

    /// A new run begins with the next picture, which is a sync sample.
    pub fn restart(&mut self) {
        self.waiting.clear();
    }

    /// All times so far were too late by so much.
    pub fn move_back(&mut self, by: Ticks) {
        for at in self.waiting.iter_mut().chain(&mut self.last) {
            *at = at.since(by);
        }
    }

    /// The decoding time of the next picture; `picture_length` spaces the first of a run.
    pub fn place(&mut self, pts: Ticks, picture_length: Ticks) -> Result<Ticks, OutOfOrder> {
        let at = self.waiting.partition_point(|waiting| *waiting <= pts);
        assert!(
            self.waiting.insert(at, pts).is_ok(),
            "one leaves for each that comes"
        );
        let first = self.waiting.first().copied().unwrap_or(pts);
        let missing = (usize::from(self.depth) + 1).saturating_sub(self.waiting.len());
        let dts = if missing == 0 {
            self.waiting.remove(0)
        } else {
            Ticks(first.0.saturating_sub(missing as u64 * picture_length.0))
        };
        let dts = self.last.map_or(dts, |last| dts.max(last + Ticks(1)));
        if dts > pts {
            return Err(OutOfOrder);
        }
        self.last = Some(dts);
        Ok(dts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(depth: u8, pts: &[u64]) -> Vec<Result<u64, OutOfOrder>> {
        let mut clock = DecodeTime::new(depth);
        pts.iter()
            .map(|pts| clock.place(Ticks(*pts), Ticks(10)).map(|dts| dts.0))
            .collect()
    }

    #[test]
    fn pictures_in_output_order_are_decoded_when_shown() {
        assert_eq!(places(0, &[100, 110, 120]), [Ok(100), Ok(110), Ok(120)]);
    }

    #[test]
    fn two_b_pictures_behind_each_p_picture() {
        let pts = [100, 130, 110, 120, 160, 140, 150];
        let dts = [90, 100, 110, 120, 130, 140, 150];
        assert_eq!(places(1, &pts), dts.map(Ok));
    }

    #[test]
    fn a_pyramid_needs_a_depth_of_two() {
        let pts = [100, 140, 120, 110, 130, 180, 160];
        assert_eq!(places(2, &pts), [80, 90, 100, 110, 120, 130, 140].map(Ok));
        assert_eq!(
            places(1, &pts).into_iter().filter(Result::is_err).count(),
            1
        );
    }

    #[test]
    fn going_back_without_a_depth_is_told() {
        assert_eq!(
            places(0, &[100, 130, 110]),
            [Ok(100), Ok(130), Err(OutOfOrder)]
        );
    }

    #[test]
    fn a_deeper_reordering_does_not_go_back() {
        let mut clock = DecodeTime::new(0);
        clock.place(Ticks(100), Ticks(10)).unwrap();
        clock.deepen(2);
        for (pts, dts) in [(110, 101), (140, 102), (120, 110), (130, 120), (170, 130)] {
            assert_eq!(clock.place(Ticks(pts), Ticks(10)), Ok(Ticks(dts)));
        }
        clock.deepen(1);
        assert_eq!(clock.depth(), 2);
        clock.deepen(200);
        assert_eq!(clock.depth(), DEPTH_MAX);
    }

    #[test]
    fn a_restart_does_not_go_back() {
        let mut clock = DecodeTime::new(2);
        for pts in [100, 140, 120, 110] {
            clock.place(Ticks(pts), Ticks(10)).unwrap();
        }
        clock.restart();
        assert_eq!(clock.place(Ticks(125), Ticks(10)), Ok(Ticks(111)));
    }
}
