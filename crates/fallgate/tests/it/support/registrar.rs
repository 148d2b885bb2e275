//! Acts without a process for each: the registrar that the command line uses, on the same database file.

use std::sync::Arc;

use fallgate_authority::{Actor, MintOrder, Policy, Registrar, RevokeOutcome};
use fallgate_domain::clock::SystemClock;
use fallgate_domain::entropy::SystemEntropy;
use fallgate_store::Location;
use tokio::runtime::Runtime;

use super::home::{Home, Token};

/// Mints and revokes on a home folder, as another process than the gate: this one.
#[derive(Debug)]
pub(crate) struct Clerk {
    registrar: Registrar,
    runtime: Runtime,
}

impl Clerk {
    /// Opens the store of a home folder that is there already.
    #[expect(clippy::disallowed_methods, reason = "it stands for another process, such as a command")]
    pub(crate) fn of(home: &Home) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let location = Location::Sqlite(home.path().join("fallgate.db"));
        let (store, vault) = runtime.block_on(fallgate_store::open(&location)).unwrap();
        let registrar =
            Registrar::new(store, vault, Arc::new(SystemClock), Arc::new(SystemEntropy), Policy::default());
        Self { registrar, runtime }
    }

    /// A token with the default scopes.
    pub(crate) fn mint(&self, owner: &str) -> Token {
        let order = MintOrder { owner: owner.parse().unwrap(), name: None, scopes: None, lifetime: None };
        let minted = self.runtime.block_on(self.registrar.mint(order, &actor())).unwrap();
        Token { id: minted.credential.id.to_string(), secret: minted.secret.expose().to_owned() }
    }

    /// Returns when the revocation is durable.
    pub(crate) fn revoke(&self, token: &Token) {
        let id = token.id.parse().unwrap();
        let outcome = self.runtime.block_on(self.registrar.revoke(id, None, &actor())).unwrap();
        assert_eq!(outcome, RevokeOutcome::Revoked);
    }

    /// Reads what the store has to show.
    pub(crate) fn read<T>(&self, read: impl AsyncFnOnce(&fallgate_store::Store) -> T) -> T {
        self.runtime.block_on(read(self.registrar.store()))
    }
}

fn actor() -> Actor {
    Actor::Cli { os_user: "tests".to_owned() }
}
