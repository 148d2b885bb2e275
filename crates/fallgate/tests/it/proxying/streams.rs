//! Bodies that are large or slow, and clients that leave: nothing is gathered, nothing is kept.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;

use crate::support::scripted::{Scripted, read_head};
use crate::support::{Client, Gate, Token, Upstream};

const MIB: usize = 1024 * 1024;
/// How large a large body is.
const LARGE: usize = 100 * MIB;
/// What the gate's memory may grow by while one passes through.
const GROWTH: u64 = 16 * MIB as u64;

/// Bytes that repeat at a distance that no buffer has, so that a lost, doubled or swapped piece shows.
fn pattern() -> Vec<u8> {
    (0..65_521_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect()
}

/// Checks bytes against the pattern, from where the last check ended.
struct Check {
    pattern: Vec<u8>,
    seen: usize,
}

impl Check {
    fn new() -> Self {
        Self { pattern: pattern(), seen: 0 }
    }

    #[track_caller]
    fn next(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let wanted = &self.pattern[self.seen % self.pattern.len()..];
            let length = wanted.len().min(bytes.len());
            assert!(bytes[..length] == wanted[..length], "other bytes after {}", self.seen);
            self.seen += length;
            bytes = &bytes[length..];
        }
    }
}

/// Writes so much of the pattern, piece by piece.
fn write_pattern(stream: &mut impl Write, length: usize) {
    let pattern = pattern();
    let mut left = length;
    while left > 0 {
        let piece = left.min(pattern.len());
        if stream.write_all(&pattern[..piece]).is_err() {
            return;
        }
        left -= piece;
    }
}

/// A connection of its own on which the rest is read as it comes.
fn open(gate: &Gate, token: &Token, line: &str, more: &str) -> TcpStream {
    let mut stream = crate::support::connect(gate.address());
    write!(stream, "{line} HTTP/1.1\r\nHost: localhost\r\n{}{more}\r\n", token.header()).unwrap();
    stream
}

