//! What somebody tries who has a little and wants more: a worker token, a narrow token, an account beside an admin's, or
//! nothing but the network.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::oauth::form;
use crate::support::{Client, Gate, PASSPHRASE, Response, Run, Token, Upstream, Worker};

fn whoami(gate: &Gate, token: &Token) -> u16 {
    Client::get(gate.address(), "/api/whoami", Some(token)).status
}

fn claims(token: &Token) -> Value {
    let part = token.secret.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The token with other claims, under the signature that there was.
fn forged(token: &Token, claims: &Value) -> String {
    let mut parts: Vec<_> = token.secret.split('.').map(str::to_owned).collect();
    parts[1] = URL_SAFE_NO_PAD.encode(claims.to_string());
    parts.join(".")
}

#[test]
fn what_was_not_signed_here_ends_nothing_by_the_command_line_either() {
    let gate = Gate::start();
    gate.user("ada");
    let (worker, victim) = (gate.worker("ada", &["identity:read"], &["fallgate"]), gate.token("ada"));
    let other = gate.worker("ada", &["identity:read"], &["fallgate"]);
    for id in [&victim.id, &other.token.id] {
        let mut claims = claims(&worker.token);
        claims["jti"] = json!(id);
        claims["anc"] = json!([id]);
        let forged = forged(&worker.token, &claims);
        gate.fallgate_with(&["token", "revoke", "--stdin"], forged.clone()).refused(1);
        let shown = gate.fallgate_with(&["token", "inspect"], forged).ok();
        assert!(
            shown.stdout.contains("status    not-ours") && !shown.stderr.contains(id),
            "{}",
            shown.stderr
        );
    }
    assert_eq!([&victim, &other.token].map(|token| whoami(&gate, token)), [200, 200]);
}

#[test]
fn nobody_takes_the_name_by_which_a_route_lets_an_agent_in() {
    let upstream = Upstream::echo();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\nallow = [\"agent:crawler\"]\n",
        upstream.url()
    ));
    gate.admin("root");
    gate.user("mallory");
    gate.fallgate(&["agent", "create", "crawler", "--owner", "root"]).ok();
    gate.fallgate(&["agent", "delete", "crawler", "--yes"]).ok();
    let mallory = gate.token_with("mallory", &["--scope", "agents:write", "--scope", "routes:use"]);
    let made = gate.ask(
        "POST /api/agents",
        &mallory.header(),
        &json!({"name": "crawler", "scopes": ["routes:use"]}),
    );
    // Before it is asked what was answered: whether it helps.
    let minted = gate.mint_worker(&mallory, "crawler", &json!({"audience": ["route:app"]}));
    if minted.status == 201 {
        let answer = Client::get(gate.address(), "/app/", Some(&Worker::token_of(&minted)));
        assert_ne!(answer.status, 200, "came in by a name that was free");
    }
    assert_eq!(made.status, 403, "{}", made.text());
    assert!(made.text().contains("route"), "{}", made.text());
    let admin = gate.token_with("root", &["--scope", "admin"]);
    assert_eq!(gate.ask("POST /api/agents", &admin.header(), &json!({"name": "crawler"})).status, 201);
    assert!(upstream.requests().is_empty());
}

#[test]
fn r41_what_an_upstream_is_told_of_a_worker_token_says_where_it_may_be_used() {
    let upstream = Upstream::echo();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n\
         [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = {:?}\n",
        upstream.url(),
        upstream.url()
    ));
    gate.admin("root");
    let service = |more: &[&str]| gate.token_with("root", &[&["--scope", "introspect"], more].concat());
    let ask = |service: &Token, secret: &str| {
        form(&gate, "/oauth/introspect", &service.header(), &[("token", secret)]).json()
    };
    let worker = |audience: &[&str]| gate.worker("ada", &["routes:use"], audience).token;
    let (app, here) = (worker(&["route:app"]), worker(&["fallgate"]));
    let any = service(&[]);
    let told = ask(&any, &app.secret);
    assert_eq!((&told["active"], &told["aud"]), (&json!(true), &json!(["route:app"])), "{told}");
    assert_eq!(told["exp"], claims(&app)["exp"]);
    assert_eq!(ask(&any, &here.secret)["aud"], json!(["fallgate"]));
    let of_app = service(&["--scope", "route:app"]);
    assert_eq!(ask(&of_app, &app.secret)["active"], true);
    for elsewhere in [&here, &worker(&["route:other"])] {
        assert_eq!(ask(&of_app, &elsewhere.secret), json!({"active": false}));
    }
}

