//! What a door answers when it cannot do what was asked.
//!
//! Three kinds of error in this house: enums of the domain, which say what happened; this one, which says it to a
//! client; and `anyhow` in the commands of the binary, which says it to an operator.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use fallgate_authority::{
    AgentError, CHALLENGE, CheckPassphraseError, CloseError, CutError, DeviceLoginError, EnterError,
    HashFailed, HasherBusy, MintError, PairingError, Refusal, SetupError, SignInError, Throttled, TokenError,
    Unwritten, UserError, WorkerError,
};
use fallgate_domain::problem::{MEDIA_TYPE, Problem};
use fallgate_store::StoreError;
use http::{HeaderValue, StatusCode, header};

/// A problem for a client (RFC 9457). The text is public: nothing in it that the client could not know.
#[derive(Debug)]
pub(crate) enum WebError {
    BadRequest(String),
    Refused(Refusal),
    /// No such user or not their passphrase, or no such setup token.
    Unauthorized(String),
    Forbidden(String),
    NotFound(String),
    MethodNotAllowed,
    Conflict(String),
    Gone(String),
    /// It was tried too often, and waiting does not help.
    Worn(String),
    BodyTooLarge,
    NotJson,
    NotForm,
    Busy(HasherBusy),
    Throttled(Throttled),
    /// The caller has more of something open already than they may; told what.
    TooManyOpen(String),
    Unwritten(Unwritten),
    /// Somebody else came in between; told what.
    Unsettled(String),
    Unavailable,
}

impl WebError {
    /// Whoever is signed in already and mistypes their passphrase stays so: no 401.
    pub(crate) fn of_wrong_current(error: SignInError) -> Self {
        match error {
            SignInError::Wrong => Self::Forbidden("The current passphrase is wrong.".to_owned()),
            other => other.into(),
        }
    }

    /// In seconds, where coming again later helps.
    pub(crate) const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Busy(busy) => Some(busy.retry_after().as_secs()),
            Self::Throttled(throttled) => Some(throttled.retry_after.as_secs()),
            Self::Unsettled(_) => Some(1),
            Self::TooManyOpen(_) => Some(5),
            _ => None,
        }
    }

    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::BadRequest(detail) => Problem::new(400, detail),
            Self::Refused(refusal) => refusal.problem(),
            Self::Unauthorized(detail) => Problem::new(401, detail),
            Self::Forbidden(detail) => Problem::new(403, detail),
            Self::NotFound(detail) => Problem::new(404, detail),
            Self::MethodNotAllowed => Problem::new(405, "This address does not take this method."),
            Self::Conflict(detail) => Problem::new(409, detail),
            Self::Gone(detail) => Problem::new(410, detail),
            Self::BodyTooLarge => Problem::new(413, "A request's body has at most 64 KiB."),
            Self::NotJson => Problem::new(415, "Send the body as Content-Type: application/json."),
            Self::NotForm => {
                Problem::new(415, "Send the form as Content-Type: application/x-www-form-urlencoded.")
            }
            Self::Unavailable => Problem::new(
                503,
                "Fallgate cannot use its store now. If this was to change something, look whether it did before you repeat it.",
            ),
            Self::Unsettled(detail) => Problem::new(503, detail),
            Self::Unwritten(unwritten) => Problem::new(503, sentence(&unwritten)),
            Self::Busy(busy) => Problem::new(503, sentence(&busy)),
            Self::Throttled(throttled) => Problem::new(429, sentence(&throttled)),
            Self::Worn(detail) | Self::TooManyOpen(detail) => Problem::new(429, detail),
        }
    }
}

/// The status that a problem is told with.
pub(crate) fn status_of(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Gives an answer the status of a problem and the fields that go with it: `retry_after` in seconds, where there is one.
pub(crate) fn mark(response: &mut Response, status: StatusCode, retry_after: Option<u64>) {
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        if let Self::Refused(refusal) = self {
            return refusal.into_response();
        }
        let retry_after = self.retry_after();
        let problem = self.problem();
        let mut response = Response::new(Body::from(problem.json()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        mark(&mut response, status_of(&problem), retry_after);
        // For whoever shows it as a page instead.
        response.extensions_mut().insert(problem);
        response
    }
}

impl From<StoreError> for WebError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::CallerEnded => {
                Self::Refused(Refusal::BadCredential(fallgate_authority::Denial::CallerEnded))
            }
            StoreError::CallerCut(notice) => Self::Refused(Refusal::Cut(notice)),
            error => {
                tracing::error!(%error, "the store failed");
                Self::Unavailable
            }
        }
    }
}

impl From<UserError> for WebError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::UsernameTaken(_) | UserError::AgentNamedSo(_) | UserError::LastAdmin(_) => {
                Self::Conflict(sentence(&error))
            }
            UserError::Unknown(_) => Self::NotFound(sentence(&error)),
            UserError::Ownerless => Self::Forbidden(sentence(&error)),
            UserError::Unwritten(unwritten) => Self::Unwritten(unwritten),
            UserError::Store(error) => error.into(),
            UserError::Hash(HashFailed::Busy(busy)) => Self::Busy(busy),
            UserError::Hash(_) | UserError::Entropy(_) => {
                tracing::error!(%error, "cannot write an account");
                Self::Unavailable
            }
        }
    }
}

