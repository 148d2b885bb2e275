//! A cut of 2,000 HTTP/2 streams whose clients take nothing in: how long its answer takes, and how long after it the last of
//! their connections is closed, since nothing less ends such a stream (requirement R48).

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use http::Request;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::timeout,
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
    println!("  {} HTTP/2 streams on {CONNECTIONS} connections that take nothing in", CONNECTIONS * STREAMS);
    for (what, age) in [("at once", Duration::ZERO), ("after some seconds", LISTED)] {
        let (closed, last, took) = runtime()?.block_on(async {
            let connections = try_join_all((0..CONNECTIONS).map(|_| stall(gate.address, &secret))).await?;
            tokio::time::sleep(age).await;
            let home = home.clone();
            let cut = spawn_blocking(move || cli(&home, &["cut", "user:bench", "--json"], ""));
            let mut ends = JoinSet::new();
            for connection in connections {
                ends.spawn(async move { connection.await.map(|()| Instant::now()) });
            }
            let cut: Value = serde_json::from_str(&cut.await??)?;
            let exit = Instant::now();
            let ends = timeout(PATIENCE, ends.join_all()).await.context("connections stay open")?;
            let ends = ends.into_iter().collect::<Result<Vec<_>, _>>()?;
            let last = ends.into_iter().max().context("no connections")?;
            let took = cut.get("took_ms").and_then(Value::as_f64).unwrap_or(f64::NAN);
            anyhow::Ok((
                cut.get("closed").cloned().unwrap_or_default(),
                last.saturating_duration_since(exit),
                took,
            ))
        })?;
        println!("  cut {what}: {closed}, answered after {took} ms");
        check.at_most(
            250.0,
            last.as_secs_f64() * 1e3,
            &format!("the last is closed, ms after the exit, {what}"),
        )?;
        crate::cut::lift_all(&home)?;
    }
    Ok(())
}

/// A connection with as many streams as it takes, all of them answered, none of them read.
async fn stall(gate: SocketAddr, secret: &str) -> anyhow::Result<JoinHandle<()>> {
    let mut builder = h2::client::Builder::new();
    let builder = builder.initial_window_size(0).max_concurrent_reset_streams(STREAMS);
    let (sender, connection) = builder.handshake::<_, bytes::Bytes>(connect(gate).await?).await?;
    let mut answers = Vec::new();
    let running = tokio::spawn(async move { drop(connection.await) });
    let mut sender = sender.ready().await?;
    for _ in 0..STREAMS {
        sender = sender.ready().await?;
        let request = Request::get(format!("http://{gate}/bench/"))
            .header("authorization", format!("Bearer {secret}"))
            .body(())?;
        answers.push(sender.send_request(request, true)?.0);
    }
    let answers = try_join_all(answers).await?;
    ensure!(answers.iter().all(|answer| answer.status() == 200), "a stream was refused");
    // Kept until the connection ends, so that none is given up.
    Ok(tokio::spawn(async move {
        drop(running.await);
        drop((answers, sender));
    }))
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
