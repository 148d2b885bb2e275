//! What a daemon costs: idle with 1,000 tokens, and with 1,000,000.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Builder;

use crate::{
    Check,
    decision::{Desk, headers},
    gate::{Gate, cli, token},
    latency::median,
    rows,
};

const FEW: u32 = 1_000;
const MANY: u32 = 1_000_000;
/// So many tokens in turn do not fit a processor's cache.
const COLD: u32 = 100_000;
/// How often each of those compared has its turn.
const ROUNDS: usize = 15;
const REVOCATIONS: u32 = 20;
const STARTS: usize = 5;
/// What a daemon does at start is done by then.
const SETTLED: Duration = Duration::from_secs(2);

pub(crate) fn idle(check: Check) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let home = home(folder.path(), FEW)?;
    let (started, memory) = start(folder.path(), &home)?;
    println!("idle: a daemon with {FEW} tokens");
    check.at_most(40.0, memory, "resident at most, MB")?;
    check.at_most(150.0, started * 1e3, &format!("start to listening, ms, median of {STARTS}"))
}

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let few = home(&folder.path().join("few"), FEW)?;
    let many = home(&folder.path().join("many"), MANY)?;
    let (started, memory) = start(folder.path(), &many)?;
    let cut = revocation_by_a_command(folder.path(), &many)?;
    let compared = Builder::new_current_thread().enable_all().build()?.block_on(compare(&few, &many))?;
    println!("scale: a daemon with {MANY} tokens");
    check.at_most(3.0, started, &format!("start to listening, s, median of {STARTS}"))?;
    check.at_most(400.0, memory, "resident at most, MB")?;
    check.at_most(1.5, compared.in_use, &format!("decision by that with {FEW}, as many in use"))?;
    check.at_most(3.0, compared.cold, "decision, each time on a token not seen lately, µs")?;
    check.at_most(1.0, compared.seen, "one revocation elsewhere, ms until it is seen, median")?;
    check.at_most(1.0, cut, "one revocation by a command, ms of processor, mean")
}

/// A home with so many tokens.
fn home(folder: &Path, tokens: u32) -> anyhow::Result<PathBuf> {
    let home = folder.join("home");
    std::fs::create_dir_all(folder)?;
    token(&home, "bench", &[])?;
    rows::fill(&home, 0, tokens, None)?;
    Ok(home)
}

/// Seconds to listening, and the most memory that was resident, in MB.
fn start(folder: &Path, home: &Path) -> anyhow::Result<(f64, f64)> {
    let mut started = Vec::new();
    for _ in 1..STARTS {
        started.push(Gate::start(folder, home, "")?.started_in.as_secs_f64());
    }
    let gate = Gate::start(folder, home, "")?;
    started.push(gate.started_in.as_secs_f64());
    thread::sleep(SETTLED);
    let (now, most) = gate.memory()?;
    println!(
        "  resident {now:.1} MB after {} s, {most:.1} MB at most; {:.2} s of processor until then",
        SETTLED.as_secs(),
        gate.processor_time()?
    );
    Ok((median(&mut started), most))
}

/// Milliseconds of the daemon's processor time for each revocation, beyond what it needs when nothing happens.
fn revocation_by_a_command(folder: &Path, home: &Path) -> anyhow::Result<f64> {
    let gate = Gate::start(folder, home, "")?;
    thread::sleep(SETTLED);
    let (begun, used) = (Instant::now(), gate.processor_time()?);
    thread::sleep(SETTLED);
    let idle = (gate.processor_time()? - used) / begun.elapsed().as_secs_f64();
    let (begun, used) = (Instant::now(), gate.processor_time()?);
    for number in 0..REVOCATIONS {
        cli(home, &["token", "revoke", &rows::id(MANY / 2 + number * 10 + 5).to_string()], "")?;
        // The daemon looks every 25 ms.
        thread::sleep(Duration::from_millis(60));
    }
    let used = gate.processor_time()? - used;
    Ok((used - idle * begun.elapsed().as_secs_f64()).max(0.0) / f64::from(REVOCATIONS) * 1e3)
}

/// What decisions among many tokens cost.
struct Compared {
    /// By what they cost among few, when as many are presented again and again as there are few.
    in_use: f64,
    /// In microseconds, when so many are presented that a processor's cache holds none when its turn comes.
    cold: f64,
    /// Milliseconds until a revocation elsewhere is seen.
    seen: f64,
}

async fn compare(few: &Path, many: &Path) -> anyhow::Result<Compared> {
    let few = Desk::open(few).await?;
    let many = Desk::open(many).await?;
    let presented = headers(0..FEW);
    let spread = headers((0..FEW).map(|turn| turn * (MANY / FEW) + turn % 3));
    let cold_ones = headers((0..COLD).map(|turn| turn * (MANY / COLD) + turn % 3));
    let (mut ratios, mut cold) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let one = few.decide(&presented, COLD / FEW).await?.as_secs_f64();
        let other = many.decide(&spread, COLD / FEW).await?.as_secs_f64();
        let rare = many.decide(&cold_ones, 1).await?.as_secs_f64();
        // The first fills the caches.
        if round > 0 {
            ratios.push(other / one);
            cold.push(rare * 1e6);
        }
    }
    let mut seen = Vec::new();
    for number in 0..REVOCATIONS {
        seen.push(many.see_a_revocation(MANY / 2 + number * 10 + 7).await?.as_secs_f64() * 1e3);
    }
    Ok(Compared { in_use: median(&mut ratios), cold: median(&mut cold), seen: median(&mut seen) })
}
