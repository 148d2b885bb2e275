//! Where the root key is kept: in the variable `FALLGATE_ENCRYPTION_KEY`, else in the file `root.key` of the home
//! folder, which the first start makes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use fallgate_authority::{KeyError, Registrar, Unlocked};
use fallgate_domain::root_key::{InvalidRootKey, RootKey};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::config::{Environment, ROOT_KEY};
use crate::failure::Failure;
use crate::home::Home;
use crate::lifecycle;

/// The file's name.
pub(crate) const FILE: &str = "root.key";
/// What it is written to before it gets its name. Whoever writes holds the folder's lock.
const UNFINISHED: &str = "root.key.tmp";
const HOW_TO_MAKE_ONE: &str = "a key is made with `openssl rand -hex 32`";
const FILE_MODE: u32 = 0o600;
const ROOT: u32 = 0;
/// More than any spelling of a key takes.
const LONGEST: u16 = 4096;

/// A root key, and where it was found.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) key: RootKey,
    pub(crate) kept: Kept,
}

/// Where a root key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Variable,
    File,
    /// In both, which is fine as long as both are the same.
    Both,
}

/// The key in the variable, if it is set.
pub(crate) fn in_variable(environment: &Environment) -> Result<Option<RootKey>, Failure> {
    environment.root_key().map(RootKey::parse).transpose().map_err(|error| no_key(ROOT_KEY, error))
}

/// The key in a file that somebody names.
pub(crate) fn in_file(path: &Path) -> Result<RootKey, Failure> {
    let unreadable = |error: io::Error| {
        Failure::failed(format_args!(
            "{} cannot be read: {error}; name a file that holds a root key",
            path.display()
        ))
    };
    let content = File::open(path).and_then(read).map_err(unreadable)?;
    RootKey::parse_file(&content).map_err(|error| no_key(path.display(), error))
}

/// Takes the root key from where it is kept, if it is anywhere and fits. Nothing is made, replaced or told.
pub(crate) async fn unlock_kept(
    registrar: &Registrar,
    home: &Home,
    environment: &Environment,
) -> Result<(), Failure> {
    let file = RootKeyFile::of(home);
    let missing =
        || Failure::failed(format_args!("there is no {} and {ROOT_KEY} is not set", file.path.display()));
    let mut held = match in_variable(environment)? {
        Some(key) => Held { key, kept: Kept::Variable },
        None => Held { key: file.read()?.ok_or_else(missing)?, kept: Kept::File },
    };
    let unlocked = held.unlock(registrar, &file).await;
    unlocked.map(drop).map_err(|error| held.misfit(&file, error))
}

/// Takes the root key from where it is kept, once it is sure that it fits the store; makes one if the store is new and
/// there is none. A rotation that was broken off before the file was replaced is brought to its end.
pub(crate) async fn unlock(
    registrar: &Registrar,
    home: &Home,
    variable: Option<RootKey>,
    mut notice: impl FnMut(String),
) -> Result<Held, Failure> {
    let file = RootKeyFile::of(home);
    let mut held = match (variable, file.read()?) {
        (Some(key), None) => Held { key, kept: Kept::Variable },
        (Some(key), Some(other)) if key.is_same_as(&other) => Held { key, kept: Kept::Both },
        (Some(_), Some(_)) => {
            return Err(Failure::failed(format_args!(
                "{ROOT_KEY} and {} hold different root keys: keep the one that fits and take the other away",
                file.path.display()
            )));
        }
        (None, Some(key)) => Held { key, kept: Kept::File },
        (None, None) => Held { key: file.make(registrar).await?, kept: Kept::File },
    };
    match held.unlock(registrar, &file).await {
        Ok(Unlocked::Current) => {}
        Ok(Unlocked::ByOld(current)) if held.kept == Kept::File => {
            let shown = file.path.display();
            match file.replace(registrar, &held.key, &current).await {
                Ok(()) => {
                    notice(format!("{shown} held the old root key of a rotation; it holds the new one now"));
                    held.key = current;
                }
                // It opens all the same.
                Err(failure) => {
                    notice(format!("{shown} holds the old root key of a rotation still: {failure}"));
                }
            }
        }
        Ok(Unlocked::ByOld(_)) => notice(format!(
            "{ROOT_KEY} holds the old root key of a rotation, which opens until `fallgate key rotate --confirm`: put the new one in its place"
        )),
        Err(error) => return Err(held.misfit(&file, error)),
    }
    if held.kept == Kept::File {
        registrar.look_for_root_key(move || file.read().ok().flatten());
    }
    Ok(held)
}

impl Held {
    /// Unlocks with it, or with the one that has taken its place in the file since it was read: a rotation may be made
    /// and confirmed meanwhile.
    async fn unlock(&mut self, registrar: &Registrar, file: &RootKeyFile) -> Result<Unlocked, KeyError> {
        let unlocked = registrar.unlock(&self.key).await;
        if self.kept == Kept::File
            && matches!(unlocked, Err(KeyError::DoesNotFit { .. }))
            && let Ok(Some(now)) = file.read()
            && !now.is_same_as(&self.key)
        {
            self.key = now;
            return registrar.unlock(&self.key).await;
        }
        unlocked
    }

