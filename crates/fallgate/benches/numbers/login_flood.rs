//! 32 wrong sign-ins at a time, while requests with a token go on (requirement R53); and whether a wrong passphrase
//! takes as long as a name that nobody has (requirement R52).

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};

use crate::{
    Check,
    gate::{Gate, token},
    latency::{ask, connect, slower_during},
};

const AT_ONCE: usize = 32;
const FLOOD: Duration = Duration::from_secs(10);
/// Of each kind.
const TRIES: usize = 200;
/// So many standard errors of the difference are noise: beyond it one in 370 times when there is none.
const NOISE: f64 = 3.0;

/// All tries come through a proxy and from another client each, or they would be throttled and nothing hashed.
const BEHIND_A_PROXY: &str = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    let (_, secret) = token(&home, "bench", &[])?;
    let gate = Gate::start(folder.path(), &home, BEHIND_A_PROXY)?;
    let strangers = Strangers { gate: &gate, met: AtomicU32::new(0) };
    let slower = slower_during(&gate, &secret, || strangers.flood())?;
    let (wrong, unknown) = strangers.both_kinds()?;
    println!("login-flood: {AT_ONCE} wrong sign-ins at a time, then {TRIES} of each kind one by one");
    check.at_most(3.0, slower, "p99 of requests during the flood, by that of idle")?;
    let apart = (wrong.mean - unknown.mean).abs();
    let noise = (wrong.error.powi(2) + unknown.error.powi(2)).sqrt();
    println!(
        "  wrong passphrase {:.3} ms, unknown name {:.3} ms, apart {apart:.3} ms, standard error {noise:.3} ms",
        wrong.mean, unknown.mean
    );
    check.at_most(NOISE, apart / noise, "difference of means, in standard errors")
}

/// Clients that do not know a passphrase.
struct Strangers<'a> {
    gate: &'a Gate,
    met: AtomicU32,
}

impl Strangers<'_> {
    fn flood(&self) -> anyhow::Result<()> {
        let until = Instant::now() + FLOOD;
        thread::scope(|scope| {
            let all: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(move || self.go_on(until))).collect();
            let mut refused = 0;
            for one in all {
                refused += one.join().map_err(|_| anyhow!("a client broke off"))??;
            }
            println!("  {refused} wrong sign-ins in {} s", FLOOD.as_secs());
            Ok(())
        })
    }

    /// One try after the other; how many were answered.
    fn go_on(&self, until: Instant) -> anyhow::Result<usize> {
        let mut count = 0;
        while Instant::now() < until {
            self.attempt("bench")?;
            count += 1;
        }
        Ok(count)
    }

    /// Tries of both kinds, taking turns.
    fn both_kinds(&self) -> anyhow::Result<(Mean, Mean)> {
        let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
        for turn in 0..=TRIES {
            let (one, other) = (self.attempt("bench")?, self.attempt("nobody")?);
            // The first starts a thread.
            if turn > 0 {
                wrong.push(one.as_secs_f64() * 1e3);
                unknown.push(other.as_secs_f64() * 1e3);
            }
        }
        Ok((Mean::of(&wrong), Mean::of(&unknown)))
    }

    /// How long the answer to one wrong sign-in took.
    fn attempt(&self, username: &str) -> anyhow::Result<Duration> {
        let from = Ipv4Addr::from_bits(0x0a00_0000 + self.met.fetch_add(1, Ordering::Relaxed));
        let body = format!("{{\"username\":\"{username}\",\"passphrase\":\"not the right one\"}}");
        let request = format!(
            "POST /api/login HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: {from}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.gate.address,
            body.len()
        );
        let mut stream = connect(self.gate.address)?;
        let begun = Instant::now();
        let status = ask(&mut stream, request.as_bytes())?;
        ensure!(status == 401, "{status} for a wrong passphrase");
        Ok(begun.elapsed())
    }
}

/// A mean, and its standard error.
struct Mean {
    mean: f64,
    error: f64,
}

impl Mean {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    fn of(figures: &[f64]) -> Self {
        let count = figures.len() as f64;
        let mean = figures.iter().sum::<f64>() / count;
        let variance = figures.iter().map(|figure| (figure - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, error: (variance / count).sqrt() }
    }
}
