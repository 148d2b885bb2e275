//! Typed identifiers: a UUID version 7 (RFC 9562) each, so that lists sort by age. An id is public and never part
//! of a secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::entropy::{self, Entropy, NoEntropy};

/// A text that is not a UUID in its usual form of 36 characters.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an id: ids look like 0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b")]
pub struct InvalidId;

fn new_v7(at: Timestamp, entropy: &dyn Entropy) -> Result<Uuid, NoEntropy> {
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &entropy::bytes::<10>(entropy)?).into_uuid())
}

/// Only the hyphenated form: one id has one spelling (but for its case).
fn parse(text: &str) -> Result<Uuid, InvalidId> {
    if text.len() == 36 { Uuid::try_parse(text).map_err(|_| InvalidId) } else { Err(InvalidId) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, which sorts after those of earlier milliseconds.
            pub fn new(at: Timestamp, entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
                new_v7(at, entropy).map(Self)
            }

            /// From the 16 bytes that [`Self::bytes`] gave.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes, as the store keeps them.
            pub const fn bytes(&self) -> [u8; 16] {
                self.0.into_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

id! {
    /// A person's account, for good: a re-created username gets another one.
    UserId
}

id! {
    /// An agent, for good: a re-created name gets another one.
    AgentId
}

impl AgentId {
    /// The agent that everybody has without making one, which is called as they are: its id is their account's.
    pub const fn implicit(owner: UserId) -> Self {
        Self(owner.0)
    }
}

id! {
    /// A credential's public name, in lists, logs and the audit trail.
    CredentialId
}

id! {
    /// A cut's public name.
    CutId
}

id! {
    /// A signing key, for good; its public `kid` is another thing.
    SigningKeyId
}

id! {
    /// A pairing's public name, as long as it is remembered.
    PairingId
}

id! {
    /// A stream that is open now. Gone with it.
    StreamId
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::TestEntropy;

    #[test]
    fn ids_sort_by_age_and_survive_being_written() {
        let entropy = TestEntropy::default();
        let early = CredentialId::new(Timestamp::from_millis(1_000), &entropy).unwrap();
        let late = CredentialId::new(Timestamp::from_millis(2_000), &entropy).unwrap();
        assert!(early < late);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(CredentialId::from_bytes(late.bytes()), late);
    }

    #[test]
    fn only_one_spelling_is_an_id() {
        for text in [
            "",
            "7",
            "0193a5b27c1d7e3f8a9b0c1d2e3f4a5b",
            "{0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b}",
            "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5g",
        ] {
            assert_eq!(text.parse::<UserId>(), Err(InvalidId), "{text}");
        }
    }
}
