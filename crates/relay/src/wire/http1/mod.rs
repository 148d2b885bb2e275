//! HTTP/1.1 as Fallgate reads it: strictly, without I/O, and without keeping a borrow.
//!
//! A head is parsed from the front of a buffer that its caller keeps; what was found in it is remembered as offsets
//! into that buffer, so that a head can be held across waits next to the buffer, and used again for the next message
//! without a new allocation. The grammar is `httparse`'s; what `httparse` lets pass and Fallgate does not is checked
//! here on the raw bytes (requirements R12, R59, R64).

mod answer;
mod chunks;
mod fields;
mod framing;
mod request;
mod scan;

pub(crate) use answer::AnswerHead;
pub(crate) use chunks::{CHUNK_END, Chunk, ChunkDecoder, LAST_CHUNK, write_chunk_head, write_last_chunk};
pub(crate) use fields::{Field, Span};
pub(crate) use framing::{BodyKind, list_items};
pub(crate) use request::{RequestHead, check_method, check_target};

pub(crate) use super::hygiene::FieldId;

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    /// The longest head, in bytes, with its empty line.
    pub(crate) max_bytes: usize,
    /// The most fields, at most 256.
    pub(crate) max_fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_bytes: 64 * 1024, max_fields: 100 }
    }
}

/// How far a head has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its end has not been seen; ask again with more bytes.
    Partial,
    /// The whole head has been read.
    Complete,
}

/// A message that is refused. Its connection must be closed after the answer: where the next message would start is
/// anybody's guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Malformed {
    /// The status to answer the client with: a 4xx if it was the client's message, 502 if the upstream's.
    pub(crate) status: u16,
    /// What is wrong, in a few words; holds nothing of the message.
    pub(crate) reason: &'static str,
}

impl Malformed {
    /// A request that is not as it must be.
    pub(crate) const fn request(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }

    /// An answer that is not as it must be.
    pub(crate) const fn answer(reason: &'static str) -> Self {
        Self { status: 502, reason }
    }
}

/// The protocol version of a message. There is no other: what says otherwise is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}
