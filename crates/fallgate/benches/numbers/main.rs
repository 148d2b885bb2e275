//! The numbers to hold that need the built program: `cargo xtask bench` runs this, one name at a time.
//!
//! The gate is one process, commands are others, clients and upstream are here. With `--check` a missed number is a
//! failure.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

mod cut;
mod decision;
mod gate;
mod latency;
mod login_flood;
mod mass_revoke;
mod pages;
mod rows;
mod scale;
mod stalled;
mod tunnels;
mod websockets;
mod workers;

use std::path::Path;

use anyhow::{bail, ensure};

fn main() -> anyhow::Result<()> {
    let mut check = Check(false);
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--check" => check = Check(true),
            // What `cargo bench` adds.
            "--bench" => {}
            _ => names.push(argument),
        }
    }
    // Not a number, but what others are measured on: a home with many tokens.
    if let [fill, home, tokens] = names.as_slice()
        && fill == "fill"
    {
        return rows::fill(Path::new(home), 0, tokens.parse()?, None);
    }
    for name in names {
        match name.as_str() {
            "cut" => cut::main(check)?,
            "idle" => scale::idle(check)?,
            "login-flood" => login_flood::main(check)?,
            "mass-revoke" => mass_revoke::main(check)?,
            "pages" => pages::main(check)?,
            "scale" => scale::main(check)?,
            "websockets" => websockets::main(check)?,
            "workers" => workers::main(check)?,
            other => bail!("there is no bench {other:?}"),
        }
    }
    Ok(())
}

/// Whether a missed number is a failure.
#[derive(Clone, Copy)]
struct Check(bool);

impl Check {
    /// Prints a figure beside its limit, and complains when it is beyond.
    fn at_most(self, limit: f64, figure: f64, what: &str) -> anyhow::Result<()> {
        let kept = figure <= limit;
        println!("  {what:<64} {figure:>9.2}   at most {limit}{}", if kept { "" } else { ", MISSED" });
        ensure!(kept || !self.0, "{what}: {figure:.2}, at most {limit} is wanted");
        Ok(())
    }
}
