//! Who an upstream is told the caller is, and what it never learns: forged headers, our credentials, our cookies.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Client, Gate, PASSPHRASE, Response, Token, Upstream};

/// Names that only we may set.
const NAMESPACE: [&str; 24] = [
    "Remote-User",
    "Remote-Name",
    "Remote-Groups",
    "Remote-Email",
    "Remote-Addr",
    "Remote-",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Uri",
    "Forwarded",
    "X-Real-IP",
    "X-Original-URL",
    "X-Original-Method",
    "X-Original-Forwarded-For",
    "X-Rewrite-URL",
    "Fallgate-Token",
    "Fallgate-Assertion",
    // Some servers make `-`, `_` and `.` one.
    "Remote.User",
    "X.Forwarded-For",
    "Fallgate~Token",
];

/// What a forger writes into them.
const FORGED: &str = "forged-evil";

/// A gate with a route for every kind of identity, before one upstream that echoes.
fn gate(upstream: &Upstream) -> Gate {
    let url = upstream.url();
    Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\npublic = [\"/open\"]\n\
         [[route]]\nname = \"told\"\npath = \"/told\"\nupstream = {url:?}\nidentity = \"headers\"\npublic = [\"/open\"]\n\
         [[route]]\nname = \"whole\"\npath = \"/whole\"\nupstream = {url:?}\nstrip = false\n\
         [[route]]\nname = \"site\"\nhost = \"site.example\"\nupstream = {url:?}\nidentity = \"headers\"\nupstream_host = \"inner.example:81\"\n"
    ))
}

