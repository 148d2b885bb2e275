//! The process itself: signals, limits, who runs it, its log.

use std::fs;
use std::io::{self, IsTerminal};

use fallgate_authority::Actor;
use rustix::process::{Resource, Rlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::Environment;
use crate::failure::Failure;

/// What is logged when nothing else is asked for.
const LOG: &str = "info";

/// Libraries that warn of what strangers send: whoever floods the gate would flood its log. Below an error they are
/// heard when they are asked for by name.
const TALKATIVE: [&str; 2] = ["h2", "rustls"];

/// Whatever this process makes from here on, only its own user can read.
pub(crate) fn keep_new_files_private() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Lets the process have as many open files, and so connections, as the system allows it.
pub(crate) fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, current = limit.current, "cannot raise the limit on open files");
    }
}

/// The user that this process runs as.
pub(crate) fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of an OS user, or `uid:<n>` when the machine's list has none. The environment is not asked: anybody can
/// set it, and the name stands in the audit trail.
pub(crate) fn user_name(id: u32) -> String {
    let list = fs::read("/etc/passwd").unwrap_or_default();
    name_in(&String::from_utf8_lossy(&list), id).unwrap_or_else(|| format!("uid:{id}"))
}

/// Whoever runs this command, as the audit trail names them.
pub(crate) fn actor() -> Actor {
    Actor::Cli { os_user: user_name(user_id()) }
}

/// Logs to stderr, as much as `FALLGATE_LOG` or else `RUST_LOG` asks for.
pub(crate) fn start_log(environment: &Environment) -> Result<(), Failure> {
    let (name, asked) = match (environment.text("FALLGATE_LOG")?, environment.text("RUST_LOG")?) {
        (Some(asked), _) => ("FALLGATE_LOG", asked),
        (None, Some(asked)) => ("RUST_LOG", asked),
        (None, None) => ("", LOG),
    };
    // What is not a level is taken for a module's name, and nothing would be logged. `RUST_LOG` may be about others.
    let misspelt = |word: &&str| !word.contains(['=', ':', '[']) && word.parse::<LevelFilter>().is_err();
    if name == "FALLGATE_LOG"
        && let Some(word) = asked.split(',').map(str::trim).find(misspelt)
    {
        let shown: String = word.chars().take(64).collect();
        return Err(Failure::failed(format_args!(
            "FALLGATE_LOG: {shown:?} is no level: write off, error, warn, info, debug or trace, or a module with its level, such as fallgate_relay=debug"
        )));
    }
    let filter = EnvFilter::try_new(asked).map_err(|error| {
        Failure::failed(format_args!(
            "{name} is not a log filter such as info or fallgate_relay=debug: {error}"
        ))
    })?;
    let named = TALKATIVE.map(|name| asked.split(',').any(|word| is_part_of(word.trim(), name)));
    let quiet = filter_fn(move |about| {
        *about.level() == Level::ERROR
            || !TALKATIVE.iter().zip(named).any(|(name, named)| !named && is_part_of(about.target(), name))
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // It would tell of a line that cannot be written on stderr too, and panic when that fails.
        .log_internal_errors(false);
    let log = tracing_subscriber::registry().with(filter).with(lines.with_filter(quiet));
    log.try_init().map_err(Failure::failed)
}

/// Whether `target`, which may have a level behind it, is that library or a module of it.
fn is_part_of(target: &str, library: &str) -> bool {
    target.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '=', '[']))
}

/// The signals that ask a process to stop.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

/// The signal that asks a process to read its config again. A terminal that is closed sends it too: no reason to end.
#[derive(Debug)]
pub(crate) struct Hangups(Signal);

impl Hangups {
    /// From here on it does not end the process by itself. Needs a runtime.
    pub(crate) fn catch() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Returns when it has come, once for several in a row.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

impl StopSignals {
    /// From here on these signals do not end the process by themselves. Needs a runtime.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The first signal lets requests under way end; a second one ends the process at once. Never returns.
    pub(crate) async fn watch(mut self, stopping: watch::Sender<bool>) {
        let signal = self.next().await;
        tracing::info!(
            signal,
            "stopping: requests under way may end within ten seconds; a second signal ends at once"
        );
        // Nobody listens any more: then everything has ended already.
        let _ = stopping.send(true);
        let signal = self.next().await;
        tracing::warn!(signal, "ending at once");
        std::process::exit(1)
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// The name of a user in a list in the form of `passwd(5)`.
fn name_in(list: &str, id: u32) -> Option<String> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
        (!name.is_empty() && number.parse() == Ok(id)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_users_are_named_by_the_machines_list() {
        let list = "root:x:0:0:root:/root:/bin/sh\nbroken line\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_in(list, 1000).as_deref(), Some("ada"));
        assert_eq!(name_in(list, 7), None);
        assert_eq!(user_name(u32::MAX - 7), format!("uid:{}", u32::MAX - 7));
    }

    #[test]
    fn a_library_is_named_by_itself_and_by_its_modules() {
        for named in ["h2", "h2=debug", "h2::proto::streams=trace", "h2[{id=1}]"] {
            assert!(is_part_of(named, "h2"), "{named}");
        }
        for other in ["", "h2o", "info", "fallgate_relay::h2=debug", "rustls"] {
            assert!(!is_part_of(other, "h2"), "{other}");
        }
    }
}
