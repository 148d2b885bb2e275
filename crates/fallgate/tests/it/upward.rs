//! What goes up in the place of what a client sent: the operator's own fields, the app's own `Authorization`, and never a
//! credential of ours, in whatever carrier it came.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::http2::{Frames, Outcome, Session, headers, run};
use crate::support::llmux::Llmux;
use crate::support::{Client, Gate, Home, Puppet, Response, Upstream, nobodys_address};

/// What the upstream's own token is, in a file of the operator's.
const UPSTREAMS_OWN: &str = "upstream-canary-7f3a";

fn ask(gate: &Gate, line: &str, host: &str, headers: &str) -> Response {
    let length = if line.starts_with("POST") { "Content-Length: 0\r\n" } else { "" };
    Client::exchange(gate.address(), format!("{line} HTTP/1.1\r\nHost: {host}\r\n{length}{headers}\r\n"))
}

/// The fields that the upstream saw, which the echo gives back.
#[track_caller]
fn seen(answer: &Response, name: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
    fields.filter(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

/// A home with the upstream's own token in a file beside it, and the file's path.
fn home() -> (Home, String) {
    let home = Home::new();
    let file = home.beside().join("upstream-token");
    fs::write(&file, format!("{UPSTREAMS_OWN}\n")).unwrap();
    (home, file.display().to_string())
}

#[test]
fn r15_what_is_injected_stands_in_place_of_the_clients_in_every_spelling_and_number() {
    let upstream = Upstream::echo();
    let (home, file) = home();
    let url = upstream.url();
    let gate = Gate::on(
        home,
        &format!(
            "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\npublic = [\"/open\"]\n\
             inject = {{ Authorization = \"Bearer ${{file:{file}}}\", X-Api-Key = \"key-1\", Cookie = \"app=1\" }}\n\
             [[route]]\nname = \"plain\"\npath = \"/plain\"\nupstream = {url:?}\n"
        ),
    );
    let token = gate.token("ada").header();
    let wanted = |answer: &Response| {
        assert_eq!(seen(answer, "authorization"), [format!("Bearer {UPSTREAMS_OWN}")]);
        assert_eq!(seen(answer, "x-api-key"), ["key-1"]);
        assert_eq!(seen(answer, "cookie"), ["app=1"]);
        assert!(!answer.text().contains("forged"), "{}", answer.text());
    };
    for forged in [
        "",
        "X-Api-Key: forged\r\n",
        "x-api-key: forged\r\nX-API-KEY: forged\r\nX-Api-Key: forged\r\n",
        "X.Api.Key: forged\r\nx-api~key: forged\r\n",
        "Connection: x-api-key, authorization, cookie\r\nX-Api-Key: forged\r\n",
        "Connection: X-Api-Key\r\n",
        "Cookie: a=forged\r\nCookie: b=forged\r\n",
    ] {
        wanted(&ask(&gate, "GET /app/x", "localhost", &format!("{token}{forged}")));
        wanted(&ask(
            &gate,
            "GET /app/open",
            "localhost",
            &format!("{forged}Authorization: Basic forged\r\n"),
        ));
        wanted(&ask(&gate, "GET /app/open", "localhost", forged));
    }
    let head =
        format!("POST /app/x HTTP/1.1\r\nHost: localhost\r\n{token}Transfer-Encoding: chunked\r\n\r\n");
    let answer =
        Client::exchange(gate.address(), head + "1\r\na\r\n0\r\nX-Api-Key: forged\r\nX-Sum: 1\r\n\r\n");
    wanted(&answer);
    assert!(answer.text().ends_with("\r\n0\r\nX-Sum: 1\r\n\r\n"), "{}", answer.text());
    // It is that route's affair alone.
    let plain = ask(&gate, "GET /plain/x", "localhost", &format!("{token}X-Api-Key: mine\r\n"));
    assert_eq!(
        (seen(&plain, "x-api-key"), seen(&plain, "authorization").len()),
        (vec!["mine".to_owned()], 0)
    );
    for shown in [gate.log(), gate.fallgate(&["config", "explain"]).stdout] {
        assert!(!shown.contains(UPSTREAMS_OWN) && !shown.contains("key-1"), "{shown}");
    }
}

#[test]
fn r13_r15_r51_all_of_it_holds_by_http2_too() {
    let upstream = Upstream::echo();
    let streams = Puppet::new();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\nidentity = \"assertion\"\n\
         inject = {{ X-Api-Key = \"key-1\" }}\n\
         [[route]]\nname = \"old\"\npath = \"/old\"\nupstream = {:?}\nmax_stream_age = \"1s\"\n",
        upstream.url(),
        streams.url()
    ));
    let token = gate.token("ada");
    run(async {
        let session = Session::open(gate.address()).await;
        let mut asked = session.request(http::Method::GET, "/app/x", Some(&token));
        asked.headers_mut().insert("x-api-key", "forged".parse().unwrap());
        asked.headers_mut().insert("fallgate-assertion", "forged".parse().unwrap());
        let text = session.ask(asked, b"").await.text().to_ascii_lowercase();
        assert!(text.contains("\r\nx-api-key: key-1\r\n") && !text.contains("forged"), "{text}");
        assert_eq!(text.matches("\r\nfallgate-assertion: eyj").count(), 1, "{text}");
    });
    let mut client = Frames::begin(gate.address(), &[]);
    let bearer = format!("Bearer {}", token.secret);
    let head = |path| {
        [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("authorization", bearer.as_str()),
        ]
    };
    client.send(headers(1, true, &head("/old/x")));
    let mut line = streams.accept();
    line.head();
    line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    assert_eq!(client.outcome(1), Outcome::Status(200));
    assert_eq!(client.outcome(1), Outcome::Reset(8));
    line.ended();
    // It was that stream's age alone.
    client.send(headers(3, true, &head("/app/x")));
    assert_eq!(client.outcome(3), Outcome::Status(200));
}

