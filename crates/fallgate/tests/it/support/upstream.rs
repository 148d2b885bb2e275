//! An upstream that writes down every byte it gets. One plain thread for each connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wait_for;

/// A server on a port of its own, for as long as the test runs.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// One for each connection: every byte, whether it made sense or not.
    connections: Vec<Vec<u8>>,
    requests: Vec<Request>,
}

/// A whole request, byte for byte as it came, chunk framing included.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
}

impl Upstream {
    /// Answers every request with `200` and the request's own bytes.
    pub(crate) fn echo() -> Self {
        Self::answering(|request| {
            let length = request.bytes.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
            let body = if request.method() == "HEAD" { &[] } else { request.bytes.as_slice() };
            [head.as_bytes(), body].concat()
        })
    }

    /// Answers with exactly these bytes, and closes after an answer that is empty or says `connection: close`.
    pub(crate) fn answering(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (shared, answer) = (seen.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (shared.clone(), answer.clone());
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { address, seen }
    }

    /// As a route's `upstream` names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every whole request so far, over all connections, in the order of their ends.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Every byte so far, by connection: what must never arrive must not be in here.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().connections.clone()
    }

    /// Waits until so many whole requests have come.
    pub(crate) fn wait_for_requests(&self, count: usize) -> Vec<Request> {
        wait_for("the upstream's requests", || {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
    }
}

impl Request {
    /// The method.
    pub(crate) fn method(&self) -> String {
        self.start_line_part(0)
    }

    /// The target: path and query, byte for byte.
    pub(crate) fn target(&self) -> String {
        self.start_line_part(1)
    }

    /// The values of a header field, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let head = self.head();
        let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let named = fields.filter(|(held, _)| held.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim().to_owned()).collect()
    }

    /// Everything after the head.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[end_of_head(&self.bytes).unwrap()..]
    }

    /// Start line and header fields, as text.
    pub(crate) fn head(&self) -> String {
        let end = end_of_head(&self.bytes).unwrap();
        String::from_utf8_lossy(&self.bytes[..end]).into_owned()
    }

    fn start_line_part(&self, index: usize) -> String {
        self.head().split("\r\n").next().unwrap().split(' ').nth(index).unwrap().to_owned()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Seen>, answer: &dyn Fn(&Request) -> Vec<u8>) {
    let connection = {
        let mut seen = seen.lock().unwrap();
        seen.connections.push(Vec::new());
        seen.connections.len() - 1
    };
    let mut unread = Vec::new();
    let mut buffer = [0; 8 * 1024];
    loop {
        while let Some(length) = length_of_request(&unread) {
            let request = Request { bytes: unread.drain(..length).collect() };
            seen.lock().unwrap().requests.push(request.clone());
            let answer = answer(&request);
            let head =
                String::from_utf8_lossy(&answer[..end_of_head(&answer).unwrap_or(0)]).to_ascii_lowercase();
            if stream.write_all(&answer).is_err() || head.is_empty() || head.contains("connection: close") {
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => {
                unread.extend(&buffer[..count]);
                seen.lock().unwrap().connections[connection].extend(&buffer[..count]);
            }
            _ => return,
        }
    }
}

/// How many bytes the first request has, once it is whole.
fn length_of_request(bytes: &[u8]) -> Option<usize> {
    let head = end_of_head(bytes)?;
    let request = Request { bytes: bytes[..head].to_vec() };
    if request.header("transfer-encoding").iter().any(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Some(head + length_of_chunks(&bytes[head..])?);
    }
    let length: usize = request.header("content-length").first().map_or(0, |length| length.parse().unwrap());
    (bytes.len() >= head + length).then_some(head + length)
}

/// How many bytes a chunked body has, trailers and all, once it is whole.
fn length_of_chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = at + bytes[at..].windows(2).position(|window| window == b"\r\n")?;
        let size = String::from_utf8_lossy(&bytes[at..line]).into_owned();
        let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
        at = line + 2;
        if size == 0 {
            // An empty line right away, or after the trailers.
            return if bytes[at..].starts_with(b"\r\n") {
                Some(at + 2)
            } else {
                Some(at + end_of_head(&bytes[at..])?)
            };
        }
        at += size + 2;
        if bytes.len() < at {
            return None;
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4)
}
