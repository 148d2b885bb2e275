//! A door that panics, which ours never mean to: nobody else notices.

#![cfg(test)]

use std::net::SocketAddr;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::response::Response;
use fallgate_authority::{Policy, Registrar, Verifier};
use fallgate_domain::clock::SystemClock;
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::host::Host;
use fallgate_relay::{
    Files, Gate, Hosts, Limits, ListenAt, Listener, LiveSettings, RouteTable, Settings, TrustedProxies,
};
use fallgate_store::Location;
use http::Request;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

fn door(request: &Request<Body>) -> Response {
    assert_ne!(request.uri().path(), "/api/broken", "this is what is tested");
    Response::new(Body::from("fine"))
}

#[expect(clippy::disallowed_methods, reason = "a test assembles its own gate")]
async fn gate(folder: &TempDir) -> Gate {
    let (store, vault) =
        fallgate_store::open(&Location::Sqlite(folder.path().join("fallgate.db"))).await.unwrap();
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let registrar = Registrar::new(store, vault, clock, entropy, Policy::default());
    let (verifier, _notes) = Verifier::start(registrar).await.unwrap();
    let settings = Settings {
        routes: RouteTable::default(),
        hosts: Hosts::new([Host::parse_config("localhost").unwrap().into_owned()]),
        trusted_proxies: TrustedProxies::default(),
        forward_auth: false,
        limits: Limits::default(),
        origin: "http://localhost".to_owned(),
        reached_at: "http://localhost".to_owned(),
    };
    Gate {
        verifier,
        doors: Arc::new(|request| Box::pin(async move { door(&request) })),
        draw_problem: |problem, _| problem.detail.clone(),
        settings: LiveSettings::new(settings),
        access: None,
        files: Arc::new(Files::of_this_process(1)),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the gate's client")]
async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

async fn ask(client: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let count = client.read(&mut answer).await.unwrap();
    String::from_utf8(answer[..count].to_vec()).unwrap()
}

#[tokio::test]
async fn r9_a_panic_in_a_door_is_answered_503_and_harms_no_other_connection() {
    let folder = tempfile::tempdir().unwrap();
    let listener = Listener::bind(&ListenAt::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
    let ListenAt::Tcp(address) = listener.address().unwrap() else { panic!("not a port") };
    let (stop, stopping) = watch::channel(false);
    // One worker: all connections live on the thread on which the door panics.
    let served = Arc::new(gate(&folder).await).run(listener, 1, stopping);
    let asked = async {
        let mut other = connect(address).await;
        assert!(ask(&mut other, "/api/version").await.starts_with("HTTP/1.1 200 "));
        for _ in 0..3 {
            let answer = ask(&mut connect(address).await, "/api/broken").await;
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Something broke"), "{answer}");
            assert!(!answer.contains("this is what is tested"), "{answer}");
            assert!(ask(&mut other, "/api/version").await.starts_with("HTTP/1.1 200 "));
        }
        stop.send_replace(true);
    };
    tokio::join!(async { served.await.unwrap() }, asked);
}