#[test]
fn r23_what_is_injected_is_in_no_log_and_no_error() {
    let (home, file) = home();
    let route = format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"http://{}\"\n\
         inject = {{ Authorization = \"Bearer ${{file:{file}}}\" }}\n",
        nobodys_address()
    );
    let gate = Gate::started(home, &route, |command| {
        command.env("FALLGATE_LOG", "trace");
    });
    let token = gate.token("ada").header();
    let answer = ask(&gate, "GET /app/x", "localhost", &token);
    assert_eq!(answer.status, 502);
    assert!(!answer.text().contains(UPSTREAMS_OWN) && !gate.log().contains(UPSTREAMS_OWN));
    // Nor is it told when the file has become something that no field can hold.
    let home = gate.kill();
    fs::write(home.beside().join("upstream-token"), format!("{UPSTREAMS_OWN}\nX: y\n")).unwrap();
    let config = home.write_config(&route);
    for verb in [&["config", "check"][..], &["serve"]] {
        let refused = home.fallgate(&[verb, &["--config", config.to_str().unwrap()]].concat()).refused(1);
        assert!(refused.contains("inject") && !refused.contains(UPSTREAMS_OWN), "{refused}");
    }
}

#[test]
fn r15_a_route_that_passes_authorization_gets_the_apps_own_and_nothing_of_ours() {
    let upstream = Upstream::echo();
    let url = upstream.url();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"lab\"\nhost = \"lab.example\"\nupstream = {url:?}\nauthorization = \"pass\"\npublic = [\"/open\"]\n\
         [[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {url:?}\n"
    ));
    let token = gate.token("ada");
    gate.user("bob");
    let cookie = gate.sign_in("bob").cookie();
    let ours = format!("Fallgate-Token: {}\r\n", token.secret);
    let lab = |headers: &str| ask(&gate, "GET /x", "lab.example", headers);
    for apps in ["token 0123456789abcdef", "Bearer app-token", "Basic YTpi", "anything at all"] {
        let apps_own = format!("Authorization: {apps}\r\n");
        for credential in [&ours, &cookie, &format!("{ours}Cookie: fallgate=garbage\r\n")] {
            for headers in [format!("{apps_own}{credential}"), format!("{credential}{apps_own}")] {
                let answer = lab(&headers);
                assert_eq!(seen(&answer, "authorization"), [apps], "{credential}");
                assert!(seen(&answer, "fallgate-token").is_empty() && seen(&answer, "cookie").is_empty());
            }
        }
        // The app's own says nothing to us.
        assert_eq!(lab(&apps_own).status, 401, "{apps}");
        assert_eq!(seen(&ask(&gate, "GET /open", "lab.example", &apps_own), "authorization"), [apps]);
    }
    // A token of ours is no credential there, and does not go up by mistake either.
    let basic = STANDARD.encode(format!("ada:{}", token.secret));
    for mistaken in [token.header(), format!("Authorization: Basic {basic}\r\n")] {
        assert_eq!(lab(&mistaken).status, 401);
        for (path, more) in [("/x", ours.as_str()), ("/open", "")] {
            let answer = ask(&gate, &format!("GET {path}"), "lab.example", &format!("{mistaken}{more}"));
            assert!(seen(&answer, "authorization").is_empty(), "{}", answer.text());
        }
    }
    // An explicit one beats the cookie, good or bad; and there is but one.
    for bad in
        ["Fallgate-Token: garbage\r\n".to_owned(), "Fallgate-Token: \r\n".to_owned(), format!("{ours}{ours}")]
    {
        assert_eq!(lab(&format!("{bad}{cookie}")).status, 401, "{bad}");
    }
    // Elsewhere the field is nobody's credential.
    assert_eq!(ask(&gate, "GET /x", "app.example", &ours).status, 401);
    let bytes = upstream.bytes().concat();
    for secret in [&token.secret, &basic] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[test]
