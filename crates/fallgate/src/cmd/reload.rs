//! `fallgate reload`

use std::time::Duration;

use crate::cli::Format;
use crate::control::{self, Request};
use crate::failure::Failure;
use crate::home::HomeFolder;
use crate::output;
use crate::reload::Reloaded;

/// Files may lie on a slow disk.
const WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn run(format: &Format, folder: &HomeFolder) -> Result<(), Failure> {
    let reloaded: Reloaded = control::ask(folder, &Request::Reload {}, WITHIN)?;
    if format.json {
        return output::data(&output::json(&reloaded)?);
    }
    output::data(&(reloaded.told().join("\n") + "\n"))
}
