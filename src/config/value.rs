//! Values as they are written in settings.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use chrono::TimeDelta;

/// A hundred years: more than any setting, less than any overflow.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// A span of time: `5m`, `1d`, `1h 30m`, or a plain number of seconds as in Django.
///
/// # Errors
/// What would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    parsed
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| {
            "expected a span of time such as 10s, 5m, 1d, or a number of seconds".to_owned()
        })
}

/// As [`duration`], but more than none.
///
/// # Errors
/// What would be right.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected more than no time, such as 5m".to_owned()),
        duration => Ok(duration),
    }
}

/// As [`positive_duration`], in whole seconds: tokens know no others.
///
/// # Errors
/// What would be right.
pub fn whole_seconds(text: &str) -> Result<Duration, String> {
    match positive_duration(text)? {
        duration if duration.subsec_nanos() == 0 => Ok(duration),
        _ => Err("expected whole seconds, such as 300s or 5m".to_owned()),
    }
}

/// A parser of numbers within `range`.
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

/// For arithmetic with moments.
#[must_use]
pub fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// A text that is not blank.
///
/// # Errors
/// What would be right.
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
    fn spans_are_read_with_a_unit_or_as_seconds() {
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
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = duration(&text);
        }
    }
}
