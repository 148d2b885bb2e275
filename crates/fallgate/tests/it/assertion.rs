//! Signed assertions: what an upstream is told of its caller, checked as an upstream would, by the published keys alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::llmux::Llmux;
use crate::support::{Client, Gate, Home, Jwks, Response, Token, Upstream};

/// A gate whose upstream tells back what it was told.
fn gate(home: Home, upstream: &Upstream) -> Gate {
    let url = upstream.url();
    let route = |name: &str, more: &str| {
        format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = {url:?}\n{more}\n")
    };
    let everybody = "allow = [\"role:admin\", \"role:user\", \"kind:internal\", \"kind:legacy\"]\n";
    let routes = [
        route("app", &format!("identity = \"assertion\"\npublic = [\"/open\"]\n{everybody}")),
        route("both", &format!("identity = \"both\"\n{everybody}")),
        route("told", "identity = \"headers\""),
        route("none", ""),
    ];
    // Another proxy serves this one, and asks.
    let asked = "[[route]]\nname = \"asked\"\nhost = \"asked.example\"\nidentity = \"assertion\"\npublic = [\"/open\"]\n";
    let server = "[server]\npublic_url = \"https://box.example\"\ntrusted_proxies = [\"127.0.0.1\"]\n";
    Gate::on(home, &format!("{server}{}{asked}", routes.concat()))
}

fn ask(gate: &Gate, path: &str, headers: &str) -> Response {
    let answer =
        Client::exchange(gate.address(), format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer
}

/// The assertions that the upstream saw.
fn assertions(answer: &Response) -> Vec<String> {
    let text = answer.text();
    let fields = text.split("\r\n").filter_map(|line| line.split_once(": "));
    fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("fallgate-assertion"))
        .map(|(_, value)| value.to_owned())
        .collect()
}

#[track_caller]
fn assertion(gate: &Gate, path: &str, headers: &str) -> String {
    let mut seen = assertions(&ask(gate, path, headers));
    assert_eq!(seen.len(), 1, "{path}: {seen:?}");
    seen.remove(0)
}

fn part(assertion: &str, at: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Whether the key that the assertion names is published, and has signed it.
fn is_signed(gate: &Gate, assertion: &str) -> bool {
    Jwks::of(gate).have_signed(assertion)
}

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[track_caller]
fn assert_says(gate: &Gate, assertion: &str, credential: &str, route: &str, who: (&str, &str)) {
    assert!(is_signed(gate, assertion), "{assertion}");
    let mut header = part(assertion, 0);
    header.as_object_mut().unwrap().remove("kid");
    assert_eq!(header, serde_json::json!({"alg": "EdDSA", "typ": "fallgate-assertion+jwt"}));
    let mut claims = part(assertion, 1);
    let mut time = |name: &str| claims.as_object_mut().unwrap().remove(name).unwrap().as_i64().unwrap();
    let (issued, expires) = (time("iat"), time("exp"));
    assert_eq!(expires, issued + 60);
    assert!((now() - 31..=now()).contains(&issued), "{issued}");
    let wanted = serde_json::json!({
        "iss": "https://box.example", "aud": route, "sub": who.0, "role": who.1, "cred": credential,
    });
    assert_eq!(claims, wanted);
}

#[test]
fn r13_an_upstream_is_told_by_a_signed_word_for_it_alone_who_calls() {
    let upstream = Upstream::echo();
    let gate = gate(Home::new(), &upstream);
    gate.admin("root");
    let (ada, root) = (gate.token("ada"), gate.token("root"));
    for (token, who) in [(&ada, ("ada", "user")), (&root, ("root", "admin"))] {
        for route in ["app", "both"] {
            let told = assertion(&gate, &format!("/{route}/x"), &token.header());
            assert_says(&gate, &told, &token.id, route, who);
            // What is changed in it is signed by nobody.
            for (at, byte) in told.bytes().enumerate().step_by(7) {
                let other = if byte == b'A' { "B" } else { "A" };
                let mut tampered = told.clone();
                tampered.replace_range(at..=at, other);
                if byte != b'.' && part_reads(&tampered) {
                    assert!(!is_signed(&gate, &tampered), "{tampered}");
                }
            }
        }
        let text = ask(&gate, "/both/x", &token.header()).text();
        assert!(text.contains(&format!("\r\nRemote-User: {}\r\n", who.0)), "{text}");
        let text = ask(&gate, "/app/x", &token.header()).text();
        assert!(!text.contains("Remote-User"), "{text}");
        for silent in ["/told/x", "/none/x"] {
            assert!(assertions(&ask(&gate, silent, &token.header())).is_empty(), "{silent}");
        }
        // On a public path nobody is named, and a forged one does not go up.
        for credential in ["", &token.header()] {
            let forged = format!("{credential}Fallgate-Assertion: forged\r\nfallgate.assertion: forged\r\n");
            assert!(assertions(&ask(&gate, "/app/open", &forged)).is_empty());
        }
        let named =
            format!("{}Fallgate-Assertion: forged\r\nConnection: Fallgate-Assertion\r\n", token.header());
        assert_says(&gate, &assertion(&gate, "/app/x", &named), &token.id, "app", who);
    }
}

#[test]
fn r13_another_proxy_that_asks_is_given_the_same_word() {
    let upstream = Upstream::echo();
    let gate = gate(Home::new(), &upstream);
    let token = gate.token("ada");
    let told = |path: &str| {
        let client = format!(
            "X-Original-Method: GET\r\nX-Original-URL: http://asked.example{path}\r\n{}",
            token.header()
        );
        let answer = ask(&gate, "/auth/nginx", &client);
        assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")));
        answer.header("fallgate-assertion").unwrap().to_owned()
    };
    assert_says(&gate, &told("/x"), &token.id, "asked", ("ada", "user"));
    assert_eq!(told("/open"), "");
}

/// Whether the header can be read, so that it names a key.
fn part_reads(assertion: &str) -> bool {
    let header = URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap());
    header.is_ok_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok())
}

