//! How long after another process's revoke the last of 1,000 tunnels (each a WebSocket) on that token is closed.
//!
//! The gate is one process, `fallgate token revoke` another, clients and upstream are here.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::{SinkExt as _, StreamExt as _, future::try_join_all};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::{JoinSet, LocalSet, spawn_blocking, spawn_local},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, header::AUTHORIZATION},
    },
};

use crate::{
    Check,
    gate::{Gate, cli, token},
};

const SOCKETS: usize = 1000;
/// How many handshakes are under way at once: the listen queue is not what is measured.
pub(crate) const AT_ONCE: usize = 50;
const CUT_CODE: u16 = 4401;
const WANTED: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    enough_files(SOCKETS)?;
    let folder = tempfile::tempdir()?;
    let upstream = echo_upstream()?;
    let home = folder.path().join("home");
    let (id, secret) = token(&home, "bench", &[])?;
    let gate = Gate::start(folder.path(), &home, &route_to(upstream))?;
    let cut = runtime()?.block_on(measure(gate.address, &home, &id, &secret))?;
    drop(gate);
    println!(
        "cut: {} WebSockets on one token; the last closed {} ms after the CLI's exit ({} ms after its start); \
         {} with code {CUT_CODE}",
        cut.closed, cut.after_exit, cut.after_start, cut.told,
    );
    if check.0 {
        ensure!(cut.told == SOCKETS, "{} of {SOCKETS} sockets were not told {CUT_CODE}", SOCKETS - cut.told);
        ensure!(
            cut.after_exit <= i128::try_from(WANTED.as_millis())?,
            "the last was closed {} ms after the exit, at most {} are wanted",
            cut.after_exit,
            WANTED.as_millis(),
        );
    }
    Ok(())
}

pub(crate) fn route_to(upstream: SocketAddr) -> String {
    format!("[[route]]\nname = \"bench\"\npath = \"/bench\"\nupstream = \"http://{upstream}\"\n")
}

struct Cut {
    closed: usize,
    /// How many were closed with the right code.
    told: usize,
    /// Milliseconds from the CLI's exit to the last close; negative when all were closed before.
    after_exit: i128,
    after_start: i128,
}

async fn measure(gate: SocketAddr, home: &Path, id: &str, secret: &str) -> anyhow::Result<Cut> {
    let mut sockets = Vec::with_capacity(SOCKETS);
    while sockets.len() < SOCKETS {
        let more = (SOCKETS - sockets.len()).min(AT_ONCE);
        sockets.extend(try_join_all((0..more).map(|_| open(gate, secret))).await?);
    }
    let mut closes = JoinSet::new();
    for socket in sockets {
        closes.spawn(closed(socket));
    }
    let (home, id) = (home.to_owned(), id.to_owned());
    let revoke = spawn_blocking(move || -> anyhow::Result<(Instant, Instant)> {
        let started = Instant::now();
        cli(&home, &["token", "revoke", &id], "")?;
        Ok((started, Instant::now()))
    });
    let all = timeout(PATIENCE, closes.join_all()).await;
    let (started, exited) = revoke.await??;
    let all = all.with_context(|| format!("sockets still open {} s after the revoke", PATIENCE.as_secs()))?;
    let last = all.iter().map(|(when, _)| *when).max().context("no sockets")?;
    Ok(Cut {
        closed: all.len(),
        told: all.iter().filter(|(_, code)| *code == Some(CUT_CODE)).count(),
        after_exit: milliseconds(exited, last),
        after_start: milliseconds(started, last),
    })
}

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// Opens a WebSocket through the gate and sees one echo, so that the tunnel is known to stand.
pub(crate) async fn open(gate: SocketAddr, secret: &str) -> anyhow::Result<Socket> {
    let mut request = format!("ws://{gate}/bench/").into_client_request()?;
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {secret}"))?);
    let (mut socket, _) = client_async(request, connect(gate).await?).await?;
    socket.send(Message::text("there?")).await?;
    let echo =
        timeout(PATIENCE, socket.next()).await.context("no echo")?.context("closed before the echo")??;
    ensure!(echo == Message::text("there?"), "another echo than what was sent");
    Ok(socket)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the ban is about where the gate connects to; this is its client"
)]
async fn connect(gate: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect(gate).await
}

/// When a WebSocket ended, and the code it was told, if any.
async fn closed(mut socket: Socket) -> (Instant, Option<u16>) {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => return (Instant::now(), frame.map(|frame| frame.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return (Instant::now(), None),
        }
    }
}

fn milliseconds(from: Instant, to: Instant) -> i128 {
    let after = to.saturating_duration_since(from).as_millis().cast_signed();
    after - from.saturating_duration_since(to).as_millis().cast_signed()
}

/// A WebSocket echo on a thread of its own, for as long as this process lives.
pub(crate) fn echo_upstream() -> anyhow::Result<SocketAddr> {
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        LocalSet::new().block_on(&runtime, async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn_local(async move {
                    let Ok(mut socket) = accept_async(stream).await else { return };
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_close() || socket.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    Ok(address)
}

pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Two ends of each socket are in this process, two in the gate, which inherits the limit.
pub(crate) fn enough_files(sockets: usize) -> anyhow::Result<()> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    let soft = soft.context("no limit on open files in /proc/self/limits")?;
    let needed = 2 * sockets + 100;
    let enough = soft == "unlimited" || soft.parse::<usize>()? >= needed;
    ensure!(
        enough,
        "only {soft} open files allowed, {needed} needed: `ulimit -n {needed}`, or run it by `cargo xtask bench`"
    );
    Ok(())
}
