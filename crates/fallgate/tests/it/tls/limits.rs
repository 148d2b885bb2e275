//! Clients that take their time over a handshake.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Scene;
use crate::support::{Upstream, connect, wait_for};

/// The first bytes of a client's hello, which promise some 200 more.
const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];

#[test]
fn r67_whoever_does_not_finish_a_handshake_holds_nobody_up_and_is_closed() {
    let upstream = Upstream::echo();
    let scene = Scene::with(
        "[limits]\nhead_time = \"3s\"\nconnections = 150\nconnections_per_network = 150",
        &upstream.url(),
    );
    let began = Instant::now();
    let open = |number: usize| {
        let mut stream = connect(scene.gate.address());
        let hello = if number.is_multiple_of(2) { HALF_A_HELLO } else { b"" };
        stream.write_all(hello).unwrap();
        stream
    };
    let slow: Vec<TcpStream> = (0..140).map(open).collect();
    for _ in 0..5 {
        assert_eq!(scene.get("/app/x", "").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "others were held up: {:?}", began.elapsed());
    // They count among the connections: those beyond are closed at once.
    let beyond: Vec<TcpStream> = (0..20).map(open).collect();
    wait_for("the complaint", || scene.gate.log().contains("limits.connections allows").then_some(()));
    for mut stream in slow.into_iter().chain(beyond) {
        assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)));
        assert!(began.elapsed() < Duration::from_secs(9));
    }
    assert!(began.elapsed() > Duration::from_secs(2));
    assert_eq!(scene.get("/app/x", "").status, 200);
}
