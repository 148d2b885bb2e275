//! A point in time as people read it: how far away, and exactly.

use std::time::Duration;

use fallgate_domain::clock::Timestamp;

/// From the longest; lengths in seconds, years and months as they are on average; and how many it takes before they are
/// counted in this unit: 90 days say more than 2 months.
const UNITS: [(&str, u64, u64); 6] = [
    ("year", 31_557_600, 1),
    ("month", 2_629_800, 4),
    ("day", 86_400, 1),
    ("hour", 3_600, 1),
    ("minute", 60, 1),
    ("second", 1, 1),
];

/// A point in time, seen from now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// RFC 3339, in UTC.
    pub(crate) exact: String,
    /// "3 minutes ago", "in 12 days".
    pub(crate) relative: String,
}

impl Moment {
    pub(crate) fn of(at: Timestamp, now: Timestamp) -> Self {
        let relative = if at > now {
            format!("in {}", length(at.since(now)))
        } else {
            format!("{} ago", length(now.since(at)))
        };
        let is_now = at.since(now) + now.since(at) < Duration::from_secs(5);
        Self { exact: at.to_string(), relative: if is_now { "now".to_owned() } else { relative } }
    }
}

/// How long before its end people are told of it.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Whether what ends then does so within two weeks.
pub(crate) fn ends_soon(end: Option<Timestamp>, now: Timestamp) -> bool {
    end.is_some_and(|end| end <= now.plus(SOON))
}

/// In its longest unit that it fills.
pub(crate) fn length(of: Duration) -> String {
    let seconds = of.as_secs();
    let found = UNITS.into_iter().find(|(_, size, fewest)| seconds >= size * fewest);
    let (unit, size, _) = found.unwrap_or(("second", 1, 1));
    let count = seconds / size;
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_as_far_away_as_its_longest_whole_unit() {
        let now = Timestamp::parse("2026-06-15T12:00:00Z").unwrap();
        for (at, relative) in [
            ("2026-06-15T11:59:58Z", "now"),
            ("2026-06-15T12:00:04Z", "now"),
            ("2026-06-15T11:59:15Z", "45 seconds ago"),
            ("2026-06-15T11:58:59Z", "1 minute ago"),
            ("2026-06-15T14:59:59Z", "in 2 hours"),
            ("2026-06-27T12:00:00Z", "in 12 days"),
            ("2026-09-13T12:00:00Z", "in 90 days"),
            ("2026-12-15T12:00:00Z", "in 6 months"),
            ("2024-01-01T00:00:00Z", "2 years ago"),
        ] {
            assert_eq!(Moment::of(Timestamp::parse(at).unwrap(), now).relative, relative, "{at}");
        }
    }
}
