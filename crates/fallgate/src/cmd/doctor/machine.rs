//! The machine and the process: user, limits, clock, variables.

use rustix::process::Resource;

use super::Check;
use crate::config::Environment;
use crate::lifecycle;

/// Fewer open files than this are few connections.
const FEW_FILES: u64 = 4_096;

pub(super) fn checks(environment: &Environment) -> Vec<Check> {
    let mut checks = vec![user(), files()];
    checks.extend(variables(environment));
    checks
}

fn user() -> Check {
    let id = lifecycle::user_id();
    let name = lifecycle::user_name(id);
    if id == 0 {
        Check::warn(
            "user",
            "this is root, who needs no gate to be let in anywhere",
            "run Fallgate as an OS user of its own, which nothing behind the gate runs as",
        )
    } else {
        Check::ok("user", format!("runs as {name}"))
    }
}

fn files() -> Check {
    match rustix::process::getrlimit(Resource::Nofile).maximum {
        Some(most) if most < FEW_FILES => Check::warn(
            "files",
            format!("at most {most} open files, so about half as many connections"),
            "raise the limit: `ulimit -n 65536`, or LimitNOFILE=65536 in the systemd unit",
        ),
        Some(most) => Check::ok("files", format!("{most} may be open at once")),
        None => Check::ok("files", "as many as needed may be open at once"),
    }
}

/// A misspelt variable is silently nothing.
fn variables(environment: &Environment) -> Vec<Check> {
    let warn = |name: &String| {
        Check::warn(
            "variable",
            format!("{name} is set, and means nothing to Fallgate"),
            "unset it, or spell it as `fallgate help` and docs/configuration.md do",
        )
    };
    environment.strangers().iter().map(warn).collect()
}
