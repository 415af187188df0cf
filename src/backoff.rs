//! Exponential back-off with full jitter, for cameras and for uploads.
//!
//! Randomness is an argument, so that a seed makes the same run again.

use core::time::Duration;

/// A small seeded source of random numbers (splitmix64); not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Every seed is as good as any other.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A length of time from `low` to `high`, both included, in milliseconds' steps.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_millis()).unwrap_or(u64::MAX);
        let of_span = (u128::from(self.bits()) * (u128::from(span) + 1)) >> 64;
        low + Duration::from_millis(u64::try_from(of_span).unwrap_or(span))
    }
}

/// How long to wait after failures in a row.
///
/// The wait after the n-th is random between the shortest and the shortest times 2^n, and never
/// above the longest: after a power cut of a whole site the gateways do not come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits from `shortest` to `longest`.
    pub const fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            failures: 0,
        }
    }

    /// For a camera: 1 s to 30 s.
    pub const fn camera() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(30))
    }

    /// For Blob storage: 1 s to 60 s.
    pub const fn upload() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(60))
    }

    /// Another failure: how long to wait before the next attempt.
    pub fn failed(&mut self, random: &mut Random) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let factor = 1u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX);
        let high = self.shortest.saturating_mul(factor).min(self.longest);
        random.between(self.shortest.min(high), high)
    }

    /// A success, or a reason to try at once.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_fill_the_range() {
        let mut random = Random::new(7);
        let mut longest_seen = Duration::ZERO;
        for _ in 0..200 {
            let mut backoff = Backoff::upload();
            for n in 1..40 {
                let wait = backoff.failed(&mut random);
                let high = Duration::from_secs(1 << n.min(6)).min(Duration::from_secs(60));
                assert!(
                    Duration::from_secs(1) <= wait && wait <= high,
                    "{n}: {wait:?}"
                );
                longest_seen = longest_seen.max(wait);
            }
        }
        assert!(longest_seen > Duration::from_secs(58));
    }

    #[test]
    fn full_jitter_spreads_evenly() {
        let mut random = Random::new(1);
        let (low, high) = (Duration::from_secs(1), Duration::from_secs(3));
        let early = (0..10_000)
            .filter(|_| random.between(low, high) < Duration::from_secs(2))
            .count();
        assert!((4_800..5_200).contains(&early), "{early}");
        assert_eq!(random.between(high, low), high);
    }

    #[test]
    fn a_success_begins_anew_and_a_seed_repeats() {
        let (mut a, mut b) = (Random::new(3), Random::new(3));
        let mut backoff = Backoff::camera();
        let first: Vec<_> = (0..9).map(|_| backoff.failed(&mut a)).collect();
        assert_eq!(backoff.failures(), 9);
        backoff.reset();
        let again: Vec<_> = (0..9).map(|_| backoff.failed(&mut b)).collect();
        assert_eq!(first, again);
        assert!(
            again
                .first()
                .is_some_and(|wait| *wait <= Duration::from_secs(2))
        );
    }
}
