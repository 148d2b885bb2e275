//! Worker tokens: what agents and jobs hold. A JSON Web Token (RFC 7519) in the one form that is minted here, read by
//! nothing but the reader of that form. Whether it is signed, and whether it still counts, is another's question.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::agent::AgentName;
use crate::clock::Timestamp;
use crate::entropy::{Entropy, NoEntropy};
use crate::id::{AgentId, CredentialId, UserId};
use crate::route::RouteName;
use crate::scope::Scopes;
use crate::token::TokenHash;
use crate::user::Username;

/// The most bytes of a worker token. What is longer is not looked at.
pub const MOST_BYTES: usize = 8 * 1024;
/// The most places that one names: as many routes as scopes can, this gate, and the way out.
pub const MOST_AUDIENCES: usize = Scopes::MAX_ROUTES + 2;
/// The longest life there is.
pub const LONGEST_LIFE: Duration = Duration::from_secs(7 * 86_400);
/// The greatest difference between two clocks that can be allowed for.
pub const MOST_SKEW: Duration = Duration::from_secs(5 * 60);

/// The algorithm (RFC 8037). There is no other.
const ALGORITHM: &str = "EdDSA";
/// What it says it is, so that nothing else signed here is taken for one, nor it for anything else (requirement R41).
const TYPE: &str = "fallgate-worker+jwt";
/// The characters of a signing key's name: 16 bytes in base64url.
const KID_LENGTH: usize = 22;
/// The bytes of a signature, and their characters in base64url.
const SIGNATURE: (usize, usize) = (64, 86);
/// How every one of them begins: `{"` in base64.
const BEGINNING: &[u8] = b"ey";
/// A token's own family, and sixteen credentials that hang on each other.
const MOST_ANCESTORS: usize = 17;
/// The most characters of a session's id.
const LONGEST_SESSION: usize = 64;

/// A text that is no worker token of ours. Why is nobody's business.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a worker token")]
pub struct InvalidWorkerToken;

/// What a worker token says (requirement R40). Times are in whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerClaims {
    /// The gate's own origin.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// As which agent it acts.
    #[serde(rename = "sub", with = "subject")]
    pub agent: AgentName,
    /// The same for good: a re-created name inherits nothing.
    pub agent_id: AgentId,
    /// On whose behalf.
    pub owner: Username,
    /// The same for good.
    pub owner_id: UserId,
    /// Where it may be used.
    #[serde(rename = "aud")]
    pub audience: Vec<Audience>,
    /// Its public name. Of all renewals of one token it ends alike: see [`Family`].
    #[serde(rename = "jti")]
    pub id: CredentialId,
    /// When it was minted.
    #[serde(rename = "iat", with = "seconds")]
    pub issued_at: Timestamp,
    /// It is good from then on.
    #[serde(rename = "nbf", with = "seconds")]
    pub not_before: Timestamp,
    /// It is good before then, and refused at it.
    #[serde(rename = "exp", with = "seconds")]
    pub expires_at: Timestamp,
    /// What it may be used for, before its owner's role is asked.
    #[serde(rename = "scope", with = "scope")]
    pub scopes: Scopes,
    /// The ids of its lineage, nearest first: the token that all its renewals go back to, itself if it is none; then
    /// the token that minted that, and what that hangs on. It ends with each.
    #[serde(rename = "anc")]
    pub ancestors: Vec<CredentialId>,
    /// The session that it was made for.
    #[serde(rename = "sid", default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// Where a worker token may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// `fallgate`: the gate's own doors.
    Gate,
    /// `route:<name>`: a route.
    Route(RouteName),
    /// `egress`: the way out.
    Egress,
}

/// A text that is no audience.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no audience: there are fallgate, route:<name> and egress")]
pub struct InvalidAudience(String);

/// A worker token and all its renewals. Their ids differ in when they were made and end alike, so that whoever knows one
/// can end all of them, wherever they were minted: nothing has to be remembered of those that were not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family([u8; 8]);

