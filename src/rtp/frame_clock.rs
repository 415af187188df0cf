//! Even RTP times for audio frames.
//!
//! Frames of one length follow each other without a gap, yet servers that keep time in other
//! units (GStreamer: nanoseconds) round each frame's RTP time to either side. Left in, the
//! rounding would make every duration in the MP4 another.

/// The RTP time at which the next frame is due.
#[derive(Clone, Debug)]
pub struct FrameClock {
    length: u32,
    tolerance: u32,
    next: Option<u32>,
}

impl FrameClock {
    /// For frames of `length` ticks of an RTP clock of `rate` ticks a second. Differences of up to
    /// a millisecond are rounding.
    pub const fn new(length: u32, rate: u32) -> Self {
        Self {
            length,
            tolerance: rate / 1000,
            next: None,
        }
    }

    /// The RTP time of the frame that says `timestamp`: when it was due, or, where that is not
    /// due to rounding, what it says.
    pub fn even(&mut self, timestamp: u32) -> u32 {
        let due = self.next.filter(|next| {
            let (ahead, behind) = (timestamp.wrapping_sub(*next), next.wrapping_sub(timestamp));
            ahead.min(behind) <= self.tolerance
        });
        let even = due.unwrap_or(timestamp);
        self.next = Some(even.wrapping_add(self.length));
        even
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_taken_out_and_does_not_add_up() {
        let mut clock = FrameClock::new(1024, 48_000);
        let start = u32::MAX - 5_000;
        for n in 0..1000_u32 {
            let exact = start.wrapping_add(n * 1024);
            let rounded = exact.wrapping_add(n % 3).wrapping_sub(1);
            let even = clock.even(if n == 0 { exact } else { rounded });
            assert_eq!(even, exact);
        }
    }

    #[test]
    fn a_missing_frame_and_another_start_are_no_rounding() {
        let mut clock = FrameClock::new(1024, 48_000);
        for timestamp in [10, 1034, 3082, 4106, 900_000, 900_000 - 4_000] {
            assert_eq!(clock.even(timestamp), timestamp);
        }
        assert_eq!(
            clock.even(900_000 - 4_000 + 1024 + 48),
            900_000 - 4_000 + 1024
        );
        assert_eq!(
            clock.even(900_000 - 4_000 + 2048 + 49),
            900_000 - 4_000 + 2048 + 49
        );
    }
}
