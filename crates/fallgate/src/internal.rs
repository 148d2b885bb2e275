//! The file of the machine's internal token. The file is the truth for the secret; the store says whether it counts.
//!
//! Whoever writes it holds the home folder locked, makes the new file beside the old one, has the store take the new
//! secret and end the old one, and only then puts the file in its place. Broken off anywhere, the next start finds
//! either the old file and its secret, or one that was ended, which it replaces.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fallgate_authority::{InternalTokenError, Registrar};
use fallgate_domain::credential::Status;
use fallgate_domain::internal::InternalToken;
use rustix::fs::OFlags;
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::home::Home;
use crate::lifecycle;

/// Its name in the home folder.
pub(crate) const NAME: &str = "internal-token";
const STAGED: &str = "internal-token.new";
const MODE: u32 = 0o600;
const MODE_BITS: u32 = 0o7777;
/// What is longer than this has surely not 64 digits.
const READ_AT_MOST: u64 = 1_024;
const DIGITS: usize = 64;
const ROOT: u32 = 0;
/// How long another process may hold the folder; it takes milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// What stands in the file.
enum Found {
    Token(InternalToken),
    Missing,
    /// Nothing that can be used, and why.
    Unusable(String),
}

/// The file, and what was put right on it.
struct TokenFile<'h> {
    home: &'h Home,
    path: PathBuf,
    warnings: Vec<String>,
}

/// A new secret in a file beside the old one.
struct Staged {
    path: PathBuf,
}

/// Has the token in the file count, or a new one where there is none that can. Nothing in here keeps the gate from
/// starting: what is wrong is told, in lines.
pub(crate) async fn settle(home: &Home, registrar: &Registrar) -> Vec<String> {
    let mut file = TokenFile::of(home);
    let _alone = match file.lock() {
        Ok(lock) => Some(lock),
        Err(error) => {
            file.warnings.push(format!("{} cannot be locked: {error}", home.path().display()));
            None
        }
    };
    let unusable = match file.read() {
        Found::Token(token) => match registrar.hold_internal(&token, &lifecycle::actor()).await {
            Ok(()) => return file.warnings,
            Err(InternalTokenError::Ended) => Some("was revoked".to_owned()),
            Err(error) => {
                file.warnings.push(does_not_count(&error));
                return file.warnings;
            }
        },
        Found::Missing => None,
        Found::Unusable(why) => Some(why),
    };
    if let Some(why) = unusable {
        let shown = file.path.display();
        file.warnings.push(format!(
            "the internal token in {shown} {why}: there is a new one, which programs of this machine have to read"
        ));
    }
    file.replace(registrar).await;
    file.warnings
}

/// Makes another token; the old one ends.
pub(crate) async fn rotate(home: &Home, registrar: &Registrar) -> Result<PathBuf, Failure> {
    let file = TokenFile::of(home);
    let unwritable = |error: io::Error| {
        let shown = file.path.display();
        Failure::failed(format_args!("{shown} cannot be written: {error}; the old internal token stays"))
    };
    let _alone = file.lock().map_err(unwritable)?;
    let token = registrar.draw_internal()?;
    let staged = file.stage(&token).map_err(unwritable)?;
    if let Err(error) = registrar.rotate_internal(&token, &lifecycle::actor()).await {
        staged.discard();
        return Err(error.into());
    }
    file.put(&staged).map_err(|error| {
        let shown = file.path.display();
        Failure::failed(format_args!(
            "the old internal token has ended, but {shown} cannot be written: {error}; put that right and rotate again"
        ))
    })?;
    Ok(file.path)
}

/// The token in the file, and what is odd about it.
pub(crate) async fn show(
    home: &Home,
    registrar: &Registrar,
) -> Result<(Zeroizing<String>, Vec<String>), Failure> {
    let mut file = TokenFile::of(home);
    let token = match file.read() {
        Found::Token(token) => token,
        Found::Missing => {
            return Err(Failure::failed(format_args!(
                "there is no {}: `fallgate serve` makes it, and so does `fallgate internal-token rotate`",
                file.path.display()
            )));
        }
        Found::Unusable(why) => {
            return Err(Failure::failed(format_args!(
                "the internal token in {} {why}: make another one with `fallgate internal-token rotate`",
                file.path.display()
            )));
        }
    };
    let text = token.expose();
    let now = registrar.clock().now();
    let status = registrar.inspect(text.as_bytes()).await?.map(|listed| listed.credential.status(now));
    match status {
        Some(Status::Active) => {}
        Some(_) => file.warnings.push(
            "this token was revoked: make another one with `fallgate internal-token rotate`".to_owned(),
        ),
        None => file.warnings.push("this token counts from the next start of the gate on".to_owned()),
    }
    Ok((text, file.warnings))
}

