//! ISO 8601 durations, as LVA writes them: `PT30S`, `PT1M30S`, `PT5M`.

use core::time::Duration;

/// The length of time of `PnDTnHnMnS`, in whole numbers; none if it is not one.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text.strip_prefix('P')?, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let seconds = sum(days, &[('D', 86_400)])?;
    let seconds = seconds.checked_add(sum(time, &[('H', 3600), ('M', 60), ('S', 1)])?)?;
    Some(Duration::from_secs(seconds))
}

/// Sums numbers that each have one of `units` behind them, in the order of `units`.
fn sum(text: &str, units: &[(char, u64)]) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    for (unit, seconds) in units {
        let Some((digits, after)) = rest.split_once(*unit) else {
            continue;
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u64 = digits.parse().ok()?;
        total = total.checked_add(number.checked_mul(*seconds)?)?;
        rest = after;
    }
    rest.is_empty().then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_in_the_order_of_iso_8601() {
        for (text, seconds) in [
            ("PT30S", Some(30)),
            ("PT1M30S", Some(90)),
            ("PT5M", Some(300)),
            ("PT0S", Some(0)),
            ("PT090S", Some(90)),
            ("P1D", Some(86_400)),
            ("P1DT1H1M1S", Some(90_061)),
            ("", None),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("30", None),
            ("PT30", None),
            ("PTS", None),
            ("pt30s", None),
            ("PT-30S", None),
            ("PT+30S", None),
            ("PT0.5S", None),
            ("PT30S1M", None),
            ("PT30S30S", None),
            ("PT30S ", None),
            ("P30S", None),
            ("PT18446744073709551616S", None),
            ("PT18446744073709551615H", None),
            ("P213503982334601DT18446744073709551615S", None),
        ] {
            assert_eq!(
                parse(text).map(|length| length.as_secs()),
                seconds,
                "{text}"
            );
        }
    }
}
