//! Handing what is for our own doors to them: an HTTP service behind our listener.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_core::body::Body;
use bytes::Bytes;
use fallgate_authority::{CameByHttps, Lease, PeerAddress};
use fallgate_domain::live::StreamKind;
use fallgate_domain::problem::Problem;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::connection::{After, CONTINUE, Connection};
use super::forward::{READ_AHEAD, is_event_stream};
use super::refuse::{Answer, STAY_WITH_TLS};
use crate::wire::buffer::Stock;
use crate::wire::http1::{
    BodyKind, CHUNK_END, Chunk, ChunkDecoder, FieldId, LAST_CHUNK, Version as WireVersion, write_chunk_head,
};
use crate::wire::hygiene::write_field;
use crate::wire::patience::Vigil;
use crate::wire::socket::Wire;

/// How much of an answer is gathered before it is written.
const FLUSH_AT: usize = 64 * 1024;

/// How long a body for one of our own doors may take, all of it: they are small, and whoever lets one drip holds a
/// connection that others want (requirement R67).
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Our own pages and API: a request in, an answer out, never an error.
pub type Doors =
    Arc<dyn Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync>;

/// Why a request's body did not arrive whole.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off or broke the framing")]
struct BrokenBody;

/// A request's body, read from the socket as the door asks for it.
struct RequestBody {
    /// Says that the door wants it, once.
    wanted: Option<oneshot::Sender<()>>,
    pieces: mpsc::Receiver<Result<Bytes, BrokenBody>>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        if let Some(wanted) = self.wanted.take() {
            // Nobody listens any more: the channel below is closed too, and says so.
            let _ = wanted.send(());
        }
        self.pieces.poll_recv(context).map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
    }
}

/// Serves the request whose head stands in `connection`, at this canonical path and query.
pub(crate) async fn serve(connection: &mut Connection, target: String) -> After {
    let body_kind = connection.head.body();
    let bodiless = connection.head.is_head();
    // What a client sends early for another protocol is never taken for a request (requirement R65).
    let keep_alive = connection.head.keep_alive() && connection.head.field(FieldId::Upgrade).is_none();
    let expects_continue = connection.head.expects_continue();
    let (wanted_by_door, wanted) = oneshot::channel();
    let (to_door, pieces) = mpsc::channel(1);
    let body = match body_kind {
        BodyKind::Empty | BodyKind::Length(0) => Body::empty(),
        _ => Body::new(RequestBody { wanted: Some(wanted_by_door), pieces }),
    };
    let request = match build(connection, &target, body) {
        Ok(request) => request,
        Err(answer) => return connection.refuse(&answer).await,
    };
    connection.client.input.consume(connection.head.len());

    let worker = connection.worker.clone();
    let mut feed = Feed { left: body_kind, expects_continue, taken: 0 };
    let answered = {
        let door = AssertUnwindSafe((worker.gate.doors)(request)).catch_unwind();
        let (lease, ip) = (&connection.lease, connection.asker.ip);
        let tell = |taken, more| {
            if more {
                lease.flows(StreamKind::Upload, ip);
            } else {
                lease.flows_nothing();
            }
            lease.came_in(taken);
        };
        let feeding = feed.run(&mut connection.client, &worker.stock, wanted, to_door, tell);
        let (mut door, mut feeding) = (pin!(door), pin!(feeding));
        let mut all_read = false;
        let both = poll_fn(|context| {
            all_read = all_read || feeding.as_mut().poll(context).is_ready();
            door.as_mut().poll(context)
        });
        tokio::select! {
            biased;
            ended = connection.lease.ended() => Err(ended),
            response = both => Ok(response),
        }
    };
    // A body that was not read to its end leaves the connection nowhere.
    let whole = matches!(feed.left, BodyKind::Empty | BodyKind::Length(0));
    match answered {
        Err(ended) => connection.refuse_cut(ended).await,
        Ok(Err(_panic)) => {
            tracing::error!("a door panicked; this request is answered 503");
            connection.refuse_and_close(&Problem::new(503, "Something broke inside Fallgate.").into()).await
        }
        Ok(Ok(response)) => answer(connection, response, bodiless, keep_alive && whole).await,
    }
}

