//! A request gets the same decision whether it comes to the inline proxy or another proxy asks about it: over requests
//! made of everything that a decision looks at, and of much that it must not.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::{ENDPOINTS, Told, trusting};
use crate::support::{Client, Gate, Response, Upstream};

/// One of each kind of decision.
fn routes(upstream: &str) -> String {
    [
        "name = \"app\"\nhost = \"app.example\"\nidentity = \"headers\"\npublic = [\"/open\", \"/a/b\"]",
        "name = \"ops\"\nhost = \"ops.example\"\nallow = [\"role:admin\"]\nidentity = \"headers\"",
        "name = \"pass\"\nhost = \"pass.example\"\nauthorization = \"pass\"\nallow = [\"user:ada\"]",
        "name = \"raw\"\nhost = \"raw.example\"\npaths = \"raw\"",
        "name = \"notes\"\npath = \"/notes\"\nallow = [\"user:ada\", \"kind:internal\"]\npublic = [\"/open\"]",
        "name = \"deep\"\npath = \"/notes/deep\"\nallow = [\"role:admin\"]\nsame_origin = true",
    ]
    .map(|route| format!("[[route]]\n{route}\nupstream = {upstream:?}\n"))
    .concat()
}

/// A generated request.
#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    host: &'static str,
    target: String,
    https: Option<bool>,
    /// Header lines: credentials, where the request comes from, what the client takes.
    headers: String,
}

