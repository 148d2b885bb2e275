//! `cargo xtask fuzz`: the fuzz targets, built by the stable compiler and run two at a time.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt};

use crate::{
    install,
    workspace::{Workspace, output, run},
};

const HELP: &str = "\
cargo xtask fuzz [--seconds 60] [TARGET]…

Builds the fuzz targets (the programs of the package in fuzz/) and runs each, or the named ones, for
the given time, two at a time. What they learn is kept in the build folder and used again. On a crash
it prints the input's file and how to replay it.";

/// Coverage for libFuzzer, by flags that the stable compiler takes; what is checked in debug builds only
/// is checked here too.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1";

const AT_ONCE: usize = 2;

pub(crate) fn main(workspace: &Workspace, mut arguments: Parser) -> anyhow::Result<()> {
    let mut time = Duration::from_secs(60);
    let mut chosen = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("seconds") => time = Duration::from_secs(arguments.value()?.parse()?),
            Arg::Value(name) => chosen.push(name.string()?),
            Arg::Short('h') | Arg::Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let known = targets(workspace)?;
    if let Some(unknown) = chosen.iter().find(|name| !known.contains(name)) {
        bail!("no fuzz target `{unknown}`; there are: {}", known.join(" "));
    }
    install::packages(install::FOR_FUZZ)?;
    fuzz(workspace, if chosen.is_empty() { &known } else { &chosen }, time)
}

/// Every target for this long.
pub(crate) fn all(workspace: &Workspace, time: Duration) -> anyhow::Result<()> {
    fuzz(workspace, &targets(workspace)?, time)
}

fn fuzz(workspace: &Workspace, targets: &[String], time: Duration) -> anyhow::Result<()> {
    if targets.is_empty() {
        println!("no fuzz targets yet: skipped");
        return Ok(());
    }
    if time < Duration::from_secs(1) {
        bail!("libFuzzer takes zero seconds for no limit: give at least one");
    }
    let programs = build(workspace)?;
    println!("{} targets, {} s each, {AT_ONCE} at a time", targets.len(), time.as_secs());
    let queue = Mutex::new(targets.iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(target) = next(&queue) {
                    match one(workspace, &programs, target, time) {
                        Ok(line) => println!("{target}: {line}"),
                        Err(error) => {
                            println!("{target}: FAILED\n{error:#}");
                            if let Ok(mut failures) = failures.lock() {
                                failures.push(target.as_str());
                            }
                        }
                    }
                }
            });
        }
    });
    match failures.into_inner() {
        Ok(failures) if failures.is_empty() => Ok(()),
        Ok(failures) => bail!("failing fuzz targets: {}", failures.join(", ")),
        Err(_) => bail!("a fuzz runner panicked"),
    }
}

fn next<'a>(queue: &Mutex<std::slice::Iter<'a, String>>) -> Option<&'a String> {
    queue.lock().ok()?.next()
}

/// Builds all targets; returns the folder that they are in.
fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    // With `--target` the flags reach our code only: build scripts and macros, which libFuzzer is not
    // linked into, are built without them.
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say which host it is for")?;
    let folder = workspace.target.join("fuzz");
    let mut command =
        workspace.cargo(["build", "--quiet", "--release", "--package", "fallgate-fuzz", "--bins"]);
    command.args(["--target", host, "--target-dir"]).arg(&folder).env("RUSTFLAGS", FLAGS);
    // With link-time optimisation the build took twice the work, and libFuzzer saw a quarter of the edges in
    // some targets.
    run(command.env("CARGO_PROFILE_RELEASE_LTO", "off"))?;
    Ok(folder.join(host).join("release"))
}

/// Runs one target; returns what it did in one line, or says what it broke on.
fn one(workspace: &Workspace, programs: &Path, target: &str, time: Duration) -> anyhow::Result<String> {
    let corpus = workspace.target.join("fuzz-corpus").join(target);
    let artifacts = workspace.target.join("fuzz-artifacts").join(target);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let log = artifacts.join("log");
    let program = programs.join(target);
    let mut command = Command::new(&program);
    command
        .arg(format!("-max_total_time={}", time.as_secs()))
        .args(["-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1"])
        // The last slash makes it a folder; without, it would be the start of a file's name.
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    let seeds = workspace.root.join("fuzz/seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let status = command
        .current_dir(&artifacts)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if status.success() {
        return Ok(summary(&said));
    }
    let mut story: Vec<_> = said.lines().rev().take(40).collect();
    story.reverse();
    let input =
        said.lines().rev().find_map(|line| line.split_once("Test unit written to ").map(|(_, file)| file));
    let replay = match input {
        Some(file) => format!("replay: {} {file}", program.display()),
        None => format!("no input was written; the whole log is {}", log.display()),
    };
    bail!("{}\n{status}\n{replay}", story.join("\n"))
}

/// The one line that matters of what libFuzzer says at the end.
fn summary(said: &str) -> String {
    let statistic = |name: &str| {
        said.lines().rev().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim).to_owned()
    };
    let coverage = said.lines().rev().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "cov:");
        words.nth(1)
    });
    format!(
        "{} inputs, {} new, {} edges",
        statistic("stat::number_of_executed_units:"),
        statistic("stat::new_units_added:"),
        coverage.unwrap_or("?")
    )
}

/// The names of the package's programs, in its manifest's order.
fn targets(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let file = workspace.root.join("fuzz/Cargo.toml");
    let manifest = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(program_names(&manifest))
}

fn program_names(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[[bin]]"
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "name"
        {
            names.push(value.trim().trim_matches('"').to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_manifests_programs() {
        let manifest = "[package]\nname = \"fallgate-fuzz\"\n\n[[bin]]\nname = \"path\"\npath = \"a.rs\"\n\
            [dependencies]\nname = \"x\"\n[[bin]]\nname=\"host\"\n";
        assert_eq!(program_names(manifest), ["path", "host"]);
    }

    #[test]
    fn the_end_of_a_run_is_told_in_one_line() {
        let said = "#2 INITED cov: 3 ft: 4\n#800 DONE   cov: 41 ft: 90 corp: 7/9b\n\
            stat::number_of_executed_units: 800\nstat::new_units_added:          6\n";
        assert_eq!(summary(said), "800 inputs, 6 new, 41 edges");
    }
}
