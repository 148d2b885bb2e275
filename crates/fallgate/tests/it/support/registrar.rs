//! Acts without a process for each: the registrar that the command line uses, on the same database file.

use std::sync::Arc;

use fallgate_authority::{Actor, CutOrder, MintOrder, Policy, Registrar, RevokeOutcome};
use fallgate_domain::clock::{Clock, SystemClock, TestClock, Timestamp};
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::id::CutId;
use fallgate_domain::lifetime::Lifetime;
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
    pub(crate) fn of(home: &Home) -> Self {
        Self::dated(home, Arc::new(SystemClock))
    }

    /// The same as if it were so many days ago.
    pub(crate) fn days_ago(home: &Home, days: u64) -> Self {
        let millis = i64::try_from(days).unwrap() * 86_400_000;
        let then = Timestamp::from_millis(SystemClock.now().millis() - millis);
        Self::dated(home, Arc::new(TestClock::at(then)))
    }

    #[expect(clippy::disallowed_methods, reason = "it stands for another process, such as a command")]
    fn dated(home: &Home, clock: Arc<dyn Clock>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let location = Location::Sqlite(home.path().join("fallgate.db"));
        let (store, vault) = runtime.block_on(fallgate_store::open(&location)).unwrap();
        // It makes as many as a test wants.
        let policy = Policy { tokens_per_user: u32::MAX, ..Policy::default() };
        let registrar = Registrar::new(store, vault, clock, Arc::new(SystemEntropy), policy);
        Self { registrar, runtime }
    }

    /// A token with the default scopes.
    pub(crate) fn mint(&self, owner: &str) -> Token {
        self.mint_for(owner, Lifetime::DEFAULT)
    }

    /// A token that lasts so long.
    pub(crate) fn mint_for(&self, owner: &str, lifetime: Lifetime) -> Token {
        let lifetime = Some(lifetime);
        let order = MintOrder { owner: owner.parse().unwrap(), name: None, scopes: None, lifetime };
        let minted = self.runtime.block_on(self.registrar.mint(order, &actor())).unwrap();
        Token { id: minted.credential.id.to_string(), secret: minted.secret.expose().to_owned() }
    }

    /// Returns when the revocation is durable.
    pub(crate) fn revoke(&self, token: &Token) {
        let id = token.id.parse().unwrap();
        let outcome = self.runtime.block_on(self.registrar.revoke(id, None, &actor())).unwrap();
        assert_eq!(outcome, RevokeOutcome::Revoked);
    }

    /// Cuts that for good, and returns when it is durable.
    pub(crate) fn cut(&self, target: &str) -> CutId {
        let order = CutOrder { target: target.parse().unwrap(), reason: None, lifetime: Lifetime::Never };
        self.runtime.block_on(self.registrar.cut(order, &actor())).unwrap().id
    }

    /// Lifts a cut.
    pub(crate) fn lift(&self, id: &CutId) {
        self.runtime.block_on(self.registrar.lift(*id, &actor())).unwrap();
    }

    /// Reads what the store has to show.
    pub(crate) fn read<T>(&self, read: impl AsyncFnOnce(&fallgate_store::Store) -> T) -> T {
        self.runtime.block_on(read(self.registrar.store()))
    }
}

fn actor() -> Actor {
    Actor::Cli { os_user: "tests".to_owned() }
}
