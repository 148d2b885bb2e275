//! What a page says has just been done. It comes by the address, so it says only what stands here.

use std::time::Duration;

use axum::response::Response;
use fallgate_authority::Closed;

use super::see_other;
use crate::error::WebError;

/// An act that a page has just carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    SignedOut,
    TokenRenamed,
    TokenRevoked,
    TokensRevoked,
    AccountRenamed,
    PassphraseChanged,
    DeviceSignedOut,
    DevicesSignedOut,
    UserCreated,
    UserRenamed,
    RoleChanged,
    UserDisabled,
    UserEnabled,
    UserDeleted,
    PassphraseReset,
    AgentCreated,
    AgentDisabled,
    AgentEnabled,
    AgentDeleted,
    /// A stream was closed.
    Closed,
    /// It is closed already.
    ClosedBefore,
    /// Something was cut; with what that closed.
    Cut,
    Lifted,
    LiftedBefore,
    DeviceApproved,
    DeviceRefused,
}

impl Notice {
    const ALL: &[Self] = &[
        Self::SignedOut,
        Self::TokenRenamed,
        Self::TokenRevoked,
        Self::TokensRevoked,
        Self::AccountRenamed,
        Self::PassphraseChanged,
        Self::DeviceSignedOut,
        Self::DevicesSignedOut,
        Self::UserCreated,
        Self::UserRenamed,
        Self::RoleChanged,
        Self::UserDisabled,
        Self::UserEnabled,
        Self::UserDeleted,
        Self::PassphraseReset,
        Self::AgentCreated,
        Self::AgentDisabled,
        Self::AgentEnabled,
        Self::AgentDeleted,
        Self::Closed,
        Self::ClosedBefore,
        Self::Cut,
        Self::Lifted,
        Self::LiftedBefore,
        Self::DeviceApproved,
        Self::DeviceRefused,
    ];

    /// As the address names it.
    const fn key(self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::TokenRenamed => "token-renamed",
            Self::TokenRevoked => "token-revoked",
            Self::TokensRevoked => "tokens-revoked",
            Self::AccountRenamed => "account-renamed",
            Self::PassphraseChanged => "passphrase-changed",
            Self::DeviceSignedOut => "device-signed-out",
            Self::DevicesSignedOut => "devices-signed-out",
            Self::UserCreated => "user-created",
            Self::UserRenamed => "user-renamed",
            Self::RoleChanged => "role-changed",
            Self::UserDisabled => "user-disabled",
            Self::UserEnabled => "user-enabled",
            Self::UserDeleted => "user-deleted",
            Self::PassphraseReset => "passphrase-reset",
            Self::AgentCreated => "agent-created",
            Self::AgentDisabled => "agent-disabled",
            Self::AgentEnabled => "agent-enabled",
            Self::AgentDeleted => "agent-deleted",
            Self::Closed => "closed",
            Self::ClosedBefore => "closed-before",
            Self::Cut => "cut",
            Self::Lifted => "lifted",
            Self::LiftedBefore => "lifted-before",
            Self::DeviceApproved => "device-approved",
            Self::DeviceRefused => "device-refused",
        }
    }

    /// In words, with how many things that came to, where that is known.
    fn says(self, count: Option<u64>) -> String {
        match self {
            Self::SignedOut => "You are signed out.".to_owned(),
            Self::TokenRenamed => "The token is renamed.".to_owned(),
            Self::TokenRevoked => format!("The token is revoked{}.", cut(count)),
            Self::TokensRevoked => match count {
                Some(count) => format!("{} revoked.", counted(count, "token is", "tokens are")),
                None => "The tokens are revoked.".to_owned(),
            },
            Self::AccountRenamed => "Your display name is changed.".to_owned(),
            Self::PassphraseChanged => match count {
                Some(count) => {
                    let ended = counted(count, "other sign-in has", "other sign-ins have");
                    format!("Your passphrase is changed. {ended} ended.")
                }
                None => "Your passphrase is changed.".to_owned(),
            },
            Self::DeviceSignedOut => format!("The device is signed out{}.", cut(count)),
            Self::DevicesSignedOut => match count {
                Some(count) => {
                    format!("{} signed out.", counted(count, "other device is", "other devices are"))
                }
                None => "All other devices are signed out.".to_owned(),
            },
            Self::UserCreated => "The account is made.".to_owned(),
            Self::UserRenamed => "The display name is changed.".to_owned(),
            Self::RoleChanged => "The role is changed.".to_owned(),
            Self::UserDisabled => format!("The account is disabled{}.", cut(count)),
            Self::UserEnabled => "The account is enabled.".to_owned(),
            Self::UserDeleted => format!("The account is deleted{}.", cut(count)),
            Self::PassphraseReset => "The passphrase is reset. Their sign-ins have ended.".to_owned(),
            Self::AgentCreated => "The agent is made.".to_owned(),
            Self::AgentDisabled => format!("The agent is disabled{}.", cut(count)),
            Self::AgentEnabled => "The agent is enabled.".to_owned(),
            Self::AgentDeleted => format!("The agent is deleted{}.", cut(count)),
            Self::Closed => "The connection is cut.".to_owned(),
            Self::ClosedBefore => "That connection is closed already.".to_owned(),
            Self::Cut => "The cut stands.".to_owned(),
            Self::Lifted => "The cut is lifted.".to_owned(),
            Self::LiftedBefore => "That cut does not stand any more.".to_owned(),
            Self::DeviceApproved => {
                "The device is approved. It signs in as soon as it looks, and is listed here then.".to_owned()
            }
            Self::DeviceRefused => "The device is refused. It was not signed in.".to_owned(),
        }
    }

    /// Out of a page's query: `done=` and, perhaps, `count=`.
    pub(crate) fn read(query: &str) -> Option<String> {
        let value = |wanted: &str| {
            form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let number = |name: &str| value(name).and_then(|number| number.parse::<u64>().ok());
        let done = value("done")?;
        let notice = *Self::ALL.iter().find(|notice| notice.key() == done)?;
        let says = notice.says(number("count"));
        match (notice, number("streams"), number("requests"), number("ms")) {
            (Self::Cut, Some(streams), Some(requests), Some(ms)) => {
                Some(format!("{says} {}", closing(streams, requests, ms)))
            }
            _ => Some(says),
        }
    }

    /// Sends the browser on to a page that says what a cut closed, and how long that took.
    pub(crate) fn cut(location: &str, closed: Closed, took: Duration) -> Result<Response, WebError> {
        let Closed { streams, requests } = closed;
        let (key, ms) = (Self::Cut.key(), took.as_millis());
        see_other(&format!("{location}?done={key}&streams={streams}&requests={requests}&ms={ms}"))
    }

    /// Sends the browser on to a page that says so.
    pub(crate) fn at(self, location: &str, count: Option<u64>) -> Result<Response, WebError> {
        let count = count.map(|count| format!("&count={count}")).unwrap_or_default();
        let joint = if location.contains('?') { '&' } else { '?' };
        see_other(&format!("{location}{joint}done={}{count}", self.key()))
    }
}

