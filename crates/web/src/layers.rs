//! What wraps every door, outermost last. The order is behaviour.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::response::Response;
use http::{HeaderValue, header};

use crate::app::App;
use crate::body::LONGEST;

pub(crate) fn around(doors: Router<App>) -> Router<App> {
    doors
        // Innermost: it only tells the body extractors where to stop.
        .layer(DefaultBodyLimit::max(LONGEST))
        // Outermost: whatever answers, refusals included, is not to be kept or guessed at by anybody.
        .layer(map_response(mark))
}

async fn mark(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
