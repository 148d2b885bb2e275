//! Cuts: what is stopped until somebody lifts it, or until its time is over. Nothing is deleted by a cut.

use std::fmt;
use std::str::FromStr;

use crate::agent::{AgentName, InvalidAgentName};
use crate::clock::Timestamp;
use crate::credential::is_expired;
use crate::id::{CredentialId, CutId, InvalidId, UserId};
use crate::name;
use crate::route::{InvalidRouteName, RouteName};
use crate::text::written_as_text;
use crate::user::{InvalidUsername, Username};

/// What is cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CutTarget {
    /// `user:<name>`: somebody, with every credential of theirs.
    User(Username),
    /// `credential:<id>`: one credential, and all that hangs on it.
    Credential(CredentialId),
    /// `agent:<name>`: what runs as that agent.
    Agent(AgentName),
    /// `route:<name>`: a route, for everybody, its public paths too.
    Route(RouteName),
    /// `everything`: every route and every credential. Only an admin's sign-in is spared, and only to lift it.
    Everything,
}

/// A text that names nothing that can be cut.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidCutTarget {
    /// None of the forms.
    #[error(
        "{0:?} is nothing that can be cut: write user:NAME, credential:ID, agent:NAME, route:NAME or everything"
    )]
    Unknown(String),
    /// `user:` with something that is no username.
    #[error(transparent)]
    User(#[from] InvalidUsername),
    /// `credential:` with something that is no id.
    #[error(transparent)]
    Credential(#[from] InvalidId),
    /// `agent:` with something that is no agent's name.
    #[error(transparent)]
    Agent(#[from] InvalidAgentName),
    /// `route:` with something that is no route's name.
    #[error(transparent)]
    Route(#[from] InvalidRouteName),
}

impl FromStr for CutTarget {
    type Err = InvalidCutTarget;

    fn from_str(text: &str) -> Result<Self, InvalidCutTarget> {
        match text.split_once(':') {
            None if text == "everything" => Ok(Self::Everything),
            Some(("user", name)) => Ok(Self::User(name.parse()?)),
            Some(("credential", id)) => Ok(Self::Credential(id.parse()?)),
            Some(("agent", name)) => Ok(Self::Agent(name.parse()?)),
            Some(("route", name)) => Ok(Self::Route(name.parse()?)),
            _ => Err(InvalidCutTarget::Unknown(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for CutTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Credential(id) => write!(f, "credential:{id}"),
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Route(name) => write!(f, "route:{name}"),
            Self::Everything => f.write_str("everything"),
        }
    }
}

/// Why something was cut, in words for whoever is refused by it: one line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CutReason(Box<str>);

/// A text that is no reason.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a reason is one line of 1 to {} characters", CutReason::LONGEST)]
pub struct InvalidCutReason;

impl CutReason {
    /// The most characters of a reason.
    pub const LONGEST: usize = 200;

    /// The reason as text. What would move a cursor may not be in it, but whoever shows it escapes it for its place.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CutReason {
    type Err = InvalidCutReason;

    /// Without the blanks around it.
    fn from_str(text: &str) -> Result<Self, InvalidCutReason> {
        let text = text.trim();
        let good = (1..=Self::LONGEST).contains(&text.chars().count()) && name::is_one_line(text);
        if good { Ok(Self(text.into())) } else { Err(InvalidCutReason) }
    }
}

impl fmt::Display for CutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What whoever is stopped by a cut is told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CutNotice {
    /// Why, if that was said.
    pub reason: Option<CutReason>,
    /// When its time is over; `None`: it stands until it is lifted.
    pub until: Option<Timestamp>,
}

written_as_text!(CutTarget, CutReason);

/// A cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Its public name.
    pub id: CutId,
    /// What is cut.
    pub target: CutTarget,
    /// Why, if that was said.
    pub reason: Option<CutReason>,
    /// Who placed it, as the audit trail names actors.
    pub placed_by: String,
    /// Which account placed it, if one did.
    pub placer: Option<UserId>,
    /// Since when it stands.
    pub created_at: Timestamp,
    /// It stands *before* this time and not any more *at* it; `None`: until it is lifted.
    pub expires_at: Option<Timestamp>,
}

impl Cut {
    /// Whether its time is not over at `now`.
    pub fn stands(&self, now: Timestamp) -> bool {
        !is_expired(self.expires_at, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_written_as_they_are_read() {
        for text in [
            "user:bob",
            "credential:0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b",
            "agent:claude-1",
            "route:llmux",
            "everything",
        ] {
            assert_eq!(text.parse::<CutTarget>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_nothing_that_can_be_cut_is_refused() {
        for text in [
            "",
            "bob",
            "user:",
            "user:Bob",
            "user:internal",
            "credential:7",
            "agent:",
            "agent:a b",
            "route:",
            "everything:",
            "Everything",
            "token:7",
        ] {
            assert!(text.parse::<CutTarget>().is_err(), "{text}");
        }
        let long = "x".repeat(10_000).parse::<CutTarget>().unwrap_err().to_string();
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn a_reason_is_one_bounded_line() {
        assert_eq!(" lost laptop\n".parse::<CutReason>().unwrap().as_str(), "lost laptop");
        assert!("é".repeat(200).parse::<CutReason>().is_ok());
        for text in ["", " \t ", "a\nb", "a\u{1b}[2Jb", "a\u{2028}b", "a\u{202e}b", &"é".repeat(201)] {
            assert_eq!(text.parse::<CutReason>(), Err(InvalidCutReason), "{text:?}");
        }
    }

    #[test]
    fn a_cut_stands_before_its_end_and_not_at_it() {
        let end = Timestamp::from_millis(1_000);
        let cut = Cut {
            id: CutId::from_bytes([1; 16]),
            target: CutTarget::Everything,
            reason: None,
            placed_by: "cli:root".to_owned(),
            placer: None,
            created_at: Timestamp::from_millis(0),
            expires_at: Some(end),
        };
        assert!(cut.stands(Timestamp::from_millis(999)));
        assert!(!cut.stands(end));
        assert!(Cut { expires_at: None, ..cut }.stands(Timestamp::MAX));
    }
}