/// That all worker tokens of an owner were ended at once. They have no rows, and so it goes by when they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllEnded {
    /// Those that were made until then, this millisecond included.
    pub at: Timestamp,
    /// But this one, which was in use for it, and its renewals.
    pub spared: Option<Family>,
}

impl AllEnded {
    /// Whether it ended the token of this id.
    pub fn ends(self, id: CredentialId) -> bool {
        id.made_at() <= self.at && self.spared != Some(Family::of(id))
    }
}

/// A worker token as it was read. Nothing of it counts before its signature was checked.
#[derive(Debug)]
pub struct ReadWorker<'t> {
    /// What it says.
    pub claims: WorkerClaims,
    /// The name of the key that is said to have signed it.
    pub kid: String,
    /// What was signed.
    pub signed: &'t [u8],
    /// Of Ed25519 (RFC 8032).
    pub signature: [u8; SIGNATURE.0],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

impl Family {
    /// That of the token of this id.
    pub fn of(id: CredentialId) -> Self {
        let mut family = [0; 8];
        family.iter_mut().zip(id.bytes().into_iter().skip(8)).for_each(|(own, byte)| *own = byte);
        Self(family)
    }

    /// The id of another one of it.
    pub fn member(self, at: Timestamp, entropy: &dyn Entropy) -> Result<CredentialId, NoEntropy> {
        let mut id = CredentialId::new(at, entropy)?.bytes();
        id.iter_mut().skip(8).zip(self.0).for_each(|(byte, own)| *byte = own);
        Ok(CredentialId::from_bytes(id))
    }

    /// From the 8 bytes that [`Self::bytes`] gave.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes, as the store keeps them.
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl WorkerClaims {
    /// The family it is of.
    pub fn family(&self) -> Family {
        Family::of(self.id)
    }

    /// The credentials that it hangs on, nearest first.
    pub fn credentials(&self) -> &[CredentialId] {
        self.ancestors.split_first().map_or(&[], |(_, credentials)| credentials)
    }

    /// How long it lasts.
    pub fn life(&self) -> Duration {
        self.expires_at.since(self.issued_at)
    }

    /// What is to be signed, by the key of that name.
    pub fn to_be_signed(&self, kid: &str) -> Result<String, InvalidWorkerToken> {
        let header = Header { alg: ALGORITHM.to_owned(), kid: kid.to_owned(), typ: TYPE.to_owned() };
        let text = format!("{}.{}", encoded(&header)?, encoded(self)?);
        if text.len() + 1 + SIGNATURE.1 > MOST_BYTES { Err(InvalidWorkerToken) } else { Ok(text) }
    }

    /// Refuses what no token of ours says, whoever signed it.
    pub fn check(&self) -> Result<(), InvalidWorkerToken> {
        let first = self.ancestors.first().ok_or(InvalidWorkerToken)?;
        let session = self.session.as_deref().unwrap_or("-");
        let good = Family::of(*first) == self.family()
            && self.ancestors.len() <= MOST_ANCESTORS
            && !self.audience.is_empty()
            && self.audience.len() <= MOST_AUDIENCES
            && self.not_before >= self.issued_at
            && self.expires_at > self.not_before
            && self.life() <= LONGEST_LIFE
            && (1..=LONGEST_SESSION).contains(&session.len())
            && session.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if good { Ok(()) } else { Err(InvalidWorkerToken) }
    }
}

/// The whole token: what was signed, and its signature.
pub fn assembled(signed: &str, signature: &[u8; SIGNATURE.0]) -> String {
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Whether a text is meant to be a worker token: it begins like one and is as long as one may be, and longer than the
/// signature alone. No other secret of ours begins so.
pub fn is_meant(text: &[u8]) -> bool {
    text.starts_with(BEGINNING) && (SIGNATURE.1 + 1..=MOST_BYTES).contains(&text.len())
}

/// What a token is known by where it was seen before: SHA-256 of its whole text.
pub fn hash(text: &[u8]) -> TokenHash {
    TokenHash::from_bytes(Sha256::digest(text).into())
}

/// Reads the compact form (RFC 7515, 7.1) of exactly what is minted here: base64url that encodes back to the same text, a
/// header with `alg`, `kid` and `typ` and nothing else, and just the members that [`WorkerClaims`] has, each once.
pub fn read(text: &[u8]) -> Result<ReadWorker<'_>, InvalidWorkerToken> {
    if !is_meant(text) {
        return Err(InvalidWorkerToken);
    }
    let end = text.iter().rposition(|byte| *byte == b'.').ok_or(InvalidWorkerToken)?;
    let (signed, signature) = text.split_at(end);
    let signature =
        signature.get(1..).filter(|digits| digits.len() == SIGNATURE.1).ok_or(InvalidWorkerToken)?;
    let dot = signed.iter().position(|byte| *byte == b'.').ok_or(InvalidWorkerToken)?;
    let (header, claims) = signed.split_at(dot);
    let header: Header = decoded(header)?;
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_kid = header.kid.len() == KID_LENGTH && header.kid.bytes().all(in_alphabet);
    if header.alg != ALGORITHM || header.typ != TYPE || !is_kid {
        return Err(InvalidWorkerToken);
    }
    let claims: WorkerClaims = decoded(claims.get(1..).unwrap_or_default())?;
    claims.check()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidWorkerToken)?;
    let signature = signature.try_into().map_err(|_| InvalidWorkerToken)?;
    Ok(ReadWorker { claims, kid: header.kid, signed, signature })
}

