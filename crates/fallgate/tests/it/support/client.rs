//! A client that sends exactly the bytes it is given, and reads one answer at a time.

use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::PATIENCE;
use super::home::Token;

/// Whatever carries bytes both ways.
pub(crate) trait Duplex: Read + Write + Send + Debug {}

impl<T: Read + Write + Send + Debug> Duplex for T {}

/// A connection. Reading and writing give up after [`PATIENCE`].
#[derive(Debug)]
pub(crate) struct Client {
    stream: Box<dyn Duplex>,
    /// What carries it, if that is TCP.
    socket: Option<TcpStream>,
    /// Read, and not taken yet.
    unread: Vec<u8>,
}

/// One answer. Header names are lower-case; chunks are put together.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = connect(address);
        stream.set_nodelay(true).unwrap();
        let socket = Some(stream.try_clone().unwrap());
        Self { stream: Box::new(stream), socket, unread: Vec::new() }
    }

    /// The same over a connection that is there already.
    pub(crate) fn over(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::new(stream), socket: None, unread: Vec::new() }
    }

    /// One `GET` on a connection of its own.
    pub(crate) fn get(address: SocketAddr, target: &str, token: Option<&Token>) -> Response {
        let authorization = token.map(Token::header).unwrap_or_default();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{authorization}\r\n");
        Self::exchange(address, request)
    }

    /// Sends bytes on a connection of their own and reads one answer.
    pub(crate) fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> Response {
        let mut client = Self::connect(address);
        client.send(request);
        client.response()
    }

    /// Sends bytes as they are. What the other side no longer wants is no failure: its answer tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Waits longer than usual, for what takes longer than usual.
    pub(crate) fn wait_up_to(&self, patience: Duration) {
        self.socket.as_ref().unwrap().set_read_timeout(Some(patience)).unwrap();
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        let _ = self.socket.as_ref().unwrap().shutdown(Shutdown::Write);
    }

    /// Reads the next answer, interim ones (1xx) included.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.answer(false)
    }

    /// Reads the next answer, to a `HEAD` request: it has no body, whatever its header fields say.
    #[track_caller]
    pub(crate) fn response_to_head(&mut self) -> Response {
        self.answer(true)
    }

    /// Reads the next answer; of one that has no end, an event stream, only the head.
    #[track_caller]
    pub(crate) fn response_or_stream(&mut self) -> Response {
        self.wait_for("\r\n\r\n");
        let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&self.unread[..end]).to_ascii_lowercase();
        self.answer(head.contains("\r\ncontent-type: text/event-stream"))
    }

    /// Waits until this has come. It stays to be read.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        while !self.unread.windows(text.len()).any(|window| window == text.as_bytes()) {
            assert!(self.fill(), "closed before {text:?} came");
        }
    }

    /// Reads one answer, if there is one before the other side closes.
    pub(crate) fn is_answered(&mut self) -> bool {
        while !self.unread.windows(4).any(|window| window == b"\r\n\r\n") {
            if !self.fill() {
                return false;
            }
        }
        self.response();
        true
    }

    /// Reads until the other side closes, by an end or a reset, and gives what came before.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }

    #[track_caller]
    fn answer(&mut self, bodiless: bool) -> Response {
        let head = self.until(b"\r\n\r\n");
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {status_line:?}"));
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        let mut response = Response { status, headers: headers.collect(), body: Vec::new() };
        response.body = if bodiless || status < 200 || matches!(status, 204 | 304) {
            Vec::new()
        } else if response.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            self.chunks()
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().unwrap();
            self.exactly(length)
        } else {
            self.rest()
        };
        response
    }

    #[track_caller]
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n")).unwrap();
            let size = line.trim_end().split(';').next().unwrap();
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
            if size == 0 {
                // Trailers, and the empty line after them.
                while self.until(b"\r\n") != b"\r\n" {}
                return body;
            }
            body.extend(self.exactly(size));
            assert_eq!(self.exactly(2), b"\r\n", "a chunk's end");
        }
    }

    #[track_caller]
    fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return self.unread.drain(..at + end.len()).collect();
            }
            assert!(self.fill(), "closed before {end:?}, after {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    #[track_caller]
    fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.fill(), "closed after {} of {length} bytes", self.unread.len());
        }
        self.unread.drain(..length).collect()
    }

    /// Reads some more; false at the end.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 8 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.unread.extend(&buffer[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            Err(error) => panic!("nothing came within {} s: {error}", PATIENCE.as_secs()),
        }
    }
}

impl Response {
    /// The value of a header field, by its lower-case name; it must not be there twice.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(held, _)| held == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }
}

/// A connection with time-outs.
#[expect(
    clippy::disallowed_methods,
    reason = "the ban is about where the gate connects to; this is its client"
)]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether anybody takes connections there.
#[expect(clippy::disallowed_methods, reason = "the ban is about where the gate connects to")]
pub(super) fn is_listening(address: SocketAddr) -> bool {
    // Where nobody listens, a connection may by chance leave from the very port that it goes to, and meet itself.
    TcpStream::connect(address).is_ok_and(|stream| stream.local_addr().is_ok_and(|from| from != address))
}

/// What a server makes of bytes, seen from its first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answered with a status below 400.
    Taken(u16),
    /// Answered with a status from 400 on.
    Refused(u16),
    /// Closed without an answer.
    Closed,
    /// Neither, for as long as was waited.
    Waits,
}

impl Verdict {
    /// Whether the bytes got nothing out of it.
    pub(crate) fn is_no(self) -> bool {
        matches!(self, Self::Refused(_) | Self::Closed)
    }
}

/// Sends bytes and waits at most so long for the first line of an answer. Interim answers are skipped.
pub(crate) fn verdict(address: SocketAddr, bytes: &[u8], patience: Duration) -> Verdict {
    let mut stream = connect(address);
    stream.set_read_timeout(Some(patience)).unwrap();
    // Who closes early is asked what it said all the same.
    let _ = stream.write_all(bytes);
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        let lines = text.split_inclusive("\r\n").filter(|line| line.ends_with("\r\n"));
        let statuses = lines.filter_map(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse::<u16>().ok());
        if let Some(status) = { statuses }.find(|status| *status >= 200) {
            return if status < 400 { Verdict::Taken(status) } else { Verdict::Refused(status) };
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Verdict::Closed,
            Ok(count) => read.extend(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Verdict::Waits;
            }
            Err(_) => return Verdict::Closed,
        }
    }
}