#[test]
fn r13_whoever_has_no_user_is_called_by_what_they_are() {
    let upstream = Upstream::echo();
    let home = Home::new();
    let (_llmux, _bound, legacy) = Llmux::peopled(&home);
    home.import_llmux(&[]).ok();
    // A user may be called what the others are called.
    home.user("legacy");
    let gate = gate(home, &upstream);
    let listed = gate.fallgate(&["token", "list", "--all", "--json"]).ok().json();
    let listed = listed["tokens"].as_array().unwrap();
    let imported = listed.iter().find(|token| token["kind"] == "legacy").unwrap()["id"].as_str().unwrap();
    let told = assertion(&gate, "/app/x", &format!("Authorization: Bearer {legacy}\r\n"));
    assert_says(&gate, &told, imported, "app", ("kind:legacy", "legacy"));
    let internal = format!("Authorization: Bearer {}\r\n", gate.internal_token());
    let told = assertion(&gate, "/app/x", &internal);
    let claims = part(&told, 1);
    assert_eq!((&claims["sub"], &claims["role"]), (&Value::from("kind:internal"), &Value::from("internal")));
    let user = gate.token("legacy");
    assert_says(&gate, &assertion(&gate, "/app/x", &user.header()), &user.id, "app", ("legacy", "user"));
}

#[test]
fn r45_an_assertion_is_used_again_as_long_as_all_that_it_says_holds() {
    let upstream = Upstream::echo();
    let gate = gate(Home::new(), &upstream);
    gate.admin("root");
    gate.admin("other");
    let (one, two) = (gate.token("other"), gate.token("other"));
    let told = |route: &str, token: &Token| assertion(&gate, &format!("/{route}/x"), &token.header());
    // It may turn thirty seconds old in between; not every time.
    let reused = (0..5).any(|_| told("app", &one) == told("app", &one));
    assert!(reused, "one is made for each request");
    let first = told("app", &one);
    assert_ne!(first, told("app", &two), "another credential");
    assert_ne!(first, told("both", &one), "another route");
    gate.fallgate(&["user", "set-role", "other", "user"]).ok();
    assert_says(&gate, &told("app", &one), &one.id, "app", ("other", "user"));
    gate.fallgate(&["user", "set-role", "other", "admin"]).ok();
    assert_says(&gate, &told("app", &one), &one.id, "app", ("other", "admin"));
    // A key that signs no more signs nothing that goes up, and what it has signed is still good, unless it was stolen.
    let before = told("app", &one);
    gate.fallgate(&["key", "rotate-signing"]).ok();
    let after = told("app", &one);
    assert_ne!(part(&before, 0)["kid"], part(&after, 0)["kid"]);
    assert!(is_signed(&gate, &before) && is_signed(&gate, &after));
    gate.fallgate(&["key", "rotate-signing", "--now"]).ok();
    let last = told("app", &one);
    assert!(is_signed(&gate, &last) && !is_signed(&gate, &after));
    gate.fallgate(&["token", "revoke", &one.id]).ok();
    assert_eq!(Client::get(gate.address(), "/app/x", Some(&one)).status, 401);
}
