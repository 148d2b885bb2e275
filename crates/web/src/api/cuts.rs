//! Cuts: list, place, lift.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use fallgate_authority::actions::ManageCuts;
use fallgate_authority::{CutError, CutOrder, PeerAddress, Permit, Verifier};
use fallgate_domain::cut::{CutReason, CutTarget};
use fallgate_domain::id::CutId;
use fallgate_domain::lifetime::Lifetime;
use fallgate_relay::LiveSettings;
use serde::Deserialize;
use utoipa::ToSchema;

use super::tokens::Seconds;
use crate::answer::{Created, NoContent};
use crate::body::JsonBody;
use crate::error::WebError;
use crate::openapi::words;
use crate::view::{CutList, CutView, PlacedCutView};

/// Those that stand: for an admin all, for others those that they placed or that are on what they own.
pub(crate) async fn list(
    permit: Permit<ManageCuts>,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<CutList>, WebError> {
    let cuts = verifier.cuts(&permit).await?.into_iter().map(CutView::from).collect();
    Ok(Json(CutList { cuts }))
}

/// The body that cuts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCut {
    #[schema(value_type = words::CutTarget)]
    target: CutTarget,
    /// Why, for whoever is refused by it.
    #[schema(value_type = Option<words::CutReason>)]
    reason: Option<CutReason>,
    /// In so many seconds it does not stand any more; without it, it stands until it is lifted.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 3_153_600_000_u64)]
    expires_in: Option<Seconds>,
}

/// The answer comes once what the cut ends has let go, or after a second.
pub(crate) async fn place(
    permit: Permit<ManageCuts>,
    State(verifier): State<Arc<Verifier>>,
    State(settings): State<LiveSettings>,
    Extension(peer): Extension<PeerAddress>,
    JsonBody(NewCut { target, reason, expires_in }): JsonBody<NewCut>,
) -> Result<Created<PlacedCutView>, WebError> {
    let lifetime = expires_in.map_or(Lifetime::Never, Seconds::lifetime);
    known_target(&permit, &target, &settings)?;
    let placed = verifier.cut(&permit, CutOrder { target, reason, lifetime }, peer.0).await?;
    Ok(Created(PlacedCutView::of(placed)))
}

/// Whoever may not cut routes is told that, whether or not there is such a one.
pub(crate) fn known_target(
    permit: &Permit<ManageCuts>,
    target: &CutTarget,
    settings: &LiveSettings,
) -> Result<(), CutError> {
    match target {
        CutTarget::Route(name)
            if permit.principal().is_admin()
                && !settings.now().routes.iter().any(|route| route.policy.name == *name) =>
        {
            Err(CutError::UnknownTarget(target.clone()))
        }
        _ => Ok(()),
    }
}

pub(crate) async fn lift(
    permit: Permit<ManageCuts>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
) -> Result<NoContent, WebError> {
    let id: CutId = id.parse().map_err(|_| WebError::NotFound("There is no such cut.".to_owned()))?;
    verifier.lift(&permit, id, peer.0).await?;
    Ok(NoContent)
}