fn asked(credentials: Vec<String>) -> impl Strategy<Value = Asked> {
    let method = prop_oneof![
        6 => Just("GET"),
        6 => prop::sample::select(vec!["HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "M-SEARCH"]),
        1 => prop::sample::select(vec!["CONNECT", "TRACE", "get", "GE_T"]),
    ];
    let host = prop_oneof![
        8 => prop::sample::select(vec!["app.example", "ops.example", "pass.example", "raw.example", "box.example"]),
        2 => prop::sample::select(vec!["APP.Example.", "app.example:8080", "127.0.0.1", "localhost", "[::1]:1"]),
        1 => prop::sample::select(vec!["evil.example", "app.example.evil", "", "a b", "ada@app.example"]),
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(vec!["/", "/open", "/a/b", "/notes", "/notes/open", "/deep", "/x", ";v=1"]),
        3 => prop::sample::select(vec!["/.fallgate/x", "/api/whoami", "/health", "/%6fpen", "/opened", "?", "?a=/../b"]),
        2 => prop::sample::select(vec!["/../x", "%2f", "//", "\\", "%00", "%", "%c3%a9", "#x", "/..;/", "%252e", "\u{e9}", " x"]),
    ];
    let target = prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat());
    let credential =
        prop::collection::vec(prop::sample::select(credentials), 0..3).prop_map(|all| all.concat());
    let source = prop_oneof![
        3 => Just(String::new()),
        2 => prop::sample::select(vec![
            "http://app.example", "https://app.example", "http://box.example", "https://ops.example",
            "http://evil.example", "null", "",
        ]).prop_map(|origin| format!("Origin: {origin}\r\n")),
        1 => prop::sample::select(vec!["same-origin", "same-site", "cross-site", "none"])
            .prop_map(|site| format!("Sec-Fetch-Site: {site}\r\n")),
    ];
    let rest = prop::sample::select(vec![
        "",
        "Accept: text/html\r\n",
        "Sec-Fetch-Mode: navigate\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "X-Forwarded-For: 203.0.113.9\r\n",
        "X-Forwarded-For: somebody\r\n",
        "User-Agent: Fallgate\r\nReferer: http://box.example/\r\n",
    ]);
    let https = prop::option::of(any::<bool>());
    (method, host, target, https, credential, source, rest).prop_map(
        |(method, host, target, https, credential, source, rest)| Asked {
            method,
            host,
            target,
            https,
            headers: [credential, source, rest.to_owned()].concat(),
        },
    )
}

/// Every kind of credential, good and bad, as header lines.
fn credentials(gate: &Gate) -> Vec<String> {
    gate.admin("root");
    let (ada, root, old) = (gate.token("ada"), gate.token("root"), gate.token("bob"));
    gate.fallgate(&["token", "revoke", &old.id]).ok();
    let narrow = gate.token_with("ada", &["--scope", "route:app"]);
    let (ada_in, root_in) = (gate.sign_in("ada").secret, gate.sign_in("root").secret);
    let mut lines = Vec::new();
    for secret in [&ada.secret, &root.secret, &old.secret, &narrow.secret, &gate.internal_token(), &ada_in] {
        lines.push(format!("Authorization: Bearer {secret}\r\n"));
        lines.push(format!("Fallgate-Token: {secret}\r\n"));
    }
    for name in ["fallgate", "__Host-fallgate"] {
        for secret in [&ada_in, &root_in] {
            lines.push(format!("Cookie: {name}={secret}\r\n"));
            lines.push(format!("Cookie: a=b; {name}={secret}; c=d\r\n"));
        }
        lines.push(format!("Cookie: {name}=nonsense\r\n"));
    }
    lines.push("Authorization: Basic YWRhOm5v\r\n".to_owned());
    lines.push("Authorization: Negotiate x\r\n".to_owned());
    lines.push("Remote-User: root\r\nX-Forwarded-User: root\r\n".to_owned());
    lines
}

/// Which of two things that are wrong with a request is told is nobody's decision.
fn refused(status: u16) -> Decision {
    Decision::Refused(if status == 405 { 400 } else { status })
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decision {
    /// It goes on, on behalf of this user, if the upstream is told.
    Goes(String),
    Refused(u16),
    /// For our own doors, which answer as they like.
    Own,
}

fn inline(gate: &Gate, upstream: &Upstream, asked: &Asked) -> Decision {
    let Asked { method, host, target, https, headers } = asked;
    let proto = match https {
        Some(true) => "X-Forwarded-Proto: https\r\n",
        Some(false) => "X-Forwarded-Proto: http\r\n",
        None => "",
    };
    let before = upstream.requests().len();
    let mut client = Client::connect(gate.address());
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{proto}{headers}\r\n"));
    let answer = if *method == "HEAD" { client.response_to_head() } else { client.response() };
    match upstream.requests()[before..].first() {
        Some(seen) => {
            assert_eq!(answer.status, 200, "{asked:?}");
            Decision::Goes(seen.header("remote-user").concat())
        }
        None => refused(answer.status),
    }
}

fn forward_auth(gate: &Gate, endpoint: &str, asked: &Asked) -> (Decision, Response) {
    let Asked { method, host, target, https, headers } = asked;
    let told = Told { method, host, target, headers };
    let (proto, scheme) = match https {
        Some(true) => ("X-Forwarded-Proto: https\r\n", "https://"),
        Some(false) => ("X-Forwarded-Proto: http\r\n", "http://"),
        None => ("", "http://"),
    };
    let request = told.at(endpoint).replace("X-Forwarded-Proto: http\r\n", proto);
    let request = request.replace("X-Original-URL: http://", &format!("X-Original-URL: {scheme}"));
    let answer = Client::exchange(gate.address(), request);
    let decision = match answer.status {
        200 => Decision::Goes(answer.header("remote-user").unwrap().to_owned()),
        403 if answer.text().contains("to be handed to it, not asked about") => Decision::Own,
        // There are no redirects in nginx.
        401 if answer.header("fallgate-login").is_some() => Decision::Refused(303),
        status => refused(status),
    };
    (decision, answer)
}

/// How often the requests are made anew at most.
const ROUNDS: usize = 10;

#[test]
fn r3_r7_the_inline_proxy_and_forward_auth_decide_alike() {
    let upstream = Upstream::echo();
    let gate = trusting(&format!("forward_auth = true\n{}", routes(&upstream.url())));
    let credentials = credentials(&gate);
    let config = ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() };
    let tally = RefCell::new(BTreeMap::<String, usize>::new());
    let alike = |asked: Asked| {
        let decided = inline(&gate, &upstream, &asked);
        for endpoint in ENDPOINTS {
            let before = upstream.requests().len();
            let (decision, answer) = forward_auth(&gate, endpoint, &asked);
            prop_assert_eq!(upstream.requests().len(), before);
            if decision == Decision::Own {
                prop_assert!(
                    matches!(decided, Decision::Refused(_)),
                    "{}: own, and {:?} inline",
                    endpoint,
                    decided
                );
            } else {
                prop_assert_eq!(&decision, &decided, "{}: {}", endpoint, answer.text());
            }
        }
        let told = match decided {
            Decision::Goes(user) => format!("goes for {user:?}"),
            decided => format!("{decided:?}"),
        };
        *tally.borrow_mut().entry(told).or_default() += 1;
        Ok::<_, TestCaseError>(())
    };
    let wanted = [
        "goes for \"\"",
        "goes for \"ada\"",
        "goes for \"root\"",
        "Refused(303)",
        "Refused(400)",
        "Refused(401)",
        "Refused(403)",
        "Refused(421)",
    ];
    // Until each of these has come, or it would prove little. Most do at once; what goes to the upstream is rare.
    for _ in 0..ROUNDS {
        TestRunner::new(config.clone()).run(&asked(credentials.clone()), alike).unwrap();
        if wanted.iter().all(|decision| tally.borrow().contains_key(*decision)) {
            return;
        }
    }
    panic!("not all of {wanted:?} have come: {tally:?}");
}
