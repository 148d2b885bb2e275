//! The home folder and what is stored in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use fallgate_authority::{Policy, Registrar};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::cut::Cut;
use fallgate_domain::user::{Role, User};
use fallgate_store::CredentialFilter;

use super::Check;
use crate::config::Environment;
use crate::home::{Home, HomeFolder};
use crate::{cmd, lifecycle, output, root_key};

/// Less room than this on the disk, in bytes, and acts will soon fail.
const LITTLE_ROOM: u64 = 256 * 1024 * 1024;
/// Tokens that end within this time are named.
const SOON: Duration = Duration::from_hours(14 * 24);
/// How many cuts are named.
const CUTS_NAMED: usize = 8;
/// How far an event may lie in the future before the clock is doubted.
const CLOCK_SLACK: Duration = Duration::from_mins(1);

/// Who there is, as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) users: Option<Vec<User>>,
    /// Whether a daemon has the folder.
    pub(super) served: bool,
}

pub(super) async fn look(
    folder: &HomeFolder,
    environment: &Environment,
    now: Timestamp,
    checks: &mut Vec<Check>,
) -> Stored {
    let path = &folder.path;
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            checks.push(Check::warn(
                "home",
                format!("{} is not there yet", path.display()),
                folder.command("user create NAME --admin"),
            ));
            return Stored::default();
        }
        Err(error) => {
            let fix = "name a folder that this user may read with --home";
            checks.push(Check::fail("home", format!("{} cannot be read: {error}", path.display()), fix));
            return Stored::default();
        }
        Ok(_) => checks.extend(modes(path)),
    }
    checks.push(room(path));
    let home = match Home::existing(folder) {
        Ok(home) => home,
        Err(failure) => {
            let fix = "see above; or name the right folder with --home";
            checks.push(Check::fail("store", failure.to_string(), fix));
            return Stored::default();
        }
    };
    match cmd::open(&home, folder, Policy::default()).await {
        Ok(registrar) => {
            checks.push(root_key(&registrar, &home, environment).await);
            let served = home.is_served();
            Stored { served, ..contents(&registrar, folder, now, checks).await }
        }
        Err(failure) => {
            // What a restored backup needs is said in the failure itself.
            let fix = if failure.to_string().contains("store restore --accept") {
                "as it says"
            } else {
                "restore a backup; or, to begin anew, move the file and `revision` beside it away; docs/backup.md says how"
            };
            checks.push(Check::fail("store", failure.to_string(), fix));
            Stored::default()
        }
    }
}

/// Whether the daemon would start with the key that is there.
async fn root_key(registrar: &Registrar, home: &Home, environment: &Environment) -> Check {
    let is_new = registrar.keys().await.is_ok_and(|keys| keys.root_keys.is_empty());
    match root_key::unlock_kept(registrar, home, environment).await {
        Ok(()) => Check::ok("keys", "the root key fits the store"),
        Err(_)
            if is_new && environment.root_key().is_none() && !home.path().join(root_key::FILE).exists() =>
        {
            Check::ok("keys", "the first start makes the root key")
        }
        Err(failure) => Check::fail(
            "keys",
            failure.to_string(),
            "put the root key back that the store is sealed under; docs/keys.md says which there can be",
        ),
    }
}

/// Looked at before anything repairs them.
fn modes(path: &Path) -> Vec<Check> {
    let mut odd = Vec::new();
    let mut look = |path: &Path, wanted: u32| {
        if let Ok(metadata) = fs::symlink_metadata(path)
            && (metadata.is_dir() || metadata.is_file())
        {
            let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
            if mode != wanted {
                odd.push(Check::warn(
                    "home",
                    format!("{} has mode {mode:04o}, so others may have read it", path.display()),
                    format!("any command puts it to {wanted:04o}; if others use this machine, rotate what it holds"),
                ));
            }
            if owner != lifecycle::user_id() {
                odd.push(Check::warn(
                    "home",
                    format!("{} belongs to {}", path.display(), lifecycle::user_name(owner)),
                    "run Fallgate as that user, or give the files to the one it runs as",
                ));
            }
        }
    };
    look(path, 0o700);
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if !entry.path().is_dir() {
            look(&entry.path(), 0o600);
        }
    }
    if odd.is_empty() {
        odd.push(Check::ok("home", format!("{}, for its owner alone", path.display())));
    }
    odd
}

