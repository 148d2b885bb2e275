//! The three files of llmux, as version 0.41 writes them (`auth.json` also as before). Members that nobody here knows
//! are passed over. Texts that may be secret are turned into what is kept while they are read.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fallgate_authority::{InvalidScryptHash, ScryptHash};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::hex;
use fallgate_domain::legacy::{BoundId, LegacyToken};
use fallgate_domain::token::TokenHash;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// `auth.json`: anonymous tokens.
#[derive(Deserialize)]
#[serde(try_from = "AnyAuthFile")]
pub(super) struct AuthFile {
    pub(super) tokens: Vec<AuthToken>,
}

/// An anonymous token.
#[derive(Deserialize)]
#[serde(try_from = "AnyAuthToken")]
pub(super) struct AuthToken {
    pub(super) secret: AuthSecret,
    pub(super) name: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
}

/// What is known of its secret.
#[derive(Clone)]
pub(super) enum AuthSecret {
    /// Its hash (version 2).
    Hash(TokenHash),
    /// All of it (version 1), which is hashed here; and its first characters.
    Text(TokenHash, String),
    /// A text of a form that is never taken.
    Unusable,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with version and tokens")]
struct AnyAuthFile {
    version: u64,
    tokens: Vec<AuthToken>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a token: an object with hash (or token) and createdAt")]
struct AnyAuthToken {
    hash: Option<Parsed<HexHash>>,
    token: Option<Parsed<PlainText>>,
    name: Option<String>,
    created_at: Time,
    expires_at: Option<Time>,
}

/// An entry of `users.json`.
#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    expecting = "a user: an object with username, passphraseHash, admin and createdAt"
)]
pub(super) struct UserEntry {
    pub(super) username: String,
    pub(super) name: Option<String>,
    pub(super) passphrase_hash: Parsed<Passphrase>,
    pub(super) admin: bool,
    created_at: Time,
}

/// An entry of `tokens.json`: a token with an owner.
#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    expecting = "a token: an object with tokenId, secretHash, username and createdAt"
)]
pub(super) struct TokenEntry {
    token_id: Parsed<BoundId>,
    secret_hash: Parsed<Base64Hash>,
    pub(super) username: String,
    pub(super) name: Option<String>,
    created_at: Time,
    expires_at: Option<Time>,
    last_used_at: Option<Time>,
}

impl UserEntry {
    pub(super) fn created_at(&self) -> Timestamp {
        self.created_at.0
    }
}

impl TokenEntry {
    pub(super) fn hash(&self) -> TokenHash {
        self.token_id.0.hash(&self.secret_hash.0.0)
    }

    pub(super) fn hint(&self) -> String {
        self.token_id.0.hint()
    }

    pub(super) fn created_at(&self) -> Timestamp {
        self.created_at.0
    }

    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at.as_ref().map(|time| time.0)
    }

    pub(super) fn last_used_at(&self) -> Option<Timestamp> {
        self.last_used_at.as_ref().map(|time| time.0)
    }
}

impl TryFrom<AnyAuthFile> for AuthFile {
    type Error = &'static str;

    fn try_from(file: AnyAuthFile) -> Result<Self, Self::Error> {
        match file.version {
            1 | 2 => Ok(Self { tokens: file.tokens }),
            _ => Err("expected version 1 or 2"),
        }
    }
}

impl TryFrom<AnyAuthToken> for AuthToken {
    type Error = &'static str;

    fn try_from(token: AnyAuthToken) -> Result<Self, Self::Error> {
        let secret = match (token.hash, token.token) {
            (Some(Parsed(HexHash(hash))), None) => AuthSecret::Hash(hash),
            (None, Some(Parsed(PlainText(secret)))) => secret,
            (None, None) | (Some(_), Some(_)) => return Err("expected either a `hash` or a `token`"),
        };
        let (created_at, expires_at) = (token.created_at.0, token.expires_at.map(|time| time.0));
        Ok(Self { secret, name: token.name, created_at, expires_at })
    }
}

/// What is read off a text. What the text should have been is all that an error says.
pub(super) trait FromText: Sized {
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;
}

/// A text of one form.
pub(super) struct Parsed<T>(pub(super) T);

impl<'de, T: FromText> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(std::marker::PhantomData<T>);

        impl<T: FromText> Visitor<'_> for Text<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
                T::from_text(text).ok_or_else(|| E::custom(format_args!("expected {}", T::EXPECTED)))
            }
        }

        deserializer.deserialize_str(Text(std::marker::PhantomData)).map(Self)
    }
}

/// A SHA-256 in hex.
struct HexHash(TokenHash);

impl FromText for HexHash {
    const EXPECTED: &'static str = "a SHA-256 in hex";

    fn from_text(text: &str) -> Option<Self> {
        hex::decode(text.as_bytes()).map(TokenHash::from_bytes).map(Self)
    }
}

/// A SHA-256 in standard base64.
struct Base64Hash([u8; 32]);

impl FromText for Base64Hash {
    const EXPECTED: &'static str = "a SHA-256 in base64";

    fn from_text(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl FromText for BoundId {
    const EXPECTED: &'static str = "a token's id of 16 characters";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A whole anonymous token.
struct PlainText(AuthSecret);

impl FromText for PlainText {
    const EXPECTED: &'static str = "a token's text";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(match LegacyToken::parse(text.as_bytes()) {
            Ok(token) if !token.is_bound() => AuthSecret::Text(token.hash(), token.hint()),
            _ => AuthSecret::Unusable,
        }))
    }
}

/// A passphrase's hash, or why it cannot be taken.
pub(super) struct Passphrase(pub(super) Result<ScryptHash, InvalidScryptHash>);

impl FromText for Passphrase {
    const EXPECTED: &'static str = "a hash such as scrypt$16384$…$…";

    fn from_text(text: &str) -> Option<Self> {
        match ScryptHash::parse(text) {
            Err(InvalidScryptHash::Malformed) => None,
            read => Some(Self(read)),
        }
    }
}

/// A moment: RFC 3339, or milliseconds since 1970 as JavaScript counts them.
struct Time(Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Moment;

        impl Visitor<'_> for Moment {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                Timestamp::parse(text).map(Time).map_err(|_| E::custom("expected an RFC 3339 time"))
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Time, E> {
                let time = i64::try_from(millis).ok().map(Timestamp::from_millis);
                let time = time.filter(|time| i64::try_from(millis) == Ok(time.millis()));
                time.map(Time).ok_or_else(|| E::custom("expected a time in milliseconds"))
            }
        }

        deserializer.deserialize_any(Moment)
    }
}
