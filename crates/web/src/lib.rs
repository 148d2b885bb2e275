//! Fallgate's own doors: thin. A handler reads as a sentence: permit, one call, a view.

mod answer;
mod api;
mod app;
mod body;
mod cookie;
pub mod doors;
mod error;
mod layers;
mod oauth;
mod old_link;
mod openapi;
mod pages;
pub mod view;

use std::sync::Arc;

use axum::Router;
use fallgate_authority::Verifier;
use fallgate_relay::{Doors, LiveSettings, Reaches};
use tower_service::Service;

use crate::app::App;
pub use crate::pages::problem::draw as draw_problem;

/// Our own pages and API, for the relay to put behind its listener.
pub fn doors(verifier: Arc<Verifier>, settings: LiveSettings, reaches: Reaches) -> Doors {
    let (router, ..) = doors::all();
    let app = App::new(verifier, settings, reaches);
    let router: Router = layers::around(router, &app).with_state(app);
    Arc::new(move |request| {
        // A router is always ready, and cloning it is counting a reference.
        let mut router = router.clone();
        Box::pin(async move {
            match router.call(request).await {
                Ok(response) => layers::without_stray_allow(response),
            }
        })
    })
}
