//! The only file that reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::UtcMillis;

/// UTC as the system's clock has it, right or wrong, floored to milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads a clock"
)]
pub fn utc_now() -> UtcMillis {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()),
        // A clock before 1970: whole milliseconds down.
        Err(before) => {
            i64::try_from(before.duration().as_nanos().div_ceil(1_000_000)).map(|millis| -millis)
        }
    };
    UtcMillis(millis.unwrap_or(i64::MAX))
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
