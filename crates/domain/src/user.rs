//! People: usernames, display names, roles.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::UserId;
use crate::name;
use crate::text::checked_text;

/// What the audit trail calls the machine itself: a user of that name could not be told from it.
const MACHINE: &str = "internal";

/// A username: `^[a-z0-9_-]{1,32}$`, and not `internal`. Unique, never changes, and not an OS user.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(Box<str>);

/// A text that cannot be a username.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidUsername {
    /// It is too long or too short, or has other characters.
    #[error("a username has 1 to 32 of the characters a-z, 0-9, _ and -")]
    Form,
    /// It means the machine itself.
    #[error("{MACHINE} is what the machine itself is called in the audit trail: take another name")]
    Reserved,
}

impl FromStr for Username {
    type Err = InvalidUsername;

    fn from_str(text: &str) -> Result<Self, InvalidUsername> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if !(1..=32).contains(&text.len()) || !text.bytes().all(allowed) {
            Err(InvalidUsername::Form)
        } else if text == MACHINE {
            Err(InvalidUsername::Reserved)
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl Username {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name a person is shown by: 1 to 80 characters after trimming, no control characters. Anything else may be in it,
/// so whoever shows it escapes it.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayName(Box<str>);

/// A text that cannot be a display name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a display name has 1 to 80 characters and no control characters")]
pub struct InvalidDisplayName;

impl FromStr for DisplayName {
    type Err = InvalidDisplayName;

    fn from_str(text: &str) -> Result<Self, InvalidDisplayName> {
        name::shown(text).map(|name| Self(name.into())).ok_or(InvalidDisplayName)
    }
}

impl DisplayName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Username> for DisplayName {
    /// A username is always a good display name: it stands in when none is given.
    fn from(username: &Username) -> Self {
        Self(username.0.clone())
    }
}

/// What a person may do at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, for everyone.
    Admin,
    /// Their own things.
    User,
}

/// A text that is no role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a role is either admin or user")]
pub struct InvalidRole;

impl Role {
    /// As written on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }
}

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        match text {
            "admin" => Ok(Self::Admin),
            "user" => Ok(Self::User),
            _ => Err(InvalidRole),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A person's account, as the store keeps it; the passphrase's hash stays in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// For good.
    pub id: UserId,
    /// How they sign in.
    pub username: Username,
    /// How they are shown.
    pub display_name: DisplayName,
    /// What they may do at most.
    pub role: Role,
    /// When the account was made.
    pub created_at: Timestamp,
    /// Since when every credential of theirs is refused, if it is.
    pub disabled_at: Option<Timestamp>,
}

checked_text!(Username, DisplayName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_keep_to_their_alphabet() {
        for good in ["a", "alice", "a_b-9", &"x".repeat(32)] {
            assert!(good.parse::<Username>().is_ok(), "{good}");
        }
        for bad in ["", "Alice", "a b", "ä", "a/b", "a\n", &"x".repeat(33)] {
            assert_eq!(bad.parse::<Username>(), Err(InvalidUsername::Form), "{bad}");
        }
        assert_eq!("internal".parse::<Username>(), Err(InvalidUsername::Reserved));
    }

    #[test]
    fn display_names_are_trimmed_and_counted_in_characters() {
        assert_eq!("  Alice  ".parse::<DisplayName>().unwrap().as_str(), "Alice");
        assert!("😀".repeat(80).parse::<DisplayName>().is_ok());
        for bad in ["", "   ", "a\u{7}b", "a\u{85}b", &"😀".repeat(81)] {
            assert_eq!(bad.parse::<DisplayName>(), Err(InvalidDisplayName), "{bad:?}");
        }
    }
}
