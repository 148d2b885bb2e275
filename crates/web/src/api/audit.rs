//! The audit trail, for admins.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use fallgate_authority::actions::ReadAudit;
use fallgate_authority::{Permit, Verifier};
use fallgate_store::EventFilter;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::body::asked;
use crate::error::WebError;
use crate::view::EventPage;

/// How many events a page has, unless asked otherwise.
const PAGE: u32 = 100;
/// And how many at most.
const LONGEST_PAGE: u32 = 1_000;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Only events before this one.
    #[param(value_type = u64, format = "uint64", maximum = 18_446_744_073_709_551_615_u64, required = false)]
    before: Option<u64>,
    /// How many at most; 100, if nothing is said.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 1_000)]
    limit: Option<u32>,
    /// Only what this user did, or what was done to them.
    #[param(value_type = String, required = false)]
    user: Option<String>,
    /// Only this action, such as `token.mint`.
    #[param(value_type = String, required = false)]
    action: Option<String>,
}

pub(crate) async fn list(
    _permit: Permit<ReadAudit>,
    State(verifier): State<Arc<Verifier>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<EventPage>, WebError> {
    let Which { before, limit, user, action } = asked(which)?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(WebError::BadRequest(format!("The limit is from 1 to {LONGEST_PAGE}.")));
    }
    let store = verifier.store();
    let events =
        store.find_events(&EventFilter { before, limit, user, action, ..EventFilter::default() }).await?;
    Ok(Json(EventPage::of(events, limit, store.audit_checkpoint().await?)))
}
