//! Which segment is sent next (DESIGN.md section 5).
//!
//! Within a ring: the oldest that can still be sent whole, [`offer`]. Between rings: first the
//! one that would lose unsent video soonest, then the oldest start, [`Offer::before`].

use core::cmp::Ordering;
use core::time::Duration;

use crate::time::{Instant, UtcMillis};

/// A sealed segment that has not been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number in its ring.
    pub sequence: u64,
    /// Log position of its first byte.
    pub position: u64,
    /// Bytes to send.
    pub length: u64,
    /// Bytes that can still be written to the ring before its first is overwritten.
    pub ahead: u64,
    /// Start of its video.
    pub start: UtcMillis,
}

/// A ring, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingFacts {
    /// Bytes it holds.
    pub capacity: u64,
    /// Bytes a second that are written to it.
    pub write_rate: u64,
    /// When a Put Blob of it last began.
    pub last_put: Instant,
}

/// What a ring has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The segment. Unsent ones before it cannot be sent whole any more: they are evicted when
    /// the Put begins.
    pub segment: Candidate,
    /// How long until the ring loses unsent video; none where it is not about to.
    slack: Option<Duration>,
    last_put: Instant,
}

/// The segment of a ring to send next, of its unsent ones, oldest first, over an uplink of
/// `upload` bytes a second, if that is known.
///
/// Where the uplink is too slow even for the newest, that one is offered: the speed is an
/// estimate, and nothing else would correct it.
pub fn offer(
    ring: &RingFacts,
    upload: Option<u64>,
    unsent: impl IntoIterator<Item = Candidate>,
) -> Option<Offer> {
    let mut slack = None;
    let mut best = None;
    for segment in unsent {
        slack.get_or_insert(ring.slack(upload, &segment));
        best = Some(segment);
        if segment.ahead >= ring.written_meanwhile(upload, segment.length) {
            break;
        }
    }
    best.map(|segment| Offer {
        segment,
        slack: slack.flatten(),
        last_put: ring.last_put,
    })
}

impl Offer {
    /// Which of two rings' offers is sent first.
    ///
    /// Rings that lose video already take turns: else one of them could lose all of its own.
    pub fn before(&self, other: &Self) -> Ordering {
        match (self.slack, other.slack) {
            (Some(mine), Some(theirs)) => {
                let by_slack = mine.cmp(&theirs);
                by_slack.then(self.last_put.cmp(&other.last_put))
            }
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
        .then(self.segment.start.cmp(&other.segment.start))
    }
}

impl RingFacts {
    /// Bytes that are written to the ring while `length` bytes are sent, and a quarter more.
    fn written_meanwhile(&self, upload: Option<u64>, length: u64) -> u64 {
        let Some(upload) = upload else { return 0 };
        let written = u128::from(length) * u128::from(self.write_rate) * 5 / 4;
        u64::try_from(written / u128::from(upload.max(1))).unwrap_or(u64::MAX)
    }

