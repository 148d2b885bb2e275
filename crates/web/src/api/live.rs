//! What is open now.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use fallgate_authority::actions::{CloseLive, ReadLive};
use fallgate_authority::{CloseOutcome, PeerAddress, Permit, Verifier};

use crate::answer::NoContent;
use crate::error::WebError;
use crate::view::LiveList;

/// One's own streams; for an admin everybody's.
pub(crate) async fn list(permit: Permit<ReadLive>, State(verifier): State<Arc<Verifier>>) -> Json<LiveList> {
    Json(verifier.live(&permit).into())
}

pub(crate) async fn close(
    permit: Permit<CloseLive>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
) -> Result<NoContent, WebError> {
    let unknown = || WebError::NotFound("There is no such stream, or none that you may close.".to_owned());
    let id = id.parse().map_err(|_| unknown())?;
    match verifier.close_live(&permit, id, peer.0).await? {
        CloseOutcome::Closed => Ok(NoContent),
        CloseOutcome::Unknown => Err(unknown()),
    }
}
