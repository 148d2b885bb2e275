//! Load by wrk, and what is made of its figures.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::workspace::{output, program};

/// What one of those compared is asked for.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) url: String,
    pub(super) bearer: Option<String>,
}

/// 32 connections for this long, from one thread on that processor (or any). Returns requests per second.
///
/// Any answer but a 2xx or 3xx, and any broken connection, is an error: a fast refusal is no figure.
pub(super) fn load(subject: &Subject, seconds: u32, processor: Option<u32>) -> anyhow::Result<f64> {
    let wrk = program("wrk").context("wrk is missing")?;
    let mut command = match processor {
        Some(processor) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &processor.to_string()]).arg(wrk);
            command
        }
        None => Command::new(wrk),
    };
    command.args(["-t1", "-c32"]).arg(format!("-d{seconds}s"));
    if let Some(bearer) = &subject.bearer {
        command.arg("-H").arg(format!("Authorization: Bearer {bearer}"));
    }
    // Not `workspace::run`: its errors and headings would print the token.
    let said = output(command.arg(&subject.url).stdin(Stdio::null())).ok();
    let said = said.with_context(|| format!("wrk failed on {}", subject.name))?;
    requests_per_second(&said).with_context(|| format!("load on {}", subject.name))
}

fn requests_per_second(said: &str) -> anyhow::Result<f64> {
    let wrong = said
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("Non-2xx or 3xx responses") || line.starts_with("Socket errors"));
    if let Some(wrong) = wrong {
        bail!("{wrong}");
    }
    let figure = said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    Ok(figure.context("wrk printed no rate")?.trim().parse()?)
}

/// Median, least and greatest of a few figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Spread {
    /// None for no figures.
    pub(super) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least: *sorted.first()?, greatest: *sorted.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_and_broken_connections_are_no_figures() {
        let good =
            "Running 1s test\n  1 threads and 32 connections\nRequests/sec:  40312.50\nTransfer/sec: 9MB\n";
        assert!((requests_per_second(good).unwrap() - 40312.5).abs() < 0.001);
        assert!(requests_per_second(&format!("  Non-2xx or 3xx responses: 7\n{good}")).is_err());
        assert!(requests_per_second(&format!("  Socket errors: connect 0, read 3\n{good}")).is_err());
        assert!(requests_per_second("").is_err());
    }

    #[test]
    fn medians_of_odd_and_even_numbers_of_figures() {
        let odd = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Spread { median: 2.0, least: 1.0, greatest: 3.0 });
        assert!((Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap().median - 2.5).abs() < f64::EPSILON);
        assert_eq!(Spread::of(&[]), None);
    }
}
