//! What pages are drawn with. Under `/.fallgate/` it is ours on every host, so that pages on a route's host have it too.
//!
//! A page asks for a file by a name that has the file's hash in it, and keeps what it got for a year: another version has
//! another name.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use fallgate_domain::hex;
use http::header;
use sha2::{Digest, Sha256};

use crate::doors::Public;
use crate::error::WebError;

/// How many bytes of its hash stand in a file's name.
const HASHED: usize = 8;

/// For a file that is asked for by its hash.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";
/// For one that is not.
const FOR_AN_HOUR: &str = "public, max-age=3600";

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static [u8],
    /// Name and hash: `fallgate.0123456789abcdef.css`.
    hashed: Option<String>,
}

macro_rules! asset {
    ($name:literal, $media_type:literal) => {{
        const CONTENT: &[u8] = include_bytes!(concat!("../../static/", $name));
        Asset { name: $name, media_type: $media_type, content: CONTENT, hashed: hashed($name, CONTENT) }
    }};
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    vec![
        asset!("fallgate.css", "text/css; charset=utf-8"),
        asset!("fallgate.js", "text/javascript; charset=utf-8"),
        asset!("follow.js", "text/javascript; charset=utf-8"),
        asset!("setup.js", "text/javascript; charset=utf-8"),
        asset!("pair.js", "text/javascript; charset=utf-8"),
        asset!("favicon.svg", "image/svg+xml"),
        asset!("icon-180.png", "image/png"),
        asset!("icon-192.png", "image/png"),
        asset!("icon-512.png", "image/png"),
        asset!("icon-maskable-512.png", "image/png"),
    ]
});

fn hashed(name: &str, content: &[u8]) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    let digest = Sha256::digest(content);
    Some(format!("{stem}.{}.{ending}", hex::encode(digest.get(..HASHED)?)))
}

/// The address of a file of ours, on any host. A test sees that every template names one that there is.
pub(crate) fn href(name: &'static str) -> String {
    let hashed = ASSETS.iter().find(|asset| asset.name == name).and_then(|asset| asset.hashed.as_deref());
    format!("/.fallgate/static/{}", hashed.unwrap_or(name))
}

pub(crate) async fn file(_: Public, Path(name): Path<String>) -> Result<Response, WebError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name || asset.hashed.as_deref() == Some(&name));
    let asset = asset.ok_or_else(|| WebError::NotFound("There is no such file.".to_owned()))?;
    Ok(asset.answer(if asset.name == name { FOR_AN_HOUR } else { FOR_GOOD }))
}

/// `GET /favicon.svg`
pub(crate) async fn favicon(_: Public) -> Result<Response, WebError> {
    file(Public, Path("favicon.svg".to_owned())).await
}

/// `GET /manifest.webmanifest`: how a phone keeps Fallgate beside its programs. Nothing is kept to be shown without us.
pub(crate) async fn manifest(_: Public) -> Response {
    let icon = |name, sizes: &str, purpose: &str| serde_json::json!({"src": href(name), "sizes": sizes, "type": "image/png", "purpose": purpose});
    let manifest = serde_json::json!({
        "id": "/",
        "name": "Fallgate",
        "short_name": "Fallgate",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#f5f7f9",
        "theme_color": "#0b5cad",
        "icons": [
            icon("icon-192.png", "192x192", "any"),
            icon("icon-512.png", "512x512", "any"),
            icon("icon-maskable-512.png", "512x512", "maskable"),
        ],
    });
    let fields = [(header::CONTENT_TYPE, "application/manifest+json"), (header::CACHE_CONTROL, FOR_AN_HOUR)];
    (fields, manifest.to_string()).into_response()
}

impl Asset {
    fn answer(&self, cache: &'static str) -> Response {
        let fields = [(header::CONTENT_TYPE, self.media_type), (header::CACHE_CONTROL, cache)];
        (fields, self.content).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_has_its_hash_before_its_ending() {
        let href = href("fallgate.css");
        let name = href.strip_prefix("/.fallgate/static/fallgate.").unwrap();
        let (hash, ending) = name.split_once('.').unwrap();
        assert_eq!((hash.len(), ending), (2 * HASHED, "css"));
        assert!(ASSETS.iter().all(|asset| asset.hashed.is_some()));
    }

    #[test]
    fn templates_name_files_that_there_are() {
        let templates = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).unwrap();
        for template in templates {
            let text = std::fs::read_to_string(template.unwrap().path()).unwrap();
            for rest in text.split("assets::href(\"").skip(1) {
                let name = rest.split('"').next().unwrap();
                assert!(ASSETS.iter().any(|asset| asset.name == name), "{name}");
            }
        }
    }
}
