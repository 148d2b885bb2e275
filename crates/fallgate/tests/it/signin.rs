//! Signing in and out, and what a sign-in may do.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Gate, PASSPHRASE, Response, SignIn, Upstream};

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
    let headers = answer.headers.iter().filter(|(name, _)| name != "date");
    (answer.status, headers.cloned().collect(), answer.body.clone())
}

#[test]
fn r38_r52_whatever_is_wrong_with_a_name_or_a_passphrase_the_answer_is_the_same_and_a_hash_was_made() {
    let gate = peopled();
    gate.user("eve");
    gate.fallgate(&["user", "disable", "eve"]).ok();
    let clock = Instant::now();
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
        let clock = Instant::now();
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

#[test]
fn r30_one_sees_and_ends_ones_own_sign_ins_and_nobody_elses() {
    let gate = peopled();
    let (first, second, third) = (gate.sign_in("ada"), gate.sign_in("ada"), gate.sign_in("ada"));
    let others = gate.sign_in("root");
    let named = json!({"username": "ada", "passphrase": PASSPHRASE, "device_name": " my \u{202e}phone 📱 "});
    let named = SignIn::of(&gate.ask("POST /api/login", "User-Agent: curl/8\r\n", &named));
    let sign_ins = |who: &SignIn| {
        let listed = gate.ask("GET /api/logins", &who.bearer(), &Value::Null);
        assert_eq!(listed.status, 200, "{}", listed.text());
        assert!(!listed.text().contains(&who.secret[..9]), "{}", listed.text());
        listed.json()["logins"].as_array().unwrap().clone()
    };
    let ids = |list: &[Value]| -> Vec<String> {
        list.iter().map(|login| login["id"].as_str().unwrap().to_owned()).collect()
    };
    let listed = sign_ins(&second);
    assert_eq!(ids(&listed), [&first.id, &second.id, &third.id, &named.id].map(Clone::clone));
    let current: Vec<_> = listed.iter().map(|login| login["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [false, true, false, false]);
    let last = listed.last().unwrap();
    let mut keys: Vec<_> = last.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut wanted =
        ["id", "name", "created_at", "expires_at", "last_used_at", "last_used_ip", "user_agent", "current"];
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
    assert_eq!((&last["name"], &last["user_agent"]), (&json!("my \u{202e}phone 📱"), &json!("curl/8")));
    assert_eq!((&last["last_used_ip"], &last["last_used_at"]), (&json!("127.0.0.1"), &last["created_at"]));

    let end =
        |who: &SignIn, id: &str| gate.ask(&format!("DELETE /api/logins/{id}"), &who.bearer(), &Value::Null);
    let token = gate.token("ada");
    for nobodys in [others.id.as_str(), &token.id, "x", "00000000-0000-7000-8000-000000000000"] {
        assert_eq!(end(&first, nobodys).status, 404, "{nobodys}");
    }
    assert_eq!((me(&gate, &others.bearer()), me(&gate, &token.header())), (200, 200));
    for _ in 0..2 {
        assert_eq!(end(&first, &third.id).status, 204, "as often as one likes");
    }
    assert_eq!(me(&gate, &third.bearer()), 401);
    let all = gate.ask("DELETE /api/logins", &first.sent_by_page(), &Value::Null);
    assert_eq!((all.status, all.json()), (200, json!({"revoked": 2})));
    let again = gate.ask("DELETE /api/logins", &first.sent_by_page(), &Value::Null);
    assert_eq!(again.json(), json!({"revoked": 0}));
    assert_eq!(ids(&sign_ins(&first)), [first.id.as_str()]);
    assert_eq!((me(&gate, &second.bearer()), me(&gate, &token.header())), (401, 200), "tokens stay");
    assert_eq!(end(&first, &first.id).status, 204);
    assert_eq!(me(&gate, &first.bearer()), 401);
    // Sign-ins are no tokens.
    let tokens = gate.ask("GET /api/tokens", &others.bearer(), &Value::Null);
    assert!(!tokens.text().contains(&others.id), "{}", tokens.text());
}

#[test]
fn r20_ones_own_passphrase_is_changed_by_showing_it_and_only_the_sign_in_in_use_stays() {
    let gate = peopled();
    let (used, other) = (gate.sign_in("ada"), gate.sign_in("ada"));
    let token = gate.token("ada");
    let new = "seven staples of my batteries";
    let change = |body: Value| gate.ask("POST /api/account/passphrase", &used.sent_by_page(), &body);
    let wrong = change(json!({"current": "not the passphrase", "new": new}));
    assert_eq!(wrong.status, 403, "{}", wrong.text());
    assert!(wrong.text().contains("current passphrase is wrong"), "{}", wrong.text());
    for (weak, words) in [("short", "12 to 1024 bytes"), ("adaadaadaada", "too easy")] {
        let refused = change(json!({"current": PASSPHRASE, "new": weak}));
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    let changed = change(json!({"current": PASSPHRASE, "new": new}));
    assert_eq!((changed.status, changed.json()), (200, json!({"revoked_logins": 1, "revoked_tokens": 0})),);
    assert_eq!((me(&gate, &used.bearer()), me(&gate, &other.bearer())), (200, 401));
    assert_eq!(me(&gate, &token.header()), 200);
    assert_eq!(gate.try_sign_in("ada", PASSPHRASE).status, 401);
    assert_eq!(gate.try_sign_in("ada", new).status, 200);
    let changed = change(json!({"current": new, "new": PASSPHRASE, "revoke_tokens": true}));
    assert_eq!(changed.json(), json!({"revoked_logins": 1, "revoked_tokens": 1}), "{}", changed.text());
    assert_eq!((me(&gate, &used.bearer()), me(&gate, &token.header())), (200, 401));
    // An admin's reset ends them all.
    gate.fallgate_with(&["user", "reset-passphrase", "ada", "--passphrase-stdin"], new).ok();
    assert_eq!(me(&gate, &used.bearer()), 401);
    let told = gate.fallgate(&["audit", "list", "--json"]).ok().stdout + &gate.log();
    assert!(!told.contains(new) && !told.contains(PASSPHRASE) && !told.contains("not the passphrase"));
}

#[test]
fn r54_whoever_guesses_the_current_passphrase_is_throttled_as_at_the_door() {
    let gate = peopled();
    let login = gate.sign_in("ada");
    let wrong = json!({"current": "not the passphrase", "new": "seven staples of my batteries"});
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(gate.ask("POST /api/account/passphrase", &login.bearer(), &wrong).status);
    }
    assert_eq!(statuses, [403, 403, 403, 403, 403, 429]);
    assert_eq!(gate.try_sign_in("ada", PASSPHRASE).status, 429);
}

#[test]
fn one_gives_oneself_another_display_name_and_nothing_else() {
    let gate = peopled();
    let login = gate.sign_in("ada");
    let change = |body: Value| gate.ask("PATCH /api/account", &login.sent_by_page(), &body);
    for (body, words) in [
        (json!({}), "display_name"),
        (json!({"display_name": " "}), "1 to 80 characters"),
        (json!({"display_name": "a\u{7}"}), "no control characters"),
        (json!({"display_name": "Ada", "role": "admin"}), "unknown field `role`"),
        (json!({"display_name": "Ada", "username": "root"}), "unknown field `username`"),
    ] {
        let refused = change(body);
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    let hostile = "</script><img src=x onerror=alert(1)>\u{202e}";
    let changed = change(json!({"display_name": format!("  {hostile} ")}));
    assert_eq!(
        (changed.status, &changed.json()["display_name"]),
        (200, &json!(hostile)),
        "{}",
        changed.text()
    );
    assert_eq!(gate.ask("GET /api/whoami", &login.cookie(), &Value::Null).json()["display_name"], hostile);
}

#[test]
fn r29_a_sign_in_is_who_it_is_and_may_what_it_may_however_it_comes() {
    let gate = peopled();
    let login = gate.sign_in("root");
    let me = |headers: &str| seen(&gate.ask("GET /api/whoami", headers, &Value::Null));
    let by_cookie = me(&login.cookie());
    assert_eq!(by_cookie.0, 200);
    let basic = |username: &str| {
        use base64::Engine;
        let pair = format!("{username}:{}", login.secret);
        format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    for headers in [login.bearer(), basic("root"), basic(""), login.bearer() + "Cookie: fallgate=x\r\n"] {
        assert_eq!(me(&headers), by_cookie);
    }
    assert_eq!(me(&basic("ada")).0, 401);
    // A token minted by a sign-in hangs on nothing, and outlives it.
    let minted =
        gate.ask("POST /api/tokens", &login.sent_by_page(), &json!({"name": "x", "username": "ada"}));
    assert_eq!((minted.status, &minted.json()["username"]), (201, &json!("ada")), "{}", minted.text());
    let minted = gate.ask("POST /api/tokens", &login.bearer(), &json!({"name": "x", "scopes": ["admin"]}));
    assert_eq!(minted.status, 201);
    let secret = minted.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(gate.ask("POST /api/logout", &login.bearer(), &Value::Null).status, 204);
    assert_eq!(me(&format!("Authorization: Bearer {secret}\r\n")).0, 200);
    // A demoted admin's sign-in shrinks at once, and grows again.
    let login = gate.sign_in("ada");
    let may = || gate.ask("GET /api/users", &login.cookie(), &Value::Null).status;
    for (role, status) in [("admin", 200), ("user", 403), ("admin", 200)] {
        gate.fallgate(&["user", "set-role", "ada", role]).ok();
        assert_eq!(may(), status, "{role}");
    }
}

#[test]
fn r37_whoever_has_a_sign_ins_secret_may_end_it() {
    let gate = peopled();
    let login = gate.sign_in("ada");
    let ended = gate.ask("POST /api/tokens/revoke", "", &json!({"token": login.secret}));
    assert_eq!((ended.status, me(&gate, &login.cookie())), (204, 401));
}

#[test]
fn r21_nobody_is_signed_in_by_a_page_of_another_site() {
    let gate = peopled();
    let body = json!({"username": "ada", "passphrase": PASSPHRASE});
    for (says, status) in [
        ("", 200),
        ("Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\n", 200),
        ("Origin: http://localhost\r\n", 200),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\nOrigin: http://localhost\r\n", 403),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: https://localhost\r\n", 403),
        ("Origin: null\r\n", 403),
    ] {
        let answer = gate.ask("POST /api/login", says, &body);
        assert_eq!(answer.status, status, "{says}: {}", answer.text());
        assert_eq!(answer.header("set-cookie").is_some(), status == 200);
    }
}

/// Each request breaks two neighbouring rules; the status is that of the first.
#[test]
fn r21_where_a_cookie_comes_from_is_asked_after_whether_there_is_anything_and_before_what_it_may() {
    let gate = peopled();
    let cookie = gate.sign_in("ada").cookie();
    let right = gate.token_with("ada", &["--scope", "tokens:write"]).header();
    let bad = "Cookie: fallgate=x\r\n";
    let (small, huge) = (json!({}), json!({"name": "x".repeat(70_000)}));
    for (name, line, headers, body, status) in [
        ("credential before source", "POST /api/tokens", bad, &small, 401),
        ("unknown address before source", "POST /nothing", &cookie, &small, 404),
        ("method before source", "PUT /api/tokens", &cookie, &small, 405),
        ("source before scope", "POST /api/users", &cookie, &small, 403),
        ("source before size", "POST /api/tokens", &cookie, &huge, 403),
        ("kind before size", "POST /api/account/passphrase", &right, &huge, 403),
        ("what is asked only is not asked from where", "GET /api/tokens", &cookie, &small, 200),
    ] {
        let answer = gate.ask(line, headers, body);
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        let told_source = answer.text().contains("own pages");
        assert_eq!(told_source, name.starts_with("source"), "{name}: {}", answer.text());
    }
}

#[test]
fn r54_the_sixth_try_waits_and_so_do_names_that_nobody_has() {
    let gate = peopled();
    for username in ["ada", "nobody"] {
        for _ in 0..5 {
            assert_eq!(gate.try_sign_in(username, "not the passphrase").status, 401, "{username}");
        }
        // Spelt otherwise, or right: it is one name.
        for (username, passphrase) in
            [(username.to_owned(), PASSPHRASE), (username.to_uppercase(), "x"), (format!(" {username}"), "x")]
        {
            let throttled = gate.try_sign_in(&username, passphrase);
            assert_eq!(throttled.status, 429, "{username:?}: {}", throttled.text());
            assert!(["1", "2"].contains(&throttled.header("retry-after").unwrap()), "{throttled:?}");
        }
    }
    assert_eq!(gate.try_sign_in("root", PASSPHRASE).status, 200, "others are not concerned");
    let single = |event: &Value| event["action"] == "login.failed" && event["detail"]["count"].is_null();
    let events = actions(&gate).into_iter().filter(single).count();
    assert_eq!(events, 10, "throttled tries are no events of their own");
}

#[test]
fn r8_a_body_that_is_not_as_it_must_be_signs_nobody_in_and_is_not_repeated() {
    let gate = peopled();
    let secret = "hunter2hunter2hunter2";
    for (body, words) in [
        (json!({"username": "ada"}), "passphrase"),
        (json!({"passphrase": secret}), "username"),
        (json!({"username": "ada", "passphrase": [secret]}), "must be text"),
        (json!({"username": {"$ne": secret}, "passphrase": "x"}), "must be text"),
        (json!({"username": "ada", "passphrase": secret, "remember": true}), "unknown field `remember`"),
        (json!({"username": "ada", "passphrase": secret, "device_name": " "}), "1 to 80 characters"),
        (json!({"username": "ada", "passphrase": secret, "device_name": "a\u{7}"}), "no control characters"),
        (json!([secret]), "JSON object"),
    ] {
        let refused = gate.ask("POST /api/login", "", &body);
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
        assert!(refused.text().contains(words), "{body}: {}", refused.text());
        assert!(!refused.text().contains(secret), "{}", refused.text());
    }
    assert!(!gate.log().contains(secret));
}

/// Bytes that stand for nothing, wherever a credential may be, open nothing: neither a door nor a route.
#[test]
fn r8_random_bytes_for_a_credential_never_come_in() {
    let upstream = Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    gate.user("ada");
    let (login, token) = (gate.sign_in("ada"), gate.token("ada"));
    // Nobody may come in by chance, but whoever comes near shall come as near as can be.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let good = [
        format!("Cookie: fallgate={}", login.secret),
        format!("Authorization: Bearer {}", login.secret),
        format!("Authorization: Bearer {}", token.secret),
    ];
    let mut clients = [Client::connect(gate.address()), Client::connect(gate.address())];
    for _ in 0..4_000 {
        let mut field = good[random(good.len())].clone().into_bytes();
        let start = field.iter().position(|byte| *byte == b':').unwrap() + 2;
        for _ in 0..=random(3) {
            let at = start + random(field.len() - start);
            match random(3) {
                0 => field[at] = b"%\"';=, \t\x80\xff_0aZfgl"[random(17)],
                1 => drop(field.remove(at)),
                _ => field.insert(at, b"%\"';=, \t\x80\xff_0aZfgl"[random(17)]),
            }
            if field.len() <= start {
                break;
            }
        }
        if good.iter().any(|good| is_the_same(good.as_bytes(), &field)) {
            continue;
        }
        for (client, path) in clients.iter_mut().zip(["/api/whoami", "/app/x"]) {
            let mut request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
            request.extend_from_slice(&field);
            request.extend_from_slice(b"\r\n\r\n");
            client.send(&request);
            let answer = client.response();
            let shown = String::from_utf8_lossy(&field).into_owned();
            assert!([400, 401].contains(&answer.status), "{path}: {shown:?} is answered {}", answer.status);
            if answer.header("connection") == Some("close") {
                *client = Client::connect(gate.address());
            }
        }
    }
    assert_eq!(upstream.requests().len(), 0);
    assert_eq!(me(&gate, &login.cookie()), 200);
}

/// Whether two header fields present the same: schemes have no case, and blanks and other cookies do not count.
fn is_the_same(good: &[u8], field: &[u8]) -> bool {
    let words = |field: &[u8]| {
        let text = String::from_utf8_lossy(field).into_owned();
        let words = text.split([' ', '\t', ';', ',']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let (good, field) = (words(good), words(field));
    good[1..].iter().all(|word| field.contains(word))
}

/// Who asks gets what is theirs, however many ask at once.
#[test]
fn r53_r55_two_hundred_sign_ins_at_once_are_bounded_in_memory_and_never_cross() {
    const PEOPLE: usize = 8;
    const CLIENTS: usize = 200;
    let gate = Gate::start();
    let name = |number: usize| format!("user-{}", number % PEOPLE);
    (0..PEOPLE).for_each(|number| gate.user(&name(number)));
    let token = gate.token(&name(0));
    let send = |number: usize| {
        let body =
            json!({"username": name(number), "passphrase": PASSPHRASE, "device_name": format!("d-{number}")});
        let body = body.to_string();
        let mut client = Client::connect(gate.address());
        // Who hashes has the lowest priority: on a busy machine it takes its time.
        client.wait_up_to(Duration::from_mins(1));
        client.send(format!(
            "POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        client
    };
    let clients: Vec<_> = (0..CLIENTS).map(|number| (number, send(number))).collect();
    // Whoever has a credential does not wait for those who want one.
    assert_eq!(me(&gate, &token.header()), 200);
    let (mut signed_in, mut refused) = (Vec::new(), 0);
    for (number, mut client) in clients {
        let answer = client.response();
        if answer.status == 503 {
            assert_eq!(answer.header("retry-after"), Some("5"), "{}", answer.text());
            refused += 1;
        } else {
            signed_in.push((number, SignIn::of(&answer), answer.json()));
        }
    }
    assert!(refused > 0 && !signed_in.is_empty(), "{refused} refused, {} signed in", signed_in.len());
    let mut ids = std::collections::BTreeSet::new();
    for (number, login, told) in signed_in {
        assert_eq!(told["username"], name(number));
        let shown = gate.ask("GET /api/whoami", &login.cookie(), &Value::Null).json();
        assert_eq!(shown, told);
        assert_eq!(shown["credential"]["name"], format!("d-{number}"));
        assert!(ids.insert(login.id), "one sign-in for two");
    }
    // 64 MiB for each thread that hashes, and half the cores hash.
    let cores = thread::available_parallelism().unwrap().get() as u64;
    let most = (64 * (cores / 2).max(1) + 96) * 1024 * 1024;
    assert!(gate.memory_peak() < most, "{} MiB", gate.memory_peak() / 1024 / 1024);
}