fn room(path: &Path) -> Check {
    match rustix::fs::statvfs(path) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let shown = format!("{} MiB free", free / (1024 * 1024));
            if free < LITTLE_ROOM {
                Check::warn("disk", shown, "make room: on a full disk nothing can be revoked or minted")
            } else {
                Check::ok("disk", shown)
            }
        }
        Err(error) => Check::warn("disk", format!("its room cannot be told: {error}"), "look with `df`"),
    }
}

async fn contents(
    registrar: &Registrar,
    folder: &HomeFolder,
    now: Timestamp,
    checks: &mut Vec<Check>,
) -> Stored {
    let store = registrar.store();
    let kinds = vec![CredentialKind::Token, CredentialKind::Legacy];
    let filter = CredentialFilter { owner: None, kinds, with_ended: false, now };
    let (users, tokens, last) =
        match (store.users().await, store.credentials(&filter).await, store.events(None, 1).await) {
            (Ok(users), Ok(tokens), Ok(events)) => (users, tokens, events.into_iter().next()),
            (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => {
                let fix = "restore a backup; docs/backup.md says how";
                checks.push(Check::fail("store", error.to_string(), fix));
                return Stored::default();
            }
        };
    let counted = |number: usize, what| output::counted(u64::try_from(number).unwrap_or(u64::MAX), what);
    let found = format!("{}, {}", counted(users.len(), "user"), counted(tokens.len(), "good token"));
    checks.push(Check::ok("store", found));
    checks.push(match last {
        Some(event) if event.at > now.plus(CLOCK_SLACK) => Check::fail(
            "clock",
            format!(
                "it says {}, but something was recorded at {}",
                output::to_the_second(now),
                output::to_the_second(event.at)
            ),
            "set the clock and keep it right with NTP: expiry is judged by it",
        ),
        _ => Check::ok("clock", format!("it says {}", output::to_the_second(now))),
    });
    let is_admin = |user: &&User| user.role == Role::Admin && user.disabled_at.is_none();
    if !users.iter().any(|user| is_admin(&user)) {
        checks.push(Check::warn("users", "there is no admin", folder.command("user create NAME --admin")));
    }
    let soon =
        tokens.iter().filter(|token| token.credential.expires_at.is_some_and(|end| end <= now.plus(SOON)));
    for token in soon {
        let credential = &token.credential;
        checks.push(Check::warn(
            "token",
            format!(
                "{:?} of {} ends at {}",
                credential.name,
                token.owner_name.as_ref().map_or("nobody", |name| name.as_str()),
                output::or_never(credential.expires_at)
            ),
            folder.command(format_args!("token expire {} --at 90d", credential.id)),
        ));
    }
    checks.extend(cuts(registrar, folder, now).await);
    Stored { users: Some(users), served: false }
}

/// What is refused because somebody wanted it so, and perhaps has forgotten.
async fn cuts(registrar: &Registrar, folder: &HomeFolder, now: Timestamp) -> Option<Check> {
    let cuts = registrar.store().cuts(now).await.unwrap_or_default();
    let named = |cut: &Cut| match cut.expires_at {
        None => cut.target.to_string(),
        Some(end) => format!("{} (at most until {})", cut.target, output::to_the_second(end)),
    };
    let first: Vec<_> = cuts.iter().take(CUTS_NAMED).map(named).collect();
    let more = if cuts.len() > CUTS_NAMED { ", and more" } else { "" };
    let found = format!("refused until lifted: {}{more}", first.join(", "));
    (!cuts.is_empty()).then(|| Check::warn("cuts", found, folder.command("cuts")))
}
