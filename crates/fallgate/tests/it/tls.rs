//! TLS on the way in, with a certificate from files, and on the way to upstreams.

mod cuts;
mod limits;
mod upstreams;

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use serde_json::json;

use crate::support::tls::{Authority, ClientStream, Pair};
use crate::support::{
    Client, Gate, Home, PASSPHRASE, Response, Token, Upstream, WebSocket, WebSocketUpstream, wait_for,
};

/// A gate that clients must speak TLS to, before an upstream at `/app`.
struct Scene {
    authority: Arc<Authority>,
    pair: Pair,
    gate: Gate,
    token: Token,
}

impl Scene {
    fn before(upstream: &str) -> Self {
        Self::with("", upstream)
    }

    /// With more in the config.
    fn with(more: &str, upstream: &str) -> Self {
        let authority = Arc::new(Authority::new());
        let pair = authority.issue("gate", &["localhost"]);
        let gate = Gate::configured(&format!("{more}\n{}", config(&pair, upstream)));
        let token = gate.token("ada");
        Self { authority, pair, gate, token }
    }

    fn connect(&self) -> ClientStream {
        self.authority.client(self.gate.address(), "localhost")
    }

    fn client(&self) -> Client {
        Client::over(self.connect())
    }

    fn get(&self, target: &str, more: &str) -> Response {
        let mut client = self.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{}{more}\r\n", self.token.header()));
        client.response()
    }

    fn websocket(&self, token: &Token) -> WebSocket {
        WebSocket::over(self.connect(), "localhost", "/app/", Some(token)).unwrap()
    }

