//! What handlers share.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use fallgate_authority::Verifier;
use fallgate_domain::host::Host;
use fallgate_relay::{LiveSettings, Reaches};
use http::request::Parts;
use http::{HeaderMap, Uri, header};

use crate::error::WebError;
use crate::pages::once::SentForms;
use crate::pages::{Followers, TrailCheck};

/// The state of every door.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) verifier: Arc<Verifier>,
    /// What the config says now.
    pub(crate) settings: LiveSettings,
    /// What must not be carried out twice.
    pub(crate) sent: SentForms,
    /// Whether upstreams take connections.
    pub(crate) reaches: Reaches,
    /// Whoever follows what happens on a page.
    pub(crate) followers: Followers,
    /// What came of walking the audit trail.
    pub(crate) trail_check: TrailCheck,
}

impl App {
    pub(crate) fn new(verifier: Arc<Verifier>, settings: LiveSettings, reaches: Reaches) -> Self {
        Self {
            verifier,
            settings,
            reaches,
            followers: Followers::default(),
            trail_check: TrailCheck::default(),
            sent: SentForms::default(),
        }
    }
}

impl FromRef<App> for Arc<Verifier> {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// The host that a request is for. It is one that we serve: the relay has looked.
pub(crate) struct AskedHost(pub(crate) Host<'static>);

impl AskedHost {
    pub(crate) fn of<B>(request: &http::Request<B>) -> Option<Host<'static>> {
        asked_host(request.headers(), request.uri())
    }
}

impl<S: Sync> FromRequestParts<S> for AskedHost {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WebError> {
        let host = asked_host(&parts.headers, &parts.uri);
        host.map(Self).ok_or_else(|| WebError::BadRequest("The Host cannot be read.".to_owned()))
    }
}

/// HTTP/2 says it in the address.
fn asked_host(headers: &HeaderMap, uri: &Uri) -> Option<Host<'static>> {
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = authority.or_else(|| headers.get(header::HOST).map(http::HeaderValue::as_bytes))?;
    Host::parse_header(host).ok().map(Host::into_owned)
}

impl FromRef<App> for LiveSettings {
    fn from_ref(app: &App) -> Self {
        app.settings.clone()
    }
}
