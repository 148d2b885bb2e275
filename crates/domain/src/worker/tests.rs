use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::entropy::TestEntropy;

const KID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

fn claims() -> WorkerClaims {
    let id: CredentialId = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b".parse().unwrap();
    let now = Timestamp::from_millis(1_800_000_000_000);
    WorkerClaims {
        issuer: "https://gate.example".to_owned(),
        agent: "crawler".parse().unwrap(),
        agent_id: "0193a5b2-7c1d-7e3f-8a9b-000000000001".parse().unwrap(),
        owner: "alice".parse().unwrap(),
        owner_id: "0193a5b2-7c1d-7e3f-8a9b-000000000002".parse().unwrap(),
        audience: vec![Audience::Gate, "route:llmux".parse().unwrap()],
        id,
        issued_at: now,
        not_before: now,
        expires_at: now.plus(Duration::from_hours(2)),
        scopes: Scopes::parse("identity:read route:llmux").unwrap(),
        ancestors: vec![id, "0193a5b2-7c1d-7e3f-8a9b-000000000003".parse().unwrap()],
        session: None,
    }
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": KID, "typ": "fallgate-worker+jwt" })
}

fn payload() -> Value {
    serde_json::to_value(claims()).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "what is written in place reads better")]
fn compact(header: impl ToString, payload: impl ToString) -> String {
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    assembled(&format!("{}.{}", part(header.to_string()), part(payload.to_string())), &[7; 64])
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

#[test]
fn what_is_written_is_read_again() {
    for session in [None, Some("s-1".to_owned())] {
        let claims = WorkerClaims { session, ..claims() };
        let signed = claims.to_be_signed(KID).unwrap();
        let text = assembled(&signed, &[7; 64]);
        let found = read(text.as_bytes()).unwrap();
        assert_eq!((found.claims, found.kid.as_str(), found.signature), (claims, KID, [7; 64]));
        assert_eq!(found.signed, signed.as_bytes());
    }
    assert!(read(compact(header(), payload()).as_bytes()).is_ok(), "the tests below start from a good one");
}

#[test]
fn r8_what_is_no_longer_than_a_signature_is_not_meant_to_be_a_token() {
    for (length, meant) in [(2, false), (86, false), (87, true), (MOST_BYTES, true), (MOST_BYTES + 1, false)]
    {
        assert_eq!(is_meant(&[b"ey", &vec![b'x'; length - 2][..]].concat()), meant, "{length}");
    }
}

#[test]
fn r39_a_header_has_just_what_we_write() {
    for (name, member) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("eddsa")),
        ("alg", json!("RS256")),
        ("alg", json!(["EdDSA"])),
        ("typ", json!("JWT")),
        ("typ", json!("fallgate-assertion+jwt")),
        ("typ", json!("application/fallgate-worker+jwt")),
        ("typ", json!("FALLGATE-WORKER+JWT")),
        ("typ", json!(null)),
        ("kid", json!("../../../../etc/passwd")),
        ("kid", json!("' OR 1=1 --AAAAAAAAAAA")),
        ("kid", json!("")),
        ("kid", json!(7)),
        ("jku", json!("https://evil.example/jwks")),
        ("jwk", json!({ "kty": "OKP" })),
        ("x5u", json!("https://evil.example/x5u")),
        ("x5c", json!(["MII"])),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let text = compact(with(header(), name, member.clone()), payload());
        assert_eq!(read(text.as_bytes()).unwrap_err(), InvalidWorkerToken, "{name} {member}");
    }
    for name in ["alg", "kid", "typ"] {
        assert!(read(compact(without(header(), name), payload()).as_bytes()).is_err(), "{name}");
    }
}

#[test]
fn r40_every_claim_is_there_once_and_of_its_type() {
    for name in
        ["iss", "sub", "agent_id", "owner", "owner_id", "aud", "jti", "iat", "nbf", "exp", "scope", "anc"]
    {
        assert!(read(compact(header(), without(payload(), name)).as_bytes()).is_err(), "no {name}");
        assert!(read(compact(header(), with(payload(), name, Value::Null)).as_bytes()).is_err(), "{name}");
        let text = payload().to_string();
        let again = format!("{},\"{name}\":{}}}", text.strip_suffix('}').unwrap(), payload()[name]);
        assert!(read(compact(header(), again).as_bytes()).is_err(), "two of {name}");
    }
    for (name, member) in [
        ("exp", json!("1800007200")),
        ("exp", json!(1_800_007_200.0)),
        ("exp", json!(1_800_007_200.5)),
        ("exp", json!(-1)),
        ("exp", json!(true)),
        ("exp", json!(u64::MAX)),
        ("iat", json!("1800000000")),
        ("nbf", json!(1.8e9)),
        ("sub", json!("alice")),
        ("sub", json!("user:alice")),
        ("sub", json!("agent:../x")),
        ("aud", json!("fallgate")),
        ("aud", json!([])),
        ("aud", json!(["fallgate", "everything"])),
        ("aud", json!([["fallgate"]])),
        ("jti", json!("1")),
        ("scope", json!(["admin"])),
        ("scope", json!("identity:read  route:llmux")),
        ("scope", json!("route:llmux identity:read")),
        ("scope", json!("root")),
        ("anc", json!([])),
        ("anc", json!([claims().owner_id])),
        ("anc", json!(vec![claims().id; 18])),
        ("sid", json!(null)),
        ("sid", json!("")),
        ("sid", json!("a/b")),
        ("admin", json!(true)),
        ("Exp", json!(1)),
    ] {
        let text = compact(header(), with(payload(), name, member.clone()));
        assert!(read(text.as_bytes()).is_err(), "{name} {member}");
    }
}

