//! Gaps: known missing video, each with its cause.

use core::fmt;

use crate::limits::GAPS_MAX;
use crate::time::{Ticks, UtcMillis};

/// Why video is missing; the third field of an entry of the `gaps` metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// The camera was away, or its session broke.
    CameraDisconnected = 1,
    /// Packets were lost on the way for longer than one GOP.
    MediaLost = 2,
    /// The gateway could not take in what came: the pool was full.
    Overload = 3,
    /// The ring was full and the video had not been sent.
    CacheFull = 4,
    /// Power failed.
    PowerLost = 5,
    /// `cvr` was stopped, or died, and started again.
    Restarted = 6,
    /// What was written to the card reads back wrong.
    CacheCorrupt = 7,
    /// The card could not be written.
    CacheFailed = 8,
    /// Codec parameters changed and no picture could be used in between.
    FormatChanged = 9,
    /// The clock was stepped.
    ClockStepped = 10,
    /// The camera was `Inactive`.
    Inactive = 11,
    /// Blob storage refused the segment for ever.
    UploadRefused = 12,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 12] = [
        Self::CameraDisconnected,
        Self::MediaLost,
        Self::Overload,
        Self::CacheFull,
        Self::PowerLost,
        Self::Restarted,
        Self::CacheCorrupt,
        Self::CacheFailed,
        Self::FormatChanged,
        Self::ClockStepped,
        Self::Inactive,
        Self::UploadRefused,
    ];

    /// The word in metadata, events and state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CameraDisconnected => "cameraDisconnected",
            Self::MediaLost => "mediaLost",
            Self::Overload => "overload",
            Self::CacheFull => "cacheFull",
            Self::PowerLost => "powerLost",
            Self::Restarted => "restarted",
            Self::CacheCorrupt => "cacheCorrupt",
            Self::CacheFailed => "cacheFailed",
            Self::FormatChanged => "formatChanged",
            Self::ClockStepped => "clockStepped",
            Self::Inactive => "inactive",
            Self::UploadRefused => "uploadRefused",
        }
    }

    /// The cause with this number on flash.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u8 == number)
    }
}

/// A moment of some boot of the gateway. Order is boot, then ticks, never UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The boot's number: starts of `cvr` on this ring, from 1.
    pub boot: u32,
    /// On that boot's timeline.
    pub ticks: Ticks,
    /// UTC as it was believed then; used when the boot's own offset is no longer known.
    pub estimate: UtcMillis,
}

/// Missing video from `start` to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// End of the last video before it.
    pub start: Point,
    /// Start of the first video after it.
    pub end: Point,
    /// Why.
    pub cause: Cause,
}

/// Missing video within this boot, as the recorder tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// End of the last video before it, or 0: `cvr`'s start.
    pub start: Ticks,
    /// Start of the first video after it, or where the next cause takes over.
    pub end: Ticks,
    /// Why.
    pub cause: Cause,
}

/// Missing video as the cloud is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldGap {
    /// End of the last video before it.
    pub start: UtcMillis,
    /// Start of the first video after it.
    pub end: UtcMillis,
    /// Why.
    pub cause: Cause,
}

/// An entry of the `gaps` metadata: `START/END/CAUSE`.
impl fmt::Display for ToldGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.start, self.end, self.cause.as_str())
    }
}

/// Gaps, oldest first, not overlapping; at most [`GAPS_MAX`], more are merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps(heapless::Vec<Gap, GAPS_MAX>);

impl Gaps {
    /// None.
    pub const fn new() -> Self {
        Self(heapless::Vec::new())
    }

    /// Adds a gap that ends after all others.
    ///
    /// One that continues the last with the same cause lengthens it. If there is no room, the
    /// two neighbours with the least video between them become one; it keeps the later cause.
    pub fn push(&mut self, gap: Gap) {
        if let Some(last) = self.0.last_mut()
            && last.cause == gap.cause
            && last.end >= gap.start
        {
            last.end = last.end.max(gap.end);
            return;
        }
        if self.0.is_full() {
            self.merge_closest();
        }
        self.0.push(gap).expect("merging made room");
    }

