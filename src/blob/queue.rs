//! Which segment is sent next (DESIGN.md section 5).
//!
//! Within a ring: the oldest that can still be sent whole, [`offer`]. Between rings: first the
//! one that would lose unsent video soonest, then the oldest start, [`Offer::before`].

use core::cmp::Ordering;
use core::time::Duration;

use crate::time::UtcMillis;

/// A sealed segment that has not been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number in its ring.
    pub sequence: u64,
    /// Bytes to send.
    pub length: u64,
    /// Bytes that can still be written to the ring before its first is overwritten.
    pub ahead: u64,
    /// Start of its video.
    pub start: UtcMillis,
    /// It may be tried now; false while it is set aside or held back.
    pub may_try: bool,
}

/// Speeds, in bytes a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speeds {
    /// Of the uplink; none while not known.
    pub upload: Option<u64>,
    /// Of the writer of this ring.
    pub write: u64,
}

/// What a ring has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The segment.
    pub segment: Candidate,
    /// Unsent segments before this number cannot be sent whole any more: they are evicted when
    /// the Put begins.
    pub lost_before: u64,
    /// How long the Put may wait and still be finished in time; none where the ring is not about
    /// to evict unsent video.
    pub slack: Option<Duration>,
}

/// The segment of a ring of `capacity` bytes to send next, of its unsent ones, oldest first.
///
/// Where the uplink is too slow even for the newest, that one is offered: the speed is an
/// estimate, and nothing else would correct it.
pub fn offer(
    capacity: u64,
    speeds: Speeds,
    unsent: impl IntoIterator<Item = Candidate>,
) -> Option<Offer> {
    let mut oldest_ahead = None;
    let mut lost_before = None;
    let mut newest = None;
    for segment in unsent {
        let ahead_of_oldest = *oldest_ahead.get_or_insert(segment.ahead);
        if segment.may_try {
            newest = Some(segment);
        }
        if segment.ahead < speeds.written_meanwhile(segment.length) {
            continue;
        }
        let lost_before = *lost_before.get_or_insert(segment.sequence);
        if segment.may_try {
            return Some(Offer {
                segment,
                lost_before,
                slack: speeds.slack(capacity, ahead_of_oldest, &segment),
            });
        }
    }
    newest.map(|segment| Offer {
        segment,
        lost_before: lost_before.unwrap_or(segment.sequence),
        slack: Some(Duration::ZERO),
    })
}

impl Offer {
    /// Which of two rings' offers is sent first.
    pub fn before(&self, other: &Self) -> Ordering {
        let by_slack = match (self.slack, other.slack) {
            (Some(mine), Some(theirs)) => mine.cmp(&theirs),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        by_slack.then(self.segment.start.cmp(&other.segment.start))
    }
}

impl Speeds {
    /// Bytes that are written to the ring while `length` bytes are sent, and a quarter more.
    fn written_meanwhile(self, length: u64) -> u64 {
        let Some(upload) = self.upload else { return 0 };
        let written = u128::from(length) * u128::from(self.write) * 5 / 4;
        u64::try_from(written / u128::from(upload.max(1))).unwrap_or(u64::MAX)
    }

    /// A ring is about to evict unsent video when less than an eighth of it is free before the
    /// oldest unsent segment.
    fn slack(self, capacity: u64, oldest_ahead: u64, segment: &Candidate) -> Option<Duration> {
        if oldest_ahead >= capacity / 8 {
            return None;
        }
        let free = segment.ahead - self.written_meanwhile(segment.length).min(segment.ahead);
        let millis = u128::from(free) * 1000 / u128::from(self.write.max(1));
        Some(Duration::from_millis(
            u64::try_from(millis).unwrap_or(u64::MAX),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::speed::UploadSpeed;
    use crate::time::Instant;

    fn candidate(sequence: u64, ahead: u64) -> Candidate {
        Candidate {
            sequence,
            length: 100,
            ahead,
            start: UtcMillis(i64::try_from(sequence).unwrap()),
            may_try: true,
        }
    }

    const HALF: Speeds = Speeds {
        upload: Some(50),
        write: 100,
    };

    #[test]
    fn the_oldest_that_can_be_sent_whole() {
        let unsent = [10, 110, 210, 310, 410].map(|ahead| candidate(ahead, ahead));
        let sequence = |speeds| offer(4000, speeds, unsent).map(|offer| offer.segment.sequence);
        // 100 bytes at 50 a second take 2 s, in which 200 are written; 250 with the margin.
        assert_eq!(sequence(HALF), Some(310));
        let upload = |upload| Speeds { upload, write: 100 };
        assert_eq!(sequence(upload(None)), Some(10));
        assert_eq!(sequence(upload(Some(10_000))), Some(10));
        assert_eq!(sequence(upload(Some(1))), Some(410));
        assert_eq!(sequence(upload(Some(0))), Some(410));
        assert_eq!(sequence(Speeds { write: 0, ..HALF }), Some(10));
        assert_eq!(offer(4000, HALF, []), None);
    }

    #[test]
    fn what_is_held_back_is_not_lost() {
        let mut unsent = [10, 310, 410, 510].map(|ahead| candidate(ahead, ahead));
        unsent[1].may_try = false;
        let held = offer(4000, HALF, unsent).unwrap();
        assert_eq!((held.segment.sequence, held.lost_before), (410, 310));
        unsent[2].may_try = false;
        unsent[3].may_try = false;
        let hopeless = offer(4000, HALF, unsent).unwrap();
        assert_eq!((hopeless.segment.sequence, hopeless.lost_before), (10, 310));
        unsent[0].may_try = false;
        assert_eq!(offer(4000, HALF, unsent), None);
    }

    #[test]
    fn rings_about_to_lose_video_come_first_then_the_oldest() {
        let one = |sequence, ahead| offer(4000, HALF, [candidate(sequence, ahead)]).unwrap();
        let (roomy_old, roomy_new) = (one(1, 4000), one(2, 500));
        let (full, fuller) = (one(8, 499), one(9, 300));
        assert_eq!(full.slack, Some(Duration::from_millis(2490)));
        assert_eq!(roomy_new.slack, None);
        let mut all = [roomy_new, full, roomy_old, fuller];
        all.sort_by(Offer::before);
        assert_eq!(all, [fuller, full, roomy_old, roomy_new]);
    }

    /// A camera with its ring, in a simulation; bytes are positions in its endless log.
    struct Ring {
        write: u64,
        segment: u64,
        capacity: u64,
        /// First byte not yet evicted or sent.
        unsent: u64,
        arrived: Vec<u64>,
    }

    impl Ring {
        fn new(write: u64, seconds: u64, segments: u64) -> Self {
            Self {
                write,
                segment: write * seconds,
                capacity: write * seconds * segments,
                unsent: 0,
                arrived: Vec::new(),
            }
        }

        fn offer(&self, ms: u64, upload: Option<u64>) -> Option<Offer> {
            let written = self.write * ms / 1000;
            let sealed = written / self.segment;
            let kept = written.saturating_sub(self.capacity).div_ceil(self.segment);
            let unsent = (kept.max(self.unsent)..sealed).map(|sequence| Candidate {
                sequence,
                length: self.segment,
                ahead: (sequence * self.segment + self.capacity).saturating_sub(written),
                start: UtcMillis((sequence * self.segment * 1000 / self.write).cast_signed()),
                may_try: true,
            });
            let speeds = Speeds {
                upload,
                write: self.write,
            };
            offer(self.capacity, speeds, unsent)
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
            speed.begin(Instant::from_millis(ms));
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
                    part * 4 >= percent,
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
