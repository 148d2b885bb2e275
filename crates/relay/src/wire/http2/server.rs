//! A client's stream, served as if it were a connection of its own.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Response, StatusCode};
use tokio::io::ReadBuf;

use super::body::{Blocked, Incoming, Outgoing};
use super::broken;
use super::head::{Framed, answer};
use super::watch::Watch;
use crate::wire::http1::{AnswerHead, HeadLimits, Progress};

/// The most streams that a client may have open at once.
pub(crate) const STREAMS: u32 = 128;
/// How much of a stream's body may be on its way to us: what a slow upstream does not take waits here.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all of a connection's streams together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of a stream's answer may wait for the socket.
const SEND_BUFFER: usize = 64 * 1024;
/// How many streams may be kept in mind that were reset: by us, and by the client before we looked. It may give up all
/// that it has open at once.
const REMEMBERED: usize = STREAMS as usize;

/// Our own heads: a client's limits do not hold for what an upstream answers.
const ANSWER: HeadLimits = HeadLimits { max_bytes: 256 * 1024, max_fields: 256 };

/// How a connection is served whose requests may have heads so long, in bytes.
pub(crate) fn settings(head_bytes: usize) -> h2::server::Builder {
    let mut settings = h2::server::Builder::new();
    settings
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_reset_streams(REMEMBERED)
        .max_pending_accept_reset_streams(REMEMBERED);
    settings
}

/// One request and its answer on a client's connection: reads as the HTTP/1.1 it would be, and takes an answer in the
/// same form. What goes down unfinished is reset.
#[derive(Debug)]
pub(crate) struct ServerStream {
    id: u32,
    request: Incoming,
    answer: State,
    /// It is a `HEAD`, whose answer has no body.
    to_head: bool,
    /// Whoever asked is not to be waited for any more.
    cut: bool,
    watch: Watch,
}

#[derive(Debug)]
enum State {
    Before(SendResponse<Bytes>),
    Body(Outgoing),
    Over,
}

impl ServerStream {
    /// The stream whose request was written down as `head`.
    pub(crate) fn new(
        head: Vec<u8>,
        framed: Framed,
        to_head: bool,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        watch: Watch,
    ) -> Self {
        let id = respond.stream_id().as_u32();
        watch.open(id);
        let request = Incoming::new(head, body, framed);
        Self { id, request, answer: State::Before(respond), to_head, cut: false, watch }
    }

    /// After the request there is no other: an end comes once it has been answered, or its client has left.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_readable(context))?;
        self.request.poll_read(context, into)
    }

    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.request.poll_more(context))?;
        // What ends badly has no end that anybody may read.
        if self.request.has_ended() && self.watch.is_malformed(self.id) {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if self.request.is_over() { self.poll_end(context) } else { Poll::Ready(Ok(())) }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.answer {
            State::Before(respond) => respond.poll_reset(context).map(|_| ()),
            State::Body(body) => body.poll_reset(context),
            State::Over => return Poll::Ready(Ok(())),
        }
        .map(|()| Err(io::ErrorKind::ConnectionReset.into()))
    }

    /// Takes an answer. Its head must come whole.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.answer {
            State::Before(_) => Poll::Ready(self.begin(bytes)),
            State::Body(body) => {
                let blocked = if self.cut { Blocked::Ends } else { Blocked::Waits };
                let taken = body.poll_write(context, bytes, blocked);
                if body.is_over() {
                    self.answer = State::Over;
                }
                taken
            }
            // Nothing follows an answer on its stream.
            State::Over => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn begin(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let State::Before(respond) = &mut self.answer else { return Ok(0) };
        let mut head = AnswerHead::default();
        match head.parse(bytes, &ANSWER, self.to_head) {
            Ok(Progress::Complete) => {}
            Ok(Progress::Partial) | Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        if head.is_interim() {
            let mut interim = Response::new(());
            *interim.status_mut() = StatusCode::CONTINUE;
            respond.send_informational(interim).map_err(broken)?;
            return Ok(head.len());
        }
        // A cut answer may have to end early, which its length would belie.
        let response = answer(&head, bytes, self.cut).ok_or(io::ErrorKind::InvalidData)?;
        let bodiless = head.body().is_empty();
        let stream = respond.send_response(response, bodiless).map_err(broken)?;
        self.answer = if bodiless { State::Over } else { State::Body(Outgoing::new(stream, head.body())?) };
        Ok(head.len())
    }

    /// Whether the client has given it up.
    pub(crate) fn has_left(&self) -> bool {
        self.watch.has_left(self.id)
    }

    /// What its request rests on has ended: from now on the client is not waited for.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
        self.request.stop();
        self.watch.must_end(self.id);
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        // One that has ended in good order is none of these.
        let reason = match self.cut {
            true => Reason::CANCEL,
            false if self.watch.is_malformed(self.id) => Reason::PROTOCOL_ERROR,
            false => Reason::INTERNAL_ERROR,
        };
        match &mut self.answer {
            State::Before(respond) => respond.send_reset(reason),
            State::Body(body) => body.reset(reason),
            State::Over => {}
        }
        self.watch.close(self.id);
    }
}
