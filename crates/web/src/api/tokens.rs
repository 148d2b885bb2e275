//! Tokens: list, mint, change, look up, revoke.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use fallgate_authority::actions::{ReadIdentity, WriteTokens};
use fallgate_authority::{MintOrder, PeerAddress, Permit, RevokeOutcome, Verifier, WorkerEnd};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, TokenName};
use fallgate_domain::id::CredentialId;
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::Username;
use fallgate_store::CredentialFilter;
use serde::{Deserialize, Deserializer, de};
use serde_json::Number;
use utoipa::{IntoParams, ToSchema};

use crate::answer::{Created, NoContent};
use crate::body::{JsonBody, SecretText, asked};
use crate::doors::Public;
use crate::error::WebError;
use crate::openapi::words;
use crate::view::{Inspected, InspectedView, Me, MintedView, RevokedCount, TokenList, TokenView, UserName};

/// One's own tokens, ended ones too; for an admin everybody's, and who there is.
pub(crate) async fn list(
    permit: Permit<ReadIdentity>,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<TokenList>, WebError> {
    let (caller, store, now) = (permit.principal(), verifier.store(), verifier.clock().now());
    let me = Me::of(caller);
    let owner = if caller.is_admin() { None } else { caller.user() };
    if owner.is_none() && !caller.is_admin() {
        // Nobody owns this credential, so it has no tokens to list.
        return Ok(Json(TokenList { me, tokens: Vec::new(), users: None }));
    }
    let kinds = vec![CredentialKind::Token, CredentialKind::Legacy];
    let listed = store.credentials(&CredentialFilter { owner, kinds, with_ended: true, now }).await?;
    let tokens = listed.into_iter().map(|listed| TokenView::of(listed, now)).collect();
    let users = if caller.is_admin() { Some(store.users().await?) } else { None };
    let name = |user: fallgate_domain::user::User| UserName {
        username: user.username,
        display_name: user.display_name,
    };
    let users = users.map(|users| users.into_iter().map(name).collect());
    Ok(Json(TokenList { me, tokens, users }))
}

/// The body of a mint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mint {
    #[schema(value_type = words::Name)]
    name: TokenName,
    /// Whose it will be, when an admin says so; anybody else mints for themselves.
    #[schema(value_type = Option<words::Username>)]
    username: Option<Username>,
    /// What it may be used for; without them, the usual ones.
    #[schema(value_type = Option<Vec<words::Scope>>)]
    scopes: Option<Scopes>,
    /// In so many seconds: at most a hundred years; `null` for never.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 3_153_600_000_u64)]
    expires_in: Member<Seconds>,
    /// Then; `null` for never. One of the two, at most.
    #[serde(default)]
    #[schema(value_type = Option<words::Time>)]
    expires_at: Member<Timestamp>,
}

/// A member of a body.
#[derive(Debug, Default)]
enum Member<T> {
    /// Left out.
    #[default]
    Absent,
    /// `null`.
    Null,
    Is(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Is))
    }
}

/// A whole number of seconds.
#[derive(Debug)]
pub(crate) struct Seconds(u64);

impl Seconds {
    /// So long from now.
    pub(crate) fn lifetime(self) -> Lifetime {
        Lifetime::For(Duration::from_secs(self.0))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(deserializer)?;
        // To JSON `3600.0` is the same number.
        let whole = || {
            number.as_f64().filter(|seconds| seconds.fract() == 0.0).map(|seconds| format!("{seconds:.0}"))
        };
        let seconds = number.as_u64().or_else(|| whole()?.parse().ok());
        seconds.map(Self).ok_or_else(|| de::Error::custom("expires_in is a whole number of seconds"))
    }
}

/// What two ways of saying it come to; `null` is never, in either.
fn lifetime(seconds: Member<Seconds>, time: Member<Timestamp>) -> Result<Option<Lifetime>, WebError> {
    match (seconds, time) {
        (Member::Absent, Member::Absent) => Ok(None),
        (Member::Null, Member::Absent) | (Member::Absent, Member::Null) => Ok(Some(Lifetime::Never)),
        (Member::Is(seconds), Member::Absent) => Ok(Some(seconds.lifetime())),
        (Member::Absent, Member::Is(time)) => Ok(Some(Lifetime::Until(time))),
        _ => Err(WebError::BadRequest("Give either expires_in or expires_at, not both.".to_owned())),
    }
}

pub(crate) async fn mint(
    permit: Permit<WriteTokens>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    JsonBody(mint): JsonBody<Mint>,
) -> Result<Created<MintedView>, WebError> {
    let own = permit.principal().username().cloned();
    let owner = mint
        .username
        .or(own)
        .ok_or_else(|| WebError::Forbidden("A credential that nobody owns cannot mint tokens.".to_owned()))?;
    let lifetime = lifetime(mint.expires_in, mint.expires_at)?;
    let order = MintOrder { owner, name: Some(mint.name), scopes: mint.scopes, lifetime };
    let minted = verifier.mint(&permit, order, peer.0).await?;
    Ok(Created(MintedView::of(minted)))
}

