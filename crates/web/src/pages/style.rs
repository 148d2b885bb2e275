//! What pages are drawn with. Under `/.fallgate/` it is ours on every host, so that pages on a route's host have it too.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header;

use crate::doors::Public;
use crate::error::WebError;

const STYLE: &str = include_str!("../../static/fallgate.css");

pub(crate) async fn file(_: Public, Path(name): Path<String>) -> Result<Response, WebError> {
    match name.as_str() {
        "fallgate.css" => {
            let fields =
                [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
            Ok((fields, STYLE).into_response())
        }
        _ => Err(WebError::NotFound("There is no such file.".to_owned())),
    }
}
