//! One client that asks at a steady pace, and how long its answers took.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};

use crate::gate::Gate;

/// Between two requests.
const PACE: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_secs(5);
/// What is done after an act has been acknowledged counts too.
const AFTER: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(30);

/// How many times longer the 99th percentile of requests with a token is while something happens.
pub(crate) fn slower_during(
    gate: &Gate,
    secret: &str,
    act: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let asker = Asker::start(gate.address, secret)?;
    // Connections and caches.
    thread::sleep(AFTER);
    let idle = Instant::now();
    thread::sleep(IDLE);
    let begun = Instant::now();
    act()?;
    let took = begun.elapsed();
    thread::sleep(AFTER);
    let ended = Instant::now();
    let samples = asker.stop()?;
    let (idle, longest_idle) = spread(&samples, idle, begun);
    let (p99, longest) = spread(&samples, begun, ended);
    println!(
        "  {:.2} s; p99 {p99:.3} ms (longest {longest:.1}), idle {idle:.3} ms (longest {longest_idle:.1})",
        took.as_secs_f64()
    );
    Ok(p99 / idle)
}

/// When a request should have been sent, and how long after that its answer came. A request that waits behind a slow
/// one is slow too: nobody who uses a gate waits for others before they ask.
type Sample = (Instant, Duration);

/// A client that goes on until it is stopped.
struct Asker {
    over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<Sample>>>,
}

impl Asker {
    fn start(gate: SocketAddr, secret: &str) -> anyhow::Result<Self> {
        let mut stream = connect(gate)?;
        let request =
            format!("GET /api/whoami HTTP/1.1\r\nHost: {gate}\r\nAuthorization: Bearer {secret}\r\n\r\n");
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            let mut due = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let early = due.saturating_duration_since(Instant::now());
                if !early.is_zero() {
                    thread::sleep(early);
                }
                // What the machine overslept is not the gate's doing.
                let from = if early.is_zero() { due } else { Instant::now() };
                let status = ask(&mut stream, request.as_bytes())?;
                ensure!(status == 200, "{status} for a good token");
                samples.push((due, from.elapsed()));
                due += PACE;
            }
            Ok(samples)
        });
        Ok(Self { over, thread })
    }

    fn stop(self) -> anyhow::Result<Vec<Sample>> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the client broke off"))?
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the ban is about where the gate connects to; this is its client"
)]
pub(crate) fn connect(gate: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(gate)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends a request and reads the whole answer, which has a length; its status.
pub(crate) fn ask(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<u16> {
    stream.write_all(request)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "closed before an answer came");
        answer.extend(buffer.iter().take(count));
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                value.trim().parse::<usize>().ok()
            } else {
                None
            }
        });
        if body.len() >= length.unwrap_or(0) {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            return status.context("no HTTP answer");
        }
    }
}

/// The 99th percentile and the longest of what was due in this time, in milliseconds.
fn spread(samples: &[Sample], from: Instant, until: Instant) -> (f64, f64) {
    let within = samples.iter().filter(|(due, _)| (from..until).contains(due));
    let mut took: Vec<f64> = within.map(|(_, took)| took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    let at = |place: usize| took.get(place).copied().unwrap_or(f64::INFINITY);
    (at(took.len() * 99 / 100), took.last().copied().unwrap_or(f64::INFINITY))
}

/// The middle one.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::INFINITY)
}
