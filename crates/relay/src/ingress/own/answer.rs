//! A door's answer on its way to the client, streamed under the caller's lease.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use axum_core::body::Body;
use bytes::Bytes;
use fallgate_authority::Lease;
use fallgate_domain::live::StreamKind;
use futures_util::FutureExt;
use http::{HeaderValue, Response, header};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::watch;

use crate::ingress::connection::{After, Connection};
use crate::ingress::forward::{READ_AHEAD, is_event_stream};
use crate::ingress::refuse::STAY_WITH_TLS;
use crate::wire::buffer::Stock;
use crate::wire::http1::{CHUNK_END, LAST_CHUNK, Version as WireVersion, write_chunk_head};
use crate::wire::hygiene::write_field;
use crate::wire::patience::Vigil;
use crate::wire::socket::Wire;

/// How much of an answer is gathered before it is written.
const FLUSH_AT: usize = 64 * 1024;

/// Writes a door's answer: at once when its length is known and small, in chunks as it comes otherwise.
pub(super) async fn answer(
    connection: &mut Connection,
    response: Response<Body>,
    bodiless: bool,
    keep_alive: bool,
) -> After {
    let (parts, body) = response.into_parts();
    connection.answered = Some(parts.status.as_u16());
    let framing = match body.size_hint().exact() {
        _ if bodiless || matches!(parts.status.as_u16(), 204 | 304) => Framing::Bodiless,
        Some(length) => Framing::Length(length),
        None if connection.head.version() == WireVersion::Http11 => Framing::Chunked,
        None => Framing::UntilClose,
    };
    let keep_alive = keep_alive && framing != Framing::UntilClose;
    let mut out = std::mem::take(&mut connection.scratch);
    out.clear();
    let now = connection.worker.gate.verifier.clock().now();
    write_head(&mut out, &parts, framing, keep_alive, connection.asker.https);
    if !parts.headers.contains_key(header::DATE) {
        write_field(&mut out, b"date", now.http_date().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    let patience = connection.worker.gate.settings.now().limits.idle;
    let mut begun = false;
    let content = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_events = content.is_some_and(is_event_stream);
    let way = Outward {
        framing,
        patience,
        kind: if is_events { StreamKind::Events } else { StreamKind::Download },
        lease: &connection.lease,
        ip: connection.asker.ip,
        stock: &connection.worker.stock,
        stopping: connection.stopping.clone(),
    };
    let sent = tokio::select! {
        biased;
        ended = connection.lease.ended() => Err(ended),
        sent = way.send(&mut connection.client, &mut out, body, &mut begun) => Ok(sent),
    };
    out.clear();
    connection.scratch = out;
    match sent {
        Ok(Ok(())) if keep_alive => After::KeepAlive,
        Ok(Ok(())) => After::Close,
        Err(ended) if !begun => connection.refuse_cut(ended).await,
        // What has begun cannot be taken back: it breaks off.
        Err(_) => {
            connection.client.cut();
            After::Gone
        }
        Ok(Err(_)) => After::Gone,
    }
}

/// How the end of a door's answer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// It answers a `HEAD`, or its status allows no body.
    Bodiless,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Status line and fields, without the empty line behind them.
fn write_head(
    out: &mut Vec<u8>,
    parts: &http::response::Parts,
    framing: Framing,
    keep_alive: bool,
    https: bool,
) {
    let reason = parts.status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_str()).as_bytes());
    for (name, value) in &parts.headers {
        // Framing is ours to say; an answer to a HEAD may tell the length it would have had.
        let told = *name == header::CONTENT_LENGTH && framing == Framing::Bodiless && parts.status != 204;
        if !told && (*name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING) {
            continue;
        }
        write_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    match framing {
        Framing::Length(length) => write_field(out, b"content-length", length.to_string().as_bytes()),
        Framing::Chunked => write_field(out, b"transfer-encoding", b"chunked"),
        Framing::Bodiless | Framing::UntilClose => {}
    }
    if https {
        write_field(out, b"strict-transport-security", STAY_WITH_TLS.as_bytes());
    }
    if !keep_alive {
        write_field(out, b"connection", b"close");
    }
}

/// How a door's answer goes out.
struct Outward<'a> {
    framing: Framing,
    /// How long the client may take nothing.
    patience: Duration,
    /// What it is, for whoever looks at what is live.
    kind: StreamKind,
    lease: &'a Lease,
    ip: Option<IpAddr>,
    stock: &'a Stock,
    stopping: watch::Receiver<bool>,
}

impl Outward<'_> {
    /// Sends what stands in `out`, then the body: what is ready goes out in one write, what is not holds nothing back.
    /// `begun` is set before the first byte.
    async fn send(
        mut self,
        client: &mut Wire,
        out: &mut Vec<u8>,
        mut body: Body,
        begun: &mut bool,
    ) -> io::Result<()> {
        if self.framing == Framing::Bodiless {
            *begun = true;
            return client.write_within(out, self.patience).await;
        }
        let (mut flows, mut passed) = (false, 0);
        loop {
            let mut frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).now_or_never();
            if frame.is_none() || out.len() >= FLUSH_AT {
                // What is through at once is no stream, and nobody need hear of it.
                if !std::mem::replace(&mut flows, true) {
                    self.lease.flows(self.kind, self.ip);
                }
                *begun = true;
                client.write_within(out, self.patience).await?;
                out.clear();
                self.lease.went_out(passed);
            }
            if frame.is_none() {
                frame = Some(self.next(client, &mut body).await?);
            }
            let Some(frame) = frame.flatten() else { break };
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            passed += data.len() as u64;
            if self.framing == Framing::Chunked && !data.is_empty() {
                write_chunk_head(out, data.len());
                out.extend_from_slice(&data);
                out.extend_from_slice(CHUNK_END);
            } else {
                out.extend_from_slice(&data);
            }
        }
        if self.framing == Framing::Chunked {
            out.extend_from_slice(LAST_CHUNK);
        }
        *begun = true;
        self.lease.went_out(passed);
        client.write_within(out, self.patience).await
    }

    /// Waits for more of the body. A client that leaves meanwhile ends it, and so does our own end what has none.
    async fn next(
        &mut self,
        client: &mut Wire,
        body: &mut Body,
    ) -> io::Result<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let (mut vigil, stock) = (Vigil::default(), self.stock);
        let frame = poll_fn(|context| {
            let frame = Pin::new(&mut *body).poll_frame(context);
            if frame.is_ready() {
                return frame.map(Ok);
            }
            // One that sends its next request early has it taken in, to a point.
            while client.input.len() < READ_AHEAD {
                match client.poll_fill(context, stock, false) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            let left = vigil.poll_gone(context, client, !client.input.is_empty());
            left.map(|()| Err(io::ErrorKind::BrokenPipe.into()))
        });
        if !self.kind.is_endless() {
            return frame.await;
        }
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stopping| *stopping) => Ok(None),
            frame = frame => frame,
        }
    }
}