fn build(connection: &Connection, target: &str, body: Body) -> Result<Request<Body>, Answer> {
    let unusable = || Answer::from(Problem::new(400, "The request cannot be read."));
    let (head, buffer) = (&connection.head, connection.client.input.filled());
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(head.method().of(buffer)).map_err(|_| unusable())?;
    *request.uri_mut() = target.parse::<Uri>().map_err(|_| unusable())?;
    *request.version_mut() = Version::HTTP_11;
    for field in head.fields() {
        if matches!(field.id, FieldId::Connection | FieldId::TransferEncoding | FieldId::Expect) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.of(buffer)).map_err(|_| unusable())?;
        let value = HeaderValue::from_bytes(field.value.of(buffer)).map_err(|_| unusable())?;
        request.headers_mut().append(name, value);
    }
    request.extensions_mut().insert(PeerAddress(connection.asker.ip));
    request.extensions_mut().insert(CameByHttps(connection.asker.https));
    request.extensions_mut().insert(connection.lease.handle());
    Ok(request)
}

/// Reads a request's body for a door, once the door asks for it.
struct Feed {
    left: BodyKind,
    expects_continue: bool,
    /// How much of it was read.
    taken: u64,
}

impl Feed {
    async fn run(
        &mut self,
        client: &mut Wire,
        stock: &Stock,
        wanted: oneshot::Receiver<()>,
        to_door: mpsc::Sender<Result<Bytes, BrokenBody>>,
        tell: impl Fn(u64, bool),
    ) {
        // A door that answers without reading the body gets none of it.
        if wanted.await.is_err() {
            return;
        }
        if self.expects_continue && client.input.is_empty() && client.write_all(CONTINUE).await.is_err() {
            return;
        }
        let mut decoder = ChunkDecoder::for_requests();
        let deadline = Instant::now() + BODY_WITHIN;
        loop {
            match self.next(&mut decoder, client) {
                Ok(Some(piece)) if piece.is_empty() => {
                    tell(self.taken, true);
                    match timeout_at(deadline, client.fill(stock)).await {
                        Ok(Ok(count)) if count > 0 => {}
                        _ => {
                            let _ = to_door.send(Err(BrokenBody)).await;
                            return;
                        }
                    }
                }
                Ok(Some(piece)) => {
                    self.taken += piece.len() as u64;
                    if to_door.send(Ok(piece)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return tell(self.taken, false),
                Err(broken) => {
                    let _ = to_door.send(Err(broken)).await;
                    return;
                }
            }
        }
    }

    /// The next piece; an empty one: read more first; none: that was all.
    fn next(&mut self, decoder: &mut ChunkDecoder, client: &mut Wire) -> Result<Option<Bytes>, BrokenBody> {
        match &mut self.left {
            BodyKind::Empty | BodyKind::Length(0) => Ok(None),
            BodyKind::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(client.input.len());
                let piece = Bytes::copy_from_slice(client.input.filled().get(..count).unwrap_or_default());
                client.input.consume(count);
                *left -= count as u64;
                Ok(Some(piece))
            }
            BodyKind::Chunked => loop {
                match decoder.decode(client.input.filled()).map_err(|_| BrokenBody)? {
                    Chunk::More { consumed } => {
                        client.input.consume(consumed);
                        return Ok(Some(Bytes::new()));
                    }
                    Chunk::Data { skip, len } => {
                        let data = client.input.filled().get(skip..skip + len).unwrap_or_default();
                        let piece = Bytes::copy_from_slice(data);
                        client.input.consume(skip + len);
                        if !piece.is_empty() {
                            return Ok(Some(piece));
                        }
                    }
                    Chunk::End { consumed, .. } => {
                        client.input.consume(consumed);
                        self.left = BodyKind::Empty;
                        return Ok(None);
                    }
                }
            },
            // Requests never end by closing.
            BodyKind::UntilClose => Err(BrokenBody),
        }
    }
}

/// Writes a door's answer: at once when its length is known and small, in chunks as it comes otherwise.
async fn answer(
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
