//! Credentials: anything that proves who is calling.

use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::clock::Timestamp;
use crate::id::{CredentialId, UserId};
use crate::name;
use crate::scope::Scopes;
use crate::text::read_as_text;
use crate::token::TokenHash;

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// User-owned, long-lived.
    Token,
    /// A browser or CLI sign-in.
    Login,
    /// Signed, short-lived, for an agent.
    Worker,
    /// This machine's own programs.
    Internal,
    /// Imported, read-only. No code path can mint one.
    Legacy,
}

/// A text that is no kind of credential.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no such kind of credential")]
pub struct InvalidKind;

impl CredentialKind {
    /// As written on the wire and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Login => "login",
            Self::Worker => "worker",
            Self::Internal => "internal",
            Self::Legacy => "legacy",
        }
    }
}

impl FromStr for CredentialKind {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        [Self::Token, Self::Login, Self::Worker, Self::Internal, Self::Legacy]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or(InvalidKind)
    }
}

/// Where a credential stands in its life: minted, then used until it is expired or revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Good.
    Active,
    /// Its time is over.
    Expired,
    /// Ended by somebody, for good.
    Revoked,
}

impl Status {
    /// As written on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// How a credential was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// By whom, as the audit trail names actors.
    pub by: String,
    /// Why, if a reason was given.
    pub reason: Option<String>,
}

/// When and from where a credential was last used; written at most once a minute (requirement R32).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// When, to about a minute.
    pub at: Timestamp,
    /// The client's address.
    pub ip: Option<String>,
    /// What the client called itself, cut to 256 characters. Told, never decided on.
    pub user_agent: Option<String>,
}

/// How what is said of a credential's making begins, where whoever made it gave its owner with it what their role does not
/// have ([`Scopes::grantable`]).
pub const GRANT: &str = "grant:";

/// A credential as lists show it: everything but its hash, for which this type has no field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its public name.
    pub id: CredentialId,
    /// What it is.
    pub kind: CredentialKind,
    /// Whose it is; a re-created username inherits nothing.
    pub owner: Option<UserId>,
    /// What it hangs on: it ends when this does.
    pub parent: Option<CredentialId>,
    /// Who made it, as the audit trail names actors; behind [`GRANT`], if that was a grant.
    pub minted_by: String,
    /// What its owner calls it.
    pub name: String,
    /// The first characters of its secret.
    pub hint: String,
    /// What it may be used for, before its owner's role is asked.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// It is good *before* this time and refused *at* it.
    pub expires_at: Option<Timestamp>,
    /// How it was ended, if it was.
    pub revoked: Option<Revocation>,
    /// When it was last used, if ever.
    pub last_use: Option<LastUse>,
}

impl Credential {
    /// Where it stands at `now`. A revocation outlasts expiry: it says more.
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if is_expired(self.expires_at, now) {
            Status::Expired
        } else {
            Status::Active
        }
    }
}

/// Whether something that ends at `expires_at` is over at `now`: good before, refused at it (requirement R33).
pub fn is_expired(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|end| now >= end)
}

/// A credential that is about to be written, with the hash of its secret.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// The row.
    pub credential: Credential,
    /// What will be looked up when it is presented.
    pub hash: TokenHash,
}

/// What a token may be called: 1 to 80 characters after trimming, no control characters. Anything else may be in it, so
/// whoever shows it escapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenName(String);

/// A text that cannot be a token's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a token's name has 1 to 80 characters and no control characters")]
pub struct InvalidTokenName;

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(text: &str) -> Result<Self, InvalidTokenName> {
        name::shown(text).map(|name| Self(name.to_owned())).ok_or(InvalidTokenName)
    }
}

impl Default for TokenName {
    /// What a token is called when nothing is said.
    fn default() -> Self {
        Self("token".to_owned())
    }
}

impl TokenName {
    /// The name as text.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl Serialize for TokenName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

read_as_text!(TokenName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r33_a_credential_is_good_before_its_end_and_refused_at_it() {
        let end = Timestamp::from_millis(1_000_000);
        assert!(!is_expired(Some(end), Timestamp::from_millis(999_999)));
        assert!(is_expired(Some(end), end));
        assert!(!is_expired(None, Timestamp::MAX));
    }
}
