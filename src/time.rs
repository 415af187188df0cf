//! Three clocks, three types, no mixing.
//!
//! - [`Instant`]: the gateway's monotonic clock, microseconds since `cvr` started.
//! - [`Ticks`]: a camera's timeline, 90 kHz since `cvr` started; what `tfdt` counts.
//! - [`UtcMillis`]: UTC, milliseconds since 1970, for names and metadata.
//!
//! Nothing here reads a clock (`os/clock.rs` does).

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// Ticks a second of every timeline and of every track in the MP4.
pub const TIMESCALE: u32 = 90_000;

/// A moment on the gateway's monotonic clock, in microseconds since `cvr` started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// `cvr`'s start.
    pub const START: Self = Self(0);

    /// From microseconds since `cvr` started.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From milliseconds since `cvr` started.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1000)
    }

    /// Microseconds since `cvr` started.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The same moment on the 90 kHz timeline, floored.
    pub const fn ticks(self) -> Ticks {
        Ticks(self.0 / 100 * 9 + self.0 % 100 * 9 / 100)
    }

    /// Time since `earlier`, zero if that lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// A moment, or a length, on a camera's 90 kHz timeline since `cvr` started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u64);

impl Ticks {
    /// Whole milliseconds, floored.
    pub const fn as_millis(self) -> u64 {
        self.0 / 90
    }

    /// The ticks of a length of time, floored.
    pub const fn from_duration(length: Duration) -> Self {
        Self(length.as_secs() * TIMESCALE as u64 + length.subsec_micros() as u64 * 9 / 100)
    }

    /// `self - earlier`, zero if that lies ahead.
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Ticks {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl Sub for Ticks {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        debug_assert!(self.0 >= rhs.0);
        Self(self.0.saturating_sub(rhs.0))
    }
}

/// UTC of a timeline's tick 0, in 90 kHz ticks since 1970.
///
/// Only a clock correction changes it. An instant becomes milliseconds once, here, by flooring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UtcOffset(pub i64);

impl UtcOffset {
    /// UTC of `at`.
    pub const fn utc(self, at: Ticks) -> UtcMillis {
        UtcMillis(self.0.saturating_add_unsigned(at.0).div_euclid(90))
    }
}

/// UTC in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcMillis(pub i64);

impl UtcMillis {
    /// Year, month, day, hour, minute, second, millisecond in the Gregorian calendar.
    ///
    /// Days to date by H. Hinnant's `civil_from_days`.
    pub fn civil(self) -> Civil {
        let days = self.0.div_euclid(86_400_000);
        let of_day = self.0.rem_euclid(86_400_000);
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: of_day / 3_600_000,
            minute: of_day / 60_000 % 60,
            second: of_day / 1000 % 60,
            millisecond: of_day % 1000,
        }
    }
}

impl UtcMillis {
    /// The moment of a date and time, or none where there is no such date or time.
    ///
    /// Date to days by H. Hinnant's `days_from_civil`; a leap second is refused.
    pub fn from_civil(c: Civil) -> Option<Self> {
        let in_range = (0..=9999).contains(&c.year)
            && (1..=12).contains(&c.month)
            && (1..=31).contains(&c.day)
            && (0..24).contains(&c.hour)
            && (0..60).contains(&c.minute)
            && (0..60).contains(&c.second)
            && (0..1000).contains(&c.millisecond);
        if !in_range {
            return None;
        }
        let year = c.year - i64::from(c.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((c.month + 9) % 12) + 2) / 5 + c.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let seconds = ((days * 24 + c.hour) * 60 + c.minute) * 60 + c.second;
        let moment = Self(seconds * 1000 + c.millisecond);
        (moment.civil() == c).then_some(moment)
    }

