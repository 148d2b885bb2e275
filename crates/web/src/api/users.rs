//! People's accounts, for admins.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use fallgate_authority::actions::ManageUsers;
use fallgate_authority::{PeerAddress, Permit, UserOrder, UserPatch, Verifier};
use fallgate_domain::user::{DisplayName, Role, User, Username};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::{Created, NoContent};
use crate::body::{JsonBody, SecretText};
use crate::error::WebError;
use crate::openapi::words;
use crate::view::{EndedView, UserList, UserView};

pub(crate) async fn list(
    _permit: Permit<ManageUsers>,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<UserList>, WebError> {
    Ok(Json(verifier.store().users().await?.into()))
}

/// The body that makes an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
pub(crate) struct Create {
    #[schema(value_type = words::Username)]
    username: Username,
    #[schema(value_type = Option<words::Name>)]
    display_name: Option<DisplayName>,
    #[schema(value_type = Option<words::PersonsRole>)]
    role: Option<Role>,
    #[schema(value_type = words::NewPassphrase)]
    passphrase: SecretText,
}

pub(crate) async fn create(
    permit: Permit<ManageUsers>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    JsonBody(create): JsonBody<Create>,
) -> Result<Created<UserView>, WebError> {
    let Create { username, display_name, role, passphrase } = create;
    let about = about(&username, display_name.as_ref());
    let passphrase = verifier.check_passphrase(passphrase.0, about).await?;
    let order = UserOrder { username, display_name, role: role.unwrap_or(Role::User), passphrase };
    let user = verifier.create_user(&permit, order, peer.0).await?;
    Ok(Created(user.into()))
}

pub(crate) async fn show(
    _permit: Permit<ManageUsers>,
    State(verifier): State<Arc<Verifier>>,
    Path(username): Path<String>,
) -> Result<Json<UserView>, WebError> {
    Ok(Json(existing(&verifier, &named(&username)?).await?.into()))
}

/// The body that changes an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
pub(crate) struct Change {
    #[schema(value_type = Option<words::Name>)]
    display_name: Option<DisplayName>,
    #[schema(value_type = Option<words::PersonsRole>)]
    role: Option<Role>,
    disabled: Option<bool>,
}

pub(crate) async fn change(
    permit: Permit<ManageUsers>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(username): Path<String>,
    JsonBody(Change { display_name, role, disabled }): JsonBody<Change>,
) -> Result<Json<UserView>, WebError> {
    let patch = UserPatch { display_name, role, disabled };
    Ok(Json(verifier.change_user(&permit, &named(&username)?, patch, peer.0).await?.into()))
}

pub(crate) async fn delete(
    permit: Permit<ManageUsers>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(username): Path<String>,
) -> Result<NoContent, WebError> {
    verifier.delete_user(&permit, &named(&username)?, peer.0).await?;
    Ok(NoContent)
}

/// The body that gives an account another passphrase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PassphraseReset)]
pub(crate) struct Reset {
    #[schema(value_type = words::NewPassphrase)]
    passphrase: SecretText,
    #[serde(default)]
    revoke_tokens: bool,
}

pub(crate) async fn reset_passphrase(
    permit: Permit<ManageUsers>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(username): Path<String>,
    JsonBody(Reset { passphrase, revoke_tokens }): JsonBody<Reset>,
) -> Result<Json<EndedView>, WebError> {
    let user = existing(&verifier, &named(&username)?).await?;
    let about = about(&user.username, Some(&user.display_name));
    let passphrase = verifier.check_passphrase(passphrase.0, about).await?;
    let ended = verifier.reset_passphrase(&permit, &user.username, passphrase, revoke_tokens, peer.0).await?;
    Ok(Json(ended.into()))
}

/// What an attacker would try first.
pub(crate) fn about(username: &Username, display_name: Option<&DisplayName>) -> Vec<String> {
    let mut about = vec![username.to_string(), "fallgate".to_owned()];
    about.extend(display_name.map(DisplayName::to_string));
    about
}

/// What is no username is nobody's.
pub(crate) fn named(text: &str) -> Result<Username, WebError> {
    text.parse().map_err(|_| unknown())
}

pub(crate) async fn existing(verifier: &Verifier, username: &Username) -> Result<User, WebError> {
    verifier.store().user_named(username).await?.ok_or_else(unknown)
}

fn unknown() -> WebError {
    WebError::NotFound("There is no such user.".to_owned())
}
