//! What keeps a session alive, and when (RFC 2326 section 12.37).

use core::time::Duration;

use crate::time::Instant;

/// Longest timeout that is believed; half of it passes between two requests.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The requests that keep a session alive.
#[derive(Debug)]
pub(super) struct KeepAlive {
    interval: Duration,
    due: Instant,
    get_parameter: bool,
}

impl KeepAlive {
    /// `get_parameter`: the camera says that it knows GET_PARAMETER.
    pub(super) fn new(now: Instant, timeout: Duration, get_parameter: bool) -> Self {
        let interval = timeout.min(TIMEOUT_MAX) / 2;
        Self {
            interval,
            due: now + interval,
            get_parameter,
        }
    }

    /// When the next request is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The next request's method.
    pub(super) fn method(&self) -> &'static str {
        if self.get_parameter {
            "GET_PARAMETER"
        } else {
            "OPTIONS"
        }
    }

    /// The request was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.due = now + self.interval;
    }

    /// The request was refused, or not answered (GW Security GW4089IP ignores GET_PARAMETER, and
    /// would end the session): the next one is of another kind.
    pub(super) fn failed(&mut self) {
        self.get_parameter = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_timeout_passes_between_requests() {
        for (timeout, millis) in [(60, 30_000), (120, 30_000), (5, 2_500), (1, 500)] {
            let now = Instant::from_millis(7);
            let mut keep_alive = KeepAlive::new(now, Duration::from_secs(timeout), true);
            assert_eq!(
                keep_alive.due(),
                Instant::from_millis(7 + millis),
                "{timeout}"
            );
            keep_alive.sent(Instant::from_millis(100_000));
            assert_eq!(
                keep_alive.due(),
                Instant::from_millis(100_000 + millis),
                "{timeout}"
            );
        }
    }

    #[test]
    fn a_method_that_fails_is_not_used_again() {
        let mut keep_alive = KeepAlive::new(Instant::START, TIMEOUT_MAX, true);
        assert_eq!(keep_alive.method(), "GET_PARAMETER");
        for _ in 0..2 {
            keep_alive.failed();
            assert_eq!(keep_alive.method(), "OPTIONS");
        }
    }
}
