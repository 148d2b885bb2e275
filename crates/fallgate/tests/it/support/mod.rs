//! What the tests stand on. Nothing in it is faked: the gate is the built program, upstreams are real servers.
//!
//! ```text
//! let upstream = Upstream::echo();                          // a server that tells what reached it
//! let gate = Gate::before("app", &upstream.url());          // `fallgate serve` with a path route /app before it
//! let token = gate.token("ada");                            // by the command line, in another process
//! let response = Client::get(gate.address(), "/app/x", Some(&token));
//! assert_eq!(upstream.requests()[0].target(), "/x");
//! gate.fallgate(&["token", "revoke", &token.id]).ok();
//! ```
//!
//! Everything ends with the value that stands for it. Waiting is always for a condition, at most [`PATIENCE`].

mod browser;
mod client;
mod gate;
mod home;
pub(crate) mod http2;
mod jwks;
mod line;
pub(crate) mod llmux;
mod registrar;
pub(crate) mod scripted;
pub(crate) mod servers;
mod signin;
mod signing_key;
pub(crate) mod steps;
pub(crate) mod terminal;
pub(crate) mod tls;
mod upstream;
mod visitor;
mod websocket;
mod worker;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

pub(crate) use browser::Browser;
pub(crate) use client::{Client, Response, Verdict, connect, verdict};
pub(crate) use gate::{Gate, ignoring_full_disks};
pub(crate) use home::{Home, PASSPHRASE, Run, Token};
pub(crate) use jwks::Jwks;
pub(crate) use line::{Close, Ended, Line, Puppet, WsFrame};
pub(crate) use registrar::Clerk;
pub(crate) use signin::SignIn;
pub(crate) use signing_key::OwnKey;
pub(crate) use upstream::{Request, Upstream};
pub(crate) use visitor::{Visit, Visitor, encoded};
pub(crate) use websocket::{WebSocket, WebSocketUpstream};
pub(crate) use worker::Worker;

/// The longest that anything is waited for. What takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `condition` gives something; `what` says what was waited for when it never does.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    wait_up_to(PATIENCE, what, &mut condition)
}

/// The same for what takes longer than most.
pub(crate) fn wait_up_to<T>(patience: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come within {} s", patience.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An address on which nobody listens (a moment ago, at least).
pub(crate) fn nobodys_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
