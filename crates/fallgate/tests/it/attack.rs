//! What somebody tries who has a little and wants more: a worker token, a narrow token, an account beside an admin's, or
//! nothing but the network.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Client, Gate, Token};

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
