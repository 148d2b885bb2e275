//! What wraps every door, outermost last. The order is behaviour.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::app::App;
use crate::body::LONGEST;
use crate::oauth::in_its_words;
use crate::old_link;
use crate::pages::problem::for_browsers;

pub(crate) fn around(doors: Router<App>, app: &App) -> Router<App> {
    doors
        // Innermost: it only tells the body extractors where to stop.
        .layer(DefaultBodyLimit::max(LONGEST))
        // Around the doors themselves: whatever they refuse there, OAuth has words for.
        .layer(from_fn(in_its_words))
        // Before a door, which would read no token out of an address.
        .layer(from_fn_with_state(app.clone(), old_link::follow))
        // Around whatever refuses: a browser shows what it gets.
        .layer(from_fn_with_state(app.clone(), for_browsers))
        // Outermost: whatever answers, refusals included, is not to be guessed at by anybody, nor to be kept unless the
        // door itself says so.
        .layer(map_response(mark))
}

async fn mark(mut response: Response) -> Response {
    let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if unauthorized {
        // The router adds it to whatever answers a wrong method; a stranger is not told which there are.
        headers.remove(header::ALLOW);
    }
    response
}

/// Takes `Allow` out of every answer but a 405. axum puts it on whatever a wrong method is answered, and a stranger's
/// 401 would tell which doors there are.
pub(crate) fn without_stray_allow(mut response: Response) -> Response {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().remove(header::ALLOW);
    }
    response
}
