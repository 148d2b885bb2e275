//! Cutting and lifting.

use std::time::Duration;

use clap::Args;
use fallgate_domain::cut::{CutReason, CutTarget};
use fallgate_domain::lifetime::Lifetime;

use super::Format;

#[derive(Debug, Args)]
pub(crate) struct Cut {
    /// What: user:NAME, credential:ID, agent:NAME, route:NAME or everything.
    pub(crate) target: CutTarget,
    /// Why, in one line, for whoever is refused by it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<CutReason>,
    /// For how long: 90d, 12h, 30m [default: until it is lifted].
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) lasting: Option<Duration>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Lift {
    /// The cut's id, as `fallgate cuts` shows it.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) format: Format,
}

fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(Lifetime::For(duration)) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("write how long, such as 90d, 12h or 30m".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
