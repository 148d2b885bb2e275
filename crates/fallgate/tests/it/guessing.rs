//! Strangers who try names and passphrases: what it costs us, and what is written down of it.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Gate, Home, PASSPHRASE};

/// Clients come through a proxy that says who they are.
const BEHIND_A_PROXY: &str = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";

fn stopped(mut gate: Gate) -> Home {
    gate.signal(Signal::TERM);
    assert_eq!(gate.ended().code(), Some(0));
    gate.kill()
}

/// The events of an action.
fn events(home: &Home, action: &str) -> Vec<Value> {
    let listed = home.fallgate(&["audit", "list", "--action", action, "--json"]).ok().json();
    listed["events"].as_array().unwrap().clone()
}

#[test]
fn r53_what_is_longer_than_any_passphrase_or_name_is_refused_alike_for_every_name_and_leaves_nothing() {
    let gate = Gate::start();
    gate.user("ada");
    let long = "x".repeat(1_025);
    let told = gate.try_sign_in("ada", &long);
    assert_eq!(told.status, 400, "{}", told.text());
    assert!(told.text().contains("A username or a passphrase has at most 1024 bytes."), "{}", told.text());
    for (username, passphrase) in [("nobody", &*long), (&long, PASSPHRASE), (&long, &long)] {
        let refused = gate.try_sign_in(username, passphrase);
        assert_eq!((refused.status, &refused.body), (400, &told.body));
    }
    let login = gate.sign_in("ada");
    let body = json!({"current": long, "new": "another staple of batteries"});
    assert_eq!(gate.ask("POST /api/account/passphrase", &login.bearer(), &body).body, told.body);
    assert_eq!(gate.try_sign_in("ada", &long[..1_024]).status, 401, "that long they may be");
    let failed = events(&stopped(gate), "login.failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
}

#[test]
fn r54_past_twenty_in_a_minute_failures_are_summed_up_and_throttled_tries_are_counted() {
    let gate = Gate::configured(BEHIND_A_PROXY);
    gate.user("ada");
    let from = |client: u32, username: &str| {
        let headers = format!("X-Forwarded-For: 192.0.2.{client}\r\n");
        let body = json!({"username": username, "passphrase": "not the passphrase"});
        gate.ask("POST /api/login", &headers, &body).status
    };
    // In less than a minute, or there are twice as many.
    for client in 0..20 {
        assert_eq!(from(client, "nobody"), 401);
    }
    for _ in 0..5 {
        assert_eq!(from(100, "ada"), 401);
    }
    assert_eq!((from(100, "ada"), from(100, "ada")), (429, 429));
    let home = stopped(gate);
    let failed = events(&home, "login.failed");
    let (summed, single): (Vec<_>, Vec<_>) =
        failed.iter().partition(|event| event["detail"]["count"].is_number());
    assert!((20..=25).contains(&single.len()), "{single:?}");
    let count = |reason: &str| {
        let of_reason = summed.iter().filter(|event| event["detail"]["reason"] == reason);
        of_reason.map(|event| event["detail"]["count"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(count("throttled"), 2);
    let wrong = single.iter().filter(|event| event["target"] == "ada").count();
    assert_eq!(count("wrong-passphrase") + u64::try_from(wrong).unwrap(), 5, "{failed:?}");
    assert!(summed.iter().all(|event| event["ip"] == "192.0.2.100"), "{summed:?}");
    home.fallgate(&["audit", "verify"]).ok();
}

#[test]
fn r1_r38_what_is_refused_behind_a_proxy_is_counted_for_the_client_that_it_names() {
    let config = format!(
        "{BEHIND_A_PROXY}[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"http://127.0.0.1:9\"\n\
         allow = [\"user:bob\"]\n"
    );
    let gate = Gate::configured(&config);
    let token = gate.token("ada");
    for (client, header) in
        [("192.0.2.1", "Authorization: Bearer none\r\n".to_owned()), ("192.0.2.2", token.header())]
    {
        let request =
            format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n{header}\r\n");
        assert!([401, 403].contains(&Client::exchange(gate.address(), request).status));
    }
    let refused = events(&stopped(gate), "access.refused");
    let mut told: Vec<_> = refused
        .iter()
        .map(|event| (event["ip"].as_str().unwrap(), event["detail"]["reason"].as_str().unwrap()))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("192.0.2.1", "malformed"), ("192.0.2.2", "not-admitted")]);
}