    /// Reads ISO 8601 in UTC: `2026-11-21`, `2026-11-21T20:30Z`, `2026-11-21T20:30:00Z`, and with
    /// 1 to 9 digits of a fraction of a second, floored to milliseconds.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, time.strip_suffix('Z')?),
            None => (text, "00:00"),
        };
        let mut ymd = date.split('-');
        let mut hms = time.split(':');
        let civil = Civil {
            year: digits(ymd.next()?, 4)?,
            month: digits(ymd.next()?, 2)?,
            day: digits(ymd.next()?, 2)?,
            hour: digits(hms.next()?, 2)?,
            minute: digits(hms.next()?, 2)?,
            second: 0,
            millisecond: 0,
        };
        let (second, fraction) = match hms.next().map(|s| s.split_once('.').unwrap_or((s, "0"))) {
            Some((second, fraction)) => (digits(second, 2)?, fraction),
            None => (0, "0"),
        };
        digits(fraction, fraction.len())?;
        if ymd.next().is_some() || hms.next().is_some() || fraction.len() > 9 {
            return None;
        }
        let millisecond = fraction.bytes().chain(*b"00").take(3);
        Self::from_civil(Civil {
            second,
            millisecond: millisecond.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')),
            ..civil
        })
    }
}

/// A number of exactly `n` decimal digits, 1 to 18.
fn digits(text: &str, n: usize) -> Option<i64> {
    let right = text.len() == n && (1..=18).contains(&n);
    (right && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// ISO 8601 with milliseconds: `2026-11-21T20:30:00.123Z`.
impl fmt::Display for UtcMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.civil();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            c.year, c.month, c.day, c.hour, c.minute, c.second, c.millisecond
        )
    }
}

/// A UTC date and time in the Gregorian calendar; month and day count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub millisecond: i64,
}

/// What is known of the UTC of a segment; the blob's `clock` metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockQuality {
    /// The clock was never known to be right.
    #[default]
    Unsynchronized,
    /// Recorded with a wrong clock, set right afterwards.
    Corrected,
    /// The clock was right while recording.
    Synchronized,
}

impl ClockQuality {
    /// The word of the `clock` metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsynchronized => "unsynchronized",
            Self::Corrected => "corrected",
            Self::Synchronized => "synchronized",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_an_instant_are_floored() {
        assert_eq!(Instant::from_micros(1_000_000).ticks(), Ticks(90_000));
        assert_eq!(Instant::from_micros(11).ticks(), Ticks(0));
        assert_eq!(Instant::from_micros(12).ticks(), Ticks(1));
        assert_eq!(Instant::from_micros(199).ticks(), Ticks(17));
    }

    #[test]
    fn utc_is_shown_in_iso_8601() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_795_293_000_001, "2026-11-21T20:30:00.001Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(UtcMillis(millis).to_string(), text);
        }
    }

    #[test]
    fn iso_8601_is_read_back() {
        for millis in [0, 951_827_696_789, 1_795_293_000_001, 4_102_444_799_999] {
            assert_eq!(
                UtcMillis::parse(&UtcMillis(millis).to_string()),
                Some(UtcMillis(millis))
            );
        }
        for (text, same) in [
            ("2026-11-21", "2026-11-21T00:00:00.000Z"),
            ("2026-11-21T20:30Z", "2026-11-21T20:30:00.000Z"),
            ("2026-11-21T20:30:59Z", "2026-11-21T20:30:59.000Z"),
            ("2026-11-21T20:30:59.5Z", "2026-11-21T20:30:59.500Z"),
            ("2026-11-21T20:30:59.1239999Z", "2026-11-21T20:30:59.123Z"),
        ] {
            assert_eq!(UtcMillis::parse(text).unwrap().to_string(), same);
        }
        for wrong in [
            "",
            "2026",
            "2026-11",
            "2026-1-21",
            "2026-02-29",
            "2026-13-01",
            "2026-11-21T20:30:59",
            "2026-11-21T24:00Z",
            "2026-11-21T20:30:60Z",
            "2026-11-21T20:30:59.Z",
            "2026-11-21T20:30:59.1234567890Z",
            "2026-11-21T20:30:00:00Z",
            "2026-11-21-01",
            "+026-11-21",
            "2026-11-21T20:30:59+01:00",
        ] {
            assert_eq!(UtcMillis::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_segment_starts_in_the_millisecond_in_which_its_predecessor_ends() {
        let offset = UtcOffset(161_576_370_000_041);
        let (start, cut, end) = (Ticks(7), Ticks(2_700_012), Ticks(5_400_099));
        let first = offset.utc(cut).0 - offset.utc(start).0;
        let second = offset.utc(end).0 - offset.utc(cut).0;
        assert_eq!(first + second, offset.utc(end).0 - offset.utc(start).0);
    }
}