    /// How long the Put of its oldest unsent segment may wait and still be finished in time.
    ///
    /// None while an eighth of the ring is free before that segment.
    fn slack(&self, upload: Option<u64>, oldest: &Candidate) -> Option<Duration> {
        if oldest.ahead >= self.capacity / 8 {
            return None;
        }
        let needed = self.written_meanwhile(upload, oldest.length);
        let spare = u128::from(oldest.ahead.saturating_sub(needed));
        let millis = spare * 1000 / u128::from(self.write_rate.max(1));
        Some(Duration::from_millis(
            u64::try_from(millis).unwrap_or(u64::MAX),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::speed::UploadSpeed;

    fn candidate(sequence: u64, ahead: u64) -> Candidate {
        Candidate {
            sequence,
            position: sequence * 100,
            length: 100,
            ahead,
            start: UtcMillis(i64::try_from(sequence).unwrap()),
        }
    }

    const RING: RingFacts = RingFacts {
        capacity: 4000,
        write_rate: 100,
        last_put: Instant::START,
    };

    /// Half the speed of the writer.
    const HALF: Option<u64> = Some(50);

    #[test]
    fn the_oldest_that_can_be_sent_whole() {
        let unsent = [10, 110, 210, 310, 410].map(|ahead| candidate(ahead, ahead));
        let sequence = |ring, upload| offer(ring, upload, unsent).map(|o| o.segment.sequence);
        // 100 bytes at 50 a second take 2 s, in which 200 are written; 250 with the margin.
        assert_eq!(sequence(&RING, HALF), Some(310));
        assert_eq!(sequence(&RING, None), Some(10));
        assert_eq!(sequence(&RING, Some(10_000)), Some(10));
        assert_eq!(sequence(&RING, Some(1)), Some(410));
        assert_eq!(sequence(&RING, Some(0)), Some(410));
        let idle = RingFacts {
            write_rate: 0,
            ..RING
        };
        assert_eq!(sequence(&idle, HALF), Some(10));
        assert_eq!(offer(&RING, HALF, []), None);
    }

    #[test]
    fn rings_about_to_lose_video_come_first_then_the_oldest() {
        let one = |sequence, ahead| offer(&RING, HALF, [candidate(sequence, ahead)]).unwrap();
        let (roomy_old, roomy_new) = (one(1, 4000), one(2, 500));
        let (full, fuller, losing) = (one(7, 499), one(8, 300), one(9, 249));
        let served = Offer {
            last_put: Instant::from_millis(1),
            ..one(3, 100)
        };
        assert_eq!(full.slack, Some(Duration::from_millis(2490)));
        assert_eq!(
            (roomy_new.slack, losing.slack),
            (None, Some(Duration::ZERO))
        );
        let mut all = [roomy_new, served, full, losing, roomy_old, fuller];
        all.sort_by(Offer::before);
        assert_eq!(all, [losing, served, fuller, full, roomy_old, roomy_new]);
    }

    /// A camera with its ring, in a simulation; bytes are positions in its endless log.
    struct Ring {
        write: u64,
        segment: u64,
        capacity: u64,
        /// First byte not yet evicted or sent.
        unsent: u64,
        last_put: Instant,
        arrived: Vec<u64>,
    }

    impl Ring {
        fn new(write: u64, seconds: u64, segments: u64) -> Self {
            Self {
                write,
                segment: write * seconds,
                capacity: write * seconds * segments,
                unsent: 0,
                last_put: Instant::START,
                arrived: Vec::new(),
            }
        }

        fn offer(&self, ms: u64, upload: Option<u64>) -> Option<Offer> {
            let written = self.write * ms / 1000;
            let sealed = written / self.segment;
            let kept = written.saturating_sub(self.capacity).div_ceil(self.segment);
            let unsent = (kept.max(self.unsent)..sealed).map(|sequence| Candidate {
                sequence,
                position: sequence * self.segment,
                length: self.segment,
                ahead: (sequence * self.segment + self.capacity).saturating_sub(written),
                start: UtcMillis((sequence * self.segment * 1000 / self.write).cast_signed()),
            });
            let ring = RingFacts {
                capacity: self.capacity,
                write_rate: self.write,
                last_put: self.last_put,
            };
            offer(&ring, upload, unsent)
        }
    }

    /// Runs for 200 laps of the longest ring. Returns the part of the sent bytes that ended in
    /// finished blobs, in percent, once the speed is known.
    fn simulate(rings: &mut [Ring], uplink: u64) -> u64 {
        let laps = rings.iter().map(|ring| ring.capacity * 1000 / ring.write);
        let end = 200 * laps.max().unwrap();
        let mut speed = UploadSpeed::new();
        let (mut ms, mut useful, mut sent) = (0, 0, 0);
        while ms < end {
            let known = speed.bytes_per_second();
            let offers = rings.iter().enumerate().filter_map(|(i, ring)| {
                let offer = ring.offer(ms, known)?;
                Some((offer, i))
            });
            let Some((offer, i)) = offers.min_by(|(a, _), (b, _)| a.before(b)) else {
                ms += 1000;
                continue;
            };
            let ring = &mut rings[i];
            let Candidate {
                sequence,
                length,
                ahead,
                ..
            } = offer.segment;
            let takes = length * 1000 / uplink;
            let reached = ahead * 1000 / ring.write;
            ring.last_put = Instant::from_millis(ms);
            speed.begin(ring.last_put);
            let lasts = takes.min(reached).max(1);
            for second in (1000..lasts).step_by(1000) {
                speed.progress(Instant::from_millis(ms + second), uplink * second / 1000);
            }
            ms += lasts;
            if takes <= reached {
                speed.stored(Instant::from_millis(ms), length);
                ring.arrived.push(sequence);
                ring.unsent = sequence + 1;
            }
            if known.is_some() {
                sent += uplink * lasts / 1000;
                useful += if takes <= reached { length } else { 0 };
            }
        }
        useful * 100 / sent
    }

    #[test]
    fn a_slow_uplink_finishes_whole_segments_oldest_first() {
        for percent in [50, 20, 5] {
            let mut rings = [Ring::new(500_000, 30, 40)];
            let useful = simulate(&mut rings, 500_000 * percent / 100);
            assert!(
                useful >= 90,
                "{useful} % at {percent} % of the needed speed"
            );
            let arrived = &rings[0].arrived;
            assert!(arrived.is_sorted_by(|a, b| a < b));
            let expected = 200 * 40 * usize::try_from(percent).unwrap() / 100;
            assert!(
                arrived.len() >= expected * 9 / 10,
                "{} arrived",
                arrived.len()
            );
        }
    }

    #[test]
    fn cameras_share_a_slow_uplink() {
        for percent in [50, 20] {
            let mut rings = [
                Ring::new(1_000_000, 30, 40),
                Ring::new(250_000, 30, 40),
                Ring::new(250_000, 60, 100),
            ];
            let useful = simulate(&mut rings, 1_500_000 * percent / 100);
            assert!(useful >= 90, "{useful} % at {percent} %");
            for ring in &rings {
                assert!(ring.arrived.is_sorted_by(|a, b| a < b));
                let recorded = 200 * 100 * 60 * ring.write / ring.segment;
                let part = ring.arrived.len() as u64 * 100 / recorded;
                assert!(
                    part * 2 >= percent,
                    "a camera got {part} % of its video through"
                );
            }
        }
    }

    #[test]
    fn a_fast_uplink_loses_nothing() {
        let mut rings = [Ring::new(500_000, 30, 40), Ring::new(250_000, 60, 16)];
        assert_eq!(simulate(&mut rings, 1_000_000), 100);
        for ring in &rings {
            assert!(
                ring.arrived
                    .iter()
                    .copied()
                    .eq(0..ring.arrived.len() as u64)
            );
        }
    }
}