impl From<SignInError> for WebError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Wrong => Self::Unauthorized(sentence(&error)),
            SignInError::SetupNeeded => Self::Refused(Refusal::SetupNeeded),
            SignInError::Cut(notice) => Self::Refused(Refusal::Cut(notice)),
            SignInError::Throttled(throttled) => Self::Throttled(throttled),
            SignInError::Unwritten(unwritten) => Self::Unwritten(unwritten),
            SignInError::Store(error) => error.into(),
            SignInError::Hash(HashFailed::Busy(busy)) => Self::Busy(busy),
            SignInError::Unsettled => Self::Unsettled(sentence(&error)),
            SignInError::TooLong => Self::BadRequest(sentence(&error)),
            SignInError::Hash(_) | SignInError::Entropy(_) => {
                tracing::error!(%error, "cannot sign anybody in");
                Self::Unavailable
            }
        }
    }
}

impl From<SetupError> for WebError {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Done => Self::Conflict(sentence(&error)),
            SetupError::WrongToken => Self::Unauthorized(sentence(&error)),
            SetupError::Passphrase(error) => error.into(),
            SetupError::Store(error) => error.into(),
            SetupError::Hash(HashFailed::Busy(busy)) => Self::Busy(busy),
            SetupError::Hash(_) | SetupError::Entropy(_) => {
                tracing::error!(%error, "cannot make the first user");
                Self::Unavailable
            }
        }
    }
}

impl From<AgentError> for WebError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Unknown(_) | AgentError::UnknownUser(_) => Self::NotFound(sentence(&error)),
            AgentError::NameTaken(_)
            | AgentError::UserNamedSo(_)
            | AgentError::OwnerDisabled(_)
            | AgentError::TooMany(_) => Self::Conflict(sentence(&error)),
            AgentError::NotYours | AgentError::ScopeBeyond(_) | AgentError::ScopeBeyondCaller(_) => {
                Self::Forbidden(sentence(&error))
            }
            AgentError::TooManyRoutes => Self::BadRequest(sentence(&error)),
            AgentError::Unwritten(unwritten) => Self::Unwritten(unwritten),
            AgentError::Store(error) => error.into(),
            AgentError::Entropy(_) => {
                tracing::error!(%error, "cannot make an agent");
                Self::Unavailable
            }
        }
    }
}

impl From<CutError> for WebError {
    fn from(error: CutError) -> Self {
        match error {
            CutError::UnknownTarget(_) | CutError::Unknown(_) => Self::NotFound(sentence(&error)),
            CutError::NotYourTarget(_)
            | CutError::NotYours
            | CutError::Ownerless
            | CutError::Stale
            | CutError::Paired => Self::Forbidden(sentence(&error)),
            CutError::TooMany(_) => Self::Conflict(sentence(&error)),
            CutError::Lifetime(_) => Self::BadRequest(sentence(&error)),
            CutError::Unwritten(unwritten) => Self::Unwritten(unwritten),
            CutError::Store(error) => error.into(),
            CutError::Entropy(_) => {
                tracing::error!(%error, "cannot cut");
                Self::Unavailable
            }
        }
    }
}

impl From<TokenError> for WebError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown(_) | TokenError::UnknownUser(_) => Self::NotFound(sentence(&error)),
            TokenError::NotYours | TokenError::Outlives(_) | TokenError::BeyondPolicy { .. } => {
                Self::Forbidden(sentence(&error))
            }
            TokenError::Ended(_) => Self::Conflict(sentence(&error)),
            TokenError::Lifetime(_) | TokenError::WorkerEndEarly(_) | TokenError::WorkerEndPast => {
                Self::BadRequest(sentence(&error))
            }
            TokenError::Throttled(throttled) => Self::Throttled(throttled),
            TokenError::Unwritten(unwritten) => Self::Unwritten(unwritten),
            TokenError::Store(error) => error.into(),
        }
    }
}

impl From<WorkerError> for WebError {
    fn from(error: WorkerError) -> Self {
        let detail = format!("The worker token was not minted: {error}.");
        match error {
            WorkerError::UnknownAgent(_) => Self::NotFound(detail),
            WorkerError::OwnerDisabled(_) | WorkerError::AgentDisabled(_) => Self::Conflict(detail),
            WorkerError::NotYours(_)
            | WorkerError::ByWorker
            | WorkerError::NotAWorker
            | WorkerError::Ownerless
            | WorkerError::ScopeBeyond(_)
            | WorkerError::ScopeBeyondMinter(_)
            | WorkerError::OutlivesParent(_) => Self::Forbidden(detail),
            WorkerError::BadLife | WorkerError::NoAudience | WorkerError::TooLong => Self::BadRequest(detail),
            WorkerError::ParentEnded => {
                Self::Refused(Refusal::BadCredential(fallgate_authority::Denial::ParentEnded))
            }
            WorkerError::Store(error) => error.into(),
            WorkerError::Key(_) | WorkerError::Entropy(_) => {
                tracing::error!(%error, "cannot mint a worker token");
                Self::Unavailable
            }
        }
    }
}

