//! The highest revision that was reached, in a file beside the database. A database below it is an older copy, whose
//! revoked credentials would stand again.
//!
//! An act is committed first, then the file is raised, and only then the act is acknowledged. Whoever is killed in
//! between leaves a database above its file, which is fine: nothing was promised yet. The other way round it would leave
//! one below it, which looks like an older copy.
//!
//! The file has two places, each on a disk block of its own, and a raise overwrites the lower one: power may fail in
//! the middle of a write and the higher one is still whole. No write needs new space on the disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use crate::changes;
use crate::error::Fault;
use crate::revision::Revision;
use crate::sqlite::file::wait_for_lock;

const NAME: &str = "revision";

/// A place's distance from the next, in bytes: no disk block reaches into both.
const PLACE: u64 = 4_096;
const PLACES: u64 = 2;

/// The number twice, so that a write that was torn shows, and a line end.
const LINE: usize = 2 * DIGITS + 2;
const DIGITS: usize = 20;

/// The file. Other processes read and raise it too; it only ever rises.
#[derive(Debug)]
pub(crate) struct RevisionFile {
    path: PathBuf,
    /// What this process knows to be on the disk.
    synced: AtomicU64,
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// There is none, or an empty one, whose maker was killed before it wrote.
    Missing,
    /// It is not what Fallgate writes.
    Unreadable,
    /// This was reached.
    At(Revision),
}

impl RevisionFile {
    /// The file that belongs to the database at `database`.
    pub(crate) fn beside(database: &Path) -> Self {
        Self { path: database.with_file_name(NAME), synced: AtomicU64::new(0) }
    }

    /// What it says now.
    pub(crate) fn read(&self) -> Result<Reached, Fault> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Reached::Missing),
            Err(error) => return Err(self.unusable("read", &error)),
        };
        // Whoever makes it is waited for.
        let read = lock(&file, File::try_lock_shared).and_then(|()| Places::read(&file));
        Ok(read.map_err(|error| self.unusable("read", &error))?.reached())
    }

    /// Sees to it that the file says `revision` or more, on the disk. One that is missing or cannot be read is made
    /// anew: call this only with a revision of a database that was admitted.
    pub(crate) fn raise(&self, revision: Revision) -> Result<(), Fault> {
        // Nothing was synced yet where a new database begins, at zero.
        if revision.0 > 0 && revision.0 <= self.synced.load(Ordering::Acquire) {
            return Ok(());
        }
        self.write(revision).map_err(|error| self.unusable("written", &error))?;
        self.synced.fetch_max(revision.0, Ordering::AcqRel);
        Ok(())
    }

    fn write(&self, revision: Revision) -> io::Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)?;
        // Of two that raise it at once the lower must not come last.
        lock(&file, File::try_lock)?;
        let places = Places::read(&file)?;
        match places.reached() {
            // Synced all the same: whoever wrote it may have been killed before it was.
            Reached::At(reached) if reached >= revision => file.sync_data(),
            Reached::At(_) => {
                file.write_all_at(&line(revision), places.lower() * PLACE)?;
                file.sync_data()
            }
            Reached::Missing | Reached::Unreadable => {
                let mut place = vec![0; usize::try_from(PLACE).unwrap_or_default()];
                place.splice(..LINE, line(revision));
                file.write_all_at(&place.repeat(usize::try_from(PLACES).unwrap_or_default()), 0)?;
                file.sync_all()?;
                // Its name must outlive a power cut, too.
                let folder = self.path.parent().unwrap_or(Path::new("/"));
                File::open(folder)?.sync_all()
            }
        }
    }

    /// Refuses a database that is older than what was reached, or that cannot be told from one.
    pub(crate) fn admit(&self, database: &mut Connection) -> Result<(), Fault> {
        let mut again = true;
        loop {
            // The file first: what is committed and raised in between is in the database then. The other way round a
            // database that others write to would look old.
            let reached = self.read()?;
            let snapshot = database.transaction()?;
            let found = changes::revision(&snapshot)?;
            let guarded: bool = snapshot.query_row("SELECT guarded FROM state", [], |row| row.get(0))?;
            drop(snapshot);
            match reached {
                Reached::At(reached) if found < reached => return Err(Fault::OlderCopy { found, reached }),
                Reached::At(_) if guarded => return Ok(()),
                Reached::At(_) => return mark_guarded(database),
                Reached::Missing if !guarded => {
                    self.raise(found)?;
                    return mark_guarded(database);
                }
                // Another process may have made it just now.
                Reached::Missing | Reached::Unreadable if std::mem::take(&mut again) => {}
                Reached::Missing => return Err(Fault::Unguarded(self.trouble("is gone"))),
                Reached::Unreadable => return Err(Fault::Unguarded(self.trouble("cannot be read"))),
            }
        }
    }

    fn trouble(&self, what: &str) -> String {
        format!("{}, which says how far it had come, {what}", self.path.display())
    }

    fn unusable(&self, what: &str, error: &io::Error) -> Fault {
        Fault::Unavailable(format!("{} beside it cannot be {what} ({error})", self.path.display()))
    }
}

