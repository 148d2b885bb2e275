//! Who one is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fallgate_authority::{Denial, Principal, Refusal, Verifier};

use crate::error::WebError;
use crate::view::{CredentialView, WhoAmI, role_name};

pub(crate) async fn whoami(
    principal: Principal,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<WhoAmI>, WebError> {
    let listed = verifier.store().credential(principal.credential()).await?;
    // Purged since it was verified.
    let gone = WebError::Refused(Refusal::BadCredential(Denial::Unknown));
    let credential = listed.ok_or(gone)?.credential;
    Ok(Json(WhoAmI {
        username: principal.username().cloned(),
        display_name: principal.display_name(),
        role: role_name(&principal).to_owned(),
        credential: CredentialView {
            id: principal.credential(),
            kind: principal.kind(),
            name: credential.name,
            scopes: principal.scopes(),
            expires_at: credential.expires_at,
        },
    }))
}
