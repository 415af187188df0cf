//! The only file that reads a clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use crate::host_time::best;
use crate::time::{ClockQuality, Instant, Ticks, UtcMillis, UtcOffset};

/// No gateway with this version can have run before: a clock that says so is wrong.
pub const EARLIEST: UtcMillis = UtcMillis(1_793_491_200_000);

/// The gateway's clocks since `cvr` started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    /// UTC of tick 0 as the container's host has it, 0 before it is known. Lives as long as the
    /// process, as the clock does.
    told: &'static AtomicI64,
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
            told: Box::leak(Box::default()),
        }
    }

    /// Monotonic time since the start.
    pub fn now(&self) -> Instant {
        let micros = self.start.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// UTC at tick 0, and what is known of it: by the system's clock, or, where that cannot be
    /// right, by [`Clock::tell`].
    pub fn utc_offset(&self) -> (UtcOffset, ClockQuality) {
        let utc = utc_micros();
        let Ticks(since_start) = self.now().ticks();
        let at_start = utc.saturating_mul(9) / 100;
        let offset = at_start.saturating_sub_unsigned(since_start);
        best(UtcOffset(offset), utc / 1000 >= EARLIEST.0, self.told())
    }

    /// UTC by [`Clock::utc_offset`], floored to milliseconds.
    pub fn utc_now(&self) -> UtcMillis {
        self.utc_offset().0.utc(self.now().ticks())
    }

    /// Takes UTC of tick 0 from elsewhere: it counts until the system's clock is set by someone
    /// else.
    pub fn tell(&self, offset: UtcOffset) {
        self.told.store(offset.0, Ordering::Relaxed);
    }

    /// What was told.
    pub fn told(&self) -> Option<UtcOffset> {
        let told = self.told.load(Ordering::Relaxed);
        (told != 0).then_some(UtcOffset(told))
    }

    /// Sets the system's clock to what was told.
    ///
    /// # Errors
    ///
    /// `EPERM` without the capability `CAP_SYS_TIME`.
    pub fn set_system(&self) -> nix::Result<()> {
        let Some(told) = self.told() else {
            return Ok(());
        };
        let utc = told.utc(self.now().ticks());
        let millis = u64::try_from(utc.0).map_err(|_| Errno::EINVAL)?;
        let since_1970 = Duration::from_millis(millis);
        let time = TimeSpec::from_duration(since_1970);
        // A 32-bit `time_t` ends in 2038.
        if Duration::from(time) != since_1970 {
            return Err(Errno::EOVERFLOW);
        }
        clock_settime(ClockId::CLOCK_REALTIME, time)
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

    #[test]
    fn what_is_told_counts_until_the_system_s_clock_is_set_elsewhere() {
        let clock = Clock::start();
        assert_eq!(clock.told(), None);
        let (system, quality) = clock.utc_offset();
        assert_eq!(quality, ClockQuality::Synchronized);
        clock.tell(system);
        assert_eq!(clock.utc_offset(), (system, ClockQuality::Corrected));
        assert!(clock.utc_now().0.abs_diff(utc_now().0) < 60_000);
        // An hour away from the system's clock, which is right.
        clock.tell(UtcOffset(system.0 + 3600 * 90_000));
        assert_eq!(clock.utc_offset().1, ClockQuality::Synchronized);
    }
}
