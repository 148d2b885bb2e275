//! The project's own commands; `cargo xtask help` lists them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks on its terminal")]

mod bench;
mod fuzz;
mod install;
mod npm;
mod python;
mod requirements;
mod shape;
mod steps;
mod test;
mod workspace;

use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};

use crate::workspace::Workspace;

const HELP: &str = "\
The project's own commands.

cargo xtask test [-- NEXTEST ARGS]     all that a commit must pass
cargo xtask bench [NAME]…              the numbers, side by side with what they are measured against
cargo xtask fuzz [TARGET]…             the fuzz targets
cargo xtask requirements [--check]     which requirement is proved by which test
cargo xtask install [--bench]          what the tests (and benches) need

`cargo xtask COMMAND --help` says more.";

fn main() -> ExitCode {
    match dispatch(Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(mut arguments: Parser) -> anyhow::Result<()> {
    let command = match arguments.next()? {
        Some(Arg::Value(name)) => name.string()?,
        Some(Arg::Short('h') | Arg::Long("help")) | None => "help".to_owned(),
        Some(other) => return Err(other.unexpected().into()),
    };
    let workspace = Workspace::find()?;
    match command.as_str() {
        "test" => test::main(&workspace, arguments),
        "bench" => bench::main(&workspace, arguments),
        "fuzz" => fuzz::main(&workspace, arguments),
        "requirements" => requirements::main(&workspace, arguments),
        "install" => install::main(&workspace, arguments),
        "help" => {
            println!("{HELP}");
            Ok(())
        }
        unknown => anyhow::bail!("no command `{unknown}`; `cargo xtask help` lists them"),
    }
}
