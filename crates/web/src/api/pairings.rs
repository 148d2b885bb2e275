//! Pairing a device: whoever is signed in makes a code, a device uses it, and is let in.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use fallgate_authority::{
    Collected, NewSignIn, Newcomer, PairingSide, PeerAddress, RedeemOrder, Redeemed, SignedIn, Verifier,
};
use fallgate_domain::credential::TokenName;
use fallgate_domain::id::PairingId;
use fallgate_relay::LiveSettings;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::{Created, NoContent};
use crate::body::{JsonBody, SecretText};
use crate::cookie;
use crate::error::WebError;
use crate::openapi::{Answer, Draft, words};
use crate::view::{ClaimView, PairingView, StartedPairingView, WhoAmI};

/// The body by which a device pairs: the code first, and then what it was given for that.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Pair)]
pub(crate) struct PairBody {
    /// Out of the link, behind the `#`. One of this and `claim`.
    #[schema(value_type = Option<String>)]
    code: Option<SecretText>,
    /// What the answer to a code had: whether the device was let in by now.
    #[schema(value_type = Option<String>)]
    claim: Option<SecretText>,
    /// What the device is to be called; with a code.
    #[schema(value_type = Option<words::Name>)]
    device_name: Option<TokenName>,
    /// With a code that asks for it.
    #[schema(value_type = Option<words::Secret>)]
    passphrase: Option<SecretText>,
}

/// The body that answers a device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PairingAnswer)]
pub(crate) struct AnswerBody {
    /// Whether the device is let in.
    allow: bool,
}

/// What a device hears.
pub(crate) enum Paired {
    SignedIn { sign_in: Box<NewSignIn>, https: bool },
    Asked(ClaimView),
}

/// 200 when the device is signed in, 202 as long as the other side is asked.
pub(crate) async fn pair(
    newcomer: Newcomer,
    State(verifier): State<Arc<Verifier>>,
    JsonBody(body): JsonBody<PairBody>,
) -> Result<Paired, WebError> {
    let https = newcomer.https;
    let PairBody { code, claim, device_name, passphrase } = body;
    match (code, claim) {
        (Some(code), None) => {
            let passphrase = passphrase.map(|passphrase| passphrase.0);
            let order = RedeemOrder { code: code.0, device_name, passphrase };
            Ok(match verifier.redeem_pairing(order, &newcomer).await? {
                Redeemed::SignedIn(sign_in) => Paired::SignedIn { sign_in, https },
                Redeemed::Asked(claim) => Paired::Asked(claim.into()),
            })
        }
        (None, Some(claim)) if device_name.is_none() && passphrase.is_none() => {
            Ok(match verifier.collect_pairing(claim.0.as_bytes(), &newcomer).await? {
                Collected::SignedIn(sign_in) => Paired::SignedIn { sign_in, https },
                Collected::Waiting { number, until } => {
                    Paired::Asked(ClaimView { claim: None, number, expires_at: until })
                }
            })
        }
        _ => Err(WebError::BadRequest("Send a code, or a claim and nothing else.".to_owned())),
    }
}

pub(crate) async fn start(
    caller: SignedIn,
    State(verifier): State<Arc<Verifier>>,
    State(settings): State<LiveSettings>,
    Extension(peer): Extension<PeerAddress>,
) -> Result<Created<StartedPairingView>, WebError> {
    let started = verifier.start_pairing(&caller, peer.0).await?;
    Ok(Created(StartedPairingView::of(&started, &settings.now().reached_at)))
}

pub(crate) async fn show(
    caller: SignedIn,
    State(verifier): State<Arc<Verifier>>,
    Path(id): Path<String>,
) -> Result<Json<PairingView>, WebError> {
    let pairing = verifier.pairing(PairingSide::SignIn(&caller, None), read_id(&id)?)?;
    Ok(Json(pairing.into()))
}

pub(crate) async fn answer(
    caller: SignedIn,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
    JsonBody(AnswerBody { allow }): JsonBody<AnswerBody>,
) -> Result<Json<PairingView>, WebError> {
    let side = PairingSide::SignIn(&caller, peer.0);
    Ok(Json(verifier.answer_pairing(side, read_id(&id)?, allow).await?.into()))
}

pub(crate) async fn withdraw(
    caller: SignedIn,
    State(verifier): State<Arc<Verifier>>,
    Path(id): Path<String>,
) -> Result<NoContent, WebError> {
    verifier.withdraw_pairing(PairingSide::SignIn(&caller, None), read_id(&id)?)?;
    Ok(NoContent)
}

/// What is no id is nobody's.
pub(crate) fn read_id(text: &str) -> Result<PairingId, WebError> {
    text.parse().map_err(|_| WebError::from(fallgate_authority::PairingError::NotYours))
}

impl IntoResponse for Paired {
    fn into_response(self) -> Response {
        match self {
            Self::SignedIn { sign_in, https } => {
                (cookie::set(&sign_in, https), Json(WhoAmI::of_sign_in(*sign_in))).into_response()
            }
            Self::Asked(claim) => (StatusCode::ACCEPTED, Json(claim)).into_response(),
        }
    }
}

impl Answer for Paired {
    fn describe(draft: &mut Draft) {
        <(cookie::SetCookie, Json<WhoAmI>)>::describe(draft);
        draft.also_answers::<ClaimView>(202);
    }
}
