//! `cargo xtask bench`: the numbers, in one run with what they are measured against.

mod figures;
mod http2;
mod lab;
mod load;
mod proxy;
mod servers;
mod transfer;

use std::{
    fs,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt};

use crate::workspace::{Workspace, output, typed};

const HELP: &str = "\
cargo xtask bench [NAME]… [--seconds 5] [--rounds 5] [--check]

decision     bytes of an `Authorization` header to a principal, 100,000 tokens stored
proxy        inline proxy against nginx proxy_pass and auth_request and Caddy forward_auth, a decision by
             /auth/nginx against a bare hyper server, 100,000 tokens stored
transfer     1 GiB down and up through the inline proxy, against nginx proxy_pass
http2        inline proxy over HTTP/2, against nginx
websockets   memory of the daemon for each of 5,000 idle WebSockets
cut          1,000 WebSockets, closed by every way in which something ends, by the API and by another process; and
             2,000 HTTP/2 streams that take nothing in, by a cut
pages        each page of the gate, with 1,000 tokens to list
idle         start and memory of a daemon with 1,000 tokens
scale        start and memory with 1,000,000; a decision against one with 1,000, and a revocation elsewhere
mass-revoke  requests while 100,000 tokens are revoked in one act, against requests when nothing happens
login-flood  requests during 32 wrong sign-ins at a time; a wrong passphrase against an unknown name
workers      on one core: worker tokens minted by many at once, seen for the first time and again, and again with
             100,000 revoked

Without a name all of them. Release builds; nginx, Caddy, wrk and h2load are installed when missing. Those that are
compared take turns, and ratios are medians over the rounds (each --seconds long). Times say little
about another machine; ratios carry over better. It fails on a missed number only with --check.";

const NAMES: [&str; 12] = [
    "decision",
    "proxy",
    "transfer",
    "http2",
    "websockets",
    "cut",
    "pages",
    "idle",
    "scale",
    "mass-revoke",
    "login-flood",
    "workers",
];

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
            "decision" => decision(workspace, &options)?,
            "proxy" => proxy::main(workspace, &options)?,
            "transfer" => transfer::main(workspace, &options)?,
            "http2" => http2::main(workspace, &options)?,
            of_the_gate => numbers(workspace, &options, of_the_gate)?,
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

/// One decision may take this many microseconds, as the median of many.
const DECISION_AT_MOST: f64 = 3.0;

fn decision(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let source = "crates/authority/benches/decision.rs";
    if !workspace.has(source) {
        println!("no {source} yet: skipped");
        return Ok(());
    }
    let mut bench =
        workspace.cargo(["bench", "--quiet", "--package", "fallgate-authority", "--bench", "decision"]);
    println!("$ {}", typed(&bench));
    let said = output(&mut bench)?;
    print!("{said}");
    let median = decision_median(&said).context("the bench printed no line `decision: median … µs`")?;
    if options.check && median > DECISION_AT_MOST {
        bail!("one decision takes {median} µs, at most {DECISION_AT_MOST} are wanted");
    }
    Ok(())
}

fn decision_median(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("decision: median "))?;
    line.split_once(" µs")?.0.parse().ok()
}

/// A program of its own, with the judgement of `--check` in it.
fn numbers(workspace: &Workspace, options: &Options, name: &str) -> anyhow::Result<()> {
    let mut bench =
        workspace.cargo(["bench", "--quiet", "--package", "fallgate", "--bench", "numbers", "--"]);
    bench.arg(name);
    if options.check {
        bench.arg("--check");
    }
    println!("$ {}", typed(&bench));
    let status = with_files(&bench).status().context("cannot start a shell")?;
    if !status.success() {
        bail!("the bench {name} failed ({status})");
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_a_decision_is_read_from_its_line() {
        assert_eq!(
            decision_median("noise\ndecision: median 1.98 µs, p99 3.06 µs (100000 tokens)\n"),
            Some(1.98)
        );
        assert_eq!(decision_median("decision: slow\n"), None);
    }

    #[test]
    fn a_command_with_more_files_keeps_its_arguments_and_settings() {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo "$1 $GREETED""#, "sh", "hello there"]).env("GREETED", "world");
        assert_eq!(output(&mut with_files(&command)).unwrap(), "hello there world\n");
    }
}
