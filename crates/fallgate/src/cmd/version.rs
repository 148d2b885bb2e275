//! `fallgate version`

use serde::Serialize;

use crate::cli::Format;
use crate::failure::Failure;
use crate::output;

/// This program's version, as everything that tells it tells it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// As `GET /api/version` answers.
#[derive(Serialize)]
struct Version {
    version: &'static str,
}

pub(crate) fn run(format: &Format) -> Result<(), Failure> {
    if format.json {
        output::data(&output::json(&Version { version: VERSION })?)
    } else {
        output::data(&format!("fallgate {VERSION}\n"))
    }
}
