//! A cut of 2,000 HTTP/2 streams whose windows are closed: how long its answer takes, and how long after it the last of them
//! has ended (requirement R48).

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use h2::{RecvStream, client::SendRequest};
use http::Request;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    Check,
    gate::{Gate, cli, token},
    tunnels::{PATIENCE, connect, enough_files, route_to, runtime},
};

const CONNECTIONS: usize = 20;
const STREAMS: usize = 100;
/// By then they are listed as streams.
const LISTED: Duration = Duration::from_secs(6);

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    enough_files(CONNECTIONS * STREAMS)?;
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    let (_, secret) = token(&home, "bench", &[])?;
    let gate = Gate::start(folder.path(), &home, &route_to(endless_upstream()?))?;
    println!("  {} HTTP/2 streams on {CONNECTIONS} connections, with closed windows:", CONNECTIONS * STREAMS);
    for (what, age) in [("at once", Duration::ZERO), ("after some seconds", LISTED)] {
        let (cut, after) = runtime()?.block_on(async {
            let connections = try_join_all((0..CONNECTIONS).map(|_| stall(gate.address, &secret))).await?;
            sleep(age).await;
            let home = home.clone();
            let cut = spawn_blocking(move || {
                cli(&home, &["cut", "user:bench", "--json"], "").map(|cut| (cut, Instant::now()))
            });
            let mut ends = JoinSet::new();
            // Kept until all has ended, so that no stream is given up.
            let (kept, streams): (Vec<_>, Vec<_>) = connections.into_iter().unzip();
            for mut stream in streams.into_iter().flatten() {
                ends.spawn(async move {
                    let end = stream.data().await;
                    // By a reset, or with its connection where that finds no way out in time.
                    (matches!(end, Some(Err(_))), Instant::now())
                });
            }
            let ends = timeout(PATIENCE, ends.join_all()).await.context("streams stay open")?;
            drop(kept);
            let (cut, exit) = cut.await??;
            ensure!(ends.iter().all(|(broken, _)| *broken), "a stream came to a good end");
            let last = ends.into_iter().map(|(_, at)| at).max().context("no streams")?;
            Ok((serde_json::from_str::<Value>(&cut)?, last.saturating_duration_since(exit)))
        })?;
        let told = |name: &str| cut.get(name).cloned().unwrap_or_default();
        println!("  cut {what}: closed {}, answered after {} ms", told("closed"), told("took_ms"));
        let what = format!("the last has ended, ms after the exit, {what}");
        check.at_most(250.0, after.as_secs_f64() * 1e3, &what)?;
        crate::cut::lift_all(&home)?;
    }
    Ok(())
}

/// A connection with as many streams as it takes, all of them answered, none of them read.
async fn stall(gate: SocketAddr, secret: &str) -> anyhow::Result<(SendRequest<Bytes>, Vec<RecvStream>)> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (sender, connection) = builder.handshake::<_, Bytes>(connect(gate).await?).await?;
    tokio::spawn(async move { drop(connection.await) });
    let mut sender = sender;
    let mut answers = Vec::new();
    for _ in 0..STREAMS {
        sender = sender.ready().await?;
        let request = Request::get(format!("http://{gate}/bench/"))
            .header("authorization", format!("Bearer {secret}"))
            .body(())?;
        answers.push(sender.send_request(request, true)?.0);
    }
    let answers = try_join_all(answers).await?;
    ensure!(answers.iter().all(|answer| answer.status() == 200), "a stream was refused");
    Ok((sender, answers.into_iter().map(http::Response::into_body).collect()))
}

/// Answers each request with more than anybody takes in, for as long as this process lives.
fn endless_upstream() -> anyhow::Result<SocketAddr> {
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        runtime.block_on(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    if stream.read(&mut request).await.is_err() {
                        return;
                    }
                    let head =
                        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1000000000\r\n\r\n";
                    drop(stream.write_all(head).await);
                    while stream.write_all(&[0; 4096]).await.is_ok() {}
                });
            }
        });
    });
    Ok(address)
}