    /// Adds all of `later`, which lie after these.
    pub fn extend(&mut self, later: &Self) {
        for gap in later.iter() {
            self.push(*gap);
        }
    }

    /// What is missing before `point` is told, or was not missing after all.
    pub fn forget_until(&mut self, point: Point) {
        self.0.retain(|gap| gap.end > point);
        if let Some(first) = self.0.first_mut() {
            first.start = first.start.max(point);
        }
    }

    /// Oldest first.
    pub fn iter(&self) -> core::slice::Iter<'_, Gap> {
        self.0.iter()
    }

    /// Number of gaps.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No gap.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn merge_closest(&mut self) {
        let closest = self
            .0
            .windows(2)
            .enumerate()
            .filter_map(|(at, pair)| match pair {
                [a, b] => Some((b.start.estimate.0 - a.end.estimate.0, at)),
                _ => None,
            })
            .min();
        let Some((_, at)) = closest else { return };
        let later = self.0.remove(at + 1);
        if let Some(earlier) = self.0.get_mut(at) {
            earlier.end = later.end;
            earlier.cause = later.cause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(start: u64, end: u64, cause: Cause) -> Gap {
        let point = |ms: u64| Point {
            boot: 1,
            ticks: Ticks(ms * 90),
            estimate: UtcMillis(i64::try_from(ms).unwrap()),
        };
        Gap {
            start: point(start),
            end: point(end),
            cause,
        }
    }

    #[test]
    fn neighbours_with_one_cause_become_one() {
        let mut gaps = Gaps::new();
        gaps.push(gap(0, 30, Cause::CacheFull));
        gaps.push(gap(30, 60, Cause::CacheFull));
        gaps.push(gap(60, 61, Cause::Restarted));
        assert_eq!(gaps.len(), 2);
        assert_eq!(gaps.iter().next(), Some(&gap(0, 60, Cause::CacheFull)));
    }

    #[test]
    fn what_lies_before_a_point_is_forgotten() {
        let mut gaps = Gaps::new();
        gaps.push(gap(0, 10, Cause::MediaLost));
        gaps.push(gap(20, 60, Cause::CacheFull));
        gaps.forget_until(gap(0, 30, Cause::CacheFull).end);
        assert!(gaps.iter().eq(&[gap(30, 60, Cause::CacheFull)]));
        gaps.forget_until(gap(0, 60, Cause::CacheFull).end);
        assert!(gaps.is_empty());
    }

    #[test]
    fn the_closest_are_merged_when_full() {
        let mut gaps = Gaps::new();
        for i in 0..GAPS_MAX as u64 {
            let length = if i == 6 { 99 } else { 10 };
            gaps.push(gap(i * 100, i * 100 + length, Cause::MediaLost));
        }
        gaps.push(gap(10_000, 10_010, Cause::Overload));
        assert_eq!(gaps.len(), GAPS_MAX);
        assert_eq!(gaps.iter().nth(6), Some(&gap(600, 710, Cause::MediaLost)));
    }

    #[test]
    fn a_gap_is_told_with_both_ends_and_its_cause() {
        let gap = ToldGap {
            start: UtcMillis(0),
            end: UtcMillis(1_795_293_000_123),
            cause: Cause::PowerLost,
        };
        assert_eq!(
            gap.to_string(),
            "1970-01-01T00:00:00.000Z/2026-11-21T20:30:00.123Z/powerLost"
        );
    }

    #[test]
    fn every_cause_has_its_own_number_and_word() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_number(cause as u8), Some(cause));
            assert_eq!(
                Cause::ALL
                    .iter()
                    .filter(|c| c.as_str() == cause.as_str())
                    .count(),
                1
            );
        }
        assert_eq!(Cause::from_number(0), None);
    }
}
