//! A stream to an upstream that speaks HTTP/2, used as if it were a connection of its own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use tokio::io::ReadBuf;

use super::body::{Blocked, Incoming, Outgoing};
use super::broken;
use super::head::{answer_to_http1, request};
use super::link::Link;
use crate::wire::http1::{HeadLimits, Progress, RequestHead};

/// Heads that this house has written: a client's limits held for what they were made of.
const REQUEST: HeadLimits = HeadLimits { max_bytes: 256 * 1024, max_fields: 256 };

/// One request to an upstream and its answer: takes the request as HTTP/1.1, and reads as the answer in the same form.
/// What goes down unfinished is reset.
#[derive(Debug)]
pub(crate) struct ClientStream {
    link: Arc<Link>,
    request: Up,
    answer: Down,
    to_head: bool,
}

#[derive(Debug)]
enum Up {
    Before,
    Body(Outgoing),
    Over,
}

#[derive(Debug)]
enum Down {
    Before,
    Waiting(ResponseFuture),
    Message(Incoming),
    Broken,
}

impl ClientStream {
    /// A stream that was claimed on this connection.
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, request: Up::Before, answer: Down::Before, to_head: false }
    }

    /// Takes a request. Its head must come whole.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = match &mut self.request {
            Up::Before => match ready!(self.link.poll_clear(context)) {
                Ok(()) => Poll::Ready(self.begin(bytes)),
                Err(error) => Poll::Ready(Err(error)),
            },
            Up::Body(body) => {
                let taken = body.poll_write(context, bytes, Blocked::Waits);
                if body.is_over() {
                    self.request = Up::Over;
                }
                taken
            }
            // Nothing follows a request on its stream.
            Up::Over => Poll::Ready(Ok(bytes.len())),
        };
        if let (Poll::Ready(Err(_)), Down::Before) = (&taken, &self.answer) {
            self.answer = Down::Broken;
        }
        taken
    }

    fn begin(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut head = RequestHead::default();
        match head.parse(bytes, &REQUEST) {
            Ok(Progress::Complete) => {}
            Ok(Progress::Partial) | Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        self.to_head = head.is_head();
        let request = request(&head, bytes, self.link.scheme()).ok_or(io::ErrorKind::InvalidData)?;
        let bodiless = head.body().is_empty();
        let mut link = self.link.handle();
        let (answer, stream) = link.send_request(request, bodiless).map_err(|error| self.failed(error))?;
        self.link.push();
        self.answer = Down::Waiting(answer);
        self.request = if bodiless { Up::Over } else { Up::Body(Outgoing::new(stream, head.body())?) };
        Ok(head.len())
    }

    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_message(context))?.poll_read(context, into)
    }

    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_message(context))?.poll_more(context)
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&mut Incoming>> {
        if let Down::Waiting(answer) = &mut self.answer {
            let answered = ready!(Pin::new(answer).poll(context));
            let (parts, body) = answered.map_err(|error| self.failed(error))?.into_parts();
            let (head, framed) = answer_to_http1(&parts, body.is_end_stream(), self.to_head);
            self.answer = Down::Message(Incoming::new(head, body, framed));
        }
        match &mut self.answer {
            Down::Message(message) => Poll::Ready(Ok(message)),
            Down::Broken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            // Whoever asks here sends the request in the same breath.
            Down::Before | Down::Waiting(_) => Poll::Pending,
        }
    }

    fn failed(&self, error: h2::Error) -> io::Error {
        self.link.judge(&error);
        broken(error)
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        // What is left of them is reset.
        (self.request, self.answer) = (Up::Over, Down::Broken);
        self.link.end();
    }
}
