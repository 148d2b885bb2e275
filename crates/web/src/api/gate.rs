//! The gate itself: is it well, and which version is it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fallgate_authority::Verifier;
use serde_json::{Value, json};

use crate::doors::Public;
use crate::error::WebError;

/// Says whether the store can be read, and nothing else.
pub(crate) async fn health(
    _: Public,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<Value>, WebError> {
    verifier.freshen().await?;
    verifier.store().ping().await?;
    Ok(Json(json!({ "status": "ok" })))
}

pub(crate) async fn version(_: Public) -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}
