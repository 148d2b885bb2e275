//! Where the truth is kept. The only crate that names SQL.
//!
//! [`open`] gives two handles on one database. [`Store`] lists and shows; anybody may hold a copy. [`Vault`] answers
//! whose credential a hash is and changes who is trusted; there is one, it cannot be copied, and it is moved into the
//! verifier. So nobody else can look a credential up, or end one without cutting what hangs on it.
//!
//! Every method is async and speaks in the domain's words: nothing in the interface is a matter of SQLite alone.
//! Absence is not failure: a lookup gives `Result<Option<_>, StoreError>`, so that an outage never reads as "no such
//! token".
//!
//! Whatever changes identity data raises the [`Revision`] by one in its own transaction and says in the `change` table
//! what moved. Whoever keeps a view in memory asks [`Vault::revision`] before each use and, when it rose, takes in
//! [`Vault::changes_since`].

mod accounts;
mod agents;
mod audit;
mod author;
mod changes;
mod credentials;
mod cuts;
mod error;
mod imports;
mod internal;
mod keys;
mod logins;
mod revision;
mod sqlite;
mod store;
mod tokens;
mod upkeep;
mod users;
mod vault;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;

pub use crate::agents::{ChangedAgent, CreatedAgent, DeletedAgent, ListedAgent};
pub use crate::cuts::{LiftedCut, PlacedCut};
pub use crate::error::StoreError;
pub use crate::imports::{Import, Imported, ImportedToken, ImportedUser, Taken};
pub use crate::internal::{InternalHeld, NewInternal};
pub use crate::keys::{
    ChangedKeys, Keys, PublicKeys, Retired, RootKeyId, RootKeyRow, SealedSigningKey, SigningKeyRow,
};
pub use crate::logins::{ChangedPassphrase, FirstUser, NewLogin, SignInAccount, SignedIn};
pub use crate::revision::{AgentRow, Changes, CredentialRow, CutOn, CutRow, Gone, Revision, Row, UserRow};
pub use crate::sqlite::backup::Progress;
pub use crate::store::{CredentialFilter, EventFilter, Listed, Store, UnusedPage};
pub use crate::vault::{
    Accepted, Amended, ChangedUser, CreatedUser, DeletedUser, EndedCredentials, Minted, NotedUse, Now,
    PassphraseHash, Revoked, SetPassphrase, UserChange, Vault,
};
pub use crate::workers::RevokedWorker;

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A SQLite file. It is made, with mode 0600, when there is none; its folder must be there.
    Sqlite(PathBuf),
}

/// Opens the database, making or migrating it where needed.
///
/// Several processes may hold one database open, and open a new one at once. A database that this version cannot
/// serve (newer, foreign, damaged) is refused and not touched.
///
/// Beside the file lies another, `revision`, that says how far it had come: a database below that is an older copy, and
/// refused with [`StoreError::OlderCopy`]. A database that was opened before is refused without that file.
pub async fn open(location: &Location) -> Result<(Store, Vault), StoreError> {
    open_as(location, false).await
}

/// Opens the database whether or not it is an older copy. For [`Vault::accept_restored`], which ends every credential
/// in it; nobody must be let in before that.
pub async fn open_restored(location: &Location) -> Result<(Store, Vault), StoreError> {
    open_as(location, true).await
}

async fn open_as(location: &Location, admitted: bool) -> Result<(Store, Vault), StoreError> {
    let Location::Sqlite(path) = location;
    let backend = Arc::new(sqlite::Sqlite::open(path.clone(), admitted).await?);
    Ok((Store::new(Arc::clone(&backend)), Vault::new(backend)))
}
