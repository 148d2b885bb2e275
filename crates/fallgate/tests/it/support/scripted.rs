//! An upstream whose every connection does what a test says, byte by byte.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::PATIENCE;

/// A server on a port of its own, for as long as the test runs.
#[derive(Debug)]
pub(crate) struct Scripted {
    address: SocketAddr,
}

impl Scripted {
    /// Runs `play` with every connection, each on a thread of its own, and the connection's number from 0 on.
    pub(crate) fn new(play: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let play = Arc::new(play);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let play = play.clone();
                thread::spawn(move || play(stream, number));
            }
        });
        Self { address }
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// As a route's `upstream` names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Reads until the end of a head; what came behind it is in the second part. Nothing, if the other side closed.
pub(crate) fn read_head(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let (mut read, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Some((String::from_utf8(read).unwrap(), rest));
        }
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => read.extend(&buffer[..count]),
            _ => return None,
        }
    }
}