    /// The certificate that a new client is shown.
    fn shown(&self) -> CertificateDer<'static> {
        let mut stream = self.connect();
        stream.conn.complete_io(&mut stream.sock).unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

fn config(pair: &Pair, upstream: &str) -> String {
    format!(
        "[server]\ntls = {{ cert = \"{}\", key = \"{}\" }}\n[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {upstream:?}\n",
        pair.cert.display(),
        pair.key.display()
    )
}

#[test]
fn whoever_comes_by_tls_is_told_so_upward_and_told_to_stay_downward() {
    let upstream = Upstream::echo();
    let scene = Scene::before(&upstream.url());
    assert!(scene.gate.log().contains("listening on https://127.0.0.1:"), "{}", scene.gate.log());
    let passed = scene.get("/app/x", "");
    assert_eq!(passed.status, 200);
    assert_eq!(upstream.requests()[0].header("x-forwarded-proto"), ["https"]);
    // What an upstream wants of browsers is its own to say; ours are told to come by nothing else.
    assert_eq!(passed.header("strict-transport-security"), None);
    for (target, status) in [("/api/whoami", 200), ("/api/nothing", 404), ("/%2f", 400)] {
        let answer = scene.get(target, "");
        assert_eq!(
            (answer.status, answer.header("strict-transport-security")),
            (status, Some("max-age=31536000"))
        );
    }
    // Many requests on one connection.
    let mut client = scene.client();
    for number in 0..5 {
        client.send(format!("GET /app/{number} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", scene.token.header()));
        assert!(client.response().text().contains(&format!("GET /{number} ")));
    }
}

#[test]
fn r19_by_tls_the_cookie_is_bound_to_the_host() {
    let scene = Scene::before("http://127.0.0.1:1");
    let body = json!({"username": "ada", "passphrase": PASSPHRASE}).to_string();
    let mut client = scene.client();
    client.send(format!(
        "POST /api/login HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let answer = client.response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-fallgate=") && cookie.ends_with("; Secure"), "{cookie}");
    let value = cookie.split(';').next().unwrap();
    client.send(format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nCookie: {value}\r\n\r\n"));
    assert_eq!(client.response().status, 200);
}

#[test]
fn whoever_speaks_plain_http_where_tls_is_spoken_is_told_so() {
    let scene = Scene::before("http://127.0.0.1:1");
    let mut client = Client::connect(scene.gate.address());
    client.send("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("TLS is spoken here"), "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    // Browsers believe it by TLS only.
    assert_eq!(answer.header("strict-transport-security"), None);
}

#[test]
fn a_renewed_certificate_is_shown_to_new_clients_and_what_is_open_goes_on() {
    let upstream = WebSocketUpstream::echo();
    let scene = Scene::before(&upstream.url());
    let mut websocket = scene.websocket(&scene.token);
    websocket.echo("before");
    assert_eq!(scene.shown(), scene.pair.certificate());

    let renewed = scene.authority.issue("gate", &["localhost"]);
    wait_for("the renewed certificate", || (scene.shown() == renewed.certificate()).then_some(()));
    websocket.echo("after");

    // A pair that is none is not taken, and the one before stays.
    std::fs::write(&renewed.key, "no key").unwrap();
    wait_for("the complaint", || scene.gate.log().contains("the old one stays").then_some(()));
    let log = scene.gate.log();
    assert!(log.contains(&format!("{} holds no private key", renewed.key.display())), "{log}");
    assert_eq!(scene.shown(), renewed.certificate());
    let other = scene.authority.issue("other", &["localhost"]);
    std::fs::copy(other.key, &renewed.key).unwrap();
    wait_for("the complaint", || {
        scene.gate.log().contains("does not belong to the certificate").then_some(())
    });
    assert_eq!(scene.shown(), renewed.certificate());
    websocket.echo("still");

    let mended = scene.authority.issue("gate", &["localhost"]);
    wait_for("the mended certificate", || (scene.shown() == mended.certificate()).then_some(()));
    websocket.close();
}

#[test]
fn files_that_cannot_serve_are_named_with_the_reason_at_start_and_by_config_check() {
    let authority = Authority::new();
    let good = authority.issue("good", &["localhost"]);
    let other = authority.issue("other", &["localhost"]);
    let home = Home::new();
    let missing = home.beside().join("missing.pem");
    std::fs::write(home.beside().join("empty.pem"), "").unwrap();
    let empty = home.beside().join("empty.pem");
    for (cert, key, words) in [
        (&missing, &good.key, "cannot read"),
        (&good.cert, &missing, "cannot read"),
        (&empty, &good.key, "holds no certificate"),
        (&good.cert, &empty, "holds no private key"),
        (&good.key, &good.key, "holds no certificate"),
        (&good.cert, &other.key, "does not belong to the certificate"),
    ] {
        let pair = Pair { cert: cert.clone(), key: key.clone() };
        let config = home.write_config(&config(&pair, "http://127.0.0.1:1"));
        let config = config.to_str().unwrap();
        for command in [
            &["serve", "--listen", "127.0.0.1:0", "--config", config][..],
            &["config", "check", "--config", config],
        ] {
            let refused = home.fallgate(command).refused(1);
            assert!(refused.starts_with("server.tls: ") && refused.contains(words), "{refused}");
        }
    }
    // What stands in a relative path lies beside the config.
    std::fs::copy(&good.cert, home.beside().join("cert.pem")).unwrap();
    std::fs::copy(&good.key, home.beside().join("key.pem")).unwrap();
    let beside = Pair { cert: "cert.pem".into(), key: "key.pem".into() };
    let config = home.write_config(&config(&beside, "http://127.0.0.1:1"));
    let explained = home.fallgate(&["config", "explain", "--config", config.to_str().unwrap()]).ok().stdout;
    assert!(explained.contains(&home.beside().join("cert.pem").display().to_string()), "{explained}");
    home.fallgate(&["config", "check", "--config", config.to_str().unwrap()]).ok();
}

#[test]
fn bodies_of_any_size_pass_by_tls_whole_and_in_little_memory() {
    const LARGE: usize = 48 * 1024 * 1024;
    let upstream = crate::support::scripted::Scripted::new(|mut stream, _| {
        let (head, mut early) = crate::support::scripted::read_head(&mut stream).unwrap();
        if head.starts_with("GET") {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").unwrap();
            let _ = stream.write_all(&numbers(LARGE));
            return;
        }
        let mut rest = vec![0; LARGE - early.len()];
        stream.read_exact(&mut rest).unwrap();
        early.extend(rest);
        let same = if early == numbers(LARGE) { "same" } else { "else" };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n{same}").unwrap();
    });
    let scene = Scene::before(&upstream.url());
    let before = scene.gate.memory_peak();
    assert!(scene.get("/app/x", "").body == numbers(LARGE));
    let mut client = scene.client();
    client.send(format!(
        "PUT /app/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGE}\r\n{}\r\n",
        scene.token.header()
    ));
    client.send(numbers(LARGE));
    assert_eq!(client.response().text(), "same");
    let grown = scene.gate.memory_peak() - before;
    assert!(grown < 16 * 1024 * 1024, "the gate grew by {grown} bytes");
}

/// Bytes that tell their place.
fn numbers(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(length).collect()
}

#[test]
fn a_certificate_that_clients_will_not_take_is_told_of_and_served_all_the_same() {
    let authority = Authority::new();
    let good = authority.issue("good", &["box.example", "*.apps.example"]);
    let expired = authority.issue_expired("expired", &["box.example", "*.apps.example"]);
    let other = authority.issue("other", &["other.example"]);
    let config = |pair: &Pair| {
        format!(
            "[server]\npublic_url = \"https://box.example\"\nlisten = \"127.0.0.1:0\"\ntls = {{ cert = {:?}, key = {:?} }}\n\
             [[route]]\nname = \"a\"\nhost = \"a.apps.example\"\nupstream = \"http://127.0.0.1:1\"\n",
            pair.cert, pair.key
        )
    };
    for (pair, words) in [
        (&good, None),
        (&expired, Some("has expired")),
        (&other, Some("is not for box.example or a.apps.example")),
    ] {
        let home = Home::new();
        home.admin("root");
        let file = home.write_config(&config(pair));
        let file = file.to_str().unwrap();
        let checked = home.fallgate(&["config", "check", "--config", file]).ok();
        let doctor = home.fallgate(&["doctor", "--config", file, "--json"]);
        let gate = Gate::on(home, &config(pair));
        let log = gate.log();
        for told in [&checked.stderr, &doctor.stdout, &log] {
            match words {
                Some(words) => assert!(told.contains(words), "{told}"),
                None => assert!(!told.contains("the certificate in"), "{told}"),
            }
        }
        assert_eq!(
            log.matches("clients will not trust this gate").count(),
            usize::from(words.is_some()),
            "{log}"
        );
    }
}