impl<'h> TokenFile<'h> {
    fn of(home: &'h Home) -> Self {
        Self { home, path: home.path().join(NAME), warnings: Vec::new() }
    }

    /// Holds the folder until dropped, so that two who write agree on one token.
    fn lock(&self) -> io::Result<File> {
        let folder = File::open(self.home.path())?;
        let mut waited = Duration::ZERO;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(folder),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if waited >= LOCK_PATIENCE => {
                    return Err(io::Error::other("another process holds the folder"));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            }
            waited += LOCK_PAUSE;
        }
    }

    fn read(&mut self) -> Found {
        match self.try_read() {
            Ok(Ok(token)) => Found::Token(token),
            Ok(Err(why)) => Found::Unusable(why),
            Err(error) if error.kind() == ErrorKind::NotFound => Found::Missing,
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                Found::Unusable("is a symbolic link, not a file".to_owned())
            }
            Err(error) => Found::Unusable(format!("cannot be read ({error})")),
        }
    }

    /// The inner error says what is wrong with what stands there.
    fn try_read(&mut self) -> io::Result<Result<InternalToken, String>> {
        // No link is followed and no pipe waited on.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Err("is not a regular file".to_owned()));
        }
        let folder_owner = fs::metadata(self.home.path())?.uid();
        if ![lifecycle::user_id(), folder_owner].contains(&metadata.uid()) {
            let owner = lifecycle::user_name(metadata.uid());
            return Ok(Err(format!("belongs to another user, {owner}")));
        }
        self.repair_mode(&file, metadata.mode());
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * 1_024));
        file.take(READ_AT_MOST).read_to_end(&mut bytes)?;
        let text = bytes.trim_ascii();
        Ok(InternalToken::parse(text).map_err(|_| {
            if text.len() == DIGITS {
                format!("has something else than hex digits among its {DIGITS}")
            } else {
                format!("has not {DIGITS} hex digits")
            }
        }))
    }

    fn repair_mode(&mut self, file: &File, mode: u32) {
        let (found, shown) = (mode & MODE_BITS, self.path.display());
        if found == MODE {
            return;
        }
        self.warnings.push(match file.set_permissions(Permissions::from_mode(MODE)) {
            Ok(()) => format!("{shown} had mode {found:04o}; it is {MODE:04o} now"),
            Err(error) => {
                format!(
                    "{shown} has mode {found:04o} and should have {MODE:04o}, which cannot be set: {error}"
                )
            }
        });
    }

    /// Makes a new token count, in the file if that can be written.
    async fn replace(&mut self, registrar: &Registrar) {
        let token = match registrar.draw_internal() {
            Ok(token) => token,
            Err(error) => return self.warnings.push(does_not_count(&error)),
        };
        let staged = self.stage(&token);
        if let Err(error) = registrar.hold_internal(&token, &lifecycle::actor()).await {
            if let Ok(staged) = staged {
                staged.discard();
            }
            return self.warnings.push(does_not_count(&error));
        }
        if let Err(error) = staged.and_then(|staged| self.put(&staged)) {
            self.warnings.push(format!(
                "{} cannot be written ({error}): the internal token is in memory only and will not survive a restart",
                self.path.display()
            ));
        }
    }

    fn stage(&self, token: &InternalToken) -> io::Result<Staged> {
        let staged = Staged { path: self.home.path().join(STAGED) };
        match fs::remove_file(&staged.path) {
            // From a process that was killed.
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let written = self.write(&staged.path, token);
        if written.is_err() {
            staged.discard();
        }
        written.map(|()| staged)
    }

    fn write(&self, path: &Path, token: &InternalToken) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
        let folder = fs::metadata(self.home.path())?;
        if lifecycle::user_id() == ROOT && folder.uid() != ROOT {
            // For the gate, which runs as the folder's owner.
            fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
        }
        let text = token.expose();
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    }

    /// Puts the new file in the old one's place, so that it outlasts a power cut.
    fn put(&self, staged: &Staged) -> io::Result<()> {
        let renamed = fs::rename(&staged.path, &self.path);
        if renamed.is_err() {
            staged.discard();
        }
        renamed?;
        File::open(self.home.path())?.sync_all()
    }
}

impl Staged {
    fn discard(&self) {
        // The next who writes takes it away otherwise.
        let _ = fs::remove_file(&self.path);
    }
}

fn does_not_count(error: &InternalTokenError) -> String {
    format!("the internal token does not count: {error}")
}
