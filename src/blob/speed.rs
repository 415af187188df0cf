//! How fast bytes move: the uplink's speed, a ring's write rate. Smoothed over time.

use core::time::Duration;

use crate::time::Instant;

/// A smoothed rate: old bytes and the time they took fade together.
#[derive(Clone, Debug)]
pub struct Rate {
    memory: Duration,
    bytes: u64,
    micros: u64,
}

impl Rate {
    /// Of what was seen in about the last `memory`.
    pub const fn new(memory: Duration) -> Self {
        Self {
            memory,
            bytes: 0,
            micros: 0,
        }
    }

    /// `bytes` moved in `time`.
    pub fn observe(&mut self, bytes: u64, time: Duration) {
        let memory = self.memory.as_micros().max(1);
        let time = time.as_micros().min(u128::from(u64::MAX));
        let faded = |sum: u64| {
            let faded = u128::from(sum) * memory / (memory + time);
            u64::try_from(faded).unwrap_or(u64::MAX)
        };
        self.bytes = faded(self.bytes).saturating_add(bytes);
        let time = u64::try_from(time).unwrap_or(u64::MAX);
        self.micros = faded(self.micros).saturating_add(time);
    }

    /// Bytes a second; none before half a second of it was seen.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let rate = u128::from(self.bytes) * 1_000_000 / u128::from(self.micros.max(1));
        (self.micros >= 500_000).then(|| u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

/// The uplink's speed, from finished Put Blobs and the one under way.
///
/// The time of an attempt that failed counts only up to its last byte: an outage says nothing
/// about the speed that comes after it, and must not make the queue give up video.
#[derive(Clone, Debug)]
pub struct UploadSpeed {
    rate: Rate,
    seen: Instant,
    sent: u64,
}

impl Default for UploadSpeed {
    fn default() -> Self {
        Self::new()
    }
}

impl UploadSpeed {
    /// Not known yet.
    pub const fn new() -> Self {
        Self {
            rate: Rate::new(Duration::from_secs(120)),
            seen: Instant::START,
            sent: 0,
        }
    }

    /// A Put Blob begins.
    pub const fn begin(&mut self, now: Instant) {
        (self.seen, self.sent) = (now, 0);
    }

    /// `sent` bytes of its body are on their way, in all.
    pub fn progress(&mut self, now: Instant, sent: u64) {
        if sent > self.sent {
            self.rate.observe(sent - self.sent, now.since(self.seen));
            (self.seen, self.sent) = (now, sent);
        }
    }

    /// It was answered with success, having sent `length` bytes.
    pub fn stored(&mut self, now: Instant, length: u64) {
        let bytes = length.saturating_sub(self.sent);
        self.rate.observe(bytes, now.since(self.seen));
        (self.seen, self.sent) = (now, length);
    }

    /// Bytes a second; none while not known.
    pub fn bytes_per_second(&self) -> Option<u64> {
        self.rate.bytes_per_second()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_an_average_that_forgets() {
        let second = Duration::from_secs(1);
        let mut rate = Rate::new(Duration::from_secs(30));
        assert_eq!(rate.bytes_per_second(), None);
        rate.observe(400, second * 2 / 5);
        assert_eq!(rate.bytes_per_second(), None);
        rate.observe(600, second * 3 / 5);
        assert!((999..=1000).contains(&rate.bytes_per_second().unwrap()));
        for _ in 0..600 {
            rate.observe(4000, second);
        }
        let learnt = rate.bytes_per_second().unwrap();
        assert!((3990..=4000).contains(&learnt), "{learnt}");
        for _ in 0..30 {
            rate.observe(0, second);
        }
        let faded = rate.bytes_per_second().unwrap();
        assert!((1300..1600).contains(&faded), "{faded}");
        rate.observe(u64::MAX, Duration::MAX);
        rate.observe(u64::MAX, Duration::ZERO);
        assert!(rate.bytes_per_second().is_some());
    }

    #[test]
    fn an_outage_does_not_slow_the_uplink_down() {
        let at = |ms| Instant::from_millis(ms);
        let mut speed = UploadSpeed::new();
        speed.begin(at(0));
        speed.progress(at(1000), 5_000);
        speed.progress(at(61_000), 5_000);
        speed.begin(at(100_000));
        speed.progress(at(101_000), 5_000);
        assert!((4_990..=5_000).contains(&speed.bytes_per_second().unwrap()));
        // The wait for the answer is part of a finished one.
        speed.stored(at(102_000), 5_000);
        let with_wait = speed.bytes_per_second().unwrap();
        assert!((3_300..3_400).contains(&with_wait), "{with_wait}");
    }
}