/// From now on the file must be there. After it was made, never before: whoever is killed in between makes it again.
pub(crate) fn mark_guarded(database: &Connection) -> Result<(), Fault> {
    database.execute("UPDATE state SET guarded = 1 WHERE guarded = 0", [])?;
    Ok(())
}

/// The two places, as read.
#[derive(Debug)]
struct Places {
    empty: bool,
    numbers: [Option<u64>; 2],
}

impl Places {
    fn read(file: &File) -> io::Result<Self> {
        let mut numbers = [None; 2];
        for (number, place) in numbers.iter_mut().zip(0..) {
            let mut line = [0; LINE];
            *number = match file.read_exact_at(&mut line, place * PLACE) {
                Ok(()) => parse(&line),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
                Err(error) => return Err(error),
            };
        }
        Ok(Self { empty: file.metadata()?.len() == 0, numbers })
    }

    fn reached(&self) -> Reached {
        match self.numbers.iter().flatten().max() {
            Some(number) => Reached::At(Revision(*number)),
            None if self.empty => Reached::Missing,
            None => Reached::Unreadable,
        }
    }

    fn lower(&self) -> u64 {
        let [first, second] = self.numbers;
        u64::from(second < first)
    }
}

fn line(revision: Revision) -> [u8; LINE] {
    let mut line = [b'\n'; LINE];
    let text = format!("{0:0DIGITS$} {0:0DIGITS$}\n", revision.0);
    line.iter_mut().zip(text.bytes()).for_each(|(byte, text)| *byte = text);
    line
}

fn parse(line: &[u8; LINE]) -> Option<u64> {
    let (first, second) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    let digits = first.len() == DIGITS && first.bytes().all(|byte| byte.is_ascii_digit());
    if digits && first == second { first.parse().ok() } else { None }
}

/// Waits for whoever has it locked, as long as for the database.
fn lock(file: &File, try_lock: impl Fn(&File) -> Result<(), TryLockError>) -> io::Result<()> {
    for tries in 0.. {
        match try_lock(file) {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if wait_for_lock(tries) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    fn file() -> (tempfile::TempDir, RevisionFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = RevisionFile::beside(&folder.path().join("fallgate.db"));
        (folder, file)
    }

    /// Another process's.
    fn other(file: &RevisionFile) -> RevisionFile {
        RevisionFile { path: file.path.clone(), synced: AtomicU64::new(0) }
    }

    #[test]
    fn it_only_rises() {
        let (_folder, file) = file();
        assert_eq!(file.read().unwrap(), Reached::Missing);
        for (raised, reached) in [(0, 0), (7, 7), (3, 7), (8, 8), (9, 9), (10, 10), (u64::MAX, u64::MAX)] {
            other(&file).raise(Revision(raised)).unwrap();
            assert_eq!(file.read().unwrap(), Reached::At(Revision(reached)));
        }
    }

    #[test]
    fn a_write_that_was_torn_anywhere_leaves_what_was_reached_before() {
        let (_folder, file) = file();
        for revision in [199, 998, 1_000] {
            other(&file).raise(Revision(revision)).unwrap();
        }
        let before = fs::read(&file.path).unwrap();
        other(&file).raise(Revision(2_001)).unwrap();
        let after = fs::read(&file.path).unwrap();
        let changed = before.iter().zip(&after).position(|(before, after)| before != after).unwrap();
        for torn in changed + 1..changed + 40 {
            let mut bytes = before.clone();
            bytes[..torn].copy_from_slice(&after[..torn]);
            fs::write(&file.path, bytes).unwrap();
            let Reached::At(reached) = file.read().unwrap() else { panic!("torn at {torn}: unreadable") };
            assert!([1_000, 2_001].contains(&reached.0), "torn at {torn}: {reached:?}");
            // And it heals with the next.
            other(&file).raise(Revision(2_001)).unwrap();
            assert_eq!(file.read().unwrap(), Reached::At(Revision(2_001)));
        }
    }

    #[test]
    fn what_is_not_ours_is_not_guessed_at() {
        let (_folder, file) = file();
        fs::write(&file.path, "").unwrap();
        assert_eq!(file.read().unwrap(), Reached::Missing);
        for text in ["7\n", "latest", "00000000000000000007 00000000000000000008\n"] {
            fs::write(&file.path, text).unwrap();
            assert_eq!(file.read().unwrap(), Reached::Unreadable, "{text:?}");
        }
    }

    #[test]
    fn many_that_raise_it_at_once_leave_the_highest() {
        let (_folder, file) = file();
        let file = Arc::new(file);
        let threads = (0..8).map(|number| {
            let file = other(&file);
            thread::spawn(move || {
                for step in 0..25 {
                    file.raise(Revision(step * 8 + number)).unwrap();
                    let Reached::At(reached) = file.read().unwrap() else { panic!("unreadable") };
                    assert!(reached >= Revision(step * 8 + number));
                }
            })
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(file.read().unwrap(), Reached::At(Revision(199)));
    }
}
