//! Clients that take their time over a handshake.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Scene;
use crate::support::{Upstream, connect};

/// The first bytes of a client's hello, which promise some 200 more.
const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];

#[test]
fn r67_whoever_does_not_finish_a_handshake_holds_nobody_up_and_is_closed() {
    let upstream = Upstream::echo();
    let scene = Scene::before(&upstream.url());
    let began = Instant::now();
    let slow: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = connect(scene.gate.address());
            let hello = if number % 2 == 0 { HALF_A_HELLO } else { b"" };
            stream.write_all(hello).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(scene.get("/app/x", "").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(8), "others were held up: {:?}", began.elapsed());
    for mut stream in slow {
        // A head has ten seconds to come, and so has what comes before it.
        assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)));
        assert!(began.elapsed() < Duration::from_secs(18));
    }
    assert!(began.elapsed() > Duration::from_secs(9));
}
