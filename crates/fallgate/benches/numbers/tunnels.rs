//! Tunnels through the gate, each a WebSocket: what they are measured on.

use std::{fs, net::SocketAddr, thread, time::Duration};

use anyhow::{Context, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::{LocalSet, spawn_local},
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

/// How many handshakes are under way at once: the listen queue is not what is measured.
pub(crate) const AT_ONCE: usize = 50;
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn route_to(upstream: SocketAddr) -> String {
    format!("[[route]]\nname = \"bench\"\npath = \"/bench\"\nupstream = \"http://{upstream}\"\n")
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
pub(crate) async fn connect(gate: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect(gate).await
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
