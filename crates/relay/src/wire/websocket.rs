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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of this opcode with a payload of so many bytes.
    fn frame(first: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(mask + u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(mask + 126);
                frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask + 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend_from_slice(&[1, 2, 3, 4]);
        }
        frame.resize(frame.len() + length, 0x81);
        frame
    }

    fn at_boundary_after(bytes: &[u8]) -> bool {
        let mut tracker = FrameTracker::default();
        tracker.feed(bytes);
        tracker.at_boundary()
    }

    #[test]
    fn r46_only_between_frames_is_a_boundary() {
        for frame in [
            frame(0x81, 0, false),
            frame(0x82, 5, false),
            frame(0x01, 5, true),
            frame(0x80, 125, false),
            frame(0x82, 126, false),
            frame(0x82, 65_535, true),
            frame(0x82, 65_536, false),
            frame(0x89, 125, false),
            frame(0x88, 2, true),
        ] {
            for cut in 1..frame.len() {
                assert!(!at_boundary_after(&frame[..cut]), "{:?} cut at {cut}", &frame[..2]);
            }
            assert!(at_boundary_after(&frame));
        }
        assert!(at_boundary_after(&[]));
    }

    #[test]
    fn what_is_no_frame_is_never_a_boundary_again() {
        for start in [
            &[0x83, 0][..],
            &[0x8b, 0],
            &[0x89, 126],
            &[0x09, 0],
            &[0x88, 127],
            &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            b"HTTP/1.1 200 OK",
        ] {
            let mut tracker = FrameTracker::default();
            tracker.feed(start);
            for _ in 0..300 {
                assert!(!tracker.at_boundary(), "{start:?}");
                tracker.feed(&[0]);
            }
        }
    }

    #[test]
    fn r46_a_close_frame_says_why() {
        assert_eq!(close_frame(4401, "token revoked"), b"\x88\x0f\x11\x31token revoked");
        assert_eq!(close_frame(4403, ""), b"\x88\x02\x11\x33");
        let long = close_frame(4401, &"é".repeat(100));
        assert_eq!((long.len(), long[1]), (2 + 2 + 122, 124));
        assert!(std::str::from_utf8(&long[4..]).is_ok());
        assert_eq!(close_frame(4401, &"a".repeat(200)).len(), 2 + CONTROL_PAYLOAD);
        for frame in [close_frame(4401, ""), close_frame(4401, "token revoked"), long] {
            assert!(at_boundary_after(&frame));
        }
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_makes_no_difference(
            frames in prop::collection::vec(
                (prop::sample::select(vec![0x81u8, 0x02, 0x80, 0xc1]), 0usize..300, any::<bool>()),
                0..6,
            ),
            cut_off in 0usize..400,
            pieces in prop::collection::vec(1usize..40, 1..6),
        ) {
            let stream: Vec<u8> =
                frames.iter().flat_map(|&(first, length, masked)| frame(first, length, masked)).collect();
            let stream = &stream[..stream.len().saturating_sub(cut_off)];
            let mut tracker = FrameTracker::default();
            let mut rest = stream;
            for piece in pieces.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(piece.min(rest.len()));
                tracker.feed(now);
                rest = later;
            }
            let mut end = 0;
            let mut boundary = stream.is_empty();
            for (first, length, masked) in frames {
                end += frame(first, length, masked).len();
                boundary |= end == stream.len();
            }
            prop_assert_eq!(tracker.at_boundary(), boundary);
            prop_assert_eq!(at_boundary_after(stream), boundary);
        }

        #[test]
        fn r59_no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            at_boundary_after(&bytes);
        }
    }
}
