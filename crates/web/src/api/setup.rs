//! The first run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fallgate_authority::{Newcomer, SetupOrder, Verifier};
use fallgate_domain::user::{DisplayName, Username};
use http::StatusCode;
use serde::Deserialize;

use crate::body::{JsonBody, SecretText};
use crate::cookie::{self, SetCookie};
use crate::error::WebError;
use crate::view::WhoAmI;

/// The body that makes the first admin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FirstAdmin {
    setup_token: SecretText,
    username: Username,
    display_name: Option<DisplayName>,
    passphrase: SecretText,
}

pub(crate) async fn setup(
    newcomer: Newcomer,
    State(verifier): State<Arc<Verifier>>,
    JsonBody(body): JsonBody<FirstAdmin>,
) -> Result<(StatusCode, SetCookie, Json<WhoAmI>), WebError> {
    let FirstAdmin { setup_token, username, display_name, passphrase } = body;
    let (setup_token, passphrase) = (setup_token.0, passphrase.0);
    let order = SetupOrder { setup_token, username, display_name, passphrase };
    let sign_in = verifier.set_up(order, &newcomer).await?;
    Ok((StatusCode::CREATED, cookie::set(&sign_in, newcomer.https), Json(WhoAmI::of_sign_in(sign_in))))
}
