//! Why something was refused, and what to do about it: the same words for the home folder's errors and for a gate's.

use fallgate_authority::{AgentError, CutError, MintError, TokenError, UserError, WorkerError};
use fallgate_domain::agent::AgentName;
use fallgate_domain::cut::CutTarget;
use fallgate_domain::lifetime::InvalidLifetime;
use fallgate_domain::user::Username;

use crate::failure::Failure;

pub(super) fn unknown_user(username: &Username) -> Failure {
    user(UserError::Unknown(username.clone()))
}

pub(super) fn username_taken(username: &Username) -> Failure {
    user(UserError::UsernameTaken(username.clone()))
}

pub(super) fn user(error: UserError) -> Failure {
    match error {
        UserError::UsernameTaken(_) => {
            Failure::failed(format_args!("{error}: choose another name, or see `fallgate user list`"))
        }
        UserError::Unknown(_) => {
            Failure::failed(format_args!("{error}: `fallgate user list` shows who there is"))
        }
        UserError::LastAdmin(_) => Failure::failed(format_args!(
            "{error}, so nobody could manage this gate any more: make another admin first with `fallgate user set-role NAME admin`"
        )),
        error => error.into(),
    }
}

pub(super) fn mint(error: MintError) -> Failure {
    match &error {
        MintError::UnknownUser(name) => Failure::failed(format_args!(
            "{error}: make them with `fallgate user create {name}`, or see `fallgate user list`"
        )),
        _ => error.into(),
    }
}

pub(super) fn no_token() -> Failure {
    Failure::failed("what the server made is no token of Fallgate's, so nothing is shown: is it a Fallgate?")
}

pub(super) fn for_others(what: &str) -> Failure {
    Failure::failed(format_args!("only an admin can make {what}, or ask one"))
}

pub(super) fn agent(error: AgentError) -> Failure {
    let see = match &error {
        AgentError::Unknown(_) => "`fallgate agent list` shows those there are",
        AgentError::UnknownUser(_) => "`fallgate user list` shows who there is",
        _ => return error.into(),
    };
    Failure::failed(format_args!("{error}: {see}"))
}

/// The agent that everybody has is nobody's to disable by itself.
pub(super) fn everybodys_own(name: &AgentName) -> Failure {
    Failure::failed(format_args!(
        "everybody's own agent cannot be disabled: cut it (`fallgate cut agent:{name}`), or disable the user"
    ))
}

pub(super) fn worker(error: WorkerError) -> Failure {
    match &error {
        WorkerError::UnknownAgent(name) => Failure::failed(format_args!(
            "{error}: make it with `fallgate agent create {name} --owner USER`, or see `fallgate agent list`"
        )),
        _ => error.into(),
    }
}

pub(super) fn broken_trail(broken: impl std::fmt::Display) -> Failure {
    Failure::failed(format_args!("{broken}: the trail is not what Fallgate wrote; compare it with a backup"))
}

pub(super) fn token(error: TokenError) -> Failure {
    match error {
        TokenError::Unknown(_) | TokenError::Ended(_) => {
            Failure::failed(format_args!("{error}; `fallgate token list --all` shows all there are"))
        }
        TokenError::UnknownUser(_) => {
            Failure::failed(format_args!("{error}: `fallgate user list` shows who there is"))
        }
        TokenError::Lifetime(InvalidLifetime::Past) => {
            Failure::failed(format_args!("{error}; to end it now, use `fallgate token revoke`"))
        }
        error => error.into(),
    }
}

pub(super) fn cut(error: CutError) -> Failure {
    let see = match &error {
        CutError::UnknownTarget(CutTarget::Credential(id)) => {
            return Failure::failed(format_args!(
                "{error}: `fallgate token list` shows tokens; if it is a worker token's, `fallgate token revoke {id}` \
                 ends it, and `fallgate cut agent:NAME` stops its agent"
            ));
        }
        CutError::UnknownTarget(CutTarget::User(_)) => "`fallgate user list` shows who there is",
        CutError::UnknownTarget(CutTarget::Agent(_)) => "`fallgate agent list` shows agents",
        CutError::UnknownTarget(CutTarget::Route(_)) => "`fallgate config explain` shows the routes",
        CutError::Unknown(_) => "`fallgate cuts` shows those that do",
        _ => return error.into(),
    };
    Failure::failed(format_args!("{error}: {see}"))
}
