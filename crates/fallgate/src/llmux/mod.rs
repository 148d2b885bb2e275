//! Reading an llmux installation: all of it, before anything is taken in. Nothing in it is ever written to.

mod shape;

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fallgate_authority::{LlmuxImport, LlmuxToken, LlmuxUser};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::name;
use fallgate_domain::token::TokenHash;
use fallgate_domain::user::{DisplayName, Role, Username};
use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use self::shape::{AuthFile, AuthSecret, AuthToken, TokenEntry, UserEntry};
use crate::failure::Failure;
use crate::output;

const AUTH: &str = "auth.json";
const USERS: &str = "users.json";
const TOKENS: &str = "tokens.json";
const LARGEST: u64 = 16 * 1024 * 1024;

/// What kind of thing something was at llmux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    /// With an owner.
    Token,
    /// Without.
    Legacy,
}

/// Something that was found, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// A token's owner.
    pub(crate) owner: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// An installation, read and checked.
#[derive(Default)]
pub(crate) struct Installation {
    /// What can be taken.
    pub(crate) import: LlmuxImport,
    /// What each of the import's users, then each of its tokens is.
    pub(crate) labels: Vec<Label>,
    /// What cannot be taken, and why.
    pub(crate) skipped: Vec<(Label, String)>,
}

/// Reads the files of an installation, wherever of its folders they lie.
pub(crate) fn read(folders: &[PathBuf], now: Timestamp) -> Result<Installation, Failure> {
    let mut reading = Reading {
        now,
        installation: Installation::default(),
        usernames: HashSet::new(),
        hashes: HashSet::new(),
    };
    let files = |name: &'static str| folders.iter().map(move |folder| folder.join(name));
    let mut found = false;
    // Users before the tokens that are theirs.
    for path in files(USERS) {
        let users: Option<Vec<UserEntry>> = parse(&path)?;
        found |= users.is_some();
        users.into_iter().flatten().for_each(|user| reading.user(user));
    }
    for path in files(TOKENS) {
        let tokens: Option<Vec<TokenEntry>> = parse(&path)?;
        found |= tokens.is_some();
        tokens.into_iter().flatten().for_each(|token| reading.token(&token));
    }
    for path in files(AUTH) {
        let auth: Option<AuthFile> = parse(&path)?;
        found |= auth.is_some();
        auth.into_iter().flat_map(|auth| auth.tokens).for_each(|token| reading.anonymous(token));
    }
    if found {
        return Ok(reading.installation);
    }
    let looked: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    Err(Failure::failed(format_args!(
        "there is no {AUTH}, {USERS} or {TOKENS} in {}: name llmux' folders with --state-dir and --data-dir",
        looked.join(" or ")
    )))
}

/// A reading under way.
struct Reading {
    now: Timestamp,
    installation: Installation,
    /// Of the users that can be taken.
    usernames: HashSet<Username>,
    /// Of the tokens that can.
    hashes: HashSet<TokenHash>,
}

impl Reading {
    fn user(&mut self, entry: UserEntry) {
        let created_at = entry.created_at();
        let name = entry.name.as_deref().and_then(name::nearest);
        let label = Label { kind: Kind::User, name: shown(&entry.username), owner: None, expires_at: None };
        let username: Username = match entry.username.parse() {
            Ok(username) => username,
            Err(error) => return self.skip(label, error.to_string()),
        };
        let passphrase = match entry.passphrase_hash.0.0 {
            Ok(hash) => hash,
            Err(error) => return self.skip(label, error.to_string()),
        };
        if !self.usernames.insert(username.clone()) {
            return self.skip(label, format!("it stands in {USERS} twice"));
        }
        let display_name = name.and_then(|name| name.parse().ok());
        self.installation.import.users.push(LlmuxUser {
            display_name: display_name.unwrap_or_else(|| DisplayName::from(&username)),
            username,
            role: if entry.admin { Role::Admin } else { Role::User },
            passphrase,
            created_at,
        });
        self.installation.labels.push(label);
    }

