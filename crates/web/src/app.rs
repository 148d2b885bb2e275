//! What handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use fallgate_authority::Verifier;

/// The state of every door.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) verifier: Arc<Verifier>,
}

impl FromRef<App> for Arc<Verifier> {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}
