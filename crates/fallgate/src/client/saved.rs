//! The sign-ins that are saved on this machine: one per gate, in a file that only its owner can read.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::CredentialId;
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_domain::user::Username;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::config::Origin;
use crate::failure::Failure;
use crate::{lifecycle, output};

const FILE_MODE: u32 = 0o600;
const MODE_BITS: u32 = 0o7777;
/// The longest file that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;
const PREFACE: &str = "# Fallgate's saved sign-ins. Whoever can read this file can do what they can.\n\n";

/// What the file holds.
#[derive(Debug)]
pub(crate) struct SavedLogins {
    path: PathBuf,
    content: Content,
}

/// A sign-in to one gate.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedLogin {
    /// Whose.
    pub(crate) username: Username,
    /// The credential's public name.
    pub(crate) id: CredentialId,
    /// When it ends at the latest.
    pub(crate) expires_at: Option<Timestamp>,
    /// What is presented.
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    pub(crate) secret: PlainToken,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// By the gate's address.
    #[serde(default)]
    server: BTreeMap<String, SavedLogin>,
}

impl SavedLogins {
    /// Reads the file; one that is not there holds nothing. Its mode is repaired, with a warning.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let path = path.to_owned();
        // Not through a link: what it points to could be anybody's.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed())
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path, content: Content::default() });
            }
            Err(_) if path.is_symlink() => {
                return Err(Failure::failed(format_args!(
                    "{} is a link: put the file itself there, or delete the link and sign in again",
                    path.display()
                )));
            }
            Err(error) => return Err(unusable(&path, "cannot be read", &error)),
        };
        check(&path, &file)?;
        let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
        file.take(LONGEST)
            .read_to_string(&mut text)
            .map_err(|error| unusable(&path, "cannot be read", &error))?;
        // What is wrong is not repeated: it may be a secret.
        let content: Content = toml::from_str(&text).map_err(|error| damaged(&path, &text, error.span()))?;
        if let Some(odd) = content.server.keys().find(|key| !is_origin(key)) {
            return Err(Failure::failed(format_args!(
                "{} names {odd:?}, which is no gate's address: mend it, or delete the file and sign in again",
                path.display()
            )));
        }
        Ok(Self { path, content })
    }

    /// The sign-in to that gate.
    pub(crate) fn of(&self, gate: &Origin) -> Option<&SavedLogin> {
        self.content.server.get(&gate.text())
    }

    /// The addresses of all gates that there is a sign-in to.
    pub(crate) fn gates(&self) -> impl Iterator<Item = &str> {
        self.content.server.keys().map(String::as_str)
    }

    /// Changes the sign-in to one gate, and gives the one that was there. Others keep theirs, also when two commands
    /// do this at once.
    pub(crate) fn replace(
        path: &Path,
        gate: &Origin,
        login: Option<SavedLogin>,
    ) -> Result<Option<SavedLogin>, Failure> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| unusable(folder, "cannot be made", &error))?;
        let _lock = lock(folder)?;
        let mut saved = Self::read(path)?;
        let before = match login {
            Some(login) => saved.content.server.insert(gate.text(), login),
            None => saved.content.server.remove(&gate.text()),
        };
        saved.write(folder).map_err(|error| unusable(path, "cannot be written", &error))?;
        Ok(before)
    }

    /// All of it or nothing: a new file takes the old one's place.
    fn write(&self, folder: &Path) -> io::Result<()> {
        if self.content.server.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let text = Zeroizing::new(toml::to_string(&self.content).map_err(io::Error::other)?);
        // Made with mode 0600.
        let mut file = tempfile::Builder::new().prefix(".credentials-").tempfile_in(folder)?;
        file.write_all(PREFACE.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        File::open(folder)?.sync_all()
    }
}

/// Held while the file is read and written anew.
fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join("credentials.lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let locked = opened.and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| unusable(&path, "cannot be locked", &error))
}

/// A file of this user's own, that nobody else can read.
fn check(path: &Path, file: &File) -> Result<(), Failure> {
    let metadata = file.metadata().map_err(|error| unusable(path, "cannot be read", &error))?;
    let shown = path.display();
    if !metadata.is_file() {
        return Err(Failure::failed(format_args!("{shown} is not a file: move it away and sign in again")));
    }
    if metadata.uid() != lifecycle::user_id() {
        let owner = lifecycle::user_name(metadata.uid());
        return Err(Failure::failed(format_args!(
            "{shown} belongs to another user, {owner}: move it away and sign in again"
        )));
    }
    let found = metadata.mode() & MODE_BITS;
    if found != FILE_MODE {
        file.set_permissions(Permissions::from_mode(FILE_MODE))
            .map_err(|error| unusable(path, "has a mode that cannot be changed to 0600", &error))?;
        output::warn(format_args!(
            "{shown} had mode {found:04o}; it is 0600 now. If others could read it, sign in again"
        ));
    }
    Ok(())
}

fn is_origin(key: &str) -> bool {
    Origin::parse(key).is_ok_and(|origin| origin.text() == key)
}

