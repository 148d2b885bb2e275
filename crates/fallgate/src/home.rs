//! Fallgate's own folder: who may see it, and the one daemon that serves it.
//!
//! File access is the local command line's authority, so the folder has mode 0700 and every file in it 0600.

use std::fmt::Display;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fallgate_domain::setup::SetupToken;

use crate::failure::Failure;
use crate::{control, internal, lifecycle, root_key};

const DATABASE: &str = "fallgate.db";
const LOCK: &str = "fallgate.lock";
const SETUP_TOKEN: &str = "setup-token";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The bits that say who may do what.
const MODE_BITS: u32 = 0o7777;
const ROOT: u32 = 0;
const EVERYBODY_MAY_WRITE: u32 = 0o002;

/// Where the folder is to be, before it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HomeFolder {
    /// The folder.
    pub(crate) path: PathBuf,
    /// Whether a command finds it without being told.
    pub(crate) is_usual: bool,
}

/// The folder, checked.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    /// What was put right on the way, and what is odd.
    warnings: Vec<String>,
}

/// The file with the setup token, gone when this is dropped.
#[derive(Debug)]
pub(crate) struct SetupFile(PathBuf);

/// Held by the daemon that serves a home folder, for as long as it lives.
#[derive(Debug)]
pub(crate) struct DaemonLock(#[expect(dead_code, reason = "dropping it is what it is for")] File);

impl HomeFolder {
    /// A command that works on this folder, to be pasted into a shell.
    pub(crate) fn command(&self, words: impl Display) -> String {
        if self.is_usual {
            format!("fallgate {words}")
        } else {
            format!("fallgate {words} --home {}", quoted(&self.path.display().to_string()))
        }
    }

    /// Whether anything was ever kept in it.
    pub(crate) fn has_database(&self) -> bool {
        self.path.join(DATABASE).exists()
    }
}

impl Home {
    /// Makes the folder when there is none, and repairs its mode and those of the files in it.
    pub(crate) fn make(folder: &HomeFolder) -> Result<Self, Failure> {
        let path = folder.path.clone();
        match fs::metadata(&path) {
            Ok(metadata) => Self::check(&path, &metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&path);
                made.map_err(|error| unusable(&path, "cannot be made", &error))?;
                Ok(Self { path, warnings: Vec::new() })
            }
            Err(error) => Err(unusable(&path, "cannot be used", &error)),
        }
    }

    /// The folder of something that is there already: a mistyped path makes no second, empty home.
    pub(crate) fn existing(folder: &HomeFolder) -> Result<Self, Failure> {
        let database = folder.path.join(DATABASE);
        match database.try_exists() {
            Ok(true) => Self::make(folder),
            Ok(false) => Err(Failure::failed(format_args!(
                "there is no {}: begin with `{}`, or name another folder with --home",
                database.display(),
                folder.command("user create NAME --admin")
            ))),
            Err(error) => Err(unusable(&database, "cannot be reached", &error)),
        }
    }

    /// Where the folder is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The database file in it.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Writes the setup token to a file of its own, for whoever runs this.
    pub(crate) fn write_setup_token(&self, token: &SetupToken) -> io::Result<SetupFile> {
        let file = SetupFile(self.path.join(SETUP_TOKEN));
        // One of an earlier run, or a link that somebody put there: what is made now is ours.
        self.remove_setup_token()?;
        let mut made = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&file.0)?;
        made.write_all(format!("{}\n", token.expose()).as_bytes())?;
        Ok(file)
    }

    /// Removes the setup token of an earlier run.
    pub(crate) fn remove_setup_token(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(SETUP_TOKEN)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What was put right, each a line that names the file and its mode; and what is odd.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Makes sure that this is the only daemon on the folder. Commands take no such lock.
    pub(crate) fn lock(&self) -> Result<DaemonLock, Failure> {
        let path = self.path.join(LOCK);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path);
        let file = file.map_err(|error| unusable(&path, "cannot be opened", &error))?;
        match file.try_lock() {
            Ok(()) => Ok(DaemonLock(file)),
            Err(TryLockError::WouldBlock) => Err(Failure::failed(format_args!(
                "another fallgate serves {} already: stop it, or name another folder with --home",
                self.path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(&path, "cannot be locked", &error)),
        }
    }

    /// Whether a daemon has the folder now.
    pub(crate) fn is_served(&self) -> bool {
        let file = File::open(self.path.join(LOCK));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    fn check(path: &Path, metadata: &Metadata) -> Result<Self, Failure> {
        let shown = path.display();
        if !metadata.is_dir() {
            return Err(Failure::failed(format_args!("{shown} is not a folder: name one with --home")));
        }
        if metadata.mode() & EVERYBODY_MAY_WRITE != 0 {
            return Err(Failure::failed(format_args!(
                "everybody may write to the folder {shown}: name a folder of Fallgate's own with --home"
            )));
        }
        let names = names_in(path).map_err(|error| unusable(path, "cannot be read", &error))?;
        // What is not ours is not to be locked away from its readers.
        let is_new = !names.iter().any(|name| name == DATABASE);
        if is_new && names.iter().any(|name| !is_ours(name)) {
            return Err(Failure::failed(format_args!(
                "the folder {shown} holds other things and no {DATABASE}: name a folder of Fallgate's own with --home"
            )));
        }
        let mut home = Self { path: path.to_owned(), warnings: Vec::new() };
        home.warnings.extend(check_owner(path, metadata.uid(), lifecycle::user_id(), is_new)?);
        home.repair(path, metadata.mode(), FOLDER_MODE)?;
        for name in names {
            let file = path.join(&name);
            match fs::symlink_metadata(&file) {
                Ok(metadata) if metadata.is_file() => {
                    let repaired = home.repair(&file, metadata.mode(), FILE_MODE);
                    // An internal token's file that cannot be put right keeps nobody from anything: whoever reads it
                    // looks at it once more.
                    if name != internal::NAME {
                        repaired?;
                    }
                }
                // Gone again, as the write-ahead log is when the last process closes it; or no file.
                _ => {}
            }
        }
        Ok(home)
    }

    fn repair(&mut self, path: &Path, found: u32, wanted: u32) -> Result<(), Failure> {
        let found = found & MODE_BITS;
        if found == wanted {
            return Ok(());
        }
        match fs::set_permissions(path, Permissions::from_mode(wanted)) {
            Ok(()) => {
                self.warnings
                    .push(format!("{} had mode {found:04o}; it is {wanted:04o} now", path.display()));
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Failure::failed(format_args!(
                "{} has mode {found:04o} and must have {wanted:04o}, which cannot be set: {error}",
                path.display()
            ))),
        }
    }
}

impl SetupFile {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SetupFile {
    fn drop(&mut self) {
        // It holds nothing of use any more, so that it stays is no reason to say anything.
        let _ = fs::remove_file(&self.0);
    }
}

/// Who may use a folder: its owner, and root, who is told when that is to have consequences.
fn check_owner(path: &Path, owner: u32, user: u32, is_new: bool) -> Result<Option<String>, Failure> {
    let shown = path.display();
    let name = lifecycle::user_name(owner);
    if owner == user || (user == ROOT && !is_new) {
        Ok(None)
    } else if user == ROOT {
        Ok(Some(format!(
            "the folder {shown} belongs to {name}, but what is made in it now will belong to root"
        )))
    } else {
        Err(Failure::failed(format_args!(
            "the folder {shown} belongs to another user, {name}: run fallgate as that user, or name another folder with --home"
        )))
    }
}

/// As a shell reads it back.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// What Fallgate or its packager may have put there before the database was made.
fn is_ours(name: &str) -> bool {
    ["fallgate", internal::NAME, root_key::FILE, SETUP_TOKEN].iter().any(|start| name.starts_with(start))
        || name == "revision"
        || name == control::NAME
        || name == "lost+found"
}

fn unusable(path: &Path, how: &str, error: &io::Error) -> Failure {
    Failure::failed(format_args!("{} {how}: {error}; name another folder with --home", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: impl Into<PathBuf>) -> HomeFolder {
        HomeFolder { path: path.into(), is_usual: false }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & MODE_BITS
    }

    #[test]
    fn a_new_home_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::make(&at(folder.path().join("deep/home"))).unwrap();
        assert_eq!(mode(home.path()), 0o700);
        assert!(home.warnings().is_empty());
    }

    #[test]
    fn wrong_modes_are_repaired_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home");
        fs::create_dir(&path).unwrap();
        let database = path.join(DATABASE);
        fs::write(&database, "").unwrap();
        let token = path.join(internal::NAME);
        fs::write(&token, "").unwrap();
        fs::set_permissions(&token, Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&database, Permissions::from_mode(0o644)).unwrap();
        let home = Home::make(&at(&path)).unwrap();
        assert_eq!((mode(&path), mode(&database), mode(&token)), (0o700, 0o600, 0o600));
        let warnings = home.warnings().join("\n");
        assert!(warnings.contains("fallgate.db had mode 0644; it is 0600 now"), "{warnings}");
        assert!(warnings.contains("home had mode 0755; it is 0700 now"), "{warnings}");
        assert!(Home::make(&at(path)).unwrap().warnings().is_empty());
    }

    #[test]
    fn a_folder_with_other_peoples_things_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("letters.txt"), "").unwrap();
        let refused = Home::make(&at(folder.path())).unwrap_err().to_string();
        assert!(refused.contains("holds other things"), "{refused}");
        assert_eq!(mode(folder.path()), 0o755);
    }

    #[test]
    fn a_folder_that_everybody_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        let refused = Home::make(&at(folder.path())).unwrap_err().to_string();
        assert!(refused.contains("everybody may write"), "{refused}");
        assert_eq!(mode(folder.path()), 0o1777);
    }

    #[test]
    fn two_daemons_cannot_hold_one_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::make(&at(folder.path().join("home"))).unwrap();
        let first = home.lock().unwrap();
        let refused = home.lock().unwrap_err().to_string();
        assert!(refused.contains("another fallgate serves"), "{refused}");
        drop(first);
        home.lock().unwrap();
    }

    #[test]
    fn a_command_on_a_home_that_is_not_there_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("typo");
        let refused = Home::existing(&at(&path)).unwrap_err().to_string();
        assert!(refused.contains("there is no "), "{refused}");
        assert!(!path.exists());
    }

    #[test]
    fn commands_to_be_pasted_name_the_folder_unless_it_is_the_usual_one() {
        let usual = HomeFolder { path: "/srv/gate".into(), is_usual: true };
        assert_eq!(usual.command("user list"), "fallgate user list");
        assert_eq!(at("/srv/gate").command("user list"), "fallgate user list --home /srv/gate");
        assert_eq!(at("/the gate's").command("serve"), r"fallgate serve --home '/the gate'\''s'");
    }

    #[test]
    fn a_folder_of_another_user_is_for_them_and_root() {
        let check = |owner, user, is_new| check_owner(Path::new("/srv/gate"), owner, user, is_new);
        assert_eq!(check(1000, 1000, true).unwrap(), None);
        assert_eq!(check(1000, ROOT, false).unwrap(), None);
        assert!(check(1000, ROOT, true).unwrap().unwrap().contains("will belong to root"));
        for owner in [ROOT, 1001] {
            assert!(check(owner, 1000, false).unwrap_err().to_string().contains("belongs to another user"));
        }
    }
}
