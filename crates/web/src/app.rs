//! What handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use fallgate_authority::Verifier;
use fallgate_relay::LiveSettings;

/// The state of every door.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) verifier: Arc<Verifier>,
    /// What the config says now.
    pub(crate) settings: LiveSettings,
}

impl FromRef<App> for Arc<Verifier> {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

impl FromRef<App> for LiveSettings {
    fn from_ref(app: &App) -> Self {
        app.settings.clone()
    }
}
