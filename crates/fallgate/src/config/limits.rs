//! `[limits]`: how much a client may ask for.

use fallgate_domain::lifetime;
use fallgate_relay::Limits;

use super::file::Section;
use super::policy::{Rule, duration};
use super::{Setting, Source};
use crate::failure::Failure;

const KEYS: [&str; 6] =
    ["head_bytes", "head_fields", "head_time", "idle", "connections", "connections_per_network"];

/// Reads what is set; the rest is as [`Limits::default`] has it.
pub(super) fn read(root: Option<&mut Section<'_>>, rules: &mut Vec<Rule>) -> Result<Limits, Failure> {
    let mut limits = Limits::default();
    let mut section = match root {
        Some(root) => root.table("limits", &KEYS)?,
        None => None,
    };
    let mut rule = |name, value, line: Option<usize>| {
        let source = line.map_or(Source::Default, Source::Line);
        rules.push(Rule { name, setting: Setting { value, source } });
    };
    let mut number = |key: &str, range, into: &mut usize| -> Result<Option<usize>, Failure> {
        let Some(section) = &mut section else { return Ok(None) };
        let Some(number) = section.number(key, range)? else { return Ok(None) };
        *into = number.value;
        Ok(Some(number.line))
    };
    let line = number("head_bytes", 1_024..=1_048_576, &mut limits.head_bytes)?;
    rule("limits.head_bytes", limits.head_bytes.to_string(), line);
    let line = number("head_fields", 16..=256, &mut limits.head_fields)?;
    rule("limits.head_fields", limits.head_fields.to_string(), line);
    let line = number("connections", 16..=1_000_000, &mut limits.connections)?;
    rule("limits.connections", limits.connections.to_string(), line);
    // Unless the operator says otherwise, nobody takes all there are.
    limits.connections_per_network = limits.connections / 5 * 4;
    let line = number("connections_per_network", 1..=1_000_000, &mut limits.connections_per_network)?;
    rule("limits.connections_per_network", limits.connections_per_network.to_string(), line);
    let line = duration(section.as_mut(), "head_time", &mut limits.head_time)?;
    rule("limits.head_time", lifetime::written(limits.head_time), line);
    let line = duration(section.as_mut(), "idle", &mut limits.idle)?;
    rule("limits.idle", lifetime::written(limits.idle), line);
    Ok(limits)
}
