//! An llmux installation, as its version 0.41 leaves it behind.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Home, Run, Token};

/// When all of it was made.
pub(crate) const MADE: &str = "2024-01-02T03:04:05.678Z";
/// The passphrase of every user.
pub(crate) const LLMUX_PASSPHRASE: &str = "otter slate canyon";
/// Python: hashlib.scrypt(b"otter slate canyon", salt=b"0123456789abcdef", n=1024, r=8, p=1, dklen=64)
pub(crate) const SCRYPT: &str = "scrypt$1024$MDEyMzQ1Njc4OWFiY2RlZg==$cpb8PDJkxJo8axUlppTBd7C/5Y4ZkBkNdppspJ/DYpYVMXftIxmecplEvAdMbCRi6zNi01oyxhrt04v9OW4v9A==";

/// Its state folder and its data folder, beside a home.
#[derive(Debug)]
pub(crate) struct Llmux {
    state: PathBuf,
    data: PathBuf,
}

impl Llmux {
    /// Two empty folders, at the places where they are looked for.
    pub(crate) fn beside(home: &Home) -> Self {
        let llmux = Self {
            state: home.beside().join(".local/state/llmux"),
            data: home.beside().join(".local/share/llmux"),
        };
        fs::create_dir_all(&llmux.state).unwrap();
        fs::create_dir_all(&llmux.data).unwrap();
        llmux
    }

    /// One with the admin ada and the user bob, a token of ada's, and an anonymous one; gives the secrets of the two.
    pub(crate) fn peopled(home: &Home) -> (Self, String, String) {
        let llmux = Self::beside(home);
        let (bound, anonymous) = (bound_token('s'), anonymous_token('L'));
        llmux.write("users.json", &json!([user("ada", true), user("bob", false)]));
        llmux.write("tokens.json", &json!([bound_entry(&bound, "ada")]));
        llmux.write("auth.json", &json!({"version": 2, "tokens": [anonymous_entry(&anonymous)]}));
        (llmux, bound, anonymous)
    }

    /// `auth.json` and `users.json` lie in the state folder, `tokens.json` in the data folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name == "tokens.json" { self.data.join(name) } else { self.state.join(name) }
    }

    pub(crate) fn write(&self, name: &str, value: &Value) {
        fs::write(self.path(name), value.to_string()).unwrap();
    }

    pub(crate) fn folders(&self) -> [&Path; 2] {
        [&self.state, &self.data]
    }
}

impl Home {
    /// `fallgate import llmux`, with more arguments.
    pub(crate) fn import_llmux(&self, more: &[&str]) -> Run {
        let mut command = self.command(&["import", "llmux"]);
        command.args(more);
        Run::of(command, b"")
    }

    /// An anonymous token of llmux, taken in. Its folders are left beside the home.
    pub(crate) fn legacy_token(&self) -> Token {
        let llmux = Llmux::beside(self);
        let secret = anonymous_token('L');
        llmux.write("auth.json", &json!({"version": 2, "tokens": [anonymous_entry(&secret)]}));
        self.import_llmux(&[]).ok();
        let listed = self.fallgate(&["token", "list", "--all", "--json"]).json();
        let listed =
            listed["tokens"].as_array().unwrap().iter().find(|token| token["kind"] == "legacy").cloned();
        Token { id: listed.unwrap()["id"].as_str().unwrap().to_owned(), secret }
    }
}

pub(crate) fn anonymous_token(letter: char) -> String {
    format!("sas_{}", letter.to_string().repeat(43))
}

pub(crate) fn bound_token(letter: char) -> String {
    format!("sas_0123456789abcde{letter}.{}", letter.to_string().repeat(43))
}

pub(crate) fn user(name: &str, admin: bool) -> Value {
    json!({
        "username": name, "name": name.to_uppercase(), "passphraseHash": SCRYPT, "admin": admin, "createdAt": MADE
    })
}

pub(crate) fn anonymous_entry(secret: &str) -> Value {
    let hash = fallgate_domain::hex::encode(&Sha256::digest(secret));
    json!({"id": "x1", "hash": hash, "name": "phone", "createdAt": MADE})
}

pub(crate) fn bound_entry(secret: &str, owner: &str) -> Value {
    let (id, rest) = secret.trim_start_matches("sas_").split_once('.').unwrap();
    let hash = STANDARD.encode(Sha256::digest(rest));
    json!({"tokenId": id, "secretHash": hash, "username": owner, "name": "laptop", "createdAt": MADE})
}
