//! What takes uploads in the benches: reads each request's body to its end, then answers an empty 200.
//!
//! `sink PORT` listens on 127.0.0.1; see `cargo xtask bench transfer`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::Context;

const PIECE: usize = 256 * 1024;

fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).context("usage: sink PORT")?.parse()?;
    for stream in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        let stream = stream?;
        // A client that goes away is no failure of ours.
        thread::spawn(move || drop(serve(stream)));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> anyhow::Result<()> {
    let (mut unread, mut piece) = (Vec::new(), vec![0; PIECE]);
    loop {
        let end = loop {
            if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut piece)? {
                0 => return Ok(()),
                count => unread.extend_from_slice(piece.get(..count).unwrap_or_default()),
            }
        };
        let head = String::from_utf8_lossy(unread.get(..end).unwrap_or_default()).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let mut left = length.map_or(Ok(0), |length| length.trim().parse::<usize>())?;
        let body = (unread.len() - end).min(left);
        left -= body;
        unread.drain(..end + body);
        while left > 0 {
            let room = piece.get_mut(..left.min(PIECE)).unwrap_or_default();
            match stream.read(room)? {
                0 => return Ok(()),
                count => left -= count,
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        if head.contains("connection: close") {
            return Ok(());
        }
    }
}
