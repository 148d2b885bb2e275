//! `cargo xtask bench`: the numbers, in one run with what they are measured against.

mod load;
mod proxy;
mod servers;

use std::{
    fs,
    process::{Command, Stdio},
    thread,
};

use anyhow::bail;
use lexopt::{Arg, Parser, ValueExt};

use crate::workspace::{Workspace, output, run};

const HELP: &str = "\
cargo xtask bench [decision] [proxy] [cut] [--seconds 5] [--rounds 5] [--check]

decision  bytes of an `Authorization` header to a principal, 100,000 tokens stored
proxy     inline proxy against nginx proxy_pass, our own doors against a bare hyper server
cut       1,000 WebSockets on one credential, closed by another process's revoke

Without a name all of them. Release builds; nginx and wrk are installed when missing. Those that are
compared take turns, and ratios are medians over the rounds (each --seconds long). Times say little
about another machine; ratios carry over better. It fails on a missed number only with --check.";

const NAMES: [&str; 3] = ["decision", "proxy", "cut"];

struct Options {
    /// How long one load lasts.
    seconds: u32,
    /// How often each of those compared has its turn.
    rounds: u32,
    /// Whether a missed number is a failure.
    check: bool,
}

pub(crate) fn main(workspace: &Workspace, mut arguments: Parser) -> anyhow::Result<()> {
    let mut options = Options { seconds: 5, rounds: 5, check: false };
    let mut chosen = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("seconds") => options.seconds = arguments.value()?.parse()?,
            Arg::Long("rounds") => options.rounds = arguments.value()?.parse()?,
            Arg::Long("check") => options.check = true,
            Arg::Value(name) => chosen.push(name.string()?),
            Arg::Short('h') | Arg::Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if options.seconds == 0 || options.rounds == 0 {
        bail!("--seconds and --rounds start at 1");
    }
    if let Some(unknown) = chosen.iter().find(|name| !NAMES.contains(&name.as_str())) {
        bail!("no bench `{unknown}`; there are: {}", NAMES.join(" "));
    }
    println!("{}", machine()?);
    for name in NAMES {
        if !chosen.is_empty() && !chosen.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("\n== {name}");
        match name {
            "decision" => {
                package_bench(workspace, &options, "fallgate-authority", "crates/authority", "decision")?;
            }
            "cut" => package_bench(workspace, &options, "fallgate", "crates/fallgate", "live_cut")?,
            _ => proxy::main(workspace, &options)?,
        }
    }
    Ok(())
}

/// Date, cores and processor: without them a number means nothing later. And how busy the machine was
/// before it began: what else runs is in every figure.
fn machine() -> anyhow::Result<String> {
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?;
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("{}, {} cores, {model}, load average {load}", date.trim(), cores()))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A bench that is a program of its own package, with the judgement of `--check` in it.
fn package_bench(
    workspace: &Workspace,
    options: &Options,
    package: &str,
    folder: &str,
    name: &str,
) -> anyhow::Result<()> {
    let source = format!("{folder}/benches/{name}.rs");
    if !workspace.has(&source) {
        println!("no {source} yet: skipped");
        return Ok(());
    }
    let mut bench = workspace.cargo(["bench", "--quiet", "--package", package, "--bench", name]);
    if options.check {
        bench.args(["--", "--check"]);
    }
    run(&mut with_files(&bench))
}

/// The same command, allowed as many open files as this user may have: many shells start with 1,024.
fn with_files(command: &Command) -> Command {
    let mut raised = Command::new("sh");
    raised.args(["-c", r#"ulimit -Sn "$(ulimit -Hn)"; exec "$@""#, "sh"]);
    raised.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        raised.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => raised.env(name, value),
            None => raised.env_remove(name),
        };
    }
    raised
}
