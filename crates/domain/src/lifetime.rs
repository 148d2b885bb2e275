//! How long something is to last, as people write it.

use std::str::FromStr;
use std::time::Duration;

use crate::clock::Timestamp;

/// The longest life that can be written: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// When something is to end: `never`, after a while (`90d`, `12h`, `30m`, `45s`, `2w`), or at an RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It does not end by itself.
    Never,
    /// This long from now.
    For(Duration),
    /// Then.
    Until(Timestamp),
}

/// What is wrong with a written lifetime.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidLifetime {
    /// It cannot be read at all.
    #[error("not a time: write 90d, 12h, 30m, never, or a date such as 2026-12-31T23:59:59Z")]
    Unreadable,
    /// It would end at once, or has ended already.
    #[error("the end must lie in the future")]
    Past,
    /// It is longer than a hundred years.
    #[error("that is longer than a hundred years; say never instead")]
    TooLong,
}

impl Lifetime {
    /// What a token gets when nothing is said (requirement R33).
    pub const DEFAULT: Self = Self::For(Duration::from_secs(90 * 86_400));

    /// The end it means at `now`; `None` for never.
    pub fn ends_at(self, now: Timestamp) -> Result<Option<Timestamp>, InvalidLifetime> {
        let end = match self {
            Self::Never => return Ok(None),
            Self::For(duration) if duration > LONGEST => return Err(InvalidLifetime::TooLong),
            Self::For(duration) => now.plus(duration),
            Self::Until(end) => end,
        };
        if end <= now {
            Err(InvalidLifetime::Past)
        } else if end.since(now) > LONGEST {
            Err(InvalidLifetime::TooLong)
        } else {
            Ok(Some(end))
        }
    }
}

/// A duration as [`Lifetime`] reads it, in the largest unit from days down that it is a multiple of: `90d`, `12h`.
pub fn written(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let (length, unit) =
        units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length)).unwrap_or((1, 's'));
    format!("{}{unit}", seconds / length)
}

impl FromStr for Lifetime {
    type Err = InvalidLifetime;

    fn from_str(text: &str) -> Result<Self, InvalidLifetime> {
        if text == "never" {
            return Ok(Self::Never);
        }
        if let Ok(end) = Timestamp::parse(text) {
            return Ok(Self::Until(end));
        }
        let unit = text.chars().last().ok_or(InvalidLifetime::Unreadable)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return Err(InvalidLifetime::Unreadable),
        };
        let digits = text.strip_suffix(unit).unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidLifetime::Unreadable);
        }
        // All digits, so what does not fit is too large, not unreadable.
        let count: u64 = digits.parse().map_err(|_| InvalidLifetime::TooLong)?;
        let duration = Duration::from_secs(count.checked_mul(seconds).ok_or(InvalidLifetime::TooLong)?);
        if duration > LONGEST { Err(InvalidLifetime::TooLong) } else { Ok(Self::For(duration)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_as_people_write_them() {
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        for (text, end) in [
            ("90d", Some("2026-04-01T00:00:00Z")),
            ("12h", Some("2026-01-01T12:00:00Z")),
            ("2w", Some("2026-01-15T00:00:00Z")),
            ("never", None),
            ("2027-01-01T00:00:00+01:00", Some("2026-12-31T23:00:00Z")),
        ] {
            let ends = text.parse::<Lifetime>().unwrap().ends_at(now).unwrap();
            assert_eq!(ends.map(|at| at.to_string()).as_deref(), end, "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in ["90d", "12h", "90m", "45s", "3601s"] {
            let Ok(Lifetime::For(duration)) = text.parse() else { panic!("{text}") };
            assert_eq!(written(duration), text);
        }
        assert_eq!(written(Duration::from_secs(2 * 7 * 86_400)), "14d");
    }

    #[test]
    fn absurd_lifetimes_are_refused_with_the_reason() {
        use InvalidLifetime::{Past, TooLong, Unreadable};
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        for (text, why) in [
            ("", Unreadable),
            ("d", Unreadable),
            ("-1d", Unreadable),
            ("1.5d", Unreadable),
            ("90", Unreadable),
            ("9 d", Unreadable),
            ("1é", Unreadable),
            ("99999999999999999999d", TooLong),
            ("36501d", TooLong),
            ("0s", Past),
            ("2026-01-01T00:00:00Z", Past),
            ("9999-12-31T23:59:59Z", TooLong),
        ] {
            let result = text.parse::<Lifetime>().and_then(|lifetime| lifetime.ends_at(now));
            assert_eq!(result, Err(why), "{text}");
        }
    }
}