    fn token(&mut self, entry: &TokenEntry) {
        let name = named(entry.name.as_deref());
        let expires_at = entry.expires_at();
        let label =
            Label { kind: Kind::Token, name: name.clone(), owner: Some(shown(&entry.username)), expires_at };
        let owner = entry.username.parse::<Username>().ok();
        let Some(owner) = owner.filter(|owner| self.usernames.contains(owner)) else {
            return self.skip(label, "its owner is not taken".to_owned());
        };
        let token = LlmuxToken {
            hash: entry.hash(),
            hint: entry.hint(),
            owner: Some(owner),
            name,
            created_at: entry.created_at(),
            expires_at,
            last_used_at: entry.last_used_at(),
        };
        self.take(label, token);
    }

    fn anonymous(&mut self, entry: AuthToken) {
        let name = named(entry.name.as_deref());
        let label =
            Label { kind: Kind::Legacy, name: name.clone(), owner: None, expires_at: entry.expires_at };
        let (hash, hint) = match entry.secret {
            AuthSecret::Hash(hash) => (hash, "sas_".to_owned()),
            AuthSecret::Text(hash, hint) => (hash, hint),
            AuthSecret::Unusable => {
                let why = "its text is not sas_ and 16 to 128 of the characters A-Z, a-z, 0-9, _ and -";
                return self.skip(label, why.to_owned());
            }
        };
        let (created_at, expires_at) = (entry.created_at, entry.expires_at);
        let token = LlmuxToken { hash, hint, owner: None, name, created_at, expires_at, last_used_at: None };
        self.take(label, token);
    }

    fn take(&mut self, label: Label, token: LlmuxToken) {
        if let Some(end) = token.expires_at.filter(|end| *end <= self.now) {
            return self.skip(label, format!("it expired at {}", output::to_the_second(end)));
        }
        if !self.hashes.insert(token.hash) {
            return self.skip(label, "it is there twice".to_owned());
        }
        self.installation.import.tokens.push(token);
        self.installation.labels.push(label);
    }

    fn skip(&mut self, label: Label, why: String) {
        self.installation.skipped.push((label, why));
    }
}

/// What stands in a file, if there is one. An error says where it is wrong, and nothing of what stands there.
fn parse<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let Some(bytes) = contents(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::failed(format_args!(
            "{}, line {line}, column {column}: {}; nothing was taken",
            path.display(),
            told(&error)
        ))
    })
}

/// What is wrong, as far as it can be told without repeating what stands in the file.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // The last of them is serde's own: what stands in the file comes before it.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    // Of the texts about values only these name nothing but what was expected.
    let harmless = ["missing field ", "duplicate field ", "expected "];
    if error.is_eof() {
        "the file breaks off in the middle".to_owned()
    } else if error.is_syntax() || harmless.iter().any(|start| text.starts_with(start)) {
        text.to_owned()
    } else {
        // Behind the value stands what was expected of it, in words of ours or serde's.
        let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected);
        expected.map_or_else(
            || "this is not what llmux writes there".to_owned(),
            |expected| format!("expected {}", expected.replace("a sequence", "a list")),
        )
    }
}

fn contents(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let wrong = |why: &str| Failure::failed(format_args!("{} {why}; nothing was taken", path.display()));
    let unreadable = |error: std::io::Error| wrong(&format!("cannot be read: {error}"));
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(wrong("is not a file")),
        Ok(metadata) if metadata.len() > LARGEST => {
            return Err(wrong("is larger than 16 MiB, which llmux' files never are"));
        }
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    }
    // Should a pipe have come in its place just now, nobody waits for it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LARGEST).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(bytes))
}

/// A token's name, as good as it can be had.
fn named(name: Option<&str>) -> String {
    name.and_then(name::nearest).unwrap_or_else(|| "llmux".to_owned())
}

/// A name that may be none.
fn shown(text: &str) -> String {
    name::nearest(text).unwrap_or_else(|| "?".to_owned())
}
