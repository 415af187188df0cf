//! When the next Put Blob may be tried (DESIGN.md section 5).

use core::time::Duration;

use super::verdict::Verdict;
use crate::backoff::{Backoff, Random};
use crate::time::Instant;

/// Pause after a refusal that only a person can mend: 403 and 404.
const REFUSED_PAUSE: Duration = Duration::from_secs(180);

/// The pause between Put Blobs, of all segments together: what failed for the network, the
/// server or the SAS fails for each of them.
#[derive(Clone, Debug)]
pub struct Retry {
    backoff: Backoff,
    ready_at: Instant,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// Ready at once.
    pub const fn new() -> Self {
        Self {
            backoff: Backoff::upload(),
            ready_at: Instant::START,
        }
    }

    /// Takes note of a verdict reached at `now`; gives the pause that follows.
    pub fn after(&mut self, now: Instant, verdict: &Verdict, random: &mut Random) -> Duration {
        let pause = match verdict {
            Verdict::Stored | Verdict::AlreadyThere => {
                self.backoff.reset();
                Duration::ZERO
            }
            // The caller's own doing needs no pause; a ring that fails has one of its own.
            Verdict::Cancelled | Verdict::Aborted => Duration::ZERO,
            Verdict::SasRefused(_) | Verdict::ContainerMissing => {
                random.between(REFUSED_PAUSE * 9 / 10, REFUSED_PAUSE * 11 / 10)
            }
            Verdict::Throttled(least) | Verdict::ServerTrouble(_, least) => {
                let pause = self.backoff.failed(random);
                pause.max(least.unwrap_or_default())
            }
            // The next segment tells; several in doubt must not be sent in turn without a pause.
            Verdict::MaybeThere
            | Verdict::SegmentRefused(_)
            | Verdict::Md5Mismatch
            | Verdict::NotBlobStorage(_)
            | Verdict::NetworkTrouble(_)
            | Verdict::TlsRefused(_) => self.backoff.failed(random),
        };
        self.ready_at = now + pause;
        pause
    }

    /// When the next Put Blob may begin.
    pub const fn ready_at(&self) -> Instant {
        self.ready_at
    }

    /// A new SAS, or SIGHUP: ready at once.
    pub const fn reset(&mut self) {
        self.backoff.reset();
        self.ready_at = Instant::START;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::verdict::{NetworkFault, SasFault};

    const NOW: Instant = Instant::from_millis(1_000_000);

    #[test]
    fn pauses_by_verdict() {
        let s = Duration::from_secs;
        let network = Verdict::NetworkTrouble(NetworkFault::Stalled);
        for (verdict, low, high) in [
            (Verdict::Stored, s(0), s(0)),
            (Verdict::AlreadyThere, s(0), s(0)),
            (Verdict::Cancelled, s(0), s(0)),
            (Verdict::Aborted, s(0), s(0)),
            (Verdict::MaybeThere, s(1), s(2)),
            (network, s(1), s(2)),
            (Verdict::Throttled(None), s(1), s(2)),
            (Verdict::Throttled(Some(s(90))), s(90), s(90)),
            (Verdict::ServerTrouble(500, Some(s(0))), s(1), s(2)),
            (Verdict::ContainerMissing, s(162), s(198)),
            (Verdict::SasRefused(SasFault::Wrong), s(162), s(198)),
        ] {
            let mut retry = Retry::new();
            let pause = retry.after(NOW, &verdict, &mut Random::new(5));
            assert!(low <= pause && pause <= high, "{verdict}: {pause:?}");
            assert_eq!(retry.ready_at(), NOW + pause);
        }
    }

    #[test]
    fn pauses_grow_until_a_success_or_a_new_sas() {
        let mut random = Random::new(5);
        let mut retry = Retry::new();
        let trouble = Verdict::ServerTrouble(500, None);
        let longest = (0..20)
            .map(|_| retry.after(NOW, &trouble, &mut random))
            .max();
        assert!(longest > Some(Duration::from_secs(30)));
        retry.after(NOW, &Verdict::Stored, &mut random);
        assert!(retry.after(NOW, &trouble, &mut random) <= Duration::from_secs(2));
        retry.after(NOW, &Verdict::ContainerMissing, &mut random);
        retry.reset();
        assert_eq!(retry.ready_at(), Instant::START);
    }
}