/// What a cut closed, and how long that took.
fn closing(streams: u64, requests: u64, ms: u64) -> String {
    let closed = (streams > 0).then(|| format!("closed {}", counted(streams, "connection", "connections")));
    let ended = (requests > 0).then(|| format!("ended {}", counted(requests, "request", "requests")));
    let did: Vec<_> = closed.into_iter().chain(ended).collect();
    match (did.as_slice(), ms) {
        ([], _) => "Nothing of it was open.".to_owned(),
        (_, 0) => format!("It {} in less than 1 ms.", did.join(" and ")),
        _ => format!("It {} in {ms} ms.", did.join(" and ")),
    }
}

/// So many, in words.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// What an act has closed, if that is anything.
fn cut(count: Option<u64>) -> String {
    match count {
        None | Some(0) => String::new(),
        Some(count) => {
            format!(", and {} cut", counted(count, "open connection was", "open connections were"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_nothing_of_its_own() {
        assert_eq!(Notice::read("x=1&done=signed-out&count=7").as_deref(), Some("You are signed out."));
        assert_eq!(
            Notice::read("done=token-revoked&count=1").as_deref(),
            Some("The token is revoked, and 1 open connection was cut.")
        );
        for (closed, told) in [
            ("streams=1&requests=0&ms=7", "The cut stands. It closed 1 connection in 7 ms."),
            (
                "streams=2&requests=1&ms=7",
                "The cut stands. It closed 2 connections and ended 1 request in 7 ms.",
            ),
            ("streams=0&requests=3&ms=0", "The cut stands. It ended 3 requests in less than 1 ms."),
            ("streams=0&requests=0&ms=0", "The cut stands. Nothing of it was open."),
        ] {
            assert_eq!(Notice::read(&format!("done=cut&{closed}")).as_deref(), Some(told));
        }
        assert_eq!(Notice::read("done=cut&streams=x&requests=0&ms=7").as_deref(), Some("The cut stands."));
        for query in ["", "done", "done=<script>", "done=Signed-out", "count=7"] {
            assert_eq!(Notice::read(query), None, "{query}");
        }
    }
}
