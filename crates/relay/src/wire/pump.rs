//! Moving one message's body from one wire to another: streamed, with back-pressure, re-framed on the way.

use std::io;
use std::task::{Context, Poll, ready};

use super::buffer::Stock;
use super::http1::{BodyKind, CHUNK_END, Chunk, ChunkDecoder, Malformed, write_chunk_head, write_last_chunk};
use super::socket::Wire;

/// A body piece up to this size goes out in one write with what stands before it.
const JOIN: usize = 16 * 1024;

/// Why a body did not arrive whole.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// The side it comes from failed, or ended too early.
    Source(io::Error),
    /// The side it comes from broke the framing.
    Malformed(Malformed),
    /// The side it goes to failed.
    Sink,
}

/// What is left to read.
#[derive(Debug)]
enum Left {
    Bytes(u64),
    Chunks(ChunkDecoder),
    UntilClose,
    Nothing,
}

/// One body on its way. Also carries what must go out before it: the head.
#[derive(Debug)]
pub(crate) struct Pump {
    left: Left,
    chunked_out: bool,
    /// Bytes that must go out next, from `sent` on.
    staged: Vec<u8>,
    sent: usize,
    /// Counts up with every byte that is read or written.
    moved: u64,
    /// How much of the body has gone on its way, as content.
    passed: u64,
    written: bool,
    /// All of it is the system's to send now.
    flushed: bool,
    waits_for: Side,
}

/// A side of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Sink,
}

impl Pump {
    /// A body of that kind, behind `head`. `chunked_out`: it goes out in chunks.
    pub(crate) fn new(body: BodyKind, decoder: ChunkDecoder, chunked_out: bool, head: Vec<u8>) -> Self {
        let left = match body {
            BodyKind::Empty | BodyKind::Length(0) => Left::Nothing,
            BodyKind::Length(length) => Left::Bytes(length),
            BodyKind::Chunked => Left::Chunks(decoder),
            BodyKind::UntilClose => Left::UntilClose,
        };
        Self {
            left,
            chunked_out,
            staged: head,
            sent: 0,
            moved: 0,
            passed: 0,
            written: false,
            flushed: false,
            waits_for: Side::Source,
        }
    }

    /// Whether everything was read and everything written.
    pub(crate) fn is_done(&self) -> bool {
        self.is_read() && self.flushed
    }

    /// Whether any byte of it has been written: from then on it cannot be taken back.
    pub(crate) fn has_begun(&self) -> bool {
        self.written
    }

    /// Which side the last poll waits for.
    pub(crate) fn waits_for(&self) -> Side {
        self.waits_for
    }

