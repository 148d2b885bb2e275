//! The first run.

use std::sync::Arc;

use axum::extract::State;
use fallgate_authority::{Newcomer, SetupOrder, Verifier};
use fallgate_domain::user::{DisplayName, Username};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::Created;
use crate::body::{JsonBody, SecretText};
use crate::cookie::{self, SetCookie};
use crate::error::WebError;
use crate::openapi::words;
use crate::view::WhoAmI;

/// The body that makes the first admin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FirstAdmin {
    #[schema(value_type = String)]
    setup_token: SecretText,
    #[schema(value_type = words::Username)]
    username: Username,
    #[schema(value_type = Option<words::Name>)]
    display_name: Option<DisplayName>,
    #[schema(value_type = words::Secret)]
    passphrase: SecretText,
}

pub(crate) async fn setup(
    newcomer: Newcomer,
    State(verifier): State<Arc<Verifier>>,
    JsonBody(body): JsonBody<FirstAdmin>,
) -> Result<(SetCookie, Created<WhoAmI>), WebError> {
    let FirstAdmin { setup_token, username, display_name, passphrase } = body;
    let (setup_token, passphrase) = (setup_token.0, passphrase.0);
    let order = SetupOrder { setup_token, username, display_name, passphrase };
    let sign_in = verifier.set_up(order, &newcomer).await?;
    Ok((cookie::set(&sign_in, newcomer.https), Created(WhoAmI::of_sign_in(sign_in))))
}