#[test]
fn r40_no_life_is_longer_than_the_longest_nor_turned_around() {
    let now = claims().issued_at;
    let lasting = |life: Duration| WorkerClaims { expires_at: now.plus(life), ..claims() };
    let second = Duration::from_secs(1);
    for (claims, good) in [
        (lasting(LONGEST_LIFE), true),
        (lasting(LONGEST_LIFE + second), false),
        (lasting(Duration::ZERO), false),
        (WorkerClaims { issued_at: now.plus(second), ..claims() }, false),
    ] {
        let text = assembled(&claims.to_be_signed(KID).unwrap(), &[7; 64]);
        assert_eq!(read(text.as_bytes()).is_ok(), good, "{claims:?}");
    }
}

#[test]
fn r39_a_member_that_comes_twice_is_refused_wherever_it_stands() {
    let twice = header().to_string().replacen('{', "{\"alg\":\"EdDSA\",", 1);
    assert!(read(compact(twice, payload()).as_bytes()).is_err());
    let nested = with(payload(), "iss", json!({ "a": 1 })).to_string().replace("\"a\":1", "\"a\":1,\"a\":2");
    assert!(read(compact(header(), nested).as_bytes()).is_err());
    // A struct can be read from a list; ours is an object.
    assert!(read(compact(json!(["EdDSA", KID, TYPE]), payload()).as_bytes()).is_err());
}

#[test]
fn r8_other_encodings_of_the_same_token_are_refused() {
    let good = compact(header(), payload());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    // The last character has four bits that say nothing.
    let last = signature.chars().last().unwrap();
    let other = if last == 'w' { 'x' } else { 'w' };
    let recoded: String = signature.chars().take(85).chain([other]).collect();
    for text in [
        String::new(),
        "ey".to_owned(),
        signed.to_owned(),
        format!("{signed}."),
        format!("{signed}.{signature}{signature}"),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{signed}.{recoded}"),
        format!("{signed}.{}", signature.get(..85).unwrap()),
        good.replace('.', ".."),
        good.replacen('e', "E", 1),
        good.replacen("ey", "ey%", 1),
        format!("{good}\0"),
        format!("{}{}", good, "A".repeat(1024 * 1024)),
        format!("ey{}", "A".repeat(1024 * 1024)),
    ] {
        assert!(read(text.as_bytes()).is_err(), "{}", text.get(..40.min(text.len())).unwrap());
    }
}

#[test]
fn what_would_be_too_long_to_be_read_is_not_written() {
    let routes = |count: usize| -> Vec<Audience> {
        (0..count).map(|number| format!("route:{number:0>64}").parse().unwrap()).collect()
    };
    assert!(WorkerClaims { audience: routes(60), ..claims() }.to_be_signed(KID).is_ok());
    assert_eq!(WorkerClaims { audience: routes(120), ..claims() }.to_be_signed(KID), Err(InvalidWorkerToken));
}

#[test]
fn a_family_is_known_by_any_of_its_members() {
    let entropy = TestEntropy::default();
    let first = CredentialId::new(Timestamp::from_millis(1_000), &entropy).unwrap();
    let family = Family::of(first);
    let second = family.member(Timestamp::from_millis(2_000), &entropy).unwrap();
    assert!(second > first);
    assert_eq!(Family::of(second), family);
    assert_eq!(Family::from_bytes(family.bytes()), family);
    let other = CredentialId::new(Timestamp::from_millis(1_000), &entropy).unwrap();
    assert_ne!(Family::of(other), family);
}

proptest! {
    #[test]
    fn r8_no_bytes_make_the_reader_fall(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = read(&bytes);
        let _ = read(&[BEGINNING, &bytes].concat());
    }

    #[test]
    fn r39_no_single_changed_byte_reads_as_the_same_token(place in 0_usize..600, byte in any::<u8>()) {
        let good = compact(header(), payload()).into_bytes();
        let mut text = good.clone();
        let place = place % text.len();
        text[place] = byte;
        prop_assume!(text != good);
        // What is signed is the text itself: two texts that say the same are still two.
        let signed = |text: &[u8]| text.rsplitn(2, |byte| *byte == b'.').nth(1).map(<[u8]>::to_vec);
        if let (Ok(changed), Ok(read)) = (read(&text), read(&good)) {
            prop_assert!(changed.signature != read.signature || signed(&text) != signed(&good));
        }
    }
}
