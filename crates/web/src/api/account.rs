//! One's own account.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use fallgate_authority::{PeerAddress, SignedIn, Verifier};
use fallgate_domain::user::DisplayName;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::users::about;
use crate::body::{JsonBody, SecretText};
use crate::error::WebError;
use crate::openapi::words;
use crate::view::{EndedView, UserView};

/// The body that changes one's own account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccountChange)]
pub(crate) struct Change {
    #[schema(value_type = words::Name)]
    display_name: DisplayName,
}

pub(crate) async fn change(
    caller: SignedIn,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    JsonBody(Change { display_name }): JsonBody<Change>,
) -> Result<Json<UserView>, WebError> {
    Ok(Json(verifier.rename_self(&caller, display_name, peer.0).await?.into()))
}

/// The body that gives one's own account another passphrase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangePassphrase {
    #[schema(value_type = words::Secret)]
    current: SecretText,
    #[schema(value_type = words::NewPassphrase)]
    new: SecretText,
    #[serde(default)]
    revoke_tokens: bool,
}

pub(crate) async fn change_passphrase(
    caller: SignedIn,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    JsonBody(ChangePassphrase { current, new, revoke_tokens }): JsonBody<ChangePassphrase>,
) -> Result<Json<EndedView>, WebError> {
    let about = about(caller.username(), caller.principal().display_name().as_ref());
    let new = verifier.check_passphrase(new.0, about).await?;
    let changed = verifier.change_own_passphrase(&caller, &current.0, new, revoke_tokens, peer.0).await;
    Ok(Json(changed.map_err(WebError::of_wrong_current)?.into()))
}