fn ask(gate: &Gate, host: &str, path: &str, headers: &str) -> Response {
    Client::exchange(gate.address(), format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"))
}

/// The head that the upstream saw, which the echo gives back, as lines.
#[track_caller]
fn lines(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    head.split("\r\n").map(str::to_owned).collect()
}

/// The name in small letters, in capitals, and mixed.
fn spellings(name: &str) -> [String; 3] {
    let mixed = name.chars().enumerate().map(|(at, letter)| {
        if at % 2 == 0 { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() }
    });
    [name.to_ascii_lowercase(), name.to_ascii_uppercase(), mixed.collect()]
}

#[test]
fn r10_r14_r16_no_forged_header_goes_up_in_whatever_spelling_and_number() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let token = gate.token("ada").header();
    let mut forged: Vec<String> = NAMESPACE
        .iter()
        .flat_map(|name| spellings(name))
        .map(|name| format!("{name}: {FORGED}\r\n"))
        .collect();
    let named: Vec<_> = NAMESPACE.iter().map(|name| name.to_ascii_lowercase()).collect();
    for (host, path, up) in [
        ("localhost", "/app/x", "/x"),
        ("localhost", "/told/x", "/x"),
        ("localhost", "/app/open", "/open"),
        ("localhost", "/told/open", "/open"),
        ("localhost", "/whole/x", "/whole/x"),
        ("site.example", "/x", "/x"),
    ] {
        let plain = lines(&ask(&gate, host, path, &token));
        assert_eq!(plain[0], format!("GET {up} HTTP/1.1"));
        for headers in [
            forged.concat(),
            forged.concat() + &format!("Proxy: {FORGED}\r\nConnection: {}\r\n", named[..15].join(", ")),
            forged.concat()
                + "Connection: Remote-User\r\nConnection: X-Forwarded-For, Host\r\nTE: trailers\r\nConnection: TE\r\n",
        ] {
            let seen = lines(&ask(&gate, host, path, &(token.clone() + &headers)));
            let seen: Vec<_> = seen
                .into_iter()
                .filter(|line| !["TE: trailers", "Connection: TE"].contains(&line.as_str()))
                .collect();
            assert_eq!(seen, plain, "{host}{path}");
        }
    }
    // One by one, twice each, before and behind.
    for field in forged.drain(..) {
        let seen = lines(&ask(&gate, "localhost", "/told/x", &format!("{field}{field}{token}{field}")));
        assert!(!seen.concat().contains(FORGED), "{field} went up: {seen:?}");
    }
    // With an underscore for a hyphen many servers take it for the same name.
    let before = upstream.requests().len();
    for name in NAMESPACE.iter().filter(|name| name.contains('-')) {
        for name in [name.replace('-', "_"), name.replacen('-', "_", 1).to_ascii_uppercase()] {
            let answer = ask(&gate, "localhost", "/told/x", &format!("{token}{name}: {FORGED}\r\n"));
            assert_eq!(answer.status, 400, "{name}");
        }
    }
    // And in a trailer, that some merge into the head.
    for name in NAMESPACE {
        let body = format!("1\r\na\r\n0\r\n{name}: {FORGED}\r\nX-Sum: 1\r\n\r\n");
        let head = format!(
            "POST /told/x HTTP/1.1\r\nHost: localhost\r\n{token}Trailer: {name}, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let text = Client::exchange(gate.address(), head + &body).text();
        assert!(
            text.contains("Trailer: X-Sum\r\n") && text.ends_with("\r\n0\r\nX-Sum: 1\r\n\r\n"),
            "{name}: {text}"
        );
        assert!(!text.contains(FORGED), "{name}: {text}");
    }
    assert_eq!(upstream.requests().len(), before + NAMESPACE.len());
    assert!(upstream.requests().iter().all(|seen| !String::from_utf8_lossy(&seen.bytes).contains(FORGED)));
}

#[test]
fn r1_r7_r14_no_header_but_the_credential_changes_a_decision() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    gate.user("ada");
    let good = gate.token("ada").header();
    let narrow = gate.token_with("ada", &["--scope", "identity:read"]).header();
    let forged = [
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\nX-Real-IP: ::1\r\n",
        "X-Forwarded-Proto: https\r\n",
        "X-Forwarded-Host: site.example\r\n",
        "X-Forwarded-Host: evil.example\r\n",
        "X-Forwarded-Uri: /app/open\r\nX-Forwarded-Method: GET\r\n",
        "X-Forwarded-Prefix: /app\r\n",
        "Forwarded: for=127.0.0.1;host=site.example;proto=https\r\n",
        "X-Original-URL: /app/open\r\nX-Original-Method: GET\r\n",
        "X-Rewrite-URL: /app/open\r\n",
        "Remote-User: ada\r\nRemote-Groups: admin\r\n",
        "X-Forwarded-User: ada\r\nX-Forwarded-Groups: admin\r\n",
        "Fallgate-Assertion: eyJhbGciOiJub25lIn0.e30.\r\n",
        "X-Http-Method-Override: DELETE\r\n",
        "User-Agent: kube-probe/1.0\r\n",
        "Referer: http://localhost/app/open\r\n",
        "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n",
        "X-Api-Key: admin\r\n",
        "Proxy-Authorization: Bearer x\r\n",
        "X-Requested-With: XMLHttpRequest\r\n",
        "Cookie: Fallgate=ada; fallgate_user=ada; user=ada\r\n",
    ];
    for (host, path) in [
        ("localhost", "/app/x"),
        ("localhost", "/app/open"),
        ("site.example", "/x"),
        ("evil.example", "/app/x"),
        ("localhost", "/api/whoami"),
        ("localhost", "/nothing"),
        ("localhost", "/health"),
        ("localhost", "/app/a%2fb"),
    ] {
        for credential in ["", "Authorization: Bearer x\r\n", &narrow, &good] {
            let plain = ask(&gate, host, path, credential);
            for headers in forged {
                for headers in [format!("{credential}{headers}"), format!("{headers}{credential}")] {
                    let answer = ask(&gate, host, path, &headers);
                    assert_eq!(answer.status, plain.status, "{host}{path} with {headers}");
                    if answer.status >= 400 {
                        assert_eq!(answer.body, plain.body, "{host}{path} with {headers}");
                    }
                }
            }
        }
    }
}

#[test]
fn r15_no_credential_and_no_cookie_of_ours_goes_up_and_other_cookies_do_byte_for_byte() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let token = gate.token("ada");
    let secret = &token.secret;
    let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("ada:{secret}")));
    for (host, path) in [("localhost", "/app/x"), ("localhost", "/app/open"), ("site.example", "/x")] {
        for carrier in [
            token.header(),
            basic.clone(),
            token.header().to_ascii_uppercase().replacen(&secret.to_ascii_uppercase(), secret, 1),
        ] {
            for (sent, seen) in [
                ("", None),
                (&format!("fallgate={secret}"), None),
                (&format!("__Host-fallgate={secret}"), None),
                (&format!("fallgate={secret}; __Host-fallgate={secret}"), None),
                (&format!("fallgate={secret};fallgate=x; fallgate"), None),
                (&format!("a=1; fallgate={secret}; b=2"), Some("a=1; b=2")),
                (&format!("fallgate={secret}; a=1;b=\"x y\";  c=;;d"), Some("a=1;b=\"x y\";  c=;;d")),
                (&format!("a=1; __Host-fallgate={secret}"), Some("a=1")),
                (
                    "fallgates=1; xfallgate=2; Fallgate=3; __host-fallgate=4; a=fallgate=5",
                    Some("fallgates=1; xfallgate=2; Fallgate=3; __host-fallgate=4; a=fallgate=5"),
                ),
                ("a=%zz%; b=\u{e9}=\t; =c", Some("a=%zz%; b=\u{e9}=\t; =c")),
            ] {
                let cookie = if sent.is_empty() { String::new() } else { format!("Cookie: {sent}\r\n") };
                let answer = ask(
                    &gate,
                    host,
                    path,
                    &format!(
                        "{carrier}{cookie}Proxy-Authorization: Bearer {secret}\r\nFallgate-Token: {secret}\r\n"
                    ),
                );
                let head = lines(&answer);
                let cookies: Vec<_> = head.iter().filter_map(|line| line.strip_prefix("Cookie: ")).collect();
                assert_eq!(cookies, seen.into_iter().collect::<Vec<_>>(), "{host}{path} with {sent}");
                let lower = answer.text().to_ascii_lowercase();
                assert!(
                    !answer.text().contains(&secret[4..]) && !lower.contains("authorization"),
                    "{}",
                    answer.text()
                );
            }
        }
    }
    let bytes: Vec<u8> = upstream.bytes().concat();
    for canary in [secret.clone(), STANDARD.encode(format!("ada:{secret}"))] {
        assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()));
        assert!(!gate.log().contains(&canary));
    }
}

