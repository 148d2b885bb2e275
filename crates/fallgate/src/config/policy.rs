//! `[logins]`, `[passphrases]`, `[tokens]`, `[workers]` and `[audit]`: how long things last.

use std::ops::RangeInclusive;
use std::time::Duration;

use fallgate_authority::Policy;
use fallgate_domain::lifetime::{self, Lifetime};
use fallgate_domain::worker;

use super::file::Section;
use super::{Setting, Source};
use crate::failure::Failure;

const DAY: Duration = Duration::from_secs(86_400);

/// One setting of the policy, as people read it.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Such as `tokens.max_lifetime`.
    pub(crate) name: &'static str,
    /// What counts, and what said so.
    pub(crate) setting: Setting<String>,
}

/// Reads what is set; the rest is as [`Policy::default`] has it.
pub(super) fn read(mut root: Option<&mut Section<'_>>) -> Result<(Policy, Vec<Rule>), Failure> {
    let mut policy = Policy::default();
    let mut rules = Vec::new();
    let mut rule = |name, value, line: Option<usize>| {
        let source = line.map_or(Source::Default, Source::Line);
        rules.push(Rule { name, setting: Setting { value, source } });
    };

    let mut section = table(&mut root, "logins", &["idle", "life"])?;
    let idle_line = duration(section.as_mut(), "idle", &mut policy.login_idle)?;
    rule("logins.idle", lifetime::written(policy.login_idle), idle_line);
    let line = duration(section.as_mut(), "life", &mut policy.login_life)?;
    rule("logins.life", lifetime::written(policy.login_life), line);
    // Who writes only a short life need not write how long it may lie idle.
    if let (Some(section), Some(line)) = (&section, idle_line)
        && policy.login_idle > policy.login_life
    {
        return Err(section.document.complaint(
            line,
            format_args!(
                "logins.idle ({}) is longer than logins.life ({}), which ends a sign-in first: make it shorter",
                lifetime::written(policy.login_idle),
                lifetime::written(policy.login_life)
            ),
        ));
    }

    let mut section = table(&mut root, "passphrases", &["min_bytes"])?;
    let mut line = None;
    if let Some(section) = &mut section
        && let Some(number) = section.number("min_bytes", Policy::FEWEST_BYTES..=Policy::MOST_BYTES)?
    {
        policy.passphrase_bytes = number.value;
        line = Some(number.line);
    }
    rule("passphrases.min_bytes", policy.passphrase_bytes.to_string(), line);

    let mut section = table(&mut root, "tokens", &["max_lifetime", "max_per_user", "unused_days"])?;
    let line = optional(section.as_mut(), "max_lifetime", "never", &mut policy.token_life)?;
    rule("tokens.max_lifetime", or(policy.token_life, "never"), line);
    let mut line = None;
    if let Some(section) = &mut section
        && let Some(number) = section.number("max_per_user", 1..=1_000_000)?
    {
        policy.tokens_per_user = u32::try_from(number.value).unwrap_or(u32::MAX);
        line = Some(number.line);
    }
    rule("tokens.max_per_user", policy.tokens_per_user.to_string(), line);
    let mut line = None;
    if let Some(section) = &mut section
        && let Some(number) = section.number("unused_days", 0..=36_500)?
    {
        let days = u32::try_from(number.value).unwrap_or(u32::MAX);
        policy.token_unused = (days > 0).then(|| DAY * days);
        line = Some(number.line);
    }
    let days = policy.token_unused.map_or(0, |unused| unused.as_secs() / DAY.as_secs());
    rule("tokens.unused_days", days.to_string(), line);

    let mut section = table(&mut root, "workers", &["ttl", "clock_skew"])?;
    let longest = worker::LONGEST_LIFE;
    let lives = (Duration::from_secs(1)..=longest, "write a duration from 1s to 7d, such as 2h");
    let line = within(section.as_mut(), "ttl", lives, &mut policy.worker_life)?;
    rule("workers.ttl", lifetime::written(policy.worker_life), line);
    let skews = (Duration::ZERO..=worker::MOST_SKEW, "write a duration from 0s to 5m, such as 30s");
    let line = within(section.as_mut(), "clock_skew", skews, &mut policy.worker_skew)?;
    rule("workers.clock_skew", skew_written(policy.worker_skew), line);

    let mut section = table(&mut root, "audit", &["keep"])?;
    let line = optional(section.as_mut(), "keep", "forever", &mut policy.audit_kept)?;
    rule("audit.keep", or(policy.audit_kept, "forever"), line);
    Ok((policy, rules))
}

fn table<'d>(
    root: &mut Option<&mut Section<'d>>,
    key: &str,
    keys: &[&str],
) -> Result<Option<Section<'d>>, Failure> {
    match root {
        Some(root) => root.table(key, keys),
        None => Ok(None),
    }
}

/// A duration that must be one; tells the line, if there is one.
pub(super) fn duration(
    section: Option<&mut Section<'_>>,
    key: &str,
    into: &mut Duration,
) -> Result<Option<usize>, Failure> {
    let Some(section) = section else { return Ok(None) };
    let document = section.document;
    let Some(text) = section.text(key)? else { return Ok(None) };
    *into = text.read(document, key, |text| written(text).ok_or(NOT_A_DURATION))?;
    Ok(Some(text.line))
}

/// A duration within a range; what is said where it is not.
fn within(
    section: Option<&mut Section<'_>>,
    key: &str,
    (range, wanted): (RangeInclusive<Duration>, &'static str),
    into: &mut Duration,
) -> Result<Option<usize>, Failure> {
    let Some(section) = section else { return Ok(None) };
    let document = section.document;
    let Some(text) = section.text(key)? else { return Ok(None) };
    *into = text.read(document, key, |text| match text.parse() {
        Ok(Lifetime::For(duration)) if range.contains(&duration) => Ok(duration),
        _ => Err(wanted),
    })?;
    Ok(Some(text.line))
}

/// Nothing is a multiple of every unit.
fn skew_written(skew: Duration) -> String {
    if skew.is_zero() { "0s".to_owned() } else { lifetime::written(skew) }
}

/// A duration, or the word for having none.
fn optional(
    section: Option<&mut Section<'_>>,
    key: &str,
    none: &str,
    into: &mut Option<Duration>,
) -> Result<Option<usize>, Failure> {
    let Some(section) = section else { return Ok(None) };
    let document = section.document;
    let Some(text) = section.text(key)? else { return Ok(None) };
    *into = text.read(document, key, |text| {
        if text == none {
            Ok(None)
        } else {
            written(text).map(Some).ok_or(format!("{NOT_A_DURATION}, or {none}"))
        }
    })?;
    Ok(Some(text.line))
}

const NOT_A_DURATION: &str = "write a duration such as 90d, 12h or 30m";

fn written(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(Lifetime::For(duration)) if !duration.is_zero() => Some(duration),
        _ => None,
    }
}

fn or(duration: Option<Duration>, none: &str) -> String {
    duration.map_or_else(|| none.to_owned(), lifetime::written)
}
