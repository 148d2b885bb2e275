//! Finds frames in what goes by on a socket, and the heads of requests in them (RFC 9113, section 4.1).

use super::paths::{Found, Paths, Unreadable};

/// The length of a frame's head.
const HEAD: usize = 9;
/// The largest frame that a client may send.
const LARGEST: u32 = 16 * 1024;
/// The length of the connection preface, which is no frame.
const PREFACE: u32 = 24;

/// The head of a frame.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FrameHead {
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const CONTINUATION: u8 = 9;

    pub(super) const ACK: u8 = 1;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    const PADDED: u8 = 8;
    const PRIORITY: u8 = 32;

    fn parse(head: [u8; HEAD]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        }
    }

    pub(super) fn ends_stream(self) -> bool {
        self.flags & Self::END_STREAM != 0
    }

    /// The part of a head that this frame's payload is, without what may stand around it (RFC 9113, section 6.2).
    fn part_of_head(self, payload: &[u8]) -> Option<&[u8]> {
        if self.kind != Self::HEADERS {
            return Some(payload);
        }
        let (padding, rest) = match payload.split_first() {
            Some((&padding, rest)) if self.flags & Self::PADDED != 0 => (usize::from(padding), rest),
            _ => (0, payload),
        };
        let priority = if self.flags & Self::PRIORITY != 0 { 5 } else { 0 };
        rest.get(priority..rest.len().checked_sub(padding)?)
    }
}

/// Finds the frames in what goes by.
#[derive(Debug, Default)]
pub(super) struct Scan {
    head: [u8; HEAD],
    /// How much of the head has gone by.
    have: usize,
    current: FrameHead,
    /// How much of the frame behind its head is still to come.
    left: u32,
    /// The frames that have gone by whole.
    pub(super) whole: Vec<FrameHead>,
}

impl Scan {
    /// What a client says: a preface, then frames.
    pub(super) fn of_a_client() -> Self {
        Self { left: PREFACE, ..Self::default() }
    }

    /// Takes the next bytes. `see` is shown what stands behind each frame's head, and whether that was the last of it.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut see: impl FnMut(FrameHead, &[u8], bool)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (now, later) = bytes.split_at_checked(count).unwrap_or_default();
                bytes = later;
                self.left -= u32::try_from(count).unwrap_or(self.left);
                // The preface is no frame.
                if self.have == HEAD {
                    self.passed(now, &mut see);
                }
                continue;
            }
            let count = (HEAD - self.have).min(bytes.len());
            let (now, later) = bytes.split_at_checked(count).unwrap_or_default();
            if let Some(room) = self.head.get_mut(self.have..self.have + count) {
                room.copy_from_slice(now);
            }
            self.have += count;
            bytes = later;
            if self.have == HEAD {
                self.current = FrameHead::parse(self.head);
                self.left = self.current.length;
                if self.left == 0 {
                    self.passed(b"", &mut see);
                }
            }
        }
    }

    /// Whether a frame with a part of a head in it has come in part.
    pub(super) fn is_amid_head(&self) -> bool {
        self.left > 0
            && self.have == HEAD
            && matches!(self.current.kind, FrameHead::HEADERS | FrameHead::CONTINUATION)
    }

    fn passed(&mut self, piece: &[u8], see: &mut impl FnMut(FrameHead, &[u8], bool)) {
        see(self.current, piece, self.left == 0);
        if self.left == 0 {
            self.have = 0;
            self.whole.push(self.current);
        }
    }
}

/// What is wrong with a stream, that `h2` does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request's path has a `#`.
    Fragment,
    /// Its trailers have a pseudo-field.
    PseudoTrailer,
}

/// Finds the requests whose path has a `#`, and those whose trailers have a pseudo-field.
#[derive(Debug)]
pub(super) struct Heads {
    paths: Paths,
    /// What has come of a frame that has a part of a head in it.
    payload: Vec<u8>,
    /// The stream that a head is for.
    stream: u32,
    /// The last stream that was begun: what comes for it or one before is trailers.
    newest: u32,
    trailers: bool,
    /// A part of a head has come, and another is to follow.
    pub(super) open: bool,
    /// A head could not be read, and none can be after it. `h2` ends the connection for that; should it not, nothing is
    /// taken for good any more.
    blind: bool,
}

impl Heads {
    pub(super) fn new() -> Self {
        Self {
            paths: Paths::new(),
            payload: Vec::new(),
            stream: 0,
            newest: 0,
            trailers: false,
            open: false,
            blind: false,
        }
    }

    /// A stream, once it is known to have one.
    pub(super) fn see(&mut self, frame: FrameHead, piece: &[u8], last: bool) -> Option<(u32, Fault)> {
        if !matches!(frame.kind, FrameHead::HEADERS | FrameHead::CONTINUATION) || frame.length > LARGEST {
            return None;
        }
        self.payload.extend_from_slice(piece);
        if !last {
            return None;
        }
        if frame.kind == FrameHead::HEADERS {
            self.stream = frame.stream;
            self.trailers = frame.stream <= self.newest;
            self.newest = self.newest.max(frame.stream);
        }
        let whole = frame.flags & FrameHead::END_HEADERS != 0;
        self.open = !whole;
        let found = match frame.part_of_head(&self.payload) {
            Some(part) if !self.blind => self.paths.take(part, whole),
            _ => Err(Unreadable),
        };
        self.payload.clear();
        self.blind |= found.is_err();
        let doubtful = Found { fragment: true, pseudo: true };
        let found = found.unwrap_or(Some(doubtful)).unwrap_or_default();
        let fault = match (self.trailers, found) {
            (true, Found { pseudo: true, .. }) => Fault::PseudoTrailer,
            (false, Found { fragment: true, .. }) => Fault::Fragment,
            _ => return None,
        };
        Some((self.stream, fault))
    }
}
