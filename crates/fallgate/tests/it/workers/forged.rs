//! What was never minted here, though it looks so.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fallgate_domain::clock::{Clock, SystemClock};
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

use super::{gate, part, whoami};
use crate::support::{Client, Gate, OwnKey, Token, Upstream};

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The token with another header and other claims, signed by somebody.
fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let signature = sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn with(value: &Value, name: &str, member: Value) -> Value {
    let mut value = value.clone();
    value[name] = member;
    value
}

#[test]
fn r8_r39_r40_what_we_did_not_sign_is_refused_whatever_it_says_of_itself() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let good = gate.worker("ada", &["identity:read", "routes:use"], &["fallgate", "route:app"]).token.secret;
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let (text, signature) = good.rsplit_once('.').unwrap();
    let thief = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let by_thief = |text: &[u8]| thief.sign(text).as_ref().to_vec();
    let keys = Client::get(gate.address(), "/.well-known/jwks.json", None).json();
    let public = URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().unwrap()).unwrap();
    let by_public =
        |text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), text).as_ref().to_vec();
    let nothing = |_: &[u8]| Vec::new();
    let assertion = {
        let bytes = with(&header, "typ", json!("fallgate-assertion+jwt"));
        signed(&bytes, &claims, by_thief)
    };
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    // The same number modulo the group's order (RFC 8032, 5.1.7): S + L.
    add_group_order(&mut bytes[32..]);
    let malleable = format!("{text}.{}", URL_SAFE_NO_PAD.encode(&bytes));
    let standard =
        base64::engine::general_purpose::STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).unwrap());

    let forged = vec![
        ("nobody's key", signed(&header, &claims, by_thief)),
        ("no algorithm", signed(&with(&header, "alg", json!("none")), &claims, nothing)),
        ("no algorithm, and a signature", signed(&with(&header, "alg", json!("none")), &claims, by_thief)),
        ("the public key as a secret", signed(&with(&header, "alg", json!("HS256")), &claims, by_public)),
        ("the same, said to be ours", signed(&header, &claims, by_public)),
        ("a path as kid", signed(&with(&header, "kid", json!("../../root.key")), &claims, by_thief)),
        ("SQL as kid", signed(&with(&header, "kid", json!("x' OR '1'='1")), &claims, by_thief)),
        ("its own key set", signed(&with(&header, "jku", json!("https://evil.example/")), &claims, by_thief)),
        ("its own key", signed(&with(&header, "jwk", json!({"kty": "OKP"})), &claims, by_thief)),
        ("its own chain", signed(&with(&header, "x5c", json!(["MII"])), &claims, by_thief)),
        (
            "its own chain's address",
            signed(&with(&header, "x5u", json!("https://e.example")), &claims, by_thief),
        ),
        ("something critical", signed(&with(&header, "crit", json!(["exp"])), &claims, by_thief)),
        ("another type", signed(&with(&header, "typ", json!("JWT")), &claims, by_thief)),
        ("an assertion", assertion),
        ("more scopes", swap(&good, 1, &with(&claims, "scope", json!("admin")))),
        ("a later end", swap(&good, 1, &with(&claims, "exp", json!(claims["exp"].as_i64().unwrap() + 1)))),
        ("an end as text", swap(&good, 1, &with(&claims, "exp", json!(claims["exp"].to_string())))),
        ("another owner", swap(&good, 1, &with(&claims, "owner", json!("root")))),
        ("another header", swap(&good, 0, &with(&header, "typ", json!("JWT")))),
        ("no signature", format!("{text}.")),
        ("two parts", text.to_owned()),
        ("half a signature", format!("{text}.{}", &signature[..43])),
        ("two signatures", format!("{good}.{signature}")),
        ("a doubled signature", format!("{text}.{signature}{signature}")),
        ("another S of the same signature", malleable),
        ("a padded signature", format!("{good}==")),
        ("a signature in standard base64", format!("{text}.{standard}")),
        ("9 KiB more", format!("{good}{}", "A".repeat(9 * 1024))),
        ("9 KiB of nothing", format!("ey{}", "A".repeat(9 * 1024))),
    ];
    let refused = whoami(&gate, &gate_token(&forged[0].1));
    for (name, token) in &forged {
        let token = gate_token(token);
        let answer = whoami(&gate, &token);
        assert_eq!((answer.status, &answer.body), (401, &refused.body), "{name}");
        assert_eq!(Client::get(gate.address(), "/app/", Some(&token)).status, 401, "{name}");
        assert_eq!(gate.renew_worker(&token).status, 401, "{name}");
        assert_eq!(gate.ask("POST /api/tokens/revoke", "", &json!({ "token": token.secret })).status, 204);
    }
    assert_eq!(whoami(&gate, &gate_token(&good)).status, 200, "none of them ended the good one");
    assert!(upstream.requests().is_empty());
}