    /// What is said when it unlocks nothing.
    fn misfit(&self, file: &RootKeyFile, error: KeyError) -> Failure {
        let KeyError::DoesNotFit { wanted, .. } = &error else { return error.into() };
        let shown = file.path.display();
        let place = match self.kept {
            Kept::Variable => ROOT_KEY.to_owned(),
            Kept::File => shown.to_string(),
            Kept::Both => format!("{ROOT_KEY} and {shown}"),
        };
        let kept = file.kept(wanted);
        let found = if kept.exists() { format!(", which {} holds,", kept.display()) } else { String::new() };
        Failure::failed(format_args!(
            "the root key in {place} does not fit: {error}; put that one{found} in its place"
        ))
    }
}

/// The file of a home folder.
#[derive(Debug)]
pub(crate) struct RootKeyFile {
    folder: PathBuf,
    path: PathBuf,
}

impl RootKeyFile {
    pub(crate) fn of(home: &Home) -> Self {
        Self { folder: home.path().to_owned(), path: home.path().join(FILE) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The key in the file, if it is there. What others could have put there is refused.
    fn read(&self) -> Result<Option<RootKey>, Failure> {
        let shown = self.path.display();
        let unreadable = |error: io::Error| {
            Failure::failed(format_args!(
                "{shown} cannot be read: {error}; it must be a file of this user's own that holds the root key"
            ))
        };
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        if !found.is_file() {
            return Err(Failure::failed(format_args!(
                "{shown} is not a regular file: put a file there that holds the root key, or set {ROOT_KEY} and take it away"
            )));
        }
        let user = lifecycle::user_id();
        let folder = fs::metadata(&self.folder).map_err(unreadable)?;
        // Root may work on another user's home, but on nothing that a third one has put there.
        if found.uid() != user && !(user == ROOT && found.uid() == folder.uid()) {
            return Err(Failure::failed(format_args!(
                "{shown} belongs to another user, {}: give it to {}",
                lifecycle::user_name(found.uid()),
                lifecycle::user_name(user)
            )));
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&self.path);
        let content = opened.and_then(read).map_err(unreadable)?;
        RootKey::parse_file(&content).map(Some).map_err(|error| no_key(shown, error))
    }

    /// Makes the file, for a store that has no keys yet. When another process is faster, its key counts.
    async fn make(&self, registrar: &Registrar) -> Result<RootKey, Failure> {
        if let Some(wanted) = registrar.keys().await?.root_keys.iter().find(|key| key.current) {
            // Another process may have made both since the file was looked for.
            return self.read()?.ok_or_else(|| {
                Failure::failed(format_args!(
                    "there is no {} and {ROOT_KEY} is not set: this store is sealed under the root key {}; put that one back",
                    self.path.display(),
                    wanted.id
                ))
            });
        }
        let key = registrar.make_root_key()?;
        let lock = self.lock()?;
        let made = self.write(&lock, &key, |unfinished, path| {
            // Unlike a renaming, this replaces nothing.
            match fs::hard_link(unfinished, path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => fs::remove_file(unfinished),
            }
        });
        made.map_err(|error| self.unwritable(&error))?;
        drop(lock);
        self.read()?.ok_or_else(|| self.unwritable(&ErrorKind::NotFound.into()))
    }

    /// Puts a new key into the place of the old one, in one step: whoever reads the file sees one or the other. The old
    /// one is kept beside it under its id, since backups from before the rotation open with nothing else. A third key
    /// stays: then another process has gone on from here.
    pub(crate) async fn replace(
        &self,
        registrar: &Registrar,
        old: &RootKey,
        new: &RootKey,
    ) -> Result<(), Failure> {
        let keys = registrar.keys().await?;
        let kept = keys.root_keys.iter().find(|key| !key.current).map(|key| self.kept(&key.id));
        let lock = self.lock()?;
        if self.read()?.is_some_and(|found| !found.is_same_as(old)) {
            return Ok(());
        }
        let replaced = self.write(&lock, new, |unfinished, path| {
            if let Some(kept) = &kept {
                match fs::hard_link(path, kept) {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
            }
            fs::rename(unfinished, path)
        });
        replaced.map_err(|error| self.unwritable(&error))
    }

    /// Where a key of that id is kept once another has taken its place.
    pub(crate) fn kept(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{FILE}.{id}"))
    }

    /// Held while something is written: a file that is left unfinished here is nobody's.
    fn lock(&self) -> Result<File, Failure> {
        let folder = File::open(&self.folder).and_then(|folder| folder.lock().map(|()| folder));
        folder.map_err(|error| self.unwritable(&error))
    }

    fn write(
        &self,
        folder: &File,
        key: &RootKey,
        finish: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let unfinished = self.folder.join(UNFINISHED);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&unfinished)?;
        let owner = folder.metadata()?;
        if lifecycle::user_id() == ROOT && owner.uid() != ROOT {
            // The daemon has to be able to read it.
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.write_all(&key.to_file())?;
        file.sync_all()?;
        finish(&unfinished, &self.path)?;
        // Its name must outlive a power cut, too.
        folder.sync_all()
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        Failure::failed(format_args!(
            "{} cannot be written: {error}; give this user access to it and to its folder",
            self.path.display()
        ))
    }
}

fn read(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::with_capacity(usize::from(LONGEST)));
    file.take(LONGEST.into()).read_to_end(&mut content)?;
    Ok(content)
}

fn no_key(place: impl std::fmt::Display, error: InvalidRootKey) -> Failure {
    Failure::failed(format_args!("{place} holds no root key: {error}; {HOW_TO_MAKE_ONE}"))
}
