//! The only file that reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::{ClockQuality, Instant, Ticks, UtcMillis, UtcOffset};

/// No gateway with this version can have run before: a clock that says so is wrong.
pub const EARLIEST: UtcMillis = UtcMillis(1_793_491_200_000);

/// The gateway's clocks since `cvr` started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// Now is tick 0 of every camera's timeline.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the file that reads clocks"
    )]
    pub fn start() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }

    /// Monotonic time since the start.
    pub fn now(&self) -> Instant {
        let micros = self.start.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// What the system believes to be UTC at tick 0, and whether that can be.
    pub fn utc_offset(&self) -> (UtcOffset, ClockQuality) {
        let utc = utc_micros();
        let Ticks(since_start) = self.now().ticks();
        let at_start = utc.saturating_mul(9) / 100;
        let offset = at_start.saturating_sub_unsigned(since_start);
        let quality = if utc / 1000 >= EARLIEST.0 {
            ClockQuality::Synchronized
        } else {
            ClockQuality::Unsynchronized
        };
        (UtcOffset(offset), quality)
    }
}

/// UTC as the system's clock has it, right or wrong, floored to milliseconds.
pub fn utc_now() -> UtcMillis {
    UtcMillis(utc_micros().div_euclid(1000))
}

/// The machine's boot, as a number: another after each restart of the machine, the same while
/// only `cvr` restarts. 0 where the kernel does not tell.
pub fn machine_boot_id() -> u64 {
    std::fs::read("/proc/sys/kernel/random/boot_id").map_or(0, |id| {
        let (high, low) = id.split_at(id.len() / 2);
        u64::from(crc32c::crc32c(high)) << 32 | u64::from(crc32c::crc32c(low))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads clocks"
)]
fn utc_micros() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_does_not_stand_at_its_limit() {
        let (earlier, later) = (utc_now(), utc_now());
        assert!(later.0.abs_diff(earlier.0) < 60_000, "{earlier} {later}");
        assert_ne!(later, UtcMillis(i64::MAX));
    }
}
