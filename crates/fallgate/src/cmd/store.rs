//! `fallgate store …`

use std::fs;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fallgate_store::Progress;

use crate::cli::Store;
use crate::failure::Failure;
use crate::home::{Home, HomeFolder};
use crate::{assemble, cmd, internal, lifecycle, output};

/// How often a terminal is told how far a backup has come.
const TELL_EVERY: Duration = Duration::from_millis(500);

pub(crate) fn run(verb: Store, home: &HomeFolder) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        Store::Backup { file } => runtime.block_on(backup(home, file)),
        Store::Restore { .. } => runtime.block_on(restore(home)),
        Store::Sweep => runtime.block_on(sweep(home)),
    }
}

async fn backup(home: &HomeFolder, file: PathBuf) -> Result<(), Failure> {
    let registrar = cmd::registrar(home).await?;
    let shown = file.display().to_string();
    let mut told = io::stderr().is_terminal().then(Instant::now);
    let mut line_begun = false;
    let tell = move |progress: Progress| {
        let done = progress.done == progress.of;
        if let Some(last) = &mut told
            && (last.elapsed() >= TELL_EVERY || (done && line_begun))
        {
            *last = Instant::now();
            line_begun = true;
            let percent = progress.done.saturating_mul(100) / progress.of.max(1);
            output::ask(format_args!("\rcopied {percent} %{}", if done { "\n" } else { "" }));
        }
    };
    registrar.store().backup(file, tell).await?;
    output::say(format_args!("Copied the database into {shown}. To restore it, see docs/backup.md."));
    Ok(())
}

async fn restore(folder: &HomeFolder) -> Result<(), Failure> {
    let home = Home::existing(folder)?;
    home.warnings().iter().for_each(output::warn);
    // Nobody may go on deciding by what was there before.
    let _no_daemon = home.lock()?;
    let accepted = assemble::restored(&home).await?.accept_restored(&lifecycle::actor()).await?;
    forget_internal_token(&home)?;
    let reached = match accepted.reached {
        Some(reached) if reached > accepted.found => format!("; {} was reached before", reached.0),
        Some(_) => String::new(),
        None => "; how far it had come before is not known".to_owned(),
    };
    let (tokens, logins) = (accepted.ended.tokens, accepted.ended.logins);
    output::say(format_args!(
        "Took over the database as of revision {}{reached}. Ended {tokens} token{} and {logins} sign-in{}.\n\
         Users, roles and passphrases are as they were then, and so are those who were disabled since: look through `{}`.",
        accepted.found.0,
        if tokens == 1 { "" } else { "s" },
        if logins == 1 { "" } else { "s" },
        folder.command("user list"),
    ));
    Ok(())
}

/// The machine's internal token may be an old one too; the daemon makes another.
fn forget_internal_token(home: &Home) -> Result<(), Failure> {
    let path = home.path().join(internal::NAME);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::failed(format_args!(
            "every other credential is ended, but {} cannot be removed ({error}): remove it by hand",
            path.display()
        ))),
        _ => Ok(()),
    }
}

async fn sweep(home: &HomeFolder) -> Result<(), Failure> {
    let registrar = cmd::registrar(home).await?;
    let swept = registrar.sweep(&lifecycle::actor()).await?;
    let dead = registrar.sweep_workers().await?;
    output::say(format_args!(
        "Took away {swept} credential{} that ended more than 30 days ago, and {dead} end{} of worker tokens that are \
         dead by themselves",
        if swept == 1 { "" } else { "s" },
        if dead == 1 { "" } else { "s" }
    ));
    Ok(())
}
