//! All of 100,000 tokens revoked in one act, by another process and over the API, while others' requests go on
//! (requirement R35).

use std::{
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    Check,
    gate::{Gate, cli, token},
    latency::{Asker, ask, connect, spread},
    rows,
};

const TOKENS: u32 = 100_000;
const IDLE: Duration = Duration::from_secs(5);
/// What is done after the acknowledgement counts too.
const AFTER: Duration = Duration::from_millis(200);

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    let (_, secret) = token(&home, "bench", &["--scope", "admin"])?;
    rows::fill(&home, 0, TOKENS, Some("first"))?;
    rows::fill(&home, TOKENS, TOKENS, Some("second"))?;
    let gate = Gate::start(folder.path(), &home, None)?;
    println!("mass-revoke: {TOKENS} tokens of one owner");
    let by_command = during(&gate, &secret, || by_command(&home))?;
    let over_the_api = during(&gate, &secret, || over_the_api(&gate, &secret))?;
    check.at_most(2.0, by_command, "p99 of requests during a command, by that of idle")?;
    check.at_most(2.0, over_the_api, "p99 of requests during the API's act, by that of idle")
}

fn by_command(home: &Path) -> anyhow::Result<()> {
    cli(home, &["token", "revoke", "--all", "--user", "first", "--yes"], "").map(drop)
}

fn over_the_api(gate: &Gate, secret: &str) -> anyhow::Result<()> {
    let mut stream = connect(gate.address)?;
    let request = format!(
        "DELETE /api/tokens?username=second HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {secret}\r\n\r\n",
        gate.address
    );
    let status = ask(&mut stream, request.as_bytes())?;
    ensure!(status == 200, "{status} for a mass revocation");
    Ok(stream.flush()?)
}

/// How many times longer the 99th percentile of requests is while something happens.
fn during(gate: &Gate, secret: &str, act: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let asker = Asker::start(gate.address, secret)?;
    // Connections and caches.
    thread::sleep(Duration::from_millis(200));
    let idle = Instant::now();
    thread::sleep(IDLE);
    let begun = Instant::now();
    act()?;
    let took = begun.elapsed();
    thread::sleep(AFTER);
    let ended = Instant::now();
    let samples = asker.stop()?;
    let ((idle, longest_idle), (p99, longest)) =
        (spread(&samples, idle, begun), spread(&samples, begun, ended));
    println!(
        "  it took {:.2} s; p99 {p99:.3} ms (longest {longest:.1}), idle {idle:.3} ms (longest {longest_idle:.1})",
        took.as_secs_f64()
    );
    Ok(p99 / idle)
}