fn encoded(value: &impl Serialize) -> Result<String, InvalidWorkerToken> {
    serde_json::to_vec(value).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| InvalidWorkerToken)
}

/// An object, and no other value: a struct could be read from a list, too.
fn decoded<T: DeserializeOwned>(part: &[u8]) -> Result<T, InvalidWorkerToken> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidWorkerToken)?;
    if !json.starts_with(b"{") {
        return Err(InvalidWorkerToken);
    }
    serde_json::from_slice(&json).map_err(|_| InvalidWorkerToken)
}

/// A member that is there must have a value.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

impl FromStr for Audience {
    type Err = InvalidAudience;

    fn from_str(text: &str) -> Result<Self, InvalidAudience> {
        let invalid = || InvalidAudience(text.chars().take(80).collect());
        match text.split_once(':') {
            None if text == "fallgate" => Ok(Self::Gate),
            None if text == "egress" => Ok(Self::Egress),
            Some(("route", name)) => name.parse().map(Self::Route).map_err(|_| invalid()),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate => f.write_str("fallgate"),
            Self::Route(name) => write!(f, "route:{name}"),
            Self::Egress => f.write_str("egress"),
        }
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// `agent:<name>`.
mod subject {
    use super::{AgentName, Deserialize, Deserializer, Serializer, de};

    const BEGINNING: &str = "agent:";

    pub(super) fn serialize<S: Serializer>(agent: &AgentName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{BEGINNING}{agent}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AgentName, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = text.strip_prefix(BEGINNING).ok_or_else(|| de::Error::custom("not an agent"))?;
        name.parse().map_err(de::Error::custom)
    }
}

/// Whole seconds since 1970, as JSON writes an integer.
mod seconds {
    use super::{Deserialize, Deserializer, Serializer, Timestamp, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.millis() / 1_000)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let seconds = i64::deserialize(deserializer)?;
        let within = (0..=Timestamp::MAX.millis() / 1_000).contains(&seconds);
        if within {
            Ok(Timestamp::from_millis(seconds * 1_000))
        } else {
            Err(de::Error::custom("not a time"))
        }
    }
}

/// Scopes with one blank between two (RFC 8693, 4.2), as they are always written.
mod scope {
    use super::{Deserialize, Deserializer, Scopes, Serializer, de};

    pub(super) fn serialize<S: Serializer>(scopes: &Scopes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(scopes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scopes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let scopes = Scopes::parse(&text).map_err(de::Error::custom)?;
        if scopes.to_string() == text { Ok(scopes) } else { Err(de::Error::custom("not as it is written")) }
    }
}

#[cfg(test)]
mod tests;
