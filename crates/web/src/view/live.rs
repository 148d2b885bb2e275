//! What is open now.

use std::net::IpAddr;

use fallgate_authority::LiveStream;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::{CredentialId, StreamId};
use fallgate_domain::live::StreamKind;
use fallgate_domain::route::RouteName;
use fallgate_domain::user::Username;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// Something that is open now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Live)]
pub struct LiveView {
    /// Its name, as long as it is open.
    #[schema(value_type = words::Id)]
    pub id: StreamId,
    /// What flows in it.
    #[schema(value_type = words::StreamKind)]
    pub kind: StreamKind,
    /// Whose credential it was opened with.
    #[schema(value_type = Option<words::Username>, required = true)]
    pub username: Option<Username>,
    /// As which agent.
    #[schema(required = true)]
    pub agent: Option<String>,
    /// With which credential; none on a public path.
    #[schema(value_type = Option<words::Id>, required = true)]
    pub credential: Option<CredentialId>,
    /// To which route; none for Fallgate's own doors.
    #[schema(value_type = Option<words::RouteName>, required = true)]
    pub route: Option<RouteName>,
    /// Since when it flows.
    #[schema(value_type = words::Time)]
    pub since: Timestamp,
    /// How much came from the client, in bytes.
    pub bytes_in: u64,
    /// How much went to the client, in bytes.
    pub bytes_out: u64,
    /// The client's address.
    #[schema(value_type = Option<String>, required = true)]
    pub ip: Option<IpAddr>,
}

impl From<LiveStream> for LiveView {
    fn from(stream: LiveStream) -> Self {
        Self {
            id: stream.id,
            kind: stream.kind,
            username: stream.username,
            agent: stream.agent.map(|agent| agent.to_string()),
            credential: stream.credential,
            route: stream.route,
            since: stream.since,
            bytes_in: stream.bytes_in,
            bytes_out: stream.bytes_out,
            ip: stream.ip,
        }
    }
}

/// `GET /api/live`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LiveList {
    /// Oldest first.
    pub live: Vec<LiveView>,
}

impl From<Vec<LiveStream>> for LiveList {
    fn from(streams: Vec<LiveStream>) -> Self {
        Self { live: streams.into_iter().map(LiveView::from).collect() }
    }
}
