//! Pairing a device.

use std::net::IpAddr;

use fallgate_authority::{Claim, PairingNow, StartedPairing};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::PairingId;
use fallgate_domain::user::Username;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::openapi::words;

/// A pairing code that was made. The code is in no other answer, ever.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = StartedPairing)]
pub struct StartedPairingView {
    /// Its public name.
    #[schema(value_type = words::Id)]
    pub id: PairingId,
    /// Whom a device will be signed in as.
    #[schema(value_type = words::Username)]
    pub username: Username,
    /// What the device opens: the code stands behind the `#`, which browsers send to nobody.
    #[schema(value_type = String)]
    pub url: Zeroizing<String>,
    /// Until when it is good.
    #[schema(value_type = words::Time)]
    pub expires_at: Timestamp,
}

impl StartedPairingView {
    /// A code as other devices find it: at that origin.
    pub fn of(started: &StartedPairing, origin: &str) -> Self {
        Self {
            id: started.id,
            username: started.username.clone(),
            url: link(started, origin),
            expires_at: started.until,
        }
    }
}

/// What a device opens.
pub(crate) fn link(started: &StartedPairing, origin: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{origin}/pair#{}", started.code.expose()))
}

/// A pairing, as whoever made it sees it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Pairing)]
pub struct PairingView {
    /// Its public name.
    #[schema(value_type = words::Id)]
    pub id: PairingId,
    /// Where it stands.
    #[schema(value_type = words::PairingStatus)]
    pub status: String,
    /// Whom the device will be signed in as.
    #[schema(value_type = words::Username)]
    pub username: Username,
    /// What the device calls itself, once one has used the code.
    #[schema(required = true)]
    pub device_name: Option<String>,
    /// From where it came.
    #[schema(value_type = Option<String>, required = true)]
    pub ip: Option<IpAddr>,
    /// The number that the device shows too.
    #[schema(required = true)]
    pub number: Option<u8>,
    /// When this ends by itself, or when it ended.
    #[schema(value_type = words::Time)]
    pub expires_at: Timestamp,
}

impl From<PairingNow> for PairingView {
    fn from(pairing: PairingNow) -> Self {
        Self {
            id: pairing.id,
            status: pairing.status.name().to_owned(),
            username: pairing.username,
            device_name: pairing.device,
            ip: pairing.ip,
            number: pairing.number,
            expires_at: pairing.until,
        }
    }
}

/// What a device holds while the other side is asked.
#[derive(Serialize, ToSchema)]
#[schema(as = PairingClaim)]
pub struct ClaimView {
    /// Sent again, it tells what the other side has said, and signs in once that was a yes.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Zeroizing<String>>,
    /// Shown on both sides.
    pub number: u8,
    /// Until when the device may wait.
    #[schema(value_type = words::Time)]
    pub expires_at: Timestamp,
}

impl From<Claim> for ClaimView {
    fn from(claim: Claim) -> Self {
        let secret = Zeroizing::new(claim.secret.expose().to_owned());
        Self { claim: Some(secret), number: claim.number, expires_at: claim.until }
    }
}
