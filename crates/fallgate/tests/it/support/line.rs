//! One end of a TCP connection in the test's own hands: what is sent when, whether anything is read at all, and how
//! the other side closed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::client::connect;
use super::home::Token;
use super::wait_for;

/// An upstream that does nothing by itself: each connection to it is a [`Line`] that the test speaks on.
#[derive(Debug)]
pub(crate) struct Puppet(TcpListener);

/// One end of a connection. Reading and writing give up after [`PATIENCE`].
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    /// Read, and not taken yet.
    unread: Vec<u8>,
}

/// How the other side closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// In good order: what was sent has arrived, and no more comes.
    Finished,
    /// Broken off.
    Reset,
}

/// All that came until the other side closed, how it did, and when.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) bytes: Vec<u8>,
    pub(crate) close: Close,
    pub(crate) at: Instant,
}

/// A WebSocket's frame: opcode and payload, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WsFrame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Puppet {
    /// Listens on a port of its own.
    pub(crate) fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// As a route's `upstream` names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> Line {
        self.0.set_nonblocking(true).unwrap();
        let stream = wait_for("a connection to the upstream", || self.0.accept().ok()).0;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Line { stream, unread: Vec::new() }
    }

    /// Takes the next connection's request for a WebSocket, and agrees.
    pub(crate) fn accept_websocket(&self) -> Line {
        let mut line = self.accept();
        line.head();
        // The answer to the key in RFC 6455, 1.3.
        line.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        line
    }
}

impl Line {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = connect(address);
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Connects and asks for a WebSocket; [`Self::switched`] takes the answer.
    pub(crate) fn ask_for_websocket(gate: SocketAddr, target: &str, token: &Token) -> Self {
        Self::ask_for_websocket_with(gate, target, &token.header())
    }

    /// The same with these header lines.
    pub(crate) fn ask_for_websocket_with(gate: SocketAddr, target: &str, headers: &str) -> Self {
        let mut line = Self::connect(gate);
        line.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {gate}\r\n{headers}Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        line
    }

    /// The answer was yes.
    #[track_caller]
    pub(crate) fn switched(mut self) -> Self {
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self
    }

    /// Sends bytes as they are. What the other side no longer wants is no failure.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends these bytes again and again until the other side is gone, on a thread of its own. Gives how often.
    pub(crate) fn flood(&self, bytes: Vec<u8>) -> JoinHandle<usize> {
        let mut stream = self.stream.try_clone().unwrap();
        thread::spawn(move || {
            let mut count = 0;
            while stream.write_all(&bytes).is_ok() {
                count += 1;
            }
            count
        })
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads a head, with the empty line at its end.
    #[track_caller]
    pub(crate) fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                return String::from_utf8(self.unread.drain(..at + 4).collect()).unwrap();
            }
            let more = self.fill();
            assert!(more.is_ok(), "closed ({more:?}) after {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    /// Reads exactly so many bytes.
    #[track_caller]
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            let more = self.fill();
            assert!(more.is_ok(), "closed ({more:?}) after {} of {count} bytes", self.unread.len());
        }
        self.unread.drain(..count).collect()
    }

    /// Reads until the other side closes.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        loop {
            if let Err(close) = self.fill() {
                return Ended { bytes: self.unread, close, at: Instant::now() };
            }
        }
    }

    /// The same, on a thread of its own, so that nothing stands between the end and its time.
    pub(crate) fn watched(self) -> JoinHandle<Ended> {
        thread::spawn(move || self.ended())
    }

    /// A second hold on this end, to send on while the first is watched.
    pub(crate) fn sender(&self) -> Self {
        Self { stream: self.stream.try_clone().unwrap(), unread: Vec::new() }
    }

    /// Whether the other side has broken off. Reads nothing, so what fills the way here goes on filling it.
    pub(crate) fn was_reset(&self) -> bool {
        self.stream.take_error().unwrap().is_some()
    }

    /// Sends these bytes again and again until nothing has fitted any more for a while, and gives how many did fit.
    pub(crate) fn send_until_stuck(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut sent = 0;
        loop {
            match self.stream.write(bytes) {
                Ok(count) => sent += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("the other side is gone: {error}"),
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    #[track_caller]
    fn fill(&mut self) -> Result<(), Close> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Close::Finished),
            Ok(count) => {
                self.unread.extend(&buffer[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Err(Close::Reset)
            }
            Err(error) => panic!("nothing came within {} s: {error}", PATIENCE.as_secs()),
        }
    }
}

impl Ended {
    /// What came, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// What came, as a server's WebSocket frames; all must be whole.
    #[track_caller]
    pub(crate) fn frames(&self) -> Vec<WsFrame> {
        let mut rest = self.bytes.as_slice();
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let (frame, length) = WsFrame::read(rest).unwrap_or_else(|| panic!("half a frame at the end"));
            frames.push(frame);
            rest = &rest[length..];
        }
        frames
    }

    /// It ended with a close frame of this code and reason as the very last bytes, and in good order.
    #[track_caller]
    pub(crate) fn assert_closed(&self, code: u16, reason: &str) {
        let frames = self.frames();
        let wanted = WsFrame { opcode: 8, payload: [&code.to_be_bytes(), reason.as_bytes()].concat() };
        assert_eq!(frames.last(), Some(&wanted), "the last of {} frames", frames.len());
        assert_eq!(self.close, Close::Finished, "after the close frame");
    }
}

impl WsFrame {
    /// Text that a client sends: masked, with a mask that changes nothing.
    pub(crate) fn from_client(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126);
        [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    /// Binary data that a server sends.
    pub(crate) fn from_server(payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0x82, 126, length[0], length[1]], payload].concat()
    }

    /// The first frame in what a server sent, and how many bytes it takes; none when it is not whole.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (opcode, short) = (bytes.first()? & 0x0f, *bytes.get(1)?);
        let (start, length) = match short {
            126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
            127 => panic!("longer than any frame of these tests"),
            length => (2, usize::from(length)),
        };
        let payload = bytes.get(start..start + length)?.to_vec();
        Some((Self { opcode, payload }, start + length))
    }
}
