//! The time as the container's host has it, for a gateway whose clock nobody sets.
//!
//! Pure: [`os::host_time`](crate::os::host_time) asks the host; here its answer is read and
//! judged, and it is decided which clock counts.

use crate::ring::{CLOCK_STEP_MILLIS, Cursors};
use crate::time::{Civil, ClockQuality, Ticks, UtcMillis, UtcOffset};

/// `Date` of an HTTP answer: an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section
/// 5.6.7). The obsolete forms, a leap second and a wrong day of the week are refused.
pub fn parse_date(text: &str) -> Option<UtcMillis> {
    let (day_name, rest) = text.split_once(", ")?;
    let mut words = rest.strip_suffix(" GMT")?.split(' ');
    let day = digits(words.next()?, 2)?;
    let month = words.next()?;
    let month = MONTHS.into_iter().zip(1..).find(|(name, _)| *name == month);
    let year = digits(words.next()?, 4)?;
    let mut time = words.next()?.split(':');
    let civil = Civil {
        year,
        month: month?.1,
        day,
        hour: digits(time.next()?, 2)?,
        minute: digits(time.next()?, 2)?,
        second: digits(time.next()?, 2)?,
        millisecond: 0,
    };
    if words.next().is_some() || time.next().is_some() {
        return None;
    }
    let date = UtcMillis::from_civil(civil)?;
    let days = usize::try_from(date.0.div_euclid(DAY).rem_euclid(7)).ok()?;
    (DAYS.get(days) == Some(&day_name)).then_some(date)
}

/// The newest UTC that a ring knows from boots whose clock was right: it cannot be earlier now.
pub fn newest_known(cursors: &Cursors) -> Option<UtcMillis> {
    let right = |number| {
        let boot = cursors.boot(number);
        boot.is_some_and(|boot| boot.clock != ClockQuality::Unsynchronized)
    };
    let gaps = [&cursors.pending, &cursors.untold, &cursors.telling];
    // Where the video of an earlier boot ends, a gap begins.
    let ends = gaps.into_iter().flat_map(|gaps| gaps.iter());
    let points = ends.map(|gap| gap.start).chain(cursors.accounted);
    let points = points.chain(cursors.passed);
    let points = points.filter(|point| right(point.boot));
    let starts = cursors.boots.iter().filter(|boot| right(boot.number));
    points
        .map(|point| cursors.resolve(point))
        .chain(starts.map(|boot| boot.offset.utc(Ticks(0))))
        .max()
}

/// Which clock counts, and what is known of it.
///
/// `system` is the system's idea, `plausible` if it can be right at all; `told` is the host's.
/// The host's time counts until the system's clock is set by someone else than `cvr`.
pub fn best(
    system: UtcOffset,
    plausible: bool,
    told: Option<UtcOffset>,
) -> (UtcOffset, ClockQuality) {
    match told {
        Some(told) if !plausible || distance(told, system) < SAME_MILLIS => {
            (told, ClockQuality::Corrected)
        }
        None if !plausible => (system, ClockQuality::Unsynchronized),
        _ => (system, ClockQuality::Synchronized),
    }
}

/// A later answer of the host counts only where the time has drifted by more than an answer can
/// be wrong.
pub fn has_drifted(told: UtcOffset, before: UtcOffset) -> bool {
    distance(told, before) >= DRIFT_MILLIS
}

fn distance(a: UtcOffset, b: UtcOffset) -> u64 {
    a.utc(Ticks(0)).0.abs_diff(b.utc(Ticks(0)).0)
}

/// A number of exactly `n` decimal digits.
fn digits(text: &str, n: usize) -> Option<i64> {
    let right = text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    right.then(|| text.parse().ok()).flatten()
}

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// From 1970-01-01 on, a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// As `cvr` set it, the system's clock stays so close: both run on one oscillator, and slewing
/// moves the monotonic clock too. What is further away was set by someone else.
const SAME_MILLIS: u64 = 100;