#[test]
fn on_a_public_path_credentials_are_taken_out_unread_and_nobody_is_named() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let token = gate.token("ada");
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    let good = gate.token("ada").header();
    for path in ["/app/open", "/told/open/x"] {
        let plain = lines(&ask(&gate, "localhost", path, ""));
        for credential in [
            &good,
            &token.header(),
            "Authorization: Bearer garbage\r\n",
            "Authorization: Basic %%%\r\n",
            "Authorization: Digest x\r\n",
            "Authorization:\r\n",
        ] {
            assert_eq!(lines(&ask(&gate, "localhost", path, credential)), plain, "{path} with {credential}");
        }
        assert!(!plain.concat().contains("ada"));
    }
}

#[test]
fn r10_with_identity_headers_the_upstream_learns_exactly_who_calls() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let create = |name: &str, more: &[&str]| {
        let arguments = [&["user", "create", name, "--passphrase-stdin"], more].concat();
        gate.fallgate_with(&arguments, PASSPHRASE).ok();
        gate.token_with(name, &["--scope", "routes:use"])
    };
    let ada = create("ada", &["--display-name", "Ada Lovelace"]);
    let root = create("root", &["--admin", "--display-name", "J\u{fc}rgen 100% \u{202e}x"]);
    let identity = |host: &str, path: &str, token: &Token| {
        let seen = lines(&ask(&gate, host, path, &token.header()));
        seen.into_iter().filter(|line| line.to_ascii_lowercase().starts_with("remote-")).collect::<Vec<_>>()
    };
    for (host, path) in [("localhost", "/told/x"), ("site.example", "/x")] {
        assert_eq!(
            identity(host, path, &ada),
            ["Remote-User: ada", "Remote-Name: Ada Lovelace", "Remote-Groups: user", "Remote-Email: "]
        );
        assert_eq!(
            identity(host, path, &root),
            [
                "Remote-User: root",
                "Remote-Name: J%C3%BCrgen 100%25 %E2%80%AEx",
                "Remote-Groups: admin",
                "Remote-Email: "
            ]
        );
    }
    assert_eq!(identity("localhost", "/app/x", &ada), Vec::<String>::new());
    // On a public path nobody is named; not even that somebody could be.
    let open = identity("localhost", "/told/open", &ada);
    assert!(!open.concat().contains("ada"), "{open:?}");
}

#[test]
fn the_upstream_is_told_where_the_request_came_from() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let token = gate.token("ada").header();
    let told = |host: &str, path: &str| {
        let seen = lines(&ask(&gate, host, path, &token));
        seen.into_iter()
            .filter(|line| line.starts_with("Host") || line.starts_with("X-Forwarded"))
            .collect::<Vec<_>>()
    };
    let common = |host: &str| {
        vec![
            format!("Host: {host}"),
            "X-Forwarded-For: 127.0.0.1".to_owned(),
            "X-Forwarded-Proto: http".to_owned(),
            format!("X-Forwarded-Host: {host}"),
        ]
    };
    let with_prefix = |host: &str| [common(host), vec!["X-Forwarded-Prefix: /app".to_owned()]].concat();
    assert_eq!(told("localhost:99", "/app/x"), with_prefix("localhost:99"));
    assert_eq!(told("LOCALHOST", "/app"), with_prefix("LOCALHOST"));
    // Nothing was taken off, so nothing is told of it.
    assert_eq!(told("localhost", "/whole/x"), common("localhost"));
    let mut site = common("Site.Example.");
    site[0] = "Host: inner.example:81".to_owned();
    assert_eq!(told("Site.Example.", "/x"), site);
}

