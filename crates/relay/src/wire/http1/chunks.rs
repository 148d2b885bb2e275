//! Bodies in chunks (RFC 9112, section 7.1): read strictly, never passed on as they came.

use std::io::Write;

use super::request::grammar;
use super::scan::{Scan, Unscannable};
use super::{HeadLimits, Malformed};
use crate::wire::hygiene;

/// What stands after the data of a chunk.
pub(crate) const CHUNK_END: &[u8] = b"\r\n";
/// The chunk that ends a body without trailers.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Sixteen hex digits hold every size that is taken.
const STRICT_LINE: usize = 16;
/// The longest line with a chunk's size and its extensions that is taken from an upstream, in bytes.
const LENIENT_LINE: usize = 1024;
/// How large a trailer section may be.
const TRAILERS: HeadLimits = HeadLimits { max_bytes: 16 * 1024, max_fields: 100 };
const MOST_TRAILERS: usize = 100;

/// Finds the data in a body that comes in chunks, and checks what is between them.
#[derive(Debug, Default)]
pub(crate) struct ChunkDecoder {
    state: State,
    lenient: bool,
    trailers: Scan,
    /// Names, in lower case, of trailers that are taken out.
    withheld: Vec<String>,
}

/// What the input of a [`ChunkDecoder`] begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// No data. Drop `consumed` bytes and come back with what follows them, once there is more.
    More {
        /// How many bytes have been dealt with.
        consumed: usize,
    },
    /// `input[skip..skip + len]` is data, at least one byte. Drop `skip + len` bytes.
    Data {
        /// Where the data starts.
        skip: usize,
        /// How much data there is.
        len: usize,
    },
    /// The body has ended. Drop `consumed` bytes; what follows is the next message.
    End {
        /// How many bytes have been dealt with.
        consumed: usize,
        /// The trailers that may be passed on, as `name: value` lines that each end in CR LF; mostly empty.
        trailers: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Before the line with a chunk's size.
    #[default]
    Size,
    /// In a chunk's data, with so much of it to come; never zero.
    Data(u64),
    /// Before the CR LF after a chunk's data.
    DataEnd,
    /// In the trailer section.
    Trailers,
    /// Behind all of it.
    Ended,
}

impl ChunkDecoder {
    /// For what clients send: no extensions, no leading zeros, no blanks, no trailers that could be taken for framing,
    /// routing or authorisation (requirement R64).
    pub(crate) fn for_requests() -> Self {
        Self::default()
    }

    /// For what upstreams send: sizes may have zeros in front, blanks behind, and extensions, which are dropped, as are
    /// trailers that may not be passed on.
    pub(crate) fn for_answers() -> Self {
        Self { lenient: true, ..Self::default() }
    }

    /// Takes out trailers of these names, written in lower case, too.
    pub(crate) fn withholding(self, withheld: Vec<String>) -> Self {
        Self { withheld, ..self }
    }

