//! Load by wrk, by h2load and by curl, and what is made of their figures.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::workspace::{output, program};

/// What one of those compared is asked for.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) url: String,
    /// Lines that every request has beside the usual ones; never printed, for the token is among them.
    pub(super) headers: Vec<String>,
}

/// Who makes the load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loader {
    /// wrk: 32 connections, HTTP/1.1.
    Wrk,
    /// h2load: 8 connections of HTTP/2 without TLS, 8 streams on each at a time.
    H2load,
    /// curl: one request for the whole of a large body.
    Download,
    /// curl: one request with a large body, this file.
    Upload(&'static str),
}

/// How large the bodies are that curl moves.
pub(super) const LARGE: u64 = 1024 * 1024 * 1024;

impl Loader {
    /// What its figures count.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Wrk | Self::H2load => "req/s",
            Self::Download | Self::Upload(_) => "MB/s",
        }
    }

    /// One turn: a load for this long, on that processor (or any); or one large body, however long that takes.
    ///
    /// Any answer but a 2xx or 3xx, and any broken connection, is an error: a fast refusal is no figure.
    pub(super) fn load(
        self,
        subject: &Subject,
        seconds: u32,
        processor: Option<u32>,
        folder: &Path,
    ) -> anyhow::Result<f64> {
        let name = self.program();
        let program = program(name).with_context(|| format!("{name} is missing"))?;
        let mut command = match processor {
            Some(processor) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &processor.to_string()]).arg(program);
                command
            }
            None => Command::new(program),
        };
        match self {
            Self::Wrk => command.args(["-t1", "-c32"]).arg(format!("-d{seconds}s")),
            Self::H2load => command.args(["-t1", "-c8", "-m8"]).arg(format!("-D{seconds}")),
            Self::Download => command.args(["--silent", "--output", "/dev/null", "--write-out", WRITE_OUT]),
            Self::Upload(file) => {
                // Without `Expect` nobody waits for a word in between.
                command.args(["--silent", "--write-out", WRITE_OUT, "--header", "Expect:", "--upload-file"]);
                command.arg(folder.join(file))
            }
        };
        for header in &subject.headers {
            command.arg("-H").arg(header);
        }
        // Not `workspace::run`: its errors and headings would print the token.
        let said = output(command.arg(&subject.url).stdin(Stdio::null())).ok();
        let said = said.with_context(|| format!("{name} failed on {}", subject.name))?;
        let figure = match self {
            Self::Wrk => requests_per_second(&said),
            Self::H2load => requests_over_http2(&said),
            Self::Download | Self::Upload(_) => megabytes_per_second(&said),
        };
        figure.with_context(|| format!("load on {}", subject.name))
    }

    fn program(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
            Self::Download | Self::Upload(_) => "curl",
        }
    }
}

/// What curl says of a transfer.
const WRITE_OUT: &str = "%{http_code} %{size_download} %{size_upload} %{time_total}";

fn megabytes_per_second(said: &str) -> anyhow::Result<f64> {
    let words: Vec<_> = said.split_whitespace().collect();
    let [status, down, up, seconds] = words.as_slice() else { bail!("curl said {said:?}") };
    let moved = down.parse::<u64>()?.max(up.parse()?);
    if *status != "200" || moved != LARGE {
        bail!("{moved} bytes moved, and the status was {status}");
    }
    #[expect(clippy::cast_precision_loss, reason = "a gigabyte is well below 2^53")]
    let megabytes = LARGE as f64 / 1e6;
    Ok(megabytes / seconds.parse::<f64>()?)
}

fn requests_over_http2(said: &str) -> anyhow::Result<f64> {
    // `requests: 5 total, 5 started, 5 done, 5 succeeded, 0 failed, 0 errored, 0 timeout`, `status codes: 5 2xx, …`
    let line = |start: &str| said.lines().find_map(|line| line.trim().strip_prefix(start));
    let requests = line("requests: ").context("h2load printed no requests")?;
    if !requests.contains(" 0 failed, 0 errored, 0 timeout") {
        bail!("h2load: {requests}");
    }
    let statuses = line("status codes: ").context("h2load printed no status codes")?;
    if !statuses.ends_with(" 0 4xx, 0 5xx") {
        bail!("h2load: {statuses}");
    }
    // `finished in 2.00s, 4153.50 req/s, 1.02MB/s`
    let finished = line("finished in ").context("h2load printed no rate")?;
    let rate = finished.split(", ").find_map(|part| part.strip_suffix(" req/s"));
    Ok(rate.context("h2load printed no rate")?.parse()?)
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
    fn h2loads_failures_are_no_figures() {
        let good = "finished in 2.00s, 4153.50 req/s, 1.02MB/s\n\
                    requests: 8307 total, 8307 started, 8307 done, 8307 succeeded, 0 failed, 0 errored, 0 timeout\n\
                    status codes: 8307 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        assert!((requests_over_http2(good).unwrap() - 4153.5).abs() < 0.001);
        assert!(requests_over_http2(&good.replace("0 4xx", "3 4xx")).is_err());
        assert!(requests_over_http2(&good.replace("0 errored", "3 errored")).is_err());
        assert!(requests_over_http2("").is_err());
    }

    #[test]
    fn half_a_transfer_is_no_figure() {
        assert!((megabytes_per_second("200 0 1073741824 0.5").unwrap() - 2_147.483_648).abs() < 0.001);
        assert!(megabytes_per_second("200 1073741823 0 0.5").is_err());
        assert!(megabytes_per_second("401 1073741824 0 0.5").is_err());
        assert!(megabytes_per_second("").is_err());
    }

    #[test]
    fn medians_of_odd_and_even_numbers_of_figures() {
        let odd = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Spread { median: 2.0, least: 1.0, greatest: 3.0 });
        assert!((Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap().median - 2.5).abs() < f64::EPSILON);
        assert_eq!(Spread::of(&[]), None);
    }
}
