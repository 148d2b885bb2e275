//! Who one is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fallgate_authority::{Principal, Verifier};

use crate::error::WebError;
use crate::view::{CredentialView, WhoAmI, role_name};

pub(crate) async fn whoami(
    principal: Principal,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<WhoAmI>, WebError> {
    let listed = verifier.store().credential(principal.credential()).await?;
    let (name, expires_at) =
        listed.map_or((String::new(), None), |listed| (listed.credential.name, listed.credential.expires_at));
    Ok(Json(WhoAmI {
        username: principal.username().cloned(),
        display_name: principal.display_name(),
        role: role_name(&principal),
        credential: CredentialView {
            id: principal.credential(),
            kind: principal.kind(),
            name,
            scopes: principal.scopes(),
            expires_at,
        },
    }))
}