/// A JSON object as text, with a member put before all others: also one that is there already.
fn doubled(value: &Value, name: &str, member: &Value) -> String {
    value.to_string().replacen('{', &format!("{{{}:{member},", json!(name)), 1)
}

fn without(value: &Value, name: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(name).unwrap();
    value
}

fn now() -> i64 {
    SystemClock.now().millis() / 1_000
}

/// With the gate's own key under it, nothing but the form itself is left to refuse it by.
#[test]
fn r39_r40_what_our_own_key_has_signed_is_refused_too_unless_it_is_as_we_write_it() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    gate.admin("root");
    let good = gate.worker("ada", &["identity:read", "routes:use"], &["fallgate", "route:app"]).token.secret;
    let (header, claims, key) = (part(&good, 0), part(&good, 1), OwnKey::of(&gate));
    let written = |header: &str, claims: &str| {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        gate_token(&format!("{text}.{}", URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()))))
    };
    let status = |header: &str, claims: &str| whoami(&gate, &written(header, claims)).status;
    let (plain_header, plain_claims) = (header.to_string(), claims.to_string());
    assert_eq!(status(&plain_header, &plain_claims), 200, "or what follows would show nothing");

    for (name, member) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("eddsa")),
        ("alg", json!("ES256")),
        ("alg", json!(["EdDSA"])),
        ("typ", json!("JWT")),
        ("typ", json!("fallgate-assertion+jwt")),
        ("typ", json!("Fallgate-Worker+JWT")),
        ("kid", json!("../../root.key")),
        ("kid", json!("' OR '1'='1")),
        ("kid", json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ("kid", Value::Null),
        ("jku", json!("https://evil.example/")),
        ("jwk", json!({ "kty": "OKP" })),
        ("x5c", json!(["MII"])),
        ("x5u", json!("https://evil.example/")),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
    ] {
        assert_eq!(
            status(&with(&header, name, member.clone()).to_string(), &plain_claims),
            401,
            "{name}: {member}"
        );
    }
    for name in ["alg", "typ", "kid"] {
        assert_eq!(status(&without(&header, name).to_string(), &plain_claims), 401, "no {name}");
        assert_eq!(status(&doubled(&header, name, &header[name]), &plain_claims), 401, "two of {name}");
    }
    let seconds = |name: &str| claims[name].as_i64().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a float is what it is to be")]
    let float = json!(seconds("exp") as f64);
    let root = gate.token_with("root", &["--scope", "admin"]);
    let somebody = gate.ask("GET /api/users/root", &root.header(), &Value::Null).json();
    for (name, member) in [
        ("exp", json!(seconds("exp").to_string())),
        ("exp", float),
        ("exp", json!(seconds("exp") * 1_000)),
        ("exp", json!(-1)),
        ("exp", json!(seconds("iat"))),
        ("exp", json!(seconds("iat") + 7 * 86_400 + 1)),
        ("exp", Value::Null),
        ("iat", json!(seconds("iat").to_string())),
        ("iat", json!(seconds("iat") + 3_600)),
        ("nbf", json!(seconds("nbf") + 3_600)),
        ("nbf", json!(seconds("iat") - 1)),
        ("aud", json!("fallgate")),
        ("aud", json!([])),
        ("aud", json!(["everything"])),
        ("jti", json!("1")),
        ("jti", json!(["x"])),
        ("sub", json!("ada")),
        ("sub", json!("agent:../x")),
        ("owner_id", somebody["id"].clone()),
        ("agent_id", somebody["id"].clone()),
        ("scope", json!(["admin"])),
        ("scope", json!("identity:read  routes:use")),
        ("anc", json!([])),
        ("anc", json!([root.id])),
        ("anc", json!([claims["jti"], "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b"])),
        ("sid", Value::Null),
        ("admin", json!(true)),
    ] {
        assert_eq!(
            status(&plain_header, &with(&claims, name, member.clone()).to_string()),
            401,
            "{name}: {member}"
        );
    }
    for name in claims.as_object().unwrap().keys() {
        assert_eq!(status(&plain_header, &without(&claims, name).to_string()), 401, "no {name}");
        assert_eq!(status(&plain_header, &doubled(&claims, name, &claims[name])), 401, "two of {name}");
    }
    // A far future, whole in itself.
    let mut later = claims.clone();
    for name in ["iat", "nbf", "exp"] {
        later[name] = json!(seconds(name) + 3_600);
    }
    assert_eq!(status(&plain_header, &later.to_string()), 401);
    for other in [" {}", "[]", "null", "{}", ""] {
        assert_eq!(status(&plain_header, other), 401, "{other:?}");
        assert_eq!(status(other, &plain_claims), 401, "{other:?}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn r40_clocks_may_differ_by_what_the_config_says_and_no_more() {
    for (skew, allowed) in [("0s", 0), ("60s", 60)] {
        let gate = Gate::configured(&format!("[workers]\nclock_skew = {skew:?}\n"));
        let good = gate.worker("ada", &["identity:read"], &["fallgate"]).token.secret;
        let (header, claims, key) = (part(&good, 0), part(&good, 1), OwnKey::of(&gate));
        let status = |begins: i64, ends: i64| {
            let mut claims = claims.clone();
            let now = now();
            (claims["iat"], claims["nbf"]) = (json!(now + begins), json!(now + begins));
            claims["exp"] = json!(now + ends);
            whoami(&gate, &gate_token(&signed(&header, &claims, |text| key.sign(text)))).status
        };
        // Half a minute to each side of the edge: a test may be slow.
        let (within, beyond) = (allowed - 30, allowed + 30);
        if allowed > 0 {
            assert_eq!((status(within, 600), status(-600, -within)), (200, 200), "{skew}");
        }
        assert_eq!((status(beyond, 600), status(-600, -beyond)), (401, 401), "{skew}");
        assert_eq!(status(-600, 600), 200, "{skew}");
    }
}

#[test]
fn r59_a_token_of_a_mebibyte_is_not_read() {
    let gate = Gate::start();
    gate.user("ada");
    let answer = whoami(&gate, &gate_token(&format!("ey{}", "A".repeat(1024 * 1024))));
    assert!([401, 431].contains(&answer.status), "{}", answer.status);
    assert_eq!(Client::get(gate.address(), "/health", None).status, 200);
}

fn gate_token(secret: &str) -> Token {
    Token { id: String::new(), secret: secret.to_owned() }
}

/// One part replaced, under the signature that there was.
fn swap(token: &str, at: usize, part: &Value) -> String {
    let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts[at] = encoded(part);
    parts.join(".")
}

/// Adds the order of Ed25519's group to a number, little-endian.
fn add_group_order(number: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (digit, order) in number.iter_mut().zip(ORDER) {
        let sum = u16::from(*digit) + u16::from(order) + carry;
        *digit = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
}
