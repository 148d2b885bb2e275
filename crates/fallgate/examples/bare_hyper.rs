//! What our own doors are measured against: hyper on one thread, answering an empty 200 to everything.
//!
//! `bare_hyper PORT` listens on 127.0.0.1; see `cargo xtask bench proxy`.

use std::convert::Infallible;

use anyhow::Context;
use http_body_util::Empty;
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime, task};

fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).context("usage: bare_hyper PORT")?.parse()?;
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(task::LocalSet::new().run_until(serve(port)))
}

async fn serve(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        task::spawn_local(async move {
            // A client that goes away mid-request is how every run of the load ends.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await);
        });
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    Ok(Response::new(Empty::new()))
}