#[test]
fn r15_an_upstream_can_neither_set_our_cookies_nor_reach_into_our_origin() {
    const FIELDS: &str = "Set-Cookie: fallgate=evil; Path=/\r\nset-cookie: __Host-fallgate=evil; Secure\r\n\
        SET-COOKIE:  fallgate = evil\r\nSet-Cookie: =fallgate=evil\r\nSet-Cookie: fallgate\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: fallgates=2\r\n\
        Service-Worker-Allowed: /\r\nClear-Site-Data: \"cookies\"\r\n\
        Strict-Transport-Security: max-age=31536000; includeSubDomains\r\nAlt-Svc: h3=\":443\"\r\nNEL: {\"report_to\":\"x\",\"max_age\":9}\r\n\
        Report-To: {}\r\nReporting-Endpoints: x=\"https://evil.example\"\r\nPublic-Key-Pins: max-age=9\r\nX-Hop: 1\r\nConnection: X-Hop\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
        Fallgate-Note: kept\r\nX-A: b\r\n";
    let upstream = Upstream::answering(|_| {
        format!("HTTP/1.1 200 OK\r\n{FIELDS}Content-Length: 2\r\n\r\nok").into_bytes()
    });
    let gate = gate(&upstream);
    let token = gate.token("ada").header();
    for (host, path, own_origin) in
        [("localhost", "/app/x", true), ("localhost", "/app/open", true), ("site.example", "/x", false)]
    {
        let answer = ask(&gate, host, path, &token);
        let all = |name: &str| -> Vec<_> {
            let named = answer.headers.iter().filter(|(held, _)| held == name);
            named.map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(all("set-cookie"), ["a=1; Path=/", "fallgates=2"], "{host}");
        assert_eq!(all("x-a"), ["b"]);
        for gone in ["x-hop", "keep-alive", "connection", "proxy-authenticate"] {
            assert_eq!(all(gone), Vec::<&str>::new(), "{gone}");
        }
        for name in [
            "service-worker-allowed",
            "clear-site-data",
            "strict-transport-security",
            "alt-svc",
            "nel",
            "report-to",
            "reporting-endpoints",
            "public-key-pins",
        ] {
            assert_eq!(all(name).len(), usize::from(!own_origin), "{name} on {host}");
        }
    }
}

#[test]
fn an_upstreams_own_addresses_become_those_of_the_route() {
    // The upstream answers with what the query says, `%U` standing for its own origin.
    let upstream = Upstream::answering(|request| {
        let target = request.target();
        let (_, location) = target.split_once('?').unwrap();
        let origin = request.header("x-origin").concat();
        let location = location.replace("%U", &origin);
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Location: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    let gate = gate(&upstream);
    let token = gate.token("ada").header();
    for (told, by_path, by_host) in [
        ("/y", "/app/y", "/y"),
        ("/", "/app/", "/"),
        ("/app/y", "/app/y", "/app/y"),
        ("/apple", "/app/apple", "/apple"),
        ("%U/y?a=b", "/app/y?a=b", "/y?a=b"),
        ("%U", "/app/", "/"),
        ("%U/app/y", "/app/y", "/app/y"),
        ("y", "y", "y"),
        ("../y", "../y", "../y"),
        ("//evil.example/y", "//evil.example/y", "//evil.example/y"),
        ("http://evil.example/y", "http://evil.example/y", "http://evil.example/y"),
        ("%U.evil.example/y", "%U.evil.example/y", "%U.evil.example/y"),
        ("%U9/y", "%U9/y", "%U9/y"),
        // As the upstream was told that it is called.
        ("http://localhost/y", "http://localhost/app/y", "http://localhost/y"),
        ("https://localhost/app/y", "https://localhost/app/y", "https://localhost/app/y"),
        ("http://inner.example:81/y", "http://inner.example:81/y", "/y"),
        ("http://inner.example/y", "http://inner.example/y", "http://inner.example/y"),
        ("http://site.example/y", "http://site.example/y", "http://site.example/y"),
    ] {
        for (host, path, wanted) in [("localhost", "/app/x", by_path), ("site.example", "/x", by_host)] {
            let answer = ask(
                &gate,
                host,
                &format!("{path}?{told}"),
                &format!("{token}X-Origin: {}\r\n", upstream.url()),
            );
            let wanted = wanted.replace("%U", &upstream.url());
            assert_eq!(answer.header("location"), Some(wanted.as_str()), "{told} on {host}");
            assert_eq!(answer.header("content-location"), Some(wanted.as_str()), "{told} on {host}");
        }
    }
}
