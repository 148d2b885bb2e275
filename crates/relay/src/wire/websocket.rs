//! WebSocket frames, as far as one must know them to end a tunnel well (RFC 6455).

/// The longest payload of a control frame, in bytes.
const CONTROL_PAYLOAD: usize = 125;
/// The longest frame header: two bytes, a 64-bit length, a mask.
const LONGEST_HEADER: usize = 14;

/// Follows the frames in one direction of a tunnel and knows whether it stands between two of them: only there can a
/// close frame be put in that the client will understand.
///
/// It reads frame headers only, keeps none of the payload, and never allocates.
#[derive(Debug, Default)]
pub(crate) struct FrameTracker {
    position: Position,
}

#[derive(Debug, Clone, Copy, Default)]
enum Position {
    /// Between two frames.
    #[default]
    Boundary,
    /// In a frame's header, of which so many bytes have been seen.
    Header { seen: [u8; LONGEST_HEADER], length: usize },
    /// In a frame's payload, with so many bytes of it to come; never zero.
    Payload(u64),
    /// This is not RFC 6455; where a frame starts is not known any more.
    Lost,
}

impl FrameTracker {
    /// Takes in the next bytes of the stream, as they are written.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            match self.position {
                Position::Boundary => {
                    let mut seen = [0; LONGEST_HEADER];
                    if let Some(byte) = seen.first_mut() {
                        *byte = first;
                    }
                    self.position = Position::Header { seen, length: 1 };
                    bytes = rest;
                }
                Position::Header { mut seen, length } => {
                    if let Some(byte) = seen.get_mut(length) {
                        *byte = first;
                    }
                    self.position = after_header(seen, length + 1);
                    bytes = rest;
                }
                Position::Payload(remaining) => {
                    let taken = usize::try_from(remaining).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(taken..).unwrap_or_default();
                    let left = remaining - taken as u64;
                    self.position = if left == 0 { Position::Boundary } else { Position::Payload(left) };
                }
                Position::Lost => return,
            }
        }
    }

    /// Whether the stream stands between two frames.
    pub(crate) fn at_boundary(&self) -> bool {
        matches!(self.position, Position::Boundary)
    }
}

/// Where the stream stands once the first `length` bytes of a header, at least two, have been seen.
fn after_header(seen: [u8; LONGEST_HEADER], length: usize) -> Position {
    let [first, second, ..] = seen;
    let (control, opcode) = (first & 0x08 != 0, first & 0x0f);
    let short = second & 0x7f;
    let unknown = matches!(opcode, 0x3..=0x7 | 0xb..=0xf);
    // A control frame is short and whole (section 5.5).
    if unknown || control && (short > 125 || first & 0x80 == 0) {
        return Position::Lost;
    }
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    if length < 2 + extended + mask {
        return Position::Header { seen, length };
    }
    let payload = match short {
        126 | 127 => {
            let digits = seen.get(2..2 + extended).unwrap_or_default();
            digits.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
        }
        _ => u64::from(short),
    };
    match payload {
        0 => Position::Boundary,
        // The highest bit must not be set (section 5.2).
        _ if i64::try_from(payload).is_err() => Position::Lost,
        _ => Position::Payload(payload),
    }
}

/// A close frame as a server sends it, unmasked: `code`, and as much of `reason` as a control frame holds.
pub(crate) fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let end = (0..=reason.len().min(CONTROL_PAYLOAD - 2)).rev().find(|&end| reason.is_char_boundary(end));
    let reason = reason.get(..end.unwrap_or(0)).unwrap_or_default();
    let mut frame = Vec::with_capacity(4 + reason.len());
    // At most 125 by the cut above.
    let length = u8::try_from(2 + reason.len()).unwrap_or(2);
    frame.extend_from_slice(&[0x88, length]);
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}
