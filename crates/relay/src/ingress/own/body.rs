//! A request's body on its way to a door, read as the door asks for it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::ingress::connection::CONTINUE;
use crate::wire::buffer::Stock;
use crate::wire::http1::{BodyKind, Chunk, ChunkDecoder};
use crate::wire::socket::Wire;

/// How long a body for one of our own doors may take, all of it: they are small, and whoever lets one drip holds a
/// connection that others want (requirement R67).
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Why a request's body did not arrive whole.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off or broke the framing")]
pub(super) struct BrokenBody;

/// A request's body, read from the socket as the door asks for it.
pub(super) struct RequestBody {
    /// Says that the door wants it, once.
    pub(super) wanted: Option<oneshot::Sender<()>>,
    pub(super) pieces: mpsc::Receiver<Result<Bytes, BrokenBody>>,
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

/// Reads a request's body for a door, once the door asks for it.
pub(super) struct Feed {
    pub(super) left: BodyKind,
    pub(super) expects_continue: bool,
    /// How much of it was read.
    pub(super) taken: u64,
}

impl Feed {
    pub(super) async fn run(
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
