//! Parsers of values in settings.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use chrono::TimeDelta;

/// Maximum duration: a hundred years. Sums of such durations and dates do not overflow.
const MAX_DURATION: Duration = Duration::from_hours(100 * 365 * 24);

/// Parses a duration: `5m`, `1d`, `1h 30m`, or a plain number of seconds as in Django.
///
/// # Errors
/// The expected format.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    parsed
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or_else(|| "expected a duration such as 10s, 5m, 1d, or a number of seconds".to_owned())
}

/// Parses a [`duration`] that is not zero.
///
/// # Errors
/// The expected format.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected a duration above zero, such as 5m".to_owned()),
        duration => Ok(duration),
    }
}

/// Parses a [`positive_duration`] in whole seconds, the unit of times in tokens.
///
/// # Errors
/// The expected format.
pub fn whole_seconds(text: &str) -> Result<Duration, String> {
    match positive_duration(text)? {
        duration if duration.subsec_nanos() == 0 => Ok(duration),
        _ => Err("expected whole seconds, such as 300s or 5m".to_owned()),
    }
}

/// Returns a parser of numbers within `range`.
pub fn number<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: Clone + Display + FromStr + PartialOrd + Send + Sync + 'static,
{
    move |text| {
        let number = text
            .trim()
            .parse()
            .ok()
            .filter(|number| range.contains(number));
        number.ok_or_else(|| {
            format!(
                "expected a number from {} to {}",
                range.start(),
                range.end()
            )
        })
    }
}

/// Converts a duration for arithmetic with times.
#[must_use]
pub fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Parses a text that is not blank, and trims it.
///
/// # Errors
/// The expected format.
pub fn text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected some text".to_owned()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{duration, positive_duration, whole_seconds};

    #[test]
    fn duration_is_parsed_with_a_unit_or_as_seconds() {
        assert_eq!(duration("5m").unwrap(), Duration::from_mins(5));
        assert_eq!(duration("300").unwrap(), Duration::from_mins(5));
        assert_eq!(duration("1d").unwrap(), Duration::from_hours(24));
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        assert!(positive_duration("0").is_err());
        assert!(whole_seconds("1500ms").is_err());
        for bad in ["", "five minutes", "-1", "5 m x", "99999999999999"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn duration_of_any_text_does_not_panic(text in "\\PC{0,20}") {
            let _ = duration(&text);
        }
    }
}
