//! `fallgate key …`

use std::path::Path;
use std::time::Duration;

use fallgate_authority::{Confirmed, KeyList, KnownRootKey, KnownSigningKey, Policy, Registrar};
use fallgate_domain::clock::Timestamp;
use serde::Serialize;

use crate::cli::Key;
use crate::config::{Environment, ROOT_KEY};
use crate::failure::Failure;
use crate::home::{Home, HomeFolder};
use crate::root_key::{self, Held, Kept, RootKeyFile};
use crate::{cmd, control, lifecycle, output};

/// How long a running gate may take to look at the keys.
const GATE_LOOKS_WITHIN: Duration = Duration::from_secs(5);

const HEADING: [&str; 5] = ["KEY", "ID", "CREATED", "STATE", "VERIFIES UNTIL"];

pub(crate) fn run(verb: Key, folder: &HomeFolder, environment: &Environment) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        Key::List { format } => runtime.block_on(list(folder, format.json)),
        Key::Rotate { confirm: true, .. } => runtime.block_on(confirm(folder, environment)),
        Key::Rotate { new_key_file, .. } => {
            runtime.block_on(rotate(folder, environment, new_key_file.as_deref()))
        }
        Key::RotateSigning { now } => runtime.block_on(rotate_signing(folder, environment, now)),
    }
}

/// What there is, as JSON.
#[derive(Debug, Serialize)]
struct KeyListView {
    root_keys: Vec<RootKeyView>,
    signing_keys: Vec<SigningKeyView>,
}

#[derive(Debug, Serialize)]
struct RootKeyView {
    id: String,
    created_at: Timestamp,
    current: bool,
}

#[derive(Debug, Serialize)]
struct SigningKeyView {
    kid: String,
    created_at: Timestamp,
    verifies_until: Option<Timestamp>,
    state: &'static str,
}

impl From<KeyList> for KeyListView {
    fn from(keys: KeyList) -> Self {
        let root = |KnownRootKey { id, created_at, current }| RootKeyView { id, created_at, current };
        let signing = |KnownSigningKey { kid, created_at, verifies_until, state }| SigningKeyView {
            kid,
            created_at,
            verifies_until,
            state: state.name(),
        };
        Self {
            root_keys: keys.root_keys.into_iter().map(root).collect(),
            signing_keys: keys.signing_keys.into_iter().map(signing).collect(),
        }
    }
}

impl KeyListView {
    fn cells(&self) -> Vec<Vec<String>> {
        let root = self.root_keys.iter().map(|key| {
            let state = if key.current { "current" } else { "old, opens until confirmed" };
            [
                "root".to_owned(),
                key.id.clone(),
                output::to_the_second(key.created_at),
                state.to_owned(),
                String::new(),
            ]
        });
        let signing = self.signing_keys.iter().map(|key| {
            [
                "signing".to_owned(),
                key.kid.clone(),
                output::to_the_second(key.created_at),
                key.state.to_owned(),
                key.verifies_until.map(output::to_the_second).unwrap_or_default(),
            ]
        });
        root.chain(signing).map(Vec::from).collect()
    }
}

async fn list(folder: &HomeFolder, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(folder).await?;
    let keys = KeyListView::from(registrar.keys().await?);
    if json {
        return output::data(&output::json(&keys)?);
    }
    if keys.root_keys.is_empty() {
        output::say("There are no keys yet: the first start makes them.");
        return Ok(());
    }
    output::data(&output::table(&HEADING, &keys.cells()))
}

