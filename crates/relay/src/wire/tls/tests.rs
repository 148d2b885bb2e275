use std::fs;
use std::future::poll_fn;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

use super::*;
use crate::wire::buffer::Stock;
use crate::wire::http1::{BodyKind, ChunkDecoder};
use crate::wire::pump::Pump;
use crate::wire::socket::{Socket, Wire};

/// More than such a connection holds.
const MUCH: usize = 120_000;

/// Two ends of a TCP connection on which little is in flight at a time.
#[expect(clippy::disallowed_methods, reason = "a test connects to itself")]
async fn narrow_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&listener).set_recv_buffer_size(4_096).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    SockRef::from(&one).set_send_buffer_size(4_096).unwrap();
    SockRef::from(&one).set_recv_buffer_size(4_096).unwrap();
    let (other, _) = listener.accept().await.unwrap();
    SockRef::from(&other).set_send_buffer_size(4_096).unwrap();
    (one, other)
}

/// Our end of a TLS connection, and the end of a client that trusts us.
pub(crate) async fn sealed_pair() -> (Wire, Wire) {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let pair = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&pair).unwrap();
    fs::write(&cert, signed.pem()).unwrap();
    fs::write(&key, pair.serialize_pem()).unwrap();
    let own = OwnCertificate::load(cert.clone(), key).unwrap().server_config().unwrap();
    let trust = Trust::new(Some(cert)).config().unwrap();
    let (client, server) = narrow_pair().await;
    let name = ServerName::try_from("localhost").unwrap();
    let (server, client) = tokio::join!(
        Sealed::accept(Pipe::Tcp(server), own),
        Sealed::connect(Pipe::Tcp(client), trust, name, &[HTTP1])
    );
    let wire = |sealed| Wire::new(Socket::Tls(Box::new(sealed)));
    (wire(server.unwrap()), wire(client.unwrap()))
}

/// Reads so much, and nothing of what comes after it.
pub(crate) async fn read_all(wire: &mut Wire, length: usize) -> Vec<u8> {
    let stock = Stock::default();
    let mut all = Vec::new();
    while all.len() < length {
        assert_ne!(wire.fill(&stock).await.unwrap(), 0, "an end after {} bytes", all.len());
        all.extend_from_slice(wire.input.filled());
        wire.input.consume(usize::MAX);
    }
    all
}

#[tokio::test]
async fn a_body_is_through_only_when_the_system_has_the_last_of_it() {
    let (mut ours, mut client) = sealed_pair().await;
    let (source, mut upstream) = UnixStream::pair().unwrap();
    let mut source = Wire::new(Socket::Plain(Pipe::Unix(source)));
    let body: Vec<u8> = (0_u32..).flat_map(u32::to_le_bytes).take(MUCH).collect();
    let mut pump =
        Pump::new(BodyKind::Length(MUCH as u64), ChunkDecoder::for_answers(), false, b"head".to_vec());
    let stock = Stock::default();
    let passing = poll_fn(|context| pump.poll(context, &mut source, &mut ours, &stock));
    // Nobody looks after our end once the body is through.
    let reading = async {
        // Meanwhile all of it is taken that can be.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        read_all(&mut client, MUCH + 4).await
    };
    let all = async { tokio::join!(passing, upstream.write_all(&body), reading) };
    let (passed, sent, got) = timeout(Duration::from_secs(20), all).await.unwrap();
    assert!(passed.is_ok() && sent.is_ok() && pump.is_done());
    assert!(poll_fn(|context| Poll::Ready(ours.poll_flush(context))).await.is_ready());
    assert!(got == [b"head".as_slice(), &body].concat());
}

#[tokio::test]
async fn a_full_session_takes_no_last_word_and_an_empty_one_takes_it_whole() {
    let (mut ours, mut client) = sealed_pair().await;
    assert_eq!(ours.try_write(b"bye").unwrap(), 3);
    assert_eq!(read_all(&mut client, 3).await, b"bye");
    let filler = vec![7; 64 * 1024];
    let mut written = 0;
    let full = poll_fn(|context| {
        loop {
            match ours.poll_write(context, &filler) {
                Poll::Ready(count) => written += count.unwrap(),
                Poll::Pending => return Poll::Ready(()),
            }
        }
    });
    full.await;
    assert_eq!(ours.try_write(b"bye").unwrap_err().kind(), ErrorKind::WouldBlock);
    // What was taken before still arrives, and nothing of the last word does.
    let (flushed, got) =
        tokio::join!(poll_fn(|context| ours.poll_flush(context)), read_all(&mut client, written));
    flushed.unwrap();
    assert!(got == vec![7; written]);
}

#[tokio::test]
async fn only_what_is_said_stirs_a_connection_not_what_keeps_the_session() {
    // A server sends tickets after the handshake, which say nothing.
    let (mut ours, mut client) = sealed_pair().await;
    assert!(!client.has_stirred(Word::System));
    ours.write_all(b"x").await.unwrap();
    let heard = poll_fn(|context| client.poll_readable(context, &Stock::default()));
    heard.await.unwrap();
    assert!(client.has_stirred(Word::System));
    assert_eq!(read_all(&mut client, 1).await, b"x");
    drop(ours);
    let heard = poll_fn(|context| client.poll_readable(context, &Stock::default()));
    // An end without a goodbye is an error; either way it has stirred.
    let _ = heard.await;
    assert!(client.has_stirred(Word::System));
}

#[tokio::test]
async fn a_goodbye_is_an_end_and_an_end_without_one_is_an_error() {
    let stock = Stock::default();
    let (mut ours, mut client) = sealed_pair().await;
    poll_fn(|context| ours.poll_finish(context)).await.unwrap();
    assert_eq!(client.fill(&stock).await.unwrap(), 0);
    let (ours, mut client) = sealed_pair().await;
    drop(ours);
    assert_eq!(client.fill(&stock).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn what_speaks_no_tls_is_told_apart_and_can_be_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let pair = KeyPair::generate().unwrap();
    fs::write(&cert, CertificateParams::new([]).unwrap().self_signed(&pair).unwrap().pem()).unwrap();
    fs::write(&key, pair.serialize_pem()).unwrap();
    let config = OwnCertificate::load(cert, key).unwrap().server_config().unwrap();
    for (first, is_plain) in [(&b"GET / HTTP/1.1\r\n"[..], true), (b"\x16\x09\x09\x00\x01x", false)] {
        let (mut client, server) = narrow_pair().await;
        client.write_all(first).await.unwrap();
        match Sealed::accept(Pipe::Tcp(server), config.clone()).await {
            Err(NoSession::Plain(Pipe::Tcp(mut stream))) => {
                assert!(is_plain);
                stream.write_all(b"plain").await.unwrap();
                let mut got = [0; 5];
                client.read_exact(&mut got).await.unwrap();
                assert_eq!(&got, b"plain", "and no alert before it");
            }
            other => assert!(!is_plain && matches!(other, Err(NoSession::Failed(_)))),
        }
    }
}