fn damaged(path: &Path, text: &str, span: Option<std::ops::Range<usize>>) -> Failure {
    let before = span.and_then(|span| text.get(..span.start));
    let line = before.map(|before| before.bytes().filter(|byte| *byte == b'\n').count() + 1);
    let line = line.map(|line| format!(" in line {line}")).unwrap_or_default();
    Failure::failed(format_args!(
        "{} is not as Fallgate wrote it{line}: mend it, or delete it and sign in again with `fallgate login`",
        path.display()
    ))
}

fn unusable(path: &Path, how: &str, error: &io::Error) -> Failure {
    Failure::failed(format_args!("{} {how}: {error}", path.display()))
}

fn write_secret<S: Serializer>(secret: &PlainToken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn read_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PlainToken, D::Error> {
    let text = Zeroizing::new(String::deserialize(deserializer)?);
    PlainToken::parse(TokenKind::Login, text.as_bytes()).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use fallgate_domain::entropy::TestEntropy;

    use super::*;

    fn login(number: u8) -> SavedLogin {
        SavedLogin {
            username: "ada".parse().unwrap(),
            id: CredentialId::new(Timestamp::from_millis(0), &TestEntropy::default()).unwrap(),
            expires_at: Some(Timestamp::from_millis(1_000)),
            secret: PlainToken::new(TokenKind::Login, &[number; 32]),
        }
    }

    fn secret_of(path: &Path, gate: &Origin) -> Option<String> {
        SavedLogins::read(path).unwrap().of(gate).map(|login| login.secret.expose().to_owned())
    }

    #[test]
    fn sign_ins_are_kept_by_gate_and_the_last_one_takes_the_file_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/fallgate/credentials.toml");
        let (one, two) = (Origin::parse("https://a").unwrap(), Origin::parse("http://127.0.0.1:1").unwrap());
        assert!(SavedLogins::replace(&path, &one, Some(login(1))).unwrap().is_none());
        assert!(SavedLogins::replace(&path, &two, Some(login(2))).unwrap().is_none());
        assert_eq!(fs::metadata(&path).unwrap().mode() & MODE_BITS, FILE_MODE);
        let before = SavedLogins::replace(&path, &one, Some(login(3))).unwrap().unwrap();
        assert_eq!(before.secret.expose(), login(1).secret.expose());
        assert_eq!(secret_of(&path, &one).as_deref(), Some(login(3).secret.expose()));
        assert_eq!(secret_of(&path, &two).as_deref(), Some(login(2).secret.expose()));
        assert_eq!(SavedLogins::read(&path).unwrap().gates().collect::<Vec<_>>(), [two.text(), one.text()]);
        SavedLogins::replace(&path, &one, None).unwrap().unwrap();
        SavedLogins::replace(&path, &two, None).unwrap().unwrap();
        assert!(!path.exists());
        assert!(SavedLogins::replace(&path, &two, None).unwrap().is_none());
    }

    #[test]
    fn at_once_several_commands_lose_no_sign_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.toml");
        let gates: Vec<_> = (0..24).map(|n| Origin::parse(&format!("https://gate-{n}")).unwrap()).collect();
        std::thread::scope(|scope| {
            for gate in &gates {
                scope.spawn(|| SavedLogins::replace(&path, gate, Some(login(1))).unwrap());
            }
        });
        assert_eq!(SavedLogins::read(&path).unwrap().gates().count(), gates.len());
    }

    #[test]
    fn a_damaged_file_is_named_with_its_line_and_nothing_in_it_is_repeated_or_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.toml");
        let gate = Origin::parse("https://a").unwrap();
        SavedLogins::replace(&path, &gate, Some(login(1))).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let secret = login(1).secret.expose().to_owned();
        let digits: String = secret.chars().skip(4).take(16).collect();
        for bad in [
            good.replace(&secret, &secret.replacen("fgl_", "fgt_", 1)),
            good.replace("secret = ", "more = 1\nsecret = "),
            good.replace("secret = \"", "secret = fgl_"),
            good.replace("ada", "Ada!"),
            good.replace("https://a", "https://a/path"),
            good.chars().take(good.len() - 20).collect(),
            "server = 1".to_owned(),
        ] {
            fs::write(&path, &bad).unwrap();
            let refused = SavedLogins::replace(&path, &gate, Some(login(2))).unwrap_err().to_string();
            assert!(refused.contains("credentials.toml"), "{refused}");
            assert!(!refused.contains(&digits), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn a_link_or_a_folder_in_the_files_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.toml");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(SavedLogins::read(&path).unwrap_err().to_string().contains("is a link"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(SavedLogins::read(&path).unwrap_err().to_string().contains("is not a file"));
    }

    #[test]
    fn a_mode_that_lets_others_read_is_repaired() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.toml");
        SavedLogins::replace(&path, &Origin::parse("https://a").unwrap(), Some(login(1))).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        SavedLogins::read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & MODE_BITS, FILE_MODE);
    }
}