    /// Looks at the next bytes of the body. `input` starts with the first byte not yet dropped.
    pub(crate) fn decode(&mut self, input: &[u8]) -> Result<Chunk, Malformed> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            match self.state {
                State::Size => {
                    let Some((size, length)) = self.size_line(rest)? else {
                        return Ok(Chunk::More { consumed });
                    };
                    consumed += length;
                    self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::Data(remaining) => {
                    if rest.is_empty() {
                        return Ok(Chunk::More { consumed });
                    }
                    let len = usize::try_from(remaining).unwrap_or(usize::MAX).min(rest.len());
                    let left = remaining - len as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Chunk::Data { skip: consumed, len });
                }
                State::DataEnd => match rest {
                    [] | [b'\r'] => return Ok(Chunk::More { consumed }),
                    [b'\r', b'\n', ..] => {
                        consumed += CHUNK_END.len();
                        self.state = State::Size;
                    }
                    _ => return Err(self.malformed("a chunk longer than it says")),
                },
                State::Trailers => {
                    let found = self.trailers.find_end(rest, TRAILERS, TRAILERS.max_fields);
                    let Some(length) = found.map_err(|why| self.unscannable(why))? else {
                        return Ok(Chunk::More { consumed });
                    };
                    let trailers = self.clean_trailers(rest.get(..length).unwrap_or_default())?;
                    self.state = State::Ended;
                    return Ok(Chunk::End { consumed: consumed + length, trailers });
                }
                State::Ended => return Ok(Chunk::End { consumed, trailers: Vec::new() }),
            }
        }
    }

    /// The size that the line at the front says and the length of the line with its CR LF; `None` if it has not come
    /// in whole.
    fn size_line(&self, input: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
        let longest = if self.lenient { LENIENT_LINE } else { STRICT_LINE };
        let window = input.get(..longest + CHUNK_END.len()).unwrap_or(input);
        let Some(line_feed) = memchr::memchr(b'\n', window) else {
            // What has come in must already be the start of a good line.
            let begun = window.strip_suffix(b"\r").unwrap_or(window);
            if begun.len() > longest || !(begun.is_empty() || self.size(begun).is_some()) {
                return Err(self.malformed("a malformed chunk size"));
            }
            return Ok(None);
        };
        let line = window.get(..line_feed).unwrap_or_default();
        let size = line.strip_suffix(b"\r").and_then(|line| self.size(line));
        size.map(|size| Some((size, line_feed + 1))).ok_or(self.malformed("a malformed chunk size"))
    }

    fn size(&self, line: &[u8]) -> Option<u64> {
        let digits = if self.lenient { without_extensions(line)? } else { line };
        let plain = matches!(digits, [b'0'] | [b'1'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
        if !(plain || self.lenient) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        i64::try_from(size).is_ok().then_some(size)
    }

    /// The trailers that may be passed on.
    fn clean_trailers(&self, section: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut clean = Vec::new();
        if section == CHUNK_END {
            return Ok(clean);
        }
        let mut room = [httparse::EMPTY_HEADER; MOST_TRAILERS];
        let fields = match httparse::parse_headers(section, &mut room) {
            Ok(httparse::Status::Complete((length, fields))) if length == section.len() => fields,
            Ok(_) => return Err(self.malformed("malformed trailers")),
            Err(error) => return Err(self.malformed(grammar(error))),
        };
        for field in fields {
            let name = field.name.as_bytes();
            if !self.lenient && memchr::memchr(b'_', name).is_some() {
                return Err(self.malformed("a trailer name with an underscore"));
            }
            if self.withheld.iter().any(|withheld| hygiene::folded_eq(name, withheld)) {
                continue;
            }
            match hygiene::trailer(name) {
                hygiene::Trailer::Passes => hygiene::write_field(&mut clean, name, field.value),
                hygiene::Trailer::Ours => {}
                hygiene::Trailer::Forbidden if self.lenient => {}
                hygiene::Trailer::Forbidden => return Err(self.malformed("a trailer that may not be one")),
            }
        }
        Ok(clean)
    }

    fn unscannable(&self, why: Unscannable) -> Malformed {
        let status = if self.lenient { 502 } else { 431 };
        match why {
            Unscannable::BareLf => self.malformed("a line that does not end in CR LF"),
            Unscannable::TooLong => Malformed { status, reason: "the trailers are too long" },
            Unscannable::TooManyLines => Malformed { status, reason: "too many trailers" },
        }
    }

    fn malformed(&self, reason: &'static str) -> Malformed {
        if self.lenient { Malformed::answer(reason) } else { Malformed::request(reason) }
    }
}

/// Writes the line before a chunk of `len` bytes, which must not be zero: that would end the body.
pub(crate) fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert_ne!(len, 0, "a chunk of no bytes ends the body");
    // Writing to a `Vec` cannot fail.
    let _ = write!(out, "{len:x}\r\n");
}

/// Writes the last chunk, the trailers as [`Chunk::End`] gave them, and the empty line.
pub(crate) fn write_last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(CHUNK_END);
}

/// A size line up to its extensions and the blanks before them; `None` if an extension has control bytes.
fn without_extensions(line: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b';', line).unwrap_or(line.len());
    let (size, extensions) = line.split_at_checked(end)?;
    if extensions.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        return None;
    }
    let blanks = size.iter().rev().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
    size.get(..size.len() - blanks)
}

#[cfg(test)]
mod tests;
