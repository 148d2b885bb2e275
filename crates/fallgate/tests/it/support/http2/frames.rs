//! HTTP/2 frame by frame: what no library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::client::connect;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What came of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its answer has this status.
    Status(u16),
    /// It was reset with this code.
    Reset(u32),
    /// The connection is over, with this code.
    GoAway(u32),
    /// The connection was closed without a word.
    Closed,
}

/// A client's end of a connection.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A SETTINGS frame.
pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<_> = values
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(4, 0, 0, &payload)
}

/// Fields as HPACK writes them when it has no memory: byte for byte, in their order.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            length(&mut out, text.len());
            out.extend(text.as_bytes());
        }
    }
    out
}

/// A HEADERS frame with these fields. `ends`: no body follows.
pub(crate) fn headers(stream: u32, ends: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(1, 4 | u8::from(ends), stream, &block(fields))
}

/// An integer with a seven-bit prefix (RFC 7541, section 5.1).
fn length(out: &mut Vec<u8>, length: usize) {
    if let Some(short) = u8::try_from(length).ok().filter(|short| *short < 127) {
        return out.push(short);
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

impl Frames {
    /// Connects, and begins as HTTP/2 does, with these settings.
    pub(crate) fn begin(address: SocketAddr, values: &[(u16, u32)]) -> Self {
        let mut frames = Self::silent(address);
        frames.send([PREFACE, &settings(values)].concat());
        frames
    }

    /// Connects, and says nothing.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let stream = connect(address);
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Sends bytes as they are. What the other side no longer wants is no failure.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Whether all of it could be sent.
    pub(crate) fn sends(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame; none if the other side has closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.unread.extend(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing came within {} s", PATIENCE.as_secs())
                }
                Err(_) => return None,
            }
        }
    }

    /// Reads until `wanted` gives something for a frame; none if the other side closes before.
    pub(crate) fn find<T>(&mut self, mut wanted: impl FnMut(&Frame) -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = wanted(&self.next()?) {
                return Some(found);
            }
        }
    }

    /// What comes of a stream.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        self.find(|frame| match frame.kind {
            1 if frame.stream == stream => Some(Outcome::Status(status(&frame.payload))),
            3 if frame.stream == stream => Some(Outcome::Reset(code(&frame.payload))),
            7 => Some(Outcome::GoAway(code(&frame.payload[4..]))),
            _ => None,
        })
        .unwrap_or(Outcome::Closed)
    }

    /// Waits until the other side has closed, and says whether its last word was a GOAWAY with this code.
    pub(crate) fn ends_with(&mut self, wanted: u32) -> bool {
        let mut said = None;
        while let Some(frame) = self.next() {
            if frame.kind == 7 {
                said = Some(code(&frame.payload[4..]));
            }
        }
        said == Some(wanted)
    }

    /// Reads nothing for so long, then tells how the connection stands: the error of reading all that is there.
    pub(crate) fn drain(&mut self) -> std::io::Result<usize> {
        self.stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let (mut all, mut buffer) = (0, vec![0; 64 * 1024]);
        loop {
            match self.stream.read(&mut buffer)? {
                0 => return Ok(all),
                count => all += count,
            }
        }
    }

    /// Whether the other side has broken off. Reads nothing, so what fills the way here goes on filling it.
    pub(crate) fn was_reset(&self) -> bool {
        self.stream.take_error().unwrap().is_some()
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.unread.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let payload = self.unread.get(9..9 + length)?.to_vec();
        self.unread.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

/// The status at the front of a header block, as a first answer on a connection has it: in HPACK's own table, or three
/// digits behind that name.
fn status(block: &[u8]) -> u16 {
    let known = [(0x88, 200), (0x89, 204), (0x8a, 206), (0x8b, 304), (0x8c, 400), (0x8d, 404), (0x8e, 500)];
    if let Some((_, status)) = known.iter().find(|(byte, _)| *byte == block[0]) {
        return *status;
    }
    assert!(block[0] & 0x3f == 8 || block[0] & 0x0f == 8, "no status first: {block:x?}");
    let (huffman, length) = (block[1] & 0x80 != 0, usize::from(block[1] & 0x7f));
    let text = &block[2..2 + length];
    let digits = if huffman { huffman_digits(text) } else { String::from_utf8(text.to_vec()).unwrap() };
    digits.parse().unwrap()
}

/// Digits in HPACK's Huffman code: the first three have five bits, the others six.
fn huffman_digits(text: &[u8]) -> String {
    let bits: String = text.iter().map(|byte| format!("{byte:08b}")).collect::<Vec<_>>().concat();
    let (mut digits, mut rest) = (String::new(), bits.as_str());
    while digits.len() < 3 {
        let five = u8::from_str_radix(&rest[..5], 2).unwrap();
        let (digit, length) = if five < 3 {
            (five, 5)
        } else {
            (u8::from_str_radix(&rest[..6], 2).unwrap() - 0b01_1001 + 3, 6)
        };
        digits.push(char::from(b'0' + digit));
        rest = &rest[length..];
    }
    digits
}
