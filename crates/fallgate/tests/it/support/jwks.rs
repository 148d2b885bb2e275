//! What a gate's published keys alone tell about something it has signed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;

use super::client::Client;
use super::gate::Gate;

/// The list at `/.well-known/jwks.json`, as it was.
#[derive(Debug)]
pub(crate) struct Jwks(Value);

impl Jwks {
    /// As it is now.
    #[track_caller]
    pub(crate) fn of(gate: &Gate) -> Self {
        let answer = Client::get(gate.address(), "/.well-known/jwks.json", None);
        assert_eq!(answer.status, 200, "{}", answer.text());
        Self(answer.json())
    }

    /// The names of the keys, the one that signs first.
    pub(crate) fn kids(&self) -> Vec<String> {
        self.keys().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether the key that a JWT names is among them, and has signed it.
    pub(crate) fn have_signed(&self, jwt: &str) -> bool {
        let (text, signature) = jwt.rsplit_once('.').unwrap();
        let header = URL_SAFE_NO_PAD.decode(text.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        let Some(key) = self.keys().iter().find(|key| key["kid"] == header["kid"]) else { return false };
        assert_eq!((&key["kty"], &key["crv"]), (&Value::from("OKP"), &Value::from("Ed25519")));
        let key = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok()
    }

    fn keys(&self) -> &[Value] {
        self.0["keys"].as_array().unwrap()
    }
}
