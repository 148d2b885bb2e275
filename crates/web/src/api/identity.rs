//! Who one is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fallgate_authority::{Denial, Principal, Refusal, Verifier};
use fallgate_domain::clock::Timestamp;

use crate::error::WebError;
use crate::view::{CredentialView, WhoAmI};

pub(crate) async fn whoami(
    principal: Principal,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<WhoAmI>, WebError> {
    if let Some(claims) = principal.worker() {
        // There is no row of it.
        let (name, expires_at) = (claims.agent.to_string(), principal.expires_at());
        return Ok(Json(who(&principal, name, expires_at)));
    }
    let listed = verifier.store().credential(principal.credential()).await?;
    // Purged since it was verified.
    let gone = WebError::Refused(Refusal::BadCredential(Denial::Unknown));
    let credential = listed.ok_or(gone)?.credential;
    Ok(Json(who(&principal, credential.name, credential.expires_at)))
}

fn who(principal: &Principal, name: String, expires_at: Option<Timestamp>) -> WhoAmI {
    WhoAmI {
        username: principal.username().cloned(),
        display_name: principal.display_name(),
        role: principal.role_name().to_owned(),
        credential: CredentialView {
            id: principal.credential(),
            kind: principal.kind(),
            name,
            scopes: principal.scopes(),
            expires_at,
        },
    }
}