fn sent_twice_at_once(send: impl Fn() -> Response + Sync) -> Vec<Response> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(&send)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn r62_a_device_code_is_good_once_however_many_bring_it_at_once() {
    let gate = Gate::start();
    gate.user("ada");
    for _ in 0..2 {
        let begun = form(&gate, "/oauth/device", "", &[("client_id", "cli")]).json();
        let (code, secret) = (begun["user_code"].as_str().unwrap(), begun["device_code"].as_str().unwrap());
        let login = gate.sign_in("ada");
        let approve = || {
            let body = format!("user_code={code}&answer=approve");
            Client::exchange(
                gate.address(),
                format!(
                    "POST /device HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                    login.sent_by_page(),
                    body.len()
                ),
            )
        };
        let approved = sent_twice_at_once(approve);
        let statuses: Vec<_> = approved.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1);
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "cli"),
            ("device_code", secret),
        ];
        let got = sent_twice_at_once(|| form(&gate, "/oauth/token", "", &fields));
        assert_eq!(got.iter().filter(|answer| answer.status == 200).count(), 1);
    }
    let trail = gate.fallgate(&["audit", "list", "--json"]).ok().json();
    let approvals = trail["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["action"] == "device.approve")
        .count();
    assert_eq!(approvals, 2, "an approval stands in the trail that was none");
}

#[test]
fn r42_whoever_renews_while_it_is_revoked_keeps_nothing() {
    let gate = Gate::start();
    for _ in 0..5 {
        let worker = gate.worker("ada", &["identity:read"], &["fallgate"]);
        let admin = gate.token_with("ada", &["--scope", "tokens:write"]);
        let renewed: Vec<Token> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut got = Vec::new();
                        let mut last = worker.token.clone();
                        loop {
                            let answer = gate.renew_worker(&last);
                            match answer.status {
                                201 => {}
                                429 => continue,
                                _ => return got,
                            }
                            last = Worker::token_of(&answer);
                            got.push(last.clone());
                        }
                    })
                })
                .collect();
            let ended =
                gate.ask(&format!("DELETE /api/tokens/{}", worker.token.id), &admin.header(), &Value::Null);
            assert_eq!(ended.status, 204);
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        for token in &renewed {
            assert_eq!(whoami(&gate, token), 401);
        }
    }
}

#[test]
fn whatever_is_minted_can_be_used() {
    let gate = Gate::start();
    gate.user("ada");
    let topmost = gate.token_with(
        "ada",
        &["--scope", "agents:write", "--scope", "identity:read", "--scope", "tokens:write"],
    );
    let audience: Vec<_> =
        (0..80).map(|number| format!("route:r{number}")).chain(["fallgate".to_owned()]).collect();
    for too_many in [audience, vec!["fallgate".to_owned(); 80]] {
        let refused = gate.mint_worker(&topmost, "ada", &json!({"audience": too_many}));
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains("name fewer"), "{}", refused.text());
    }
    // By a lineage as deep as there can be.
    let mut deepest = topmost.clone();
    loop {
        let minted = gate.ask(
            "POST /api/tokens",
            &deepest.header(),
            &json!({"name": "x", "scopes": ["agents:write", "identity:read", "tokens:write"]}),
        );
        if minted.status != 201 {
            break;
        }
        let minted = minted.json();
        deepest = Token {
            id: minted["id"].as_str().unwrap().to_owned(),
            secret: minted["secret"].as_str().unwrap().to_owned(),
        };
    }
    let minted = gate.mint_worker(&deepest, "ada", &json!({}));
    let token = Worker::token_of(&minted);
    assert_eq!(whoami(&gate, &token), 200);
    let inspect = || gate.fallgate_with(&["token", "inspect"], token.secret.clone()).ok().stdout;
    assert!(inspect().contains("status    active"));
    gate.fallgate(&["token", "revoke", &topmost.id]).ok();
    assert_eq!(whoami(&gate, &token), 401);
    assert!(inspect().contains("status    parent-ended"), "{}", inspect());
}

#[test]
fn r30_everybody_ends_their_own_worker_tokens_and_nobody_anothers_also_if_none_was_ever_used() {
    let gate = Gate::start();
    gate.admin("root");
    let scopes = ["--scope", "tokens:write", "--scope", "agents:write", "--scope", "identity:read"];
    let (ada, bob) = (gate.token_with("ada", &scopes), gate.token_with("bob", &scopes));
    let root = gate.token_with("root", &["--scope", "admin"]);
    // So many tries from where they come that strangers' are refused.
    while form(&gate, "/oauth/revoke", "", &[("token", "x")]).status != 429 {}
    let end = |id: &str, by: &Token| {
        gate.ask(&format!("DELETE /api/tokens/{id}"), &by.header(), &Value::Null).status
    };
    let mint = || Worker::token_of(&gate.mint_worker(&ada, "ada", &json!({"scopes": ["identity:read"]})));
    let unused = mint();
    let renewed = Worker::token_of(&gate.renew_worker(&mint()));
    let by_command = gate.fallgate(&["agent", "token", "ada"]).ok().stdout.trim().to_owned();
    let by_command = crate::workers::claims(&Token { id: String::new(), secret: by_command });
    for id in [&unused.id, &renewed.id, by_command["jti"].as_str().unwrap()] {
        assert_eq!((end(id, &bob), end(id, &ada), end(id, &ada)), (403, 204, 204));
    }
    assert_eq!([&unused, &renewed].map(|token| whoami(&gate, token)), [401, 401]);
    // Of which nobody here has heard: an admin's to end, and remembered as long as they like.
    let unknown = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";
    assert_eq!((end(unknown, &ada), end(unknown, &root)), (404, 204));
    // One's own is not remembered for longer than any can last.
    let far = mint().id + "?expires_at=9999-12-31T00:00:00Z";
    assert_eq!(end(&far, &ada), 204);
    let trail = gate.fallgate(&["audit", "list", "--json"]).ok().json();
    assert!(!trail.to_string().contains("9999-12-31"), "{trail}");
}