#[test]
fn a_large_download_streams_through_in_little_memory() {
    let upstream = Scripted::new(|mut stream, _| {
        while let Some((head, _)) = read_head(&mut stream) {
            if head.contains("/length") {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
                write_pattern(&mut stream, LARGE);
            } else {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                return write_pattern(&mut stream, LARGE / 4);
            }
        }
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let before = gate.memory_peak();
    let mut stream = open(&gate, &token, "GET /app/length", "Connection: close\r\n");
    let (head, early) = read_head(&mut stream).unwrap();
    assert!(head.contains(&format!("Content-Length: {LARGE}\r\n")), "{head}");
    let mut check = Check::new();
    check.next(&early);
    let mut buffer = vec![0; 256 * 1024];
    while let count @ 1.. = stream.read(&mut buffer).unwrap() {
        check.next(&buffer[..count]);
    }
    assert_eq!(check.seen, LARGE);
    // One that ends with its connection goes down in chunks.
    let answer = {
        let mut client = Client::connect(gate.address());
        client.send(format!("GET /app/close HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
        client.response()
    };
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let mut check = Check::new();
    check.next(&answer.body);
    assert_eq!(check.seen, LARGE / 4);
    let grown = gate.memory_peak() - before;
    assert!(grown < GROWTH, "the gate grew by {grown} bytes");
}

#[test]
fn a_large_upload_streams_through_in_little_memory_however_it_is_framed() {
    let (tell, told) = mpsc::channel();
    let upstream = Scripted::new(move |mut stream, _| {
        while let Some((head, early)) = read_head(&mut stream) {
            let mut check = Check::new();
            let mut body = Body { early, stream: &mut stream };
            if head.contains("\r\nTransfer-Encoding: chunked\r\n") {
                loop {
                    let size = usize::from_str_radix(&body.line(), 16).unwrap();
                    if size == 0 {
                        break assert_eq!(body.line(), "X-Sum: 1");
                    }
                    check.next(&body.exactly(size));
                    assert_eq!(body.line(), "");
                }
                assert_eq!(body.line(), "");
            } else {
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                let length: usize = length.parse().unwrap();
                while check.seen < length {
                    let piece = (length - check.seen).min(MIB);
                    check.next(&body.exactly(piece));
                }
            }
            tell.send(check.seen).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        }
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let before = gate.memory_peak();
    let mut stream = open(&gate, &token, "PUT /app/x", &format!("Content-Length: {LARGE}\r\n"));
    write_pattern(&mut stream, LARGE);
    assert!(read_head(&mut stream).unwrap().0.starts_with("HTTP/1.1 200 "));
    assert_eq!(told.recv().unwrap(), LARGE);

    let mut stream = open(&gate, &token, "POST /app/x", "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n");
    let pattern = pattern();
    let mut sent = 0;
    for number in 1.. {
        // From one byte to more than any buffer.
        let size = (number * 7_919) % 200_000 + 1;
        let chunk: Vec<u8> = pattern.iter().cycle().skip(sent % pattern.len()).take(size).copied().collect();
        write!(stream, "{size:x}\r\n").unwrap();
        stream.write_all(&chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
        sent += size;
        if sent > LARGE / 8 {
            break;
        }
    }
    stream.write_all(b"0\r\nX-Sum: 1\r\n\r\n").unwrap();
    assert!(read_head(&mut stream).unwrap().0.starts_with("HTTP/1.1 200 "));
    assert_eq!(told.recv().unwrap(), sent);
    let grown = gate.memory_peak() - before;
    assert!(grown < GROWTH, "the gate grew by {grown} bytes");
}

/// A request's body as the upstream reads it.
struct Body<'s> {
    early: Vec<u8>,
    stream: &'s mut TcpStream,
}

impl Body<'_> {
    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let early = self.early.len().min(length);
        let mut bytes: Vec<u8> = self.early.drain(..early).collect();
        bytes.resize(length, 0);
        self.stream.read_exact(&mut bytes[early..]).unwrap();
        bytes
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.exactly(1));
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }
}

#[test]
fn what_comes_in_one_go_goes_on_whole_however_it_is_framed() {
    const PIECE: usize = 5_000;
    const PIECES: usize = 12;
    let in_chunks = |bytes: &[u8]| {
        let chunks = bytes
            .chunks(PIECE)
            .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        [chunks.collect::<Vec<_>>().concat(), b"0\r\n\r\n".to_vec()].concat()
    };
    let body: Vec<u8> = pattern().into_iter().take(PIECE * PIECES).collect();
    let answer = body.clone();
    let upstream = Upstream::answering(move |request| {
        let (more, body) = match request.target().as_str() {
            "/chunks" => ("Transfer-Encoding: chunked\r\n".to_owned(), in_chunks(&answer)),
            "/length" => (format!("Content-Length: {}\r\n", answer.len()), answer.clone()),
            _ => ("Connection: close\r\n".to_owned(), answer.clone()),
        };
        [format!("HTTP/1.1 200 OK\r\n{more}\r\n").into_bytes(), body].concat()
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada").header();
    for name in ["chunks", "length", "close"] {
        for version in ["1.1", "1.0"] {
            let answer = Client::exchange(
                gate.address(),
                format!("GET /app/{name} HTTP/{version}\r\nHost: localhost\r\n{token}\r\n"),
            );
            assert_eq!(answer.body.len(), body.len(), "{name} to HTTP/{version}");
            assert!(answer.body == body, "{name} to HTTP/{version}");
        }
    }
    for (more, sent) in [
        ("Transfer-Encoding: chunked\r\n".to_owned(), in_chunks(&body)),
        (format!("Content-Length: {}\r\n", body.len()), body.clone()),
    ] {
        let head = format!("POST /app/length HTTP/1.1\r\nHost: localhost\r\n{token}{more}\r\n");
        let answer = Client::exchange(gate.address(), [head.as_bytes(), &sent].concat());
        assert!(answer.body == body);
        let seen = upstream.requests().pop().unwrap();
        let seen = if more.starts_with("Transfer") { joined(seen.body()) } else { seen.body().to_vec() };
        assert_eq!(seen.len(), body.len(), "{more}");
        assert!(seen == body, "{more}");
    }
}

/// The data of a chunked body.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let line = chunks.iter().position(|byte| *byte == b'\r').unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return data;
        }
        data.extend(&chunks[line + 2..][..size]);
        chunks = &chunks[line + 2 + size + 2..];
    }
}

#[test]
fn a_client_that_does_not_read_holds_the_upstream_back() {
    let (tell, told) = mpsc::channel();
    let upstream = Scripted::new(move |mut stream, _| {
        read_head(&mut stream).unwrap();
        stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
        let (mut written, piece) = (0, vec![0; 64 * 1024]);
        while written < LARGE {
            match stream.write(&piece) {
                Ok(count) => written += count,
                Err(_) => break,
            }
        }
        tell.send(written).unwrap();
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let before = gate.memory_peak();
    let stream = open(&gate, &token, "GET /app/x", "");
    let written = told.recv().unwrap();
    assert!(written < LARGE / 2, "{written} bytes were taken from the upstream for nobody");
    assert!(gate.memory_peak() - before < GROWTH);
    drop(stream);
}

#[test]
fn events_arrive_one_by_one_as_they_are_sent() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Scripted::new(move |mut stream, _| {
        let (head, _) = read_head(&mut stream).unwrap();
        let chunked = head.contains("/chunked");
        let coding = if chunked { "Transfer-Encoding: chunked\r\n" } else { "Connection: close\r\n" };
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{coding}\r\n");
        for number in 0..5 {
            // Not before the client has seen the one before.
            wait.lock().unwrap().recv().unwrap();
            let event = format!("data: {number}\n\n");
            let event = if chunked { format!("{:x}\r\n{event}\r\n", event.len()) } else { event };
            stream.write_all(event.as_bytes()).unwrap();
        }
        if chunked {
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    for path in ["chunked", "closed"] {
        let mut stream = open(&gate, &token, &format!("GET /app/{path}"), "");
        // The head alone comes first.
        let (head, mut text) = read_head(&mut stream).unwrap();
        assert!(head.contains("text/event-stream"), "{head}");
        for number in 0..5 {
            go.send(()).unwrap();
            let event = format!("data: {number}\n\n").into_bytes();
            while !text.windows(event.len()).any(|window| window == event) {
                let mut buffer = [0; 1024];
                let count = stream.read(&mut buffer).unwrap();
                assert_ne!(count, 0, "{path} ended early");
                text.extend(&buffer[..count]);
            }
        }
        while !text.ends_with(b"\r\n0\r\n\r\n") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "{path} ended early");
            text.extend(&buffer[..count]);
        }
    }
}

#[test]
fn a_client_that_leaves_ends_its_request_to_the_upstream() {
    let (tell, told) = mpsc::channel();
    let upstream = Scripted::new(move |mut stream, _| {
        let Some((head, _)) = read_head(&mut stream) else { return };
        let name = head.split(' ').nth(1).unwrap().to_owned();
        tell.send(format!("{name} begins")).unwrap();
        if name == "/flowing" {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        }
        // Nothing more comes; the end does.
        let mut buffer = [0; 1024];
        while matches!(stream.read(&mut buffer), Ok(1..)) {}
        tell.send(format!("{name} ends")).unwrap();
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    for (line, more, body, name) in [
        ("GET /app/waiting", "", "", "/waiting"),
        ("GET /app/flowing", "", "", "/flowing"),
        ("POST /app/sending", "Content-Length: 1000\r\n", "some", "/sending"),
        ("POST /app/chunks", "Transfer-Encoding: chunked\r\n", "4\r\nsome\r\n", "/chunks"),
    ] {
        let mut stream = open(&gate, &token, line, more);
        stream.write_all(body.as_bytes()).unwrap();
        assert_eq!(told.recv_timeout(crate::support::PATIENCE).unwrap(), format!("{name} begins"));
        if name == "/flowing" {
            read_head(&mut stream).unwrap();
        }
        drop(stream);
        assert_eq!(told.recv_timeout(crate::support::PATIENCE).unwrap(), format!("{name} ends"));
    }
}

#[test]
fn trailers_go_down_to_whoever_reads_chunks() {
    let upstream = Scripted::new(|mut stream, _| {
        while let Some((head, _)) = read_head(&mut stream) {
            assert!(head.contains("\r\nTE: trailers\r\n"), "{head}");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Grpc-Status, Content-Length\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 9\r\nRemote-User: x\r\n\r\n");
        }
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut stream = open(&gate, &token, "GET /app/x", "TE: trailers\r\nConnection: TE, close\r\n");
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("\r\nTrailer: Grpc-Status\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Status: 0\r\n\r\n"), "{text}");
}

#[test]
fn a_head_and_its_body_may_come_at_different_times() {
    let upstream = Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut stream = open(&gate, &token, "POST /app/x", "Content-Length: 6\r\nConnection: close\r\n");
    // Its head has gone up before any of the body is there.
    crate::support::wait_for("the head", || {
        upstream.bytes().first().filter(|bytes| bytes.ends_with(b"\r\n\r\n")).map(|_| ())
    });
    let reader = thread::spawn({
        let mut stream = stream.try_clone().unwrap();
        move || {
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        }
    });
    for piece in ["ab", "cd", "ef"] {
        stream.write_all(piece.as_bytes()).unwrap();
        crate::support::wait_for("the piece", || {
            upstream.bytes().first().filter(|bytes| bytes.ends_with(piece.as_bytes())).map(|_| ())
        });
    }
    assert!(reader.join().unwrap().unwrap().ends_with("\r\n\r\nabcdef"));
}
