//! An upstream that speaks HTTP/2 and nothing else.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::client::{more, send};
use crate::support::wait_for;

/// A server on a port of its own, for as long as the test runs. Every answer's body is the request's, as it comes in; what
/// else it does is asked for in the path:
///
/// * `/grpc…`: the answer has trailers,
/// * `/alone…`: the answer is one block of fields without a body,
/// * `/silent…`: there is no answer,
/// * `/events…`: the answer goes on without end,
/// * `/refuse…`: the stream is reset,
/// * `/leave…`: this answer is the connection's last.
#[derive(Debug)]
pub(crate) struct Http2Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
}

/// What has come so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    /// Heads, in the order of their arrival.
    pub(crate) requests: Vec<Parts>,
    /// Trailers of the requests that had some.
    pub(crate) trailers: Vec<HeaderMap>,
    /// Bytes of all bodies.
    pub(crate) body_bytes: usize,
    /// How many exchanges the other side has broken off.
    pub(crate) broken_off: usize,
}

impl Http2Upstream {
    pub(crate) fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    /// On this address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stop, mut stopping) = watch::channel(false);
        let shared = seen.clone();
        thread::spawn(move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! {
                        _ = stopping.changed() => return,
                        accepted = listener.accept() => {
                            let Ok((stream, _)) = accepted else { return };
                            tokio::spawn(serve(stream, shared.clone()));
                        }
                    }
                }
            });
        });
        Self { address, seen, stop }
    }

    /// As a route's `upstream` names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until what has come is as wanted.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        wait_for(what, || Some(self.seen()).filter(&wanted))
    }

    /// Closes every connection, without a word.
    pub(crate) fn stop(self) -> SocketAddr {
        let _ = self.stop.send(true);
        wait_for("the upstream's end", || std::net::TcpListener::bind(self.address).ok());
        self.address
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    seen.lock().unwrap().connections += 1;
    stream.set_nodelay(true).unwrap();
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        if request.uri().path().starts_with("/leave") {
            connection.graceful_shutdown();
        }
        let seen = seen.clone();
        tokio::spawn(async move {
            if exchange(request, respond, &seen).await.is_err() {
                seen.lock().unwrap().broken_off += 1;
            }
        });
    }
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: &Mutex<Seen>,
) -> Result<(), h2::Error> {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    seen.lock().unwrap().requests.push(parts);
    let does = |what: &str| path.starts_with(what);
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", "application/x-echo".parse().unwrap());
    if does("/refuse") {
        respond.send_reset(h2::Reason::REFUSED_STREAM);
        return Ok(());
    }
    if does("/alone") {
        response.headers_mut().insert("grpc-status", "7".parse().unwrap());
        respond.send_response(response, true)?;
        return Ok(());
    }
    if does("/silent") {
        while let Some(data) = more(&mut body).await {
            seen.lock().unwrap().body_bytes += data?.len();
        }
        return Err(std::future::poll_fn(|context| respond.poll_reset(context)).await?.into());
    }
    if body.is_end_stream() && !does("/grpc") && !does("/events") {
        respond.send_response(response, true)?;
        return Ok(());
    }
    let mut stream = respond.send_response(response, false)?;
    if does("/events") {
        loop {
            stream.reserve_capacity(1024);
            match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
                Some(room) => stream.send_data(Bytes::from(vec![b'e'; room?.min(1024)]), false)?,
                None => return Err(h2::Reason::CANCEL.into()),
            }
        }
    }
    while let Some(data) = more(&mut body).await {
        let data = data?;
        seen.lock().unwrap().body_bytes += data.len();
        send(&mut stream, &data).await;
    }
    if let Some(trailers) = body.trailers().await? {
        seen.lock().unwrap().trailers.push(trailers);
    }
    if does("/grpc") {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        trailers.insert("grpc-message", "fine".parse().unwrap());
        stream.send_trailers(trailers)
    } else {
        stream.send_data(Bytes::new(), true)
    }
}