fn r15_no_credential_of_any_kind_reaches_an_upstream_whatever_carries_it() {
    let upstream = Upstream::echo();
    let url = upstream.url();
    let home = Home::new();
    let (_llmux, _bound, legacy) = Llmux::peopled(&home);
    home.import_llmux(&[]).ok();
    let everybody = "allow = [\"role:admin\", \"role:user\", \"kind:legacy\", \"kind:internal\"]";
    let gate = Gate::on(
        home,
        &format!(
            "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
             [[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {url:?}\n{everybody}\npublic = [\"/open\"]\n\
             [[route]]\nname = \"lab\"\nhost = \"lab.example\"\nupstream = {url:?}\nauthorization = \"pass\"\n{everybody}\n"
        ),
    );
    gate.user("carol");
    let (token, login) = (gate.token("carol").secret, gate.sign_in("carol").secret);
    let https = "X-Forwarded-Proto: https\r\n";
    let mut carriers = vec![
        ("app.example", format!("Cookie: fallgate={login}; a=1\r\n")),
        ("app.example", format!("{https}Cookie: a=1; __Host-fallgate={login}\r\n")),
        ("lab.example", format!("Cookie: a=1;fallgate={login}\r\n")),
    ];
    for secret in [&token, &login, &legacy, &gate.internal_token()] {
        let basic = STANDARD.encode(format!(":{secret}"));
        carriers.extend([
            ("app.example", format!("Authorization: Bearer {secret}\r\nCookie: a=1\r\n")),
            ("app.example", format!("Authorization: Basic {basic}\r\nCookie: a=1\r\n")),
            ("lab.example", format!("Fallgate-Token: {secret}\r\nCookie: a=1\r\n")),
            (
                "lab.example",
                format!("Fallgate-Token: {token}\r\nAuthorization: Bearer {secret}\r\nCookie: a=1\r\n"),
            ),
            (
                "lab.example",
                format!("Fallgate-Token: {token}\r\nAuthorization: Basic {basic}\r\nCookie: a=1\r\n"),
            ),
        ]);
    }
    for (host, carrier) in &carriers {
        for path in ["/x", "/open"] {
            let answer = ask(&gate, &format!("GET {path}"), host, carrier);
            assert_eq!(seen(&answer, "cookie"), ["a=1"], "{carrier}");
            for name in ["authorization", "fallgate-token", "proxy-authorization"] {
                assert!(seen(&answer, name).is_empty(), "{name} with {carrier}");
            }
        }
    }
    let bytes = upstream.bytes().concat();
    for secret in [token, login, legacy, gate.internal_token()] {
        for form in [STANDARD.encode(format!(":{secret}")), secret] {
            assert!(!bytes.windows(form.len()).any(|window| window == form.as_bytes()), "{form} went up");
        }
    }
}

#[test]
fn r4_where_nothing_is_decided_by_the_path_it_may_go_up_byte_for_byte_as_it_came() {
    let upstream = Upstream::echo();
    let url = upstream.url();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"raw\"\nhost = \"raw.example\"\nupstream = {url:?}\npaths = \"raw\"\n\
         [[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {url:?}\n"
    ));
    let token = gate.token("ada").header();
    let odd = [
        "/@scope%2fname",
        "/proxy/https://other.example/x?y=//z",
        "//x",
        "/a/../b/./c",
        "/a/%2e%2e/b",
        "/%00",
        "/a\\b",
        "/a%5Cb",
        "/%zz",
        "/%",
        "/%25252f",
        "/%ff",
        "/..;/x",
        "//.fallgate/enter",
        "/x/../.fallgate/enter",
    ];
    for path in odd {
        let answer = ask(&gate, &format!("GET {path}"), "raw.example", &token);
        assert!(answer.text().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{path}: {}", answer.text());
        assert_eq!(ask(&gate, &format!("GET {path}"), "raw.example", "").status, 401, "{path}");
        assert_eq!(ask(&gate, &format!("GET {path}"), "app.example", &token).status, 400, "{path}");
    }
    // Elsewhere what needs no encoding loses it; here it is left as it is.
    for (host, seen) in [("raw.example", "/%61%2D"), ("app.example", "/a-")] {
        let answer = ask(&gate, "GET /%61%2D", host, &token);
        assert!(answer.text().starts_with(&format!("GET {seen} ")), "{}", answer.text());
    }
    // What is ours on every host is so here, and what is no request target is none.
    let before = upstream.requests().len();
    for (path, status) in
        [("/.fallgate/x", 404), ("/%2efallgate/x", 404), ("/a#b", 400), ("/\u{e9}", 400), ("x", 400)]
    {
        assert_eq!(ask(&gate, &format!("GET {path}"), "raw.example", &token).status, status, "{path}");
    }
    assert_eq!(upstream.requests().len(), before);
}

#[test]
fn r4_raw_paths_are_refused_where_something_is_decided_by_the_path() {
    let home = Home::new();
    for place in ["path = \"/app\"", "host = \"app.example\"\npublic = [\"/open\"]"] {
        let config = home.write_config(&format!(
            "[[route]]\nname = \"app\"\n{place}\nupstream = \"http://127.0.0.1:1\"\npaths = \"raw\"\n"
        ));
        for verb in [&["config", "check"][..], &["serve"]] {
            let refused = home.fallgate(&[verb, &["--config", config.to_str().unwrap()]].concat()).refused(1);
            assert!(refused.contains("raw"), "{refused}");
        }
    }
}
