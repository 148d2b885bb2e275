//! Routes: where requests come in, and who may use them.

use std::fmt;
use std::str::FromStr;

use crate::agent::AgentName;
use crate::credential::CredentialKind;
use crate::text::checked_text;
use crate::user::{Role, Username};

/// A route's name: `^[a-z0-9][a-z0-9_-]{0,63}$`. It stands in scopes, in assertions and in the audit trail.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName(Box<str>);

/// A text that cannot be a route's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a route's name has 1 to 64 of the characters a-z, 0-9, _ and -, and starts with a letter or digit")]
pub struct InvalidRouteName;

impl FromStr for RouteName {
    type Err = InvalidRouteName;

    fn from_str(text: &str) -> Result<Self, InvalidRouteName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = text.len() <= 64
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|byte| plain(byte) || b"_-".contains(&byte));
        if good { Ok(Self(text.into())) } else { Err(InvalidRouteName) }
    }
}

impl RouteName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

checked_text!(RouteName);

/// One entry of a route's `allow` list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admit {
    /// `role:admin` or `role:user`: people of that role, and their agents.
    Role(Role),
    /// `user:<name>`: this person, and their agents.
    User(Username),
    /// `agent:<name>`: this agent, whoever owns it.
    Agent(AgentName),
    /// `kind:legacy` or `kind:internal`: credentials that no person owns.
    Kind(CredentialKind),
}

/// A text that is no entry of an `allow` list.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} names nobody: an entry is role:admin, role:user, user:<name>, agent:<name>, kind:legacy or kind:internal"
)]
pub struct InvalidAdmit(String);

impl FromStr for Admit {
    type Err = InvalidAdmit;

    fn from_str(text: &str) -> Result<Self, InvalidAdmit> {
        let invalid = || InvalidAdmit(text.chars().take(64).collect());
        match text.split_once(':') {
            Some(("role", role)) => role.parse().map(Self::Role).map_err(|_| invalid()),
            Some(("user", name)) => name.parse().map(Self::User).map_err(|_| invalid()),
            Some(("agent", name)) => name.parse().map(Self::Agent).map_err(|_| invalid()),
            Some(("kind", "legacy")) => Ok(Self::Kind(CredentialKind::Legacy)),
            Some(("kind", "internal")) => Ok(Self::Kind(CredentialKind::Internal)),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Admit {
    /// As [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "role:{role}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Kind(kind) => write!(f, "kind:{}", kind.name()),
        }
    }
}

/// Who may use a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// Empty admits every user, and nobody who is no user.
    pub allow: Vec<Admit>,
}

/// Who asks to use a route, as far as its `allow` list can tell them apart.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// The owner's name and role; `None` for a credential that nobody owns.
    pub owner: Option<(&'a Username, Role)>,
    /// The agent that runs on the owner's behalf, if one does.
    pub agent: Option<&'a AgentName>,
    /// What they proved it with.
    pub kind: CredentialKind,
}

impl Admission {
    /// Whether the list admits this visitor. A pure function: scopes, cuts and the credential's own state are the
    /// verifier's matter.
    pub fn admits(&self, visitor: Visitor<'_>) -> bool {
        if self.allow.is_empty() {
            return visitor.owner.is_some();
        }
        self.allow.iter().any(|entry| match entry {
            Admit::Role(role) => visitor.owner.is_some_and(|(_, held)| held == *role),
            Admit::User(name) => visitor.owner.is_some_and(|(owner, _)| owner == name),
            Admit::Agent(name) => visitor.agent == Some(name),
            Admit::Kind(kind) => visitor.kind == *kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(entries: &[&str]) -> Admission {
        Admission { allow: entries.iter().map(|entry| entry.parse().unwrap()).collect() }
    }

    #[test]
    fn an_empty_list_admits_users_and_nobody_else() {
        let alice: Username = "alice".parse().unwrap();
        let user = Visitor { owner: Some((&alice, Role::User)), agent: None, kind: CredentialKind::Token };
        let helper = Visitor { owner: None, agent: None, kind: CredentialKind::Internal };
        assert!(admission(&[]).admits(user));
        assert!(!admission(&[]).admits(helper));
        assert!(admission(&["kind:internal"]).admits(helper));
        assert!(!admission(&["kind:internal"]).admits(user));
    }

    #[test]
    fn a_list_admits_whom_it_names() {
        let alice: Username = "alice".parse().unwrap();
        let user = Visitor { owner: Some((&alice, Role::User)), agent: None, kind: CredentialKind::Token };
        for (entries, admitted) in [
            (&["user:alice"][..], true),
            (&["user:bob"], false),
            (&["role:admin"], false),
            (&["role:admin", "user:alice"], true),
            (&["role:user"], true),
        ] {
            assert_eq!(admission(entries).admits(user), admitted, "{entries:?}");
        }
    }

    #[test]
    fn an_agent_comes_in_as_itself_and_as_its_owners() {
        let (alice, crawler): (Username, AgentName) = ("alice".parse().unwrap(), "crawler".parse().unwrap());
        let owner = Some((&alice, Role::User));
        let agent = Visitor { owner, agent: Some(&crawler), kind: CredentialKind::Worker };
        for (entries, admitted) in [
            (&[][..], true),
            (&["agent:crawler"], true),
            (&["agent:alice"], false),
            (&["user:alice"], true),
            (&["role:user"], true),
            (&["user:crawler", "role:admin"], false),
        ] {
            assert_eq!(admission(entries).admits(agent), admitted, "{entries:?}");
        }
        let herself = Visitor { agent: None, kind: CredentialKind::Token, ..agent };
        assert!(!admission(&["agent:crawler"]).admits(herself), "what only the agent may, its owner may not");
    }

    #[test]
    fn entries_that_name_nobody_are_refused() {
        for text in
            ["alice", "user:", "user:Alice", "role:root", "kind:token", "", "agent", "agent:", "agent:A"]
        {
            assert!(text.parse::<Admit>().is_err(), "{text}");
        }
    }
}