impl From<CloseError> for WebError {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::Unwritten(unwritten) => Self::Unwritten(unwritten),
            CloseError::Store(error) => error.into(),
        }
    }
}

impl From<EnterError> for WebError {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Stale { .. } => Self::Forbidden(sentence(&error)),
            // Whoever brought the code did nothing wrong but to be late: no challenge, which is for credentials.
            EnterError::Refused(Refusal::BadCredential(_)) => Self::Forbidden(
                "The sign-in that was to be brought over has ended: sign in again.".to_owned(),
            ),
            EnterError::Refused(refusal) => Self::Refused(refusal),
            EnterError::Store(error) => error.into(),
            EnterError::Entropy(error) => {
                tracing::error!(%error, "cannot bring a sign-in over");
                Self::Unavailable
            }
        }
    }
}

impl From<PairingError> for WebError {
    fn from(error: PairingError) -> Self {
        match error {
            PairingError::Unknown | PairingError::NotYours | PairingError::UnknownUser(_) => {
                Self::NotFound(sentence(&error))
            }
            PairingError::Late | PairingError::Withdrawn => Self::Gone(sentence(&error)),
            PairingError::Used
            | PairingError::NobodyAsks
            | PairingError::Disabled(_)
            | PairingError::NoAdmin => Self::Conflict(sentence(&error)),
            PairingError::Worn => Self::Worn(sentence(&error)),
            PairingError::Refused | PairingError::StarterEnded => Self::Forbidden(sentence(&error)),
            PairingError::PassphraseNeeded => Self::BadRequest(sentence(&error)),
            PairingError::WrongPassphrase => Self::Unauthorized(sentence(&error)),
            PairingError::Cut(reason) => Self::Refused(Refusal::Cut(reason)),
            PairingError::Throttled(throttled) => Self::Throttled(throttled),
            PairingError::SignIn(error) => error.into(),
            PairingError::Store(error) => error.into(),
            PairingError::Entropy(error) => {
                tracing::error!(%error, "cannot pair a device");
                Self::Unavailable
            }
        }
    }
}

impl From<DeviceLoginError> for WebError {
    fn from(error: DeviceLoginError) -> Self {
        match error {
            DeviceLoginError::SetupNeeded => Self::Refused(Refusal::SetupNeeded),
            DeviceLoginError::Unknown => Self::NotFound(sentence(&error)),
            DeviceLoginError::Late => Self::Gone(sentence(&error)),
            DeviceLoginError::Answered | DeviceLoginError::Pending | DeviceLoginError::TooSoon => {
                Self::Conflict(sentence(&error))
            }
            DeviceLoginError::Refused | DeviceLoginError::ApproverEnded => Self::Forbidden(sentence(&error)),
            DeviceLoginError::Cut(notice) => Self::Refused(Refusal::Cut(notice)),
            DeviceLoginError::Throttled(throttled) => Self::Throttled(throttled),
            DeviceLoginError::Store(error) => error.into(),
            DeviceLoginError::Entropy(error) => {
                tracing::error!(%error, "cannot sign a device in");
                Self::Unavailable
            }
        }
    }
}

impl From<Throttled> for WebError {
    fn from(throttled: Throttled) -> Self {
        Self::Throttled(throttled)
    }
}

impl From<CheckPassphraseError> for WebError {
    fn from(error: CheckPassphraseError) -> Self {
        match error {
            CheckPassphraseError::Weak(weak) => Self::BadRequest(sentence(&weak)),
            CheckPassphraseError::Busy(busy) => Self::Busy(busy),
        }
    }
}

/// An error's text with a capital and a full stop.
pub(crate) fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut rest = text.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", rest.as_str())
}

impl From<MintError> for WebError {
    fn from(error: MintError) -> Self {
        let detail = format!("The token was not minted: {error}.");
        match error {
            MintError::UnknownUser(_) => Self::NotFound(detail),
            MintError::OwnerDisabled(_) | MintError::TooMany { .. } => Self::Conflict(detail),
            MintError::ScopeBeyond(_)
            | MintError::ScopeBeyondParent(_)
            | MintError::OutlivesParent(_)
            | MintError::BeyondPolicy { .. }
            | MintError::ByWorker
            | MintError::TooDeep => Self::Forbidden(detail),
            MintError::ParentEnded => {
                Self::Refused(Refusal::BadCredential(fallgate_authority::Denial::ParentEnded))
            }
            MintError::Lifetime(_) => Self::BadRequest(detail),
            MintError::Store(error) => error.into(),
            MintError::Entropy(error) => {
                tracing::error!(%error, "cannot mint");
                Self::Unavailable
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_in_between_of_others_is_told_so_and_to_come_again_at_once() {
        let error = WebError::from(SignInError::Unsettled);
        assert_eq!(error.retry_after(), Some(1));
        let problem = error.problem();
        let told = "The account is being changed; try again.";
        assert_eq!((problem.status, problem.detail.as_str()), (503, told));
    }
}
