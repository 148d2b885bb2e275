//! `POST /api/tokens/revoke`: whoever holds a token may end it.

use fallgate_domain::token::TokenKind;
use serde_json::json;

use super::{unknown, whole, wrong_checksum};
use crate::support::{Client, Gate, Response};

/// Without any credential but the one in the body.
fn give_back(gate: &Gate, body: &str) -> Response {
    let length = body.len();
    let head = "POST /api/tokens/revoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    Client::exchange(gate.address(), format!("{head}Content-Length: {length}\r\n\r\n{body}"))
}

#[test]
fn r37_whoever_holds_a_token_may_end_it_and_learns_nothing_else() {
    let gate = Gate::start();
    let ada = gate.token("ada");
    let token = gate.token("ada");
    let give_back = |secret: &str| give_back(&gate, &json!({ "token": secret }).to_string());
    let first = give_back(&token.secret);
    assert_eq!((first.status, first.body.len()), (204, 0));
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&token)).status, 401);
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&ada)).status, 200);
    let disabled = gate.token("eve");
    gate.fallgate(&["user", "disable", "eve"]).ok();
    let unknown = unknown(TokenKind::Token);
    let mistyped = wrong_checksum(&ada.secret);
    for secret in [&token.secret, &disabled.secret, &unknown, &mistyped, "", "x", "fgt_", &"é".repeat(99)] {
        assert_eq!(whole(&give_back(secret)), whole(&first), "{secret}");
    }
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&ada)).status, 200);
    let ended = gate.fallgate_with(&["token", "inspect", "--json"], &disabled.secret).ok().json();
    assert_eq!(ended["status"], "revoked");
    for body in ["{}", r#"{"token":7}"#, r#"{"token":"x","id":"y"}"#] {
        assert_eq!(self::give_back(&gate, body).status, 400, "{body}");
    }
    assert!(!gate.log().contains(&token.secret[4..]));
}

#[test]
fn r37_giving_tokens_back_is_throttled_and_a_real_one_ends_all_the_same() {
    let gate = Gate::start();
    let ada = gate.token("ada");
    let refused =
        (0..200).map(|_| give_back(&gate, r#"{"token":"x"}"#)).find(|answer| answer.status != 204).unwrap();
    assert_eq!(refused.status, 429, "{}", refused.text());
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(
        Client::get(gate.address(), "/api/whoami", Some(&ada)).status,
        200,
        "nothing else is throttled"
    );
    let real = give_back(&gate, &json!({"token": ada.secret}).to_string());
    let without_wait = |answer: &Response| {
        let headers = answer.headers.iter().filter(|(name, _)| name != "retry-after" && name != "date");
        (answer.status, headers.cloned().collect::<Vec<_>>(), answer.json()["title"].clone())
    };
    assert_eq!(without_wait(&real), without_wait(&refused), "it tells a guesser nothing");
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&ada)).status, 401, "it is ended");
}
