//! When a new token may end, as the form offers it.

use std::time::Duration;

use fallgate_authority::Policy;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::lifetime;

const DAY: Duration = Duration::from_secs(86_400);

/// What is offered where nothing forbids it, in days.
const PRESETS: [u32; 3] = [7, 30, 90];

/// The ends that the config allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// In days.
    pub(super) presets: Vec<u32>,
    /// The longest, where that is shorter than every preset: `12h`.
    pub(super) longest: Option<String>,
    /// The first day that can be chosen.
    pub(super) first_day: String,
    /// The last, if there is one.
    pub(super) last_day: Option<String>,
    /// Whether it may last for ever.
    pub(super) never: bool,
}

impl Terms {
    pub(super) fn of(policy: &Policy, now: Timestamp) -> Self {
        let fits = |days: &u32| policy.token_life.is_none_or(|longest| DAY * *days <= longest);
        let presets: Vec<_> = PRESETS.into_iter().filter(fits).collect();
        let longest = policy.token_life.filter(|_| presets.is_empty()).map(lifetime::written);
        // The day that is chosen is over when the token ends.
        let last_day = policy.token_life.map(|longest| now.plus(longest.saturating_sub(DAY)));
        Self {
            presets,
            longest,
            first_day: day(now),
            last_day: last_day.map(day),
            never: policy.token_life.is_none(),
        }
    }

    /// What is chosen when nothing is said: the longest preset.
    pub(super) fn usual(&self) -> String {
        let preset = self.presets.last().map(|days| format!("{days}d"));
        preset.or_else(|| self.longest.clone()).unwrap_or_default()
    }

    pub(super) fn offers(&self, expires: &str) -> bool {
        self.presets.iter().any(|days| format!("{days}d") == expires)
            || self.longest.as_deref() == Some(expires)
            || expires == "date"
            || (self.never && expires == "never")
    }

    /// Whether a day can be chosen at all.
    pub(super) fn offers_days(&self) -> bool {
        self.longest.is_none()
    }
}

/// `2026-12-31`, in UTC.
fn day(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// When a day is over, in UTC.
pub(super) fn day_after(day: &str) -> Option<Timestamp> {
    Timestamp::parse(&format!("{day}T00:00:00Z")).ok().map(|start| start.plus(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(token_life: Option<Duration>) -> Terms {
        let now = Timestamp::parse("2026-06-15T12:00:00Z").unwrap();
        Terms::of(&Policy { token_life, ..Policy::default() }, now)
    }

    #[test]
    fn r33_what_the_policy_forbids_is_not_offered() {
        let open = terms(None);
        assert_eq!((open.usual().as_str(), open.never, open.last_day.clone()), ("90d", true, None));
        assert!(open.offers("never") && open.offers("date") && open.offers("7d") && !open.offers("8d"));
        let month = terms(Some(30 * DAY));
        assert_eq!((month.usual().as_str(), month.never), ("30d", false));
        assert!(!month.offers("90d") && !month.offers("never") && month.offers("7d"));
        assert_eq!((month.first_day.as_str(), month.last_day.as_deref()), ("2026-06-15", Some("2026-07-14")));
        let short = terms(Some(Duration::from_hours(12)));
        assert_eq!((short.usual().as_str(), short.presets.len(), short.offers_days()), ("12h", 0, false));
    }

    #[test]
    fn a_token_is_good_to_the_end_of_the_day_that_was_chosen() {
        assert_eq!(day_after("2026-12-31"), Timestamp::parse("2027-01-01T00:00:00Z").ok());
        for bad in ["", "2026-13-01", "31.12.2026", "2026-12-31T00:00:00Z"] {
            assert_eq!(day_after(bad), None, "{bad}");
        }
    }
}