/// `Date` is whole seconds, and the answer takes its time.
const DRIFT_MILLIS: u64 = 3000;

const _: () = assert!(DRIFT_MILLIS > CLOCK_STEP_MILLIS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::{Cause, Gap, Point};
    use crate::ring::Boot;

    #[test]
    fn a_date_is_read_as_rfc_9110_has_it() {
        for (text, utc) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"),
            ("Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01"),
            ("Sat, 21 Nov 2026 22:32:44 GMT", "2026-11-21T22:32:44Z"),
            ("Tue, 29 Feb 2028 23:59:59 GMT", "2028-02-29T23:59:59Z"),
        ] {
            assert_eq!(parse_date(text), UtcMillis::parse(utc), "{text}");
            assert!(parse_date(text).is_some(), "{text}");
        }
        for wrong in [
            "",
            "Sun, 06 Nov 1994 08:49:37",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Now 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 +0000 GMT",
            "Sun, 06 Nov 1994  08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Thu, 30 Feb 2028 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }

    /// UTC of tick 0 so many milliseconds after 1970.
    fn offset(millis: i64) -> UtcOffset {
        UtcOffset(millis * 90)
    }

    fn boot(number: u32, millis: i64, clock: ClockQuality) -> Boot {
        Boot {
            number,
            offset: offset(millis),
            clock,
            machine: 0,
        }
    }

    fn point(boot: u32, millis: u64) -> Point {
        Point {
            boot,
            ticks: Ticks(millis * 90),
            estimate: UtcMillis(0),
        }
    }

    #[test]
    fn the_newest_time_is_that_of_a_boot_whose_clock_was_right() {
        let mut cursors = Cursors::default();
        assert_eq!(newest_known(&cursors), None);
        for boot in [
            boot(1, 1_000, ClockQuality::Synchronized),
            boot(2, 900_000, ClockQuality::Unsynchronized),
            boot(3, 5_000, ClockQuality::Corrected),
            boot(4, 900_000, ClockQuality::Unsynchronized),
        ] {
            cursors.boots.push(boot).unwrap();
        }
        assert_eq!(newest_known(&cursors), Some(UtcMillis(5_000)));
        cursors.accounted = Some(point(4, 9));
        cursors.passed = Some(point(1, 6_000));
        assert_eq!(newest_known(&cursors), Some(UtcMillis(7_000)));
        // As at the start of boot 4.
        cursors.pending.push(Gap {
            start: point(3, 70_000),
            end: point(4, 0),
            cause: Cause::PowerLost,
        });
        assert_eq!(newest_known(&cursors), Some(UtcMillis(75_000)));
        cursors.accounted = Some(point(3, 80_000));
        assert_eq!(newest_known(&cursors), Some(UtcMillis(85_000)));
    }

    #[test]
    fn which_clock_counts() {
        let (wrong, right) = (offset(0), offset(1_800_000_000_000));
        let near = offset(1_800_000_000_099);
        let stepped = offset(1_800_000_000_100);
        for (system, plausible, told, expected) in [
            (wrong, false, None, (wrong, ClockQuality::Unsynchronized)),
            (right, true, None, (right, ClockQuality::Synchronized)),
            (wrong, false, Some(right), (right, ClockQuality::Corrected)),
            (near, true, Some(right), (right, ClockQuality::Corrected)),
            (
                stepped,
                true,
                Some(right),
                (stepped, ClockQuality::Synchronized),
            ),
        ] {
            assert_eq!(best(system, plausible, told), expected);
        }
    }

    #[test]
    fn a_drift_is_more_than_an_answer_can_be_wrong() {
        assert!(!has_drifted(offset(10_000), offset(12_999)));
        assert!(has_drifted(offset(10_000), offset(13_000)));
        assert!(has_drifted(offset(13_000), offset(10_000)));
    }
}
