//! The public halves of the signing keys, for whoever checks what was signed here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fallgate_authority::{PublishedKey, Verifier};
use http::header::{self, HeaderName};
use serde::Serialize;
use utoipa::ToSchema;

use crate::doors::Public;
use crate::error::WebError;

/// A cached answer may be this old: a key that was dropped is told of after five minutes.
const CACHED: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "public, max-age=300")];

/// A JSON Web Key Set (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Jwks {
    keys: Vec<Jwk>,
}

/// An Ed25519 public key as a JSON Web Key (RFC 8037).
#[derive(Debug, Serialize, ToSchema)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
}

impl From<PublishedKey> for Jwk {
    fn from(key: PublishedKey) -> Self {
        Self { kty: "OKP", crv: "Ed25519", alg: "EdDSA", usage: "sig", kid: key.kid, x: key.x }
    }
}

pub(crate) async fn jwks(
    _: Public,
    State(verifier): State<Arc<Verifier>>,
) -> Result<([(HeaderName, &'static str); 1], Json<Jwks>), WebError> {
    // A database that was put in this one's place is not believed.
    verifier.freshen().await?;
    let keys = verifier.published_keys().await?.into_iter().map(Jwk::from).collect();
    Ok((CACHED, Json(Jwks { keys })))
}