    /// Counts up whenever anything moves.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// How much of the body has gone on its way, in bytes of content.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// Whether the whole body was read from its source.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.left, Left::Nothing)
    }

    /// What it was sent from, for whoever writes the next head; where there was no body, the head still stands in it.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.staged
    }

    /// The same of one that is done.
    pub(crate) fn spare_buffer(&mut self) -> Option<Vec<u8>> {
        self.is_done().then(|| {
            self.sent = 0;
            std::mem::take(&mut self.staged)
        })
    }

    /// Moves as much as both sides allow; ready when all of it is through.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Wire,
        sink: &mut Wire,
        stock: &Stock,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            self.stage(source)?;
            while self.sent < self.staged.len() {
                self.waits_for = Side::Sink;
                let bytes = self.staged.get(self.sent..).unwrap_or_default();
                let count = ready!(sink.poll_write(context, bytes)).map_err(|_| PumpError::Sink)?;
                self.sent += count;
                self.wrote(count);
            }
            if self.is_read() {
                self.waits_for = Side::Sink;
                ready!(sink.poll_flush(context)).map_err(|_| PumpError::Sink)?;
                self.flushed = true;
                return Poll::Ready(Ok(()));
            }
            let moved = !self.staged.is_empty();
            self.staged.clear();
            self.sent = 0;
            // There may be more to stage: nothing that is here already waits for what is still to come.
            if moved && !source.input.is_empty() {
                continue;
            }
            if let (false, Some(direct)) = (source.input.is_empty(), self.direct(source)) {
                self.waits_for = Side::Sink;
                let bytes = source.input.filled().get(..direct).unwrap_or_default();
                let count = ready!(sink.poll_write(context, bytes)).map_err(|_| PumpError::Sink)?;
                source.input.consume(count);
                self.took(count);
                self.wrote(count);
                continue;
            }
            // Nothing stays behind while the source is silent.
            if let Poll::Ready(Err(_)) = sink.poll_flush(context) {
                return Poll::Ready(Err(PumpError::Sink));
            }
            self.waits_for = Side::Source;
            let count = ready!(source.poll_fill(context, stock, true)).map_err(PumpError::Source)?;
            self.moved += count as u64;
            if count == 0 {
                self.source_ended()?;
            }
        }
    }

    /// How much of the input can go out as it is, without being copied.
    fn direct(&self, source: &Wire) -> Option<usize> {
        match self.left {
            Left::Bytes(left) => {
                Some(usize::try_from(left).map_or(source.input.len(), |left| left.min(source.input.len())))
            }
            Left::UntilClose if !self.chunked_out => Some(source.input.len()),
            _ => None,
        }
    }

    fn wrote(&mut self, count: usize) {
        self.written = true;
        self.moved += count as u64;
    }

    fn took(&mut self, count: usize) {
        self.passed += count as u64;
        if let Left::Bytes(left) = &mut self.left {
            *left -= (count as u64).min(*left);
            if *left == 0 {
                self.left = Left::Nothing;
            }
        }
    }

    /// Puts behind what is staged whatever of the input must be re-framed, or is small enough to go along.
    fn stage(&mut self, source: &mut Wire) -> Result<(), PumpError> {
        while !source.input.is_empty() && self.staged.len() - self.sent < JOIN {
            match &mut self.left {
                Left::Nothing => return Ok(()),
                Left::Bytes(_) | Left::UntilClose if !self.chunked_out => {
                    let Some(direct) = self.direct(source) else { return Ok(()) };
                    // Alone it can go out uncopied; behind a head one write is cheaper than two.
                    if self.staged.is_empty() || direct > JOIN {
                        return Ok(());
                    }
                    self.staged.extend_from_slice(source.input.filled().get(..direct).unwrap_or_default());
                    source.input.consume(direct);
                    self.took(direct);
                }
                Left::Bytes(_) | Left::UntilClose => {
                    let count = source.input.len().min(JOIN);
                    write_chunk(&mut self.staged, source.input.filled().get(..count).unwrap_or_default());
                    source.input.consume(count);
                    self.took(count);
                }
                Left::Chunks(decoder) => {
                    let step = decoder.decode(source.input.filled()).map_err(PumpError::Malformed)?;
                    match step {
                        Chunk::More { consumed } => {
                            source.input.consume(consumed);
                            return Ok(());
                        }
                        Chunk::Data { skip, len } => {
                            let data = source.input.filled().get(skip..skip + len).unwrap_or_default();
                            if self.chunked_out {
                                write_chunk(&mut self.staged, data);
                            } else {
                                self.staged.extend_from_slice(data);
                            }
                            source.input.consume(skip + len);
                            self.passed += len as u64;
                        }
                        Chunk::End { consumed, trailers } => {
                            source.input.consume(consumed);
                            self.left = Left::Nothing;
                            self.close(&trailers);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, trailers: &[u8]) {
        if self.chunked_out {
            write_last_chunk(&mut self.staged, trailers);
        }
    }

    /// The source sends no more: fine where that is how the body ends, and nowhere else.
    fn source_ended(&mut self) -> Result<(), PumpError> {
        if matches!(self.left, Left::UntilClose) {
            self.left = Left::Nothing;
            self.close(b"");
            Ok(())
        } else {
            Err(PumpError::Source(io::ErrorKind::UnexpectedEof.into()))
        }
    }
}

fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        write_chunk_head(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(CHUNK_END);
    }
}