async fn rotate(
    folder: &HomeFolder,
    environment: &Environment,
    new_key_file: Option<&Path>,
) -> Result<(), Failure> {
    let (registrar, home, held) = unlocked(folder, environment).await?;
    let file = RootKeyFile::of(&home);
    let new = match (held.kept, new_key_file) {
        (Kept::Both, _) => {
            return Err(Failure::failed(format_args!(
                "the root key is in {ROOT_KEY} and in {}: take one of them away first",
                file.path().display()
            )));
        }
        (Kept::Variable, None) => {
            return Err(Failure::failed(format_args!(
                "the root key is in {ROOT_KEY}, so the new one has to be yours too: name a file that holds it with --new-key-file (`openssl rand -hex 32` makes one)"
            )));
        }
        (_, Some(path)) => root_key::in_file(path)?,
        (Kept::File, None) => registrar.make_root_key()?,
    };
    registrar.rotate_root_key(&new, &lifecycle::actor()).await?;
    // What the old key opens by itself stands in the log no more; that it still opens the new one is said below.
    let _ = registrar.forget_old_seals().await;
    let confirm = folder.command("key rotate --confirm");
    if held.kept == Kept::File {
        file.replace(&registrar, &held.key, &new).await.map_err(|failure| {
            Failure::failed(format_args!(
                "{failure}; everything is sealed under a new root key, and the old one opens it: `{confirm}` will replace the file first"
            ))
        })?;
        output::say(format_args!(
            "Everything is sealed under a new root key, which {} holds now.\nThe old one still opens. End it with `{confirm}`",
            file.path().display()
        ));
        if let Some(old) = registrar.keys().await?.root_keys.iter().find(|key| !key.current) {
            output::say(format_args!(
                "Backups made until now need the old one, which is kept in {}: put it where they are",
                file.kept(&old.id).display()
            ));
        }
    } else {
        output::say(format_args!(
            "Everything is sealed under the new root key. The old one still opens.\nPut the new one into {ROOT_KEY}, restart the daemon, and end the old one with `{confirm}`"
        ));
    }
    Ok(())
}

async fn confirm(folder: &HomeFolder, environment: &Environment) -> Result<(), Failure> {
    let (registrar, home, held) = unlocked(folder, environment).await?;
    if held.kept == Kept::File {
        RootKeyFile::of(&home).make_durable()?;
    }
    // A gate whose variable holds the old key may not have looked since the rotation, and would find its key worthless.
    let followed: Result<(), Failure> =
        control::ask(folder, &control::Request::FollowKeys {}, GATE_LOOKS_WITHIN);
    if let Err(failure) = followed
        && control::is_running(folder)
    {
        return Err(Failure::failed(format_args!(
            "the gate on {} may not know of the rotation yet, and would lose its keys: {failure}; restart it, or try again",
            folder.path.display()
        )));
    }
    let confirmed = registrar.confirm_root_key(&held.key, &lifecycle::actor()).await?;
    // Also when there was nothing to confirm: the log may have been in use the last time.
    if !matches!(registrar.forget_old_seals().await, Ok(true)) {
        output::warn(format_args!(
            "the database's log is in use and still has what the old root key opens: run `{}` again",
            folder.command("key rotate --confirm")
        ));
        if confirmed == Confirmed::Confirmed {
            return Ok(());
        }
    }
    output::say(match confirmed {
        Confirmed::Confirmed => {
            "The old root key opens nothing here any more. Backups from before the rotation still need it."
        }
        Confirmed::Nothing => "There is no rotation to confirm.",
    });
    Ok(())
}

async fn rotate_signing(folder: &HomeFolder, environment: &Environment, now: bool) -> Result<(), Failure> {
    let (registrar, _, _) = unlocked(folder, environment).await?;
    registrar.rotate_signing_key(now, &lifecycle::actor()).await?;
    if !matches!(registrar.forget_old_seals().await, Ok(true)) {
        output::warn("the database's log is in use and keeps the old key, sealed, until it is overwritten");
    }
    output::say(if now {
        "A new key signs. What older ones have signed is good no more: every worker token minted so far is dead, and agents \
         need new ones (`fallgate agent token NAME`). Tokens and sign-ins stay as they are."
    } else {
        "A new key signs. What the old one has signed is good until it expires, for 7 days and 5 minutes at most."
    });
    Ok(())
}

async fn unlocked(
    folder: &HomeFolder,
    environment: &Environment,
) -> Result<(Registrar, Home, Held), Failure> {
    let variable = root_key::in_variable(environment)?;
    let home = Home::existing(folder)?;
    home.warnings().iter().for_each(output::warn);
    let registrar = cmd::open(&home, folder, Policy::default()).await?;
    let held = root_key::unlock(&registrar, &home, variable, output::warn).await?;
    Ok((registrar, home, held))
}
