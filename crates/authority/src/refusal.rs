//! Why a request is refused: what the client is told, and what only we know.

use std::fmt;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use fallgate_domain::cut::CutNotice;
use fallgate_domain::problem::{MEDIA_TYPE, Problem};
use fallgate_domain::scope::Scope;
use http::{HeaderValue, StatusCode, header};

/// The challenge of every `401` (RFC 6750).
pub const CHALLENGE: &str = "Bearer realm=\"fallgate\"";

/// Why a credential does not stand. For the log and the audit trail only: clients hear the same sentence for each
/// (requirement R38).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// Not of a form that we mint, or a wrong checksum.
    Malformed,
    /// Nobody has this credential.
    Unknown,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// Something in its lineage was ended.
    ParentEnded,
    /// Its owner is disabled.
    OwnerDisabled,
    /// Its owner was deleted.
    OwnerGone,
    /// The agent that it runs as is disabled.
    AgentDisabled,
    /// That agent was deleted.
    AgentGone,
    /// It stood when the request came in, and not any more when what was asked for was to be done.
    CallerEnded,
    /// The username that came with it is not its owner's.
    WrongUsername,
    /// A worker token that no key which verifies now has signed.
    NotOurs,
    /// It is from the future.
    NotYet,
    /// A worker token that is not for where it was used.
    WrongAudience,
    /// Its owner was to be shut out, or the store was lost: refused by this process until it is restarted.
    Halted,
}

impl Denial {
    /// One word for logs and close reasons.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::ParentEnded => "parent-ended",
            Self::OwnerDisabled => "owner-disabled",
            Self::OwnerGone => "owner-gone",
            Self::AgentDisabled => "agent-disabled",
            Self::AgentGone => "agent-gone",
            Self::CallerEnded => "caller-ended",
            Self::WrongUsername => "wrong-username",
            Self::NotOurs => "not-ours",
            Self::NotYet => "not-yet",
            Self::WrongAudience => "wrong-audience",
            Self::Halted => "halted",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A request that is not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It carries no credential.
    NoCredential,
    /// It carries one that does not stand.
    BadCredential(Denial),
    /// The credential does not have the scope that this needs, or its owner's role does not allow it (any more).
    Beyond(Scope),
    /// It is no sign-in by passphrase, and only that will do.
    NoSignIn,
    /// A cookie came with it that a browser sends whoever makes it ask, and it is not a page of ours that did
    /// (requirement R21).
    CrossSite,
    /// The route's `allow` list does not name the caller.
    NotAdmitted,
    /// Somebody closed what was under way.
    Closed,
    /// It was let through, and has lasted as long as anything may on its route.
    TooOld,
    /// It was let through, and a later config has another route in the place of the one that it went by.
    RouteChanged,
    /// A cut stops it.
    Cut(CutNotice),
    /// There is no user yet, so nobody can have a credential.
    SetupNeeded,
    /// The store cannot be asked, so nothing can be decided.
    Unavailable,
}

impl Refusal {
    /// What the client is told. Says nothing that helps a guesser.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoCredential => {
                Problem::new(401, "This needs a credential: send Authorization: Bearer with a token.")
            }
            Self::BadCredential(_) => Problem::new(401, "The credential is not valid."),
            Self::Beyond(scope) => Problem::new(
                403,
                format!("This needs the scope {scope}, which the credential does not have."),
            ),
            Self::NoSignIn => Problem::new(
                403,
                "This is for whoever signed in by passphrase; a token will not do, nor a sign-in by a token.",
            ),
            Self::CrossSite => Problem::new(
                403,
                "This did not come from one of Fallgate's own pages. A program presents its credential as Authorization: Bearer, not as a cookie.",
            ),
            Self::NotAdmitted => {
                Problem::new(403, "You may not use this route: its `allow` list does not name you.")
            }
            Self::Closed => {
                Problem::new(403, "Somebody who may do so has closed this while it was under way.")
            }
            Self::TooOld => Problem::new(
                401,
                "This has lasted as long as the route's `max_stream_age` lets anything last: ask again.",
            ),
            Self::RouteChanged => {
                Problem::new(401, "The route was changed while this was under way: ask again.")
            }
            Self::Cut(notice) => Problem::new(403, told_of_cut(notice)),
            Self::SetupNeeded => Problem::new(
                503,
                "Setup needed: there is no user yet. Make the first one with POST /api/setup or, on the machine itself, with `fallgate user create NAME --admin`.",
            ),
            Self::Unavailable => {
                Problem::new(503, "Fallgate cannot read its store and refuses everything until it can.")
            }
        }
    }
}

/// What whoever is cut is told.
fn told_of_cut(CutNotice { reason, until }: &CutNotice) -> String {
    // One that has an end may be lifted before it.
    let until = until.map_or_else(String::new, |until| format!("{} or until ", until.to_the_second()));
    let told = format!("This was cut off, and stays so until {until}the cut is lifted");
    reason.as_ref().map_or_else(|| format!("{told}."), |reason| format!("{told}: {reason}"))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let mut response = Response::new(Body::from(problem.json()));
        *response.status_mut() =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if problem.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        // For whoever shows it as a page instead.
        response.extensions_mut().insert(problem);
        response
    }
}
