//! A fresh database for each test, and things to put in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::audit::{Action, NewEvent};
use fallgate_domain::clock::{TestClock, Timestamp};
use fallgate_domain::credential::{Credential, CredentialKind, NewCredential, Revocation};
use fallgate_domain::entropy::{self, TestEntropy};
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::scope::Scopes;
use fallgate_domain::token::{PlainToken, TokenHash, TokenKind};
use fallgate_domain::user::{DisplayName, Role, User, Username};
use fallgate_store::{
    CreatedUser, CredentialFilter, Location, Minted, Now, Revision, Revoked, Row, Store, StoreError, Vault,
};
use tempfile::TempDir;

/// A database of a test's own, gone with it.
pub(crate) struct Backend {
    folder: TempDir,
    /// Where in the folder.
    place: PathBuf,
    entropy: TestEntropy,
}

/// A fresh, empty database.
pub(crate) fn backend() -> Backend {
    Backend { folder: tempfile::tempdir().unwrap(), place: PathBuf::new(), entropy: TestEntropy::default() }
}

/// The time at which tests begin.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The clock, standing still.
pub(crate) fn now() -> Now {
    Now::by(Arc::new(TestClock::at(NOW)))
}

impl Backend {
    /// Another pair of handles on the same database, as another process would have.
    pub(crate) async fn open(&self) -> (Store, Vault) {
        self.try_open().await.unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "the suite tests the store itself, with nothing above it")]
    pub(crate) async fn try_open(&self) -> Result<(Store, Vault), StoreError> {
        fallgate_store::open(&Location::Sqlite(self.path())).await
    }

    /// Handles on a database that may be an older copy.
    #[expect(clippy::disallowed_methods, reason = "the suite tests the store itself, with nothing above it")]
    pub(crate) async fn open_restored(&self) -> (Store, Vault) {
        fallgate_store::open_restored(&Location::Sqlite(self.path())).await.unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder().join("fallgate.db")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join(&self.place)
    }

    /// The same, in a folder within its folder.
    pub(crate) fn within(self, place: &str) -> Self {
        Self { place: place.into(), ..self }
    }

    pub(crate) fn user(&self, name: &str) -> User {
        User {
            id: UserId::new(NOW, &self.entropy).unwrap(),
            username: name.parse().unwrap(),
            display_name: format!("{name} the First").parse::<DisplayName>().unwrap(),
            role: Role::User,
            created_at: NOW,
            disabled_at: None,
        }
    }

    /// A token that is good for an hour, made `minutes` after [`NOW`].
    pub(crate) fn token(&self, owner: Option<UserId>, minutes: u64) -> NewCredential {
        let made = minutes_later(minutes);
        let plain = PlainToken::new(TokenKind::Token, &entropy::bytes::<32>(&self.entropy).unwrap());
        NewCredential {
            credential: Credential {
                id: CredentialId::new(made, &self.entropy).unwrap(),
                kind: CredentialKind::Token,
                owner,
                parent: None,
                minted_by: "alice".to_owned(),
                name: "laptop".to_owned(),
                hint: plain.hint(),
                scopes: Scopes::default_for_tokens(),
                created_at: made,
                expires_at: Some(made.plus(Duration::from_hours(1))),
                revoked: None,
                last_use: None,
            },
            hash: plain.hash(),
        }
    }

    /// A token that hangs on another, made `minutes` after [`NOW`].
    pub(crate) fn child(&self, of: &NewCredential, minutes: u64) -> NewCredential {
        let mut child = self.token(of.credential.owner, minutes);
        child.credential.parent = Some(of.credential.id);
        child
    }
}

pub(crate) fn minutes_later(minutes: u64) -> Timestamp {
    NOW.plus(Duration::from_mins(minutes))
}

pub(crate) fn username(name: &str) -> Username {
    name.parse().unwrap()
}

pub(crate) fn event(action: Action, target: &str) -> NewEvent {
    NewEvent {
        at: NOW,
        action,
        actor: "cli:tester".to_owned(),
        credential: None,
        target: target.to_owned(),
        ip: Some("192.0.2.7".to_owned()),
        detail: BTreeMap::from([("reason".to_owned(), "a \"test\" of ünïcode".into())]),
        author: None,
    }
}

pub(crate) fn revocation() -> Revocation {
    Revocation { at: NOW, by: "bob".to_owned(), reason: Some("lost laptop".to_owned()) }
}

pub(crate) fn everything() -> CredentialFilter {
    CredentialFilter { owner: None, kinds: Vec::new(), with_ended: true, now: NOW }
}

/// Makes an account, which must work.
pub(crate) async fn create(vault: &Vault, user: &User) -> Revision {
    let event = event(Action::UserCreate, user.username.as_str());
    match vault.create_user(user.clone(), None, event).await.unwrap() {
        CreatedUser::Created(revision) => revision,
        other => panic!("{} is not made: {other:?}", user.username),
    }
}

/// Mints, whatever comes of it.
pub(crate) async fn try_mint(vault: &Vault, new: &NewCredential) -> Result<Minted, StoreError> {
    vault.mint(new.clone(), u32::MAX, event(Action::TokenMint, &new.credential.id.to_string())).await
}

/// Mints, which must work.
pub(crate) async fn mint(vault: &Vault, new: &NewCredential) -> Revision {
    match try_mint(vault, new).await.unwrap() {
        Minted::Minted(revision) => revision,
        other => panic!("not minted: {other:?}"),
    }
}

/// Revokes, whatever comes of it.
pub(crate) async fn try_revoke(vault: &Vault, id: CredentialId) -> Revoked {
    vault.revoke(id, revocation(), event(Action::TokenRevoke, &id.to_string())).await.unwrap()
}

/// Revokes, which must work.
pub(crate) async fn revoke(vault: &Vault, id: CredentialId) -> Revision {
    match try_revoke(vault, id).await {
        Revoked::Revoked(revision) => revision,
        other => panic!("not revoked: {other:?}"),
    }
}

/// All that `load` shows.
pub(crate) async fn load(vault: &Vault) -> (Revision, Vec<Row>) {
    let mut rows = Vec::new();
    let revision = vault.load(&mut |row| rows.push(row)).await.unwrap();
    (revision, rows)
}

/// A credential's hash as `load` shows it.
pub(crate) fn hash_of(rows: &[Row], id: CredentialId) -> Option<TokenHash> {
    rows.iter().find_map(|row| match row {
        Row::Credential(credential) if credential.id == id => credential.hash,
        _ => None,
    })
}
