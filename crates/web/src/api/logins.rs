//! Signing in and out, and one's own sign-ins.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use fallgate_authority::{
    CameByHttps, Newcomer, PeerAddress, RevokeOutcome, SignInOrder, SignedIn, SigningOut, Verifier,
};
use fallgate_domain::credential::TokenName;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::NoContent;
use crate::body::{JsonBody, SecretText};
use crate::cookie::{self, SetCookie};
use crate::error::WebError;
use crate::openapi::words;
use crate::view::{LoginList, LoginView, RevokedCount, WhoAmI};

/// The body that signs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignIn)]
pub(crate) struct Login {
    /// Any text: what is no username is nobody's, like one that nobody has.
    #[schema(value_type = String)]
    username: SecretText,
    #[schema(value_type = words::Secret)]
    passphrase: SecretText,
    #[schema(value_type = Option<words::Name>)]
    device_name: Option<TokenName>,
}

pub(crate) async fn login(
    newcomer: Newcomer,
    State(verifier): State<Arc<Verifier>>,
    JsonBody(Login { username, passphrase, device_name }): JsonBody<Login>,
) -> Result<(SetCookie, Json<WhoAmI>), WebError> {
    let order = SignInOrder { username: username.0, passphrase: passphrase.0, device_name };
    let sign_in = verifier.sign_in(order, &newcomer).await?;
    Ok((cookie::set(&sign_in, newcomer.https), Json(WhoAmI::of_sign_in(sign_in))))
}

pub(crate) async fn logout(
    caller: SigningOut,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Extension(came): Extension<CameByHttps>,
) -> Result<(SetCookie, NoContent), WebError> {
    verifier.sign_out(&caller, peer.0).await?;
    Ok((cookie::clear(came.0), NoContent))
}

pub(crate) async fn list(
    caller: SignedIn,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<LoginList>, WebError> {
    let current = caller.principal().credential();
    let listed = verifier.logins(&caller).await?;
    let logins = listed.into_iter().map(|listed| LoginView::of(listed.credential, current)).collect();
    Ok(Json(LoginList { logins }))
}

pub(crate) async fn end(
    caller: SignedIn,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
) -> Result<NoContent, WebError> {
    let unknown = || WebError::NotFound("You have no such sign-in.".to_owned());
    let id = id.parse().map_err(|_| unknown())?;
    match verifier.end_login(&caller, id, peer.0).await? {
        RevokeOutcome::Revoked | RevokeOutcome::AlreadyRevoked => Ok(NoContent),
        RevokeOutcome::Unknown | RevokeOutcome::NotYours => Err(unknown()),
    }
}

/// All but the one in use.
pub(crate) async fn end_others(
    caller: SignedIn,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
) -> Result<Json<RevokedCount>, WebError> {
    let revoked = verifier.end_other_logins(&caller, peer.0).await?;
    Ok(Json(RevokedCount { revoked }))
}