#[test]
fn a_worker_token_with_no_scope_at_all_does_not_fill_the_trail() {
    let gate = Gate::start();
    let worker = gate.worker("ada", &[], &["fallgate"]).token;
    let mut last = worker.clone();
    let mut renewed = 0;
    let refused = loop {
        let answer = gate.renew_worker(&last);
        if answer.status != 201 {
            break answer;
        }
        renewed += 1;
        assert!(renewed < 2_000, "renewed without an end");
        last = Worker::token_of(&answer);
    };
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.text());
    assert!(renewed >= 60, "{renewed}");
    // Others are not held up, nor is it any less good.
    assert_eq!(gate.renew_worker(&gate.worker("ada", &[], &["fallgate"]).token).status, 201);
    assert_eq!(gate.ask("GET /api/nothing", &last.header(), &Value::Null).status, 404);
}

#[test]
fn r31_whoever_ends_all_their_tokens_is_rid_of_a_thiefs_worker_tokens() {
    let gate = Gate::start();
    gate.user("ada");
    gate.user("bob");
    let mint = |bearer: &str, of: &str| {
        gate.ask(
            &format!("POST /api/agents/{of}/tokens"),
            bearer,
            &json!({"scopes": ["identity:read", "tokens:write"]}),
        )
    };
    let worker = || Worker::token_of(&mint(&gate.sign_in("ada").bearer(), "ada"));
    let bobs = Worker::token_of(&mint(&gate.sign_in("bob").bearer(), "bob"));
    let mut dead = Vec::new();
    let mut expect_dead = |token: Token| {
        assert_eq!((whoami(&gate, &token), gate.renew_worker(&token).status), (401, 401));
        let shown = gate.fallgate_with(&["token", "inspect"], token.secret.clone()).ok().stdout;
        assert!(shown.contains("status    revoked"), "{shown}");
        dead.push(token);
    };

    let stolen = Worker::token_of(&gate.renew_worker(&worker()));
    let ada = gate.sign_in("ada").bearer();
    assert_eq!(gate.ask("DELETE /api/tokens", &ada, &Value::Null).status, 200);
    expect_dead(stolen);
    let stolen = worker();
    assert_eq!(whoami(&gate, &stolen), 200, "what is minted later is not touched");
    gate.fallgate(&["token", "revoke", "--all", "--user", "ada", "--yes"]).ok();
    expect_dead(stolen);
    let (stolen, other) = (worker(), worker());
    assert_eq!(gate.ask("DELETE /api/tokens", &other.header(), &Value::Null).status, 200);
    assert_eq!(whoami(&gate, &other), 200, "the one in use is spared");
    expect_dead(stolen);

    // A thief that mints as fast as it can while the passphrase is changed.
    let stolen = worker();
    let (thief, ada) = (gate.sign_in("ada").bearer(), gate.sign_in("ada").bearer());
    let change =
        json!({"current": PASSPHRASE, "new": "harbor velvet onion 93 quartz", "revoke_tokens": true});
    let minted = std::thread::scope(|scope| {
        let minting = scope.spawn(|| {
            let answers =
                std::iter::repeat_with(|| mint(&thief, "ada")).take_while(|answer| answer.status == 201);
            answers.map(|answer| Worker::token_of(&answer)).collect::<Vec<_>>()
        });
        assert_eq!(gate.ask("POST /api/account/passphrase", &ada, &change).status, 200);
        minting.join().unwrap()
    });
    assert!(!minted.is_empty());
    // The last are the ones that may have come in between.
    assert!(minted.iter().rev().take(50).all(|token| whoami(&gate, token) == 401));
    expect_dead(stolen);
    assert_eq!(whoami(&gate, &Worker::token_of(&mint(&ada, "ada"))), 200);
    assert_eq!(whoami(&gate, &bobs), 200, "another's");
    let again = Gate::on(gate.kill(), "");
    assert!(dead.iter().all(|token| whoami(&again, token) == 401));
}

#[test]
fn r37_whoever_ends_a_worker_token_for_routes_alone_is_not_told_that_it_goes_on() {
    let upstream = Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.worker("ada", &["routes:use"], &["route:app"]).token;
    let app = || Client::get(gate.address(), "/app/", Some(&token)).status;
    assert_eq!(app(), 200);
    let mut command =
        gate.command(&["token", "revoke", "--stdin", "--server", &format!("http://{}", gate.address())]);
    command.env_remove("FALLGATE_HOME");
    let said = Run::of(command, token.secret.as_bytes()).refused(1);
    assert_eq!(app(), 401);
    assert!(said.contains("for routes alone and has ended now"), "{said}");
}
