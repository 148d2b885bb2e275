//! A copy of the database as of one moment, made while others read and write it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::error::Fault;

/// How many pages are copied between two words about it.
const PAGES_AT_ONCE: i32 = 2_048;

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages copied.
    pub done: u64,
    /// Pages there are.
    pub of: u64,
}

/// Copies into a new file that only its owner can read, synced. Nothing is overwritten, and half a copy is never found
/// under the name.
pub(crate) fn copy(source: &Connection, to: &Path, tell: impl FnMut(Progress)) -> Result<(), Fault> {
    let failed = |reason: String| Fault::BackupFailed(to.to_owned(), reason);
    // Takes the name, so that nobody else writes there meanwhile.
    match create(to) {
        Ok(_empty) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Fault::BackupExists(to.to_owned()));
        }
        Err(error) => return Err(failed(error.to_string())),
    }
    let unfinished = unfinished(to);
    let copied = write(source, &unfinished, tell).and_then(|()| {
        fs::rename(&unfinished, to).and_then(|()| sync_folder(to)).map_err(|error| error.to_string())
    });
    copied.map_err(|reason| {
        // What is left of it is of no use; that it cannot be removed either is not the trouble to tell of.
        let _ = fs::remove_file(&unfinished);
        let _ = fs::remove_file(to);
        failed(reason)
    })
}

fn write(source: &Connection, to: &Path, mut tell: impl FnMut(Progress)) -> Result<(), String> {
    let told = |error: rusqlite::Error| error.to_string();
    match fs::remove_file(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.to_string()),
        // One that was killed left it.
        _ => drop(create(to).map_err(|error| error.to_string())?),
    }
    let mut copy = Connection::open(to).map_err(told)?;
    // It is synced as a whole at the end, and thrown away if it does not come to that.
    copy.execute_batch("PRAGMA journal_mode = off; PRAGMA synchronous = off").map_err(told)?;
    // Held for the whole time: what is copied is of this moment, and a writer does not make it begin anew.
    let snapshot = source.unchecked_transaction().map_err(told)?;
    snapshot.query_row("SELECT revision FROM state", [], |_| Ok(())).map_err(told)?;
    let backup = Backup::new(&snapshot, &mut copy).map_err(told)?;
    loop {
        let step = backup.step(PAGES_AT_ONCE).map_err(told)?;
        let progress = backup.progress();
        let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
        tell(Progress {
            done: count(progress.pagecount - progress.remaining),
            of: count(progress.pagecount),
        });
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => return Err("another process is in the way; try again".to_owned()),
        }
    }
    drop(backup);
    let verdict: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(told)?;
    if verdict != "ok" {
        return Err(format!(
            "the copy is damaged, and so is perhaps the database: {}",
            verdict.replace('\n', " ")
        ));
    }
    copy.close().map_err(|(_, error)| error.to_string())?;
    File::open(to).and_then(|file| file.sync_all()).map_err(|error| error.to_string())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Where the copy lies until it is whole.
fn unfinished(to: &Path) -> PathBuf {
    let mut name = to.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(".unfinished");
    to.with_file_name(name)
}

fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
