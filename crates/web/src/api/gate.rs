//! The gate itself: is it well, and which version is it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fallgate_authority::Verifier;
use serde::Serialize;
use utoipa::ToSchema;

use crate::doors::Public;
use crate::error::WebError;

/// `GET /health`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// `GET /api/version`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    /// As released.
    version: &'static str,
}

/// Says whether the store can be read, and nothing else.
pub(crate) async fn health(
    _: Public,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<Health>, WebError> {
    verifier.freshen().await?;
    verifier.store().ping().await?;
    Ok(Json(Health { status: "ok" }))
}

pub(crate) async fn version(_: Public) -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION") })
}
