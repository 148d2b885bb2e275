//! `fallgate doctor`: looks at what goes wrong most, and says what to do about each. It changes nothing.

mod gate;
mod machine;
mod store;

use fallgate_domain::clock::{Clock, SystemClock};
use serde::Serialize;

use crate::cli::Settings;
use crate::config::{Config, Environment, Secrets};
use crate::failure::Failure;
use crate::home::HomeFolder;
use crate::{cmd, output};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), fix: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, found: found.into(), fix: Some(fix.into()) }
    }

    fn lines(&self) -> String {
        let mark = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let fix = self.fix.as_ref().map_or_else(String::new, |fix| format!("\n{:16}fix: {fix}", ""));
        format!("{mark}  {:<10}{}{fix}\n", self.name, self.found)
    }
}

#[derive(Serialize)]
struct Report {
    checks: Vec<Check>,
}

/// Exit code 1 when something is wrong, 0 also with warnings.
pub(crate) fn run(
    settings: &Settings,
    json: bool,
    folder: &HomeFolder,
    environment: &Environment,
) -> Result<(), Failure> {
    let now = SystemClock.now();
    let mut checks = machine::checks(environment);
    let config = match Config::load(settings, environment, Secrets::Read) {
        Ok(config) => {
            checks.push(Check::ok("config", gate::found(&config, environment)));
            Some(config)
        }
        Err(failure) => {
            let fix = "mend that line; `fallgate config check` says when the file is good";
            checks.push(Check::fail("config", failure.to_string(), fix));
            None
        }
    };
    let stored = cmd::runtime()?.block_on(store::look(folder, environment, now, &mut checks));
    if let Some(config) = &config {
        gate::check(config, folder, &stored, &mut checks);
    }
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let (failed, warned) = (count(Verdict::Fail), count(Verdict::Warn));
    let text =
        if json { output::json(&Report { checks })? } else { checks.iter().map(Check::lines).collect() };
    output::data(&text)?;
    if failed > 0 {
        return Err(Failure::failed(format_args!(
            "{failed} of these must be mended before the gate is sound"
        )));
    }
    if !json {
        output::say(match warned {
            0 => "All is well.".to_owned(),
            1 => "Nothing is broken; one thing deserves a look.".to_owned(),
            _ => format!("Nothing is broken; {warned} things deserve a look."),
        });
    }
    Ok(())
}
