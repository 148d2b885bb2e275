//! HTTP/2 under the same rules as HTTP/1.1 (RFC 9113).
//!
//! Frames, header compression and flow control are the `h2` crate's. What a message *says* is nobody's but ours: each
//! stream is made one HTTP/1.1 connection with one exchange on it. A request that comes by HTTP/2 is written down as the
//! head it would have had, and read by the strict parser that reads all others; the answer is taken apart again when it
//! is written. So there is one rule book, one decision and one way to an upstream, whatever the client speaks, and the
//! same holds towards upstreams that speak HTTP/2.
//!
//! The socket stays ours: [`watch::Watched`] sees every frame's head go by, so that a cut need not wait for a client that
//! takes nothing, and floods of frames that carry nothing end the connection.

mod body;
mod budget;
mod client;
mod frames;
mod head;
mod links;
pub(crate) mod paths;
mod plain;
pub(crate) mod preface;
mod server;
pub(crate) mod watch;

pub(crate) use client::ClientStream;
pub(crate) use head::{Framed, to_http1};
pub(crate) use links::Links;
pub(crate) use server::{STREAMS, ServerStream, settings};

use std::io;

/// What `h2` finds wrong, among the errors of sockets.
fn broken(error: h2::Error) -> io::Error {
    let kind = if error.is_reset() || error.is_go_away() {
        io::ErrorKind::ConnectionReset
    } else {
        io::ErrorKind::BrokenPipe
    };
    match error.into_io() {
        Some(error) => error,
        None => kind.into(),
    }
}
