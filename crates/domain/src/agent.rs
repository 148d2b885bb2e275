//! Agents: named identities that programs run as, each owned by a user.

use std::str::FromStr;

use crate::clock::Timestamp;
use crate::id::{AgentId, UserId};
use crate::route::RouteName;
use crate::scope::Scopes;
use crate::text::checked_text;
use crate::user::Username;

/// What an agent is called: `^[a-z0-9_-]{1,64}$`. Unique on a gate, and never changes. A username is one too: everybody
/// has an agent of their own name without making one, so no other is called so.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(Box<str>);

/// A text that is no agent's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an agent's name has 1 to 64 of the characters a-z, 0-9, _ and -")]
pub struct InvalidAgentName;

impl FromStr for AgentName {
    type Err = InvalidAgentName;

    fn from_str(text: &str) -> Result<Self, InvalidAgentName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let good = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        if good { Ok(Self(text.into())) } else { Err(InvalidAgentName) }
    }
}

impl From<&Username> for AgentName {
    /// The name of the agent that somebody has without making one.
    fn from(username: &Username) -> Self {
        Self(username.as_str().into())
    }
}

impl AgentName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

checked_text!(AgentName);

/// An agent that somebody made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// For good.
    pub id: AgentId,
    /// Whose it is: it may never do more than they.
    pub owner: UserId,
    /// How it is called.
    pub name: AgentName,
    /// What its tokens may be used for at most.
    pub scopes: Scopes,
    /// The routes its tokens are good for unless less is asked for; sorted, without repetition, at most
    /// [`Scopes::MAX_ROUTES`].
    pub routes: Vec<RouteName>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when its every token is refused, if that is so.
    pub disabled_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet_and_every_username_is_one() {
        for good in ["a", "claude-1", "a_b-9", &"x".repeat(64)] {
            assert_eq!(good.parse::<AgentName>().unwrap().as_str(), good);
        }
        for bad in ["", "Claude", "a b", "ä", "a/b", "a\n", &"x".repeat(65)] {
            assert_eq!(bad.parse::<AgentName>(), Err(InvalidAgentName), "{bad}");
        }
        let alice: Username = "alice".parse().unwrap();
        assert_eq!(AgentName::from(&alice), "alice".parse().unwrap());
    }
}
