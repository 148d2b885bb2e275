//! Worker tokens: what is read as one is exactly what would be written, and nothing is read in two ways.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fallgate_domain::secret;
use fallgate_domain::worker;

const HEADER: &[u8] = br#"{"alg":"EdDSA","kid":"AAAAAAAAAAAAAAAAAAAAAA","typ":"fallgate-worker+jwt"}"#;
const CLAIMS: &[u8] = br#"{"iss":"x","sub":"agent:a","agent_id":"0193a5b2-7c1d-7e3f-8a9b-000000000001","owner":"a","owner_id":"0193a5b2-7c1d-7e3f-8a9b-000000000001","aud":["fallgate"],"jti":"0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b","iat":1,"nbf":1,"exp":2,"scope":"","anc":["0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b"]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    read(data);
    // Most inputs have no chance to look like one: as a header, as claims, and as a part of good claims.
    read(&compact(data, CLAIMS));
    read(&compact(HEADER, data));
    if let Some((at, part)) = data.split_first() {
        let (before, after) = CLAIMS.split_at(usize::from(*at).min(CLAIMS.len()));
        read(&compact(HEADER, &[before, part, after].concat()));
    }
});

fn compact(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let (header, claims) = (URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{header}.{claims}.{}", "A".repeat(86)).into_bytes()
}

fn read(text: &[u8]) {
    let Ok(found) = worker::read(text) else { return };
    assert!(text.len() <= worker::MOST_BYTES && worker::is_meant(text));
    assert!(secret::hash(text).is_err(), "a text is of two forms");
    let claims = &found.claims;
    assert!(claims.life() <= worker::LONGEST_LIFE && claims.issued_at < claims.expires_at);
    assert!(!claims.audience.is_empty() && !claims.ancestors.is_empty());
    // What was read can be written, and reads the same.
    if let Ok(signed) = claims.to_be_signed(&found.kid) {
        let again = worker::assembled(&signed, &found.signature);
        let again = worker::read(again.as_bytes());
        assert!(again.is_ok_and(|again| again.claims == *claims && again.kid == found.kid));
    }
}
