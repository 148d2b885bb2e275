//! Signing in and out, and what a sign-in may do.

use serde_json::{Value, json};

use crate::support::{Gate, PASSPHRASE, Response, SignIn};

fn me(gate: &Gate, headers: &str) -> u16 {
    gate.ask("GET /api/whoami", headers, &Value::Null).status
}

/// A gate with a user `ada` and an admin `root`.
fn peopled() -> Gate {
    let gate = Gate::start();
    gate.admin("root");
    gate.user("ada");
    gate
}

fn actions(gate: &Gate) -> Vec<Value> {
    let listed = gate.fallgate(&["audit", "list", "--json"]).ok().json();
    listed["events"].as_array().unwrap().clone()
}

#[test]
fn r19_signing_in_sets_a_cookie_that_says_who_one_is() {
    let gate = peopled();
    let headers = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n";
    let body = json!({"username": "ada", "passphrase": PASSPHRASE});
    let answer = gate.ask("POST /api/login", headers, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.header("set-cookie").unwrap();
    let (value, attributes) = cookie.split_once(';').unwrap();
    assert!(value.starts_with("fallgate=fgl_") && value.len() == 9 + 53, "{value}");
    assert_eq!(attributes, " Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax");
    let (told, login) = (answer.json(), SignIn::of(&answer));
    assert_eq!((&told["username"], &told["role"]), (&json!("ada"), &json!("user")));
    let credential = &told["credential"];
    assert_eq!((&credential["kind"], &credential["name"]), (&json!("login"), &json!("Firefox on Linux")));
    assert!(!answer.text().contains(&login.secret));

    let shown = gate.ask("GET /api/whoami", &login.cookie(), &Value::Null);
    assert_eq!((shown.status, shown.json()), (200, told.clone()));
    assert_eq!(gate.ask("GET /api/whoami", &login.bearer(), &Value::Null).json(), told);
    let scopes = told["credential"]["scopes"].as_array().unwrap().clone();
    assert!(scopes.contains(&json!("tokens:write")) && !scopes.contains(&json!("admin")), "{scopes:?}");
    assert!(!gate.log().contains(&login.secret[..9]));
    let event = &actions(&gate)[0];
    assert_eq!((&event["action"], &event["actor"]), (&json!("login"), &json!("ada")));
    assert_eq!((&event["credential"], &event["outcome"]), (&json!(login.id), &json!("ok")));
}

#[test]
fn r20_every_sign_in_is_a_new_one_and_ends_the_one_that_came_with_it_and_signing_out_ends_it_on_the_server() {
    let gate = peopled();
    let body = json!({"username": "ada", "passphrase": PASSPHRASE});
    let first = gate.sign_in("ada");
    let elsewhere = gate.sign_in("ada");
    assert_ne!(first.id, elsewhere.id);
    for (headers, ends) in [(first.cookie(), &first), (elsewhere.bearer(), &elsewhere)] {
        assert_eq!(me(&gate, &ends.cookie()), 200);
        let again = SignIn::of(&gate.ask("POST /api/login", &headers, &body));
        assert_eq!(me(&gate, &ends.cookie()), 401);
        assert_eq!(me(&gate, &again.cookie()), 200);
    }
    // A try that fails ends nothing.
    let kept = gate.sign_in("ada");
    let wrong = json!({"username": "ada", "passphrase": "not the passphrase"});
    assert_eq!(gate.ask("POST /api/login", &kept.cookie(), &wrong).status, 401);
    assert_eq!(me(&gate, &kept.cookie()), 200);

    let out = gate.ask("POST /api/logout", &kept.sent_by_page(), &Value::Null);
    assert_eq!((out.status, out.body.len()), (204, 0), "{}", out.text());
    assert_eq!(out.header("set-cookie"), Some("fallgate=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"));
    for headers in [kept.cookie(), kept.bearer()] {
        assert_eq!(me(&gate, &headers), 401);
    }
    assert_eq!(gate.ask("POST /api/logout", &kept.sent_by_page(), &Value::Null).status, 401);
    assert_eq!(actions(&gate)[0]["action"], "logout");
    // A token is no sign-in.
    let token = gate.token("ada");
    let refused = gate.ask("POST /api/logout", &token.header(), &Value::Null);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(me(&gate, &token.header()), 200);
}

/// As a client sees it, but for what it said itself.
fn seen(answer: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    (answer.status, answer.headers.clone(), answer.body.clone())
}

#[test]
fn r38_r52_whatever_is_wrong_with_a_name_or_a_passphrase_the_answer_is_the_same_and_a_hash_was_made() {
    let gate = peopled();
    gate.user("eve");
    gate.fallgate(&["user", "disable", "eve"]).ok();
    let clock = std::time::Instant::now();
    let wrong = gate.try_sign_in("ada", "not the passphrase");
    let as_long = clock.elapsed();
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.header("www-authenticate"), Some("Bearer realm=\"fallgate\""));
    for (username, passphrase) in [
        ("nobody", PASSPHRASE),
        ("eve", PASSPHRASE),
        ("Ada", PASSPHRASE),
        ("ada ", PASSPHRASE),
        ("", ""),
        ("a\u{0}da", "x"),
        (PASSPHRASE, "ada"),
    ] {
        let clock = std::time::Instant::now();
        let refused = gate.try_sign_in(username, passphrase);
        assert_eq!(seen(&refused), seen(&wrong), "{username:?}");
        // A hash was made: without one it is some hundred times as fast. How alike they are the bench tells.
        assert!(clock.elapsed() * 4 > as_long, "{username:?} took {:?}, not {as_long:?}", clock.elapsed());
    }
    let failed = actions(&gate).into_iter().filter(|event| event["action"] == "login.failed");
    let mut told: Vec<_> = failed
        .map(|event| {
            assert_eq!((&event["actor"], &event["outcome"]), (&json!("?"), &json!("refused")));
            (
                event["target"].as_str().unwrap().to_owned(),
                event["detail"]["reason"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    told.reverse();
    let names: Vec<_> = told.iter().map(|(target, reason)| (target.as_str(), reason.as_str())).collect();
    let unknown = ("?", "unknown-user");
    assert_eq!(
        names,
        [
            ("ada", "wrong-passphrase"),
            unknown,
            ("eve", "disabled"),
            unknown,
            unknown,
            unknown,
            unknown,
            unknown
        ]
    );
    let everything = gate.fallgate(&["audit", "list", "--json"]).ok().stdout + &gate.log();
    assert!(!everything.contains(PASSPHRASE) && !everything.contains("not the passphrase"));
}