/// Until when the end of a worker token is to be remembered.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    /// For whoever knows when the worker token ends by itself.
    #[param(value_type = words::Time, required = false, inline)]
    expires_at: Option<Timestamp>,
    /// Take also a time that is earlier than the latest at which one can end.
    #[serde(default)]
    #[param(required = false, inline)]
    force: bool,
}

/// A token of the store, or else a worker token: of those nobody has a list.
pub(crate) async fn revoke(
    permit: Permit<WriteTokens>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
    end: Result<Query<End>, QueryRejection>,
) -> Result<NoContent, WebError> {
    let id = identified(&id)?;
    let End { expires_at, force } = asked(end)?;
    match verifier.revoke(&permit, id, WorkerEnd { expires_at, force }, peer.0).await? {
        RevokeOutcome::Revoked | RevokeOutcome::AlreadyRevoked => Ok(NoContent),
        RevokeOutcome::Unknown => Err(unknown()),
        RevokeOutcome::NotYours => Err(WebError::Forbidden("This token is another's.".to_owned())),
    }
}

/// The body that changes a token: its name or its end, one at a time, since each is an act of its own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenChange)]
pub(crate) struct Change {
    #[schema(value_type = Option<words::Name>)]
    name: Option<TokenName>,
    /// In so many seconds: at most a hundred years; `null` for never.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 3_153_600_000_u64)]
    expires_in: Member<Seconds>,
    /// Then; `null` for never. One of the two, at most.
    #[serde(default)]
    #[schema(value_type = Option<words::Time>)]
    expires_at: Member<Timestamp>,
}

pub(crate) async fn change(
    permit: Permit<WriteTokens>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
    JsonBody(Change { name, expires_in, expires_at }): JsonBody<Change>,
) -> Result<Json<TokenView>, WebError> {
    let id = identified(&id)?;
    let listed = match (name, lifetime(expires_in, expires_at)?) {
        (Some(name), None) => verifier.rename_token(&permit, id, name, peer.0).await?,
        (None, Some(lifetime)) => verifier.redate_token(&permit, id, lifetime, peer.0).await?,
        (None, None) => {
            return Err(WebError::BadRequest("Give a name, expires_in or expires_at.".to_owned()));
        }
        (Some(_), Some(_)) => {
            return Err(WebError::BadRequest("Change the name or the end, not both at once.".to_owned()));
        }
    };
    Ok(Json(TokenView::of(listed, verifier.clock().now())))
}

/// One's own token, looked up by its secret, ended or not; for an admin, anybody's.
pub(crate) async fn inspect(
    permit: Permit<ReadIdentity>,
    State(verifier): State<Arc<Verifier>>,
    JsonBody(Held { token }): JsonBody<Held>,
) -> Result<Json<Inspected>, WebError> {
    if let Some(worker) = verifier.inspect_worker(&permit, token.0.as_bytes()).await? {
        return Ok(Json(Inspected::Worker(worker.into())));
    }
    let found = verifier.inspect(&permit, token.0.as_bytes()).await?;
    let listed = found.ok_or_else(unknown)?;
    Ok(Json(Inspected::Stored(InspectedView::of(listed, verifier.clock().now()))))
}

/// Whose tokens are to be revoked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    /// For admins: all tokens of this user, also the one in use.
    #[param(value_type = words::Username, required = false, inline)]
    username: Option<Username>,
}

/// All of one's own but the one in use, or all of the named user.
pub(crate) async fn revoke_all(
    permit: Permit<WriteTokens>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    whose: Result<Query<Whose>, QueryRejection>,
) -> Result<Json<RevokedCount>, WebError> {
    let whose = asked(whose)?;
    let revoked = verifier.revoke_all(&permit, whose.username.as_ref(), peer.0).await?;
    Ok(Json(RevokedCount { revoked }))
}

/// The body of whoever holds a token, to end it or to look at it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    #[schema(value_type = words::Secret)]
    token: SecretText,
}

/// Whoever holds a token may end it. The answer is the same whatever it was (requirement R37), also when it is that
/// there were too many tries: a real secret is ended then too, or false ones would keep it alive.
pub(crate) async fn revoke_held(
    _: Public,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    JsonBody(Held { token }): JsonBody<Held>,
) -> Result<NoContent, WebError> {
    end_held(&verifier, &token, peer).await?;
    Ok(NoContent)
}

pub(crate) async fn end_held(
    verifier: &Verifier,
    token: &SecretText,
    peer: PeerAddress,
) -> Result<(), WebError> {
    let counted = verifier.count_held(peer.0);
    verifier.revoke_held(token.0.as_bytes(), peer.0).await?;
    Ok(counted?)
}

/// What is no id is nobody's.
pub(crate) fn identified(text: &str) -> Result<CredentialId, WebError> {
    text.parse().map_err(|_| unknown())
}

pub(crate) fn unknown() -> WebError {
    WebError::NotFound("There is no such token.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_of_seconds_is_one_however_json_writes_it() {
        for (text, seconds) in [("3600", 3_600), ("3600.0", 3_600), ("1e3", 1_000)] {
            let read: Seconds = serde_json::from_str(text).unwrap();
            assert_eq!(read.0, seconds, "{text}");
        }
        for text in ["1.5", "-1", "\"60\"", "1e300", "true", "null"] {
            assert!(serde_json::from_str::<Seconds>(text).is_err(), "{text}");
        }
    }
}
