//! `cargo xtask test`: all that a commit must pass.

use std::{ffi::OsString, time::Duration};

use lexopt::{Arg, Parser};

use crate::{
    fuzz, install, npm, python, requirements, shape, steps::Steps, workspace::Workspace, workspace::run,
};

const HELP: &str = "\
cargo xtask test [-- NEXTEST ARGS]

Installs what is missing (Debian packages, Python tools, cargo-nextest), then: the shape of the tree, formatting,
lints, all tests, doc tests, the concurrency model, five seconds of each fuzz target, requirements,
and that the tests left the working tree as it was. Stops at the first failure and names the step.

With arguments after `--` only the tests are run, and the arguments go to `cargo nextest run`:
    cargo xtask test -- proxy            tests with `proxy` in their name
    cargo xtask test -- -p fallgate      tests of one crate";

const MODEL: &str = "crates/authority/tests/model.rs";
const FUZZ_TIME: Duration = Duration::from_secs(5);

pub(crate) fn main(workspace: &Workspace, mut arguments: Parser) -> anyhow::Result<()> {
    let mut chosen: Vec<OsString> = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            // The first of nextest's arguments, usually after `--`; from here on all are.
            Arg::Value(value) => {
                chosen.push(value);
                chosen.extend(arguments.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mut steps = Steps::begin();
    if chosen.is_empty() {
        everything(workspace, &mut steps)?;
    } else {
        only(workspace, &mut steps, &chosen)?;
    }
    println!("\n{}", steps.summary());
    Ok(())
}

fn everything(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    let before = shape::working_tree(workspace)?;
    steps.step("install", || {
        install::packages(install::FOR_TESTS)?;
        python::environment(workspace)?;
        npm::packages(workspace)?;
        install::toolchain(workspace)
    })?;
    steps.step("shape", || shape::check(workspace))?;
    steps.step("format", || run(&mut workspace.cargo(["fmt", "--all", "--check"])))?;
    steps.step("lints", || {
        run(&mut workspace.cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    steps.step("tests", || run(&mut workspace.cargo(["nextest", "run", "--workspace"])))?;
    // The compile-fail tests live in doc tests, which nextest does not run.
    steps.step("doc tests", || run(&mut workspace.cargo(["test", "--doc", "--workspace", "--quiet"])))?;
    steps.step("concurrency model", || model(workspace))?;
    steps.step("fuzz", || fuzz::all(workspace, FUZZ_TIME))?;
    steps.step("requirements", || requirements::report(workspace, true))?;
    steps.step("clean tree", || shape::unchanged(workspace, before.as_deref()))
}

fn only(workspace: &Workspace, steps: &mut Steps, chosen: &[OsString]) -> anyhow::Result<()> {
    steps.step("install", || {
        install::packages(install::FOR_TESTS)?;
        python::environment(workspace)?;
        npm::packages(workspace)?;
        install::toolchain(workspace)
    })?;
    let mut command = workspace.cargo(["nextest", "run"]);
    // `-p` chooses packages itself; with `--workspace` beside it nextest would run them all.
    let chooses_package =
        chosen.iter().any(|argument| argument == "-p" || argument.to_string_lossy().starts_with("--package"));
    if !chooses_package {
        command.arg("--workspace");
    }
    command.args(chosen);
    steps.step("tests", || run(&mut command))
}

/// Every order of two threads' steps, tried one by one; a build of its own because the model replaces
/// the crate's atomics and locks.
fn model(workspace: &Workspace) -> anyhow::Result<()> {
    if !workspace.has(MODEL) {
        println!("no {MODEL} yet: skipped");
        return Ok(());
    }
    run(&mut workspace.cargo([
        "nextest",
        "run",
        "--package",
        "fallgate-authority",
        "--features",
        "model",
        "--test",
        "model",
    ]))
}
