//! Random acts in another process, and on each credential the verifier says what a simple model says.

#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use fallgate_authority::{
    Actor, MintError, MintOrder, Passphrase, Policy, Presented, Principal, Refusal, Registrar, RequestFacts,
    RevokeOutcome, TokenError, UserOrder, UserPatch, Verifier, actions,
};
use fallgate_domain::clock::{TestClock, Timestamp};
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::id::CredentialId;
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::user::{Role, Username};
use fallgate_store::Location;
use proptest::prelude::*;
use tempfile::TempDir;
use zeroize::Zeroizing;

const NAMES: [&str; 2] = ["alice", "bob"];
const HOUR: Duration = Duration::from_hours(1);

/// What may happen. Numbers choose among the tokens there are.
#[derive(Debug, Clone)]
enum Act {
    Mint { owner: usize, admin: bool, hours: u64 },
    MintChild { parent: usize, hours: Option<u64> },
    Revoke(usize),
    RevokeAll(usize),
    Redate { token: usize, hours: u64 },
    Disable(usize, bool),
    SetRole(usize, bool),
    DeleteAndMakeAnew(usize),
    Wait { hours: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let owner = || 0..NAMES.len();
    let hours = || 1_u64..12;
    prop_oneof![
        4 => (owner(), any::<bool>(), hours()).prop_map(|(owner, admin, hours)| Act::Mint { owner, admin, hours }),
        6 => (any::<usize>(), proptest::option::weighted(0.3, hours()))
            .prop_map(|(parent, hours)| Act::MintChild { parent, hours }),
        3 => any::<usize>().prop_map(Act::Revoke),
        1 => owner().prop_map(Act::RevokeAll),
        4 => (any::<usize>(), 1_u64..4).prop_map(|(token, hours)| Act::Redate { token, hours }),
        1 => (owner(), proptest::bool::weighted(0.3)).prop_map(|(owner, disabled)| Act::Disable(owner, disabled)),
        2 => (owner(), proptest::bool::weighted(0.7)).prop_map(|(owner, admin)| Act::SetRole(owner, admin)),
        1 => owner().prop_map(Act::DeleteAndMakeAnew),
        3 => (1_u64..4).prop_map(|hours| Act::Wait { hours }),
    ]
}

/// Whether a token's scopes have `introspect`, and for what owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Introspects {
    No,
    AsAdmin,
    Granted,
}

/// What is known of a token without asking anybody.
struct Token {
    id: CredentialId,
    secret: String,
    owner: usize,
    parent: Option<usize>,
    admin: bool,
    introspects: Introspects,
    ends: Timestamp,
    revoked: bool,
}

#[derive(Default, Clone, Copy)]
struct Person {
    disabled: bool,
    admin: bool,
}

struct World {
    _folder: TempDir,
    clock: Arc<TestClock>,
    verifier: Arc<Verifier>,
    elsewhere: Registrar,
    people: [Person; NAMES.len()],
    tokens: Vec<Token>,
}

fn cli() -> Actor {
    Actor::Cli { os_user: "tester".to_owned() }
}

fn name(owner: usize) -> Username {
    NAMES[owner].parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test opens its own store")]
async fn registrar(folder: &TempDir, clock: Arc<TestClock>) -> Registrar {
    let location = Location::Sqlite(folder.path().join("fallgate.db"));
    let (store, vault) = fallgate_store::open(&location).await.unwrap();
    Registrar::new(store, vault, clock, Arc::new(SystemEntropy), Policy::default())
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::parse("2026-01-01T00:00:00Z").unwrap()));
        let elsewhere = registrar(&folder, clock.clone()).await;
        let (verifier, _notes) = Verifier::start(registrar(&folder, clock.clone()).await).await.unwrap();
        let people = [Person::default(); NAMES.len()];
        let world = Self { _folder: folder, clock, verifier, elsewhere, people, tokens: Vec::new() };
        for owner in 0..NAMES.len() {
            world.make(name(owner), Role::User).await;
        }
        // Who stays an admin, so that no other is the last one.
        world.make("root".parse().unwrap(), Role::Admin).await;
        world
    }

    async fn make(&self, username: Username, role: Role) {
        let text = Zeroizing::new("correct horse battery staple".to_owned());
        let passphrase = Passphrase::new(text, &[], &Policy::default()).unwrap();
        let order = UserOrder { username, display_name: None, role, passphrase };
        self.elsewhere.create_user(order, &cli()).await.unwrap();
    }

    fn now(&self) -> Timestamp {
        use fallgate_domain::clock::Clock as _;
        self.clock.now()
    }

    /// The token and all that it hangs on.
    fn line(&self, token: usize) -> impl Iterator<Item = &Token> {
        std::iter::successors(self.tokens.get(token), |token| self.tokens.get(token.parent?))
    }

    /// The oracle: whether the token stands.
    fn stands(&self, token: usize) -> bool {
        let disabled = self.people[self.tokens[token].owner].disabled;
        !disabled && self.line(token).all(|link| !link.revoked && self.now() < link.ends)
    }

    async fn verify(&self, token: usize) -> Result<Principal, Refusal> {
        let lease = self.verifier.lease();
        let header = format!("Bearer {}", self.tokens[token].secret);
        let presented = Presented::from_authorization(Some(header.as_bytes()))?;
        self.verifier.verify(&presented, &RequestFacts { ip: None, user_agent: None }, &lease.handle()).await
    }

    async fn change(&self, owner: usize, patch: UserPatch) {
        self.elsewhere.change_user(&name(owner), patch, &cli()).await.unwrap();
    }

    /// One of the last few, so that acts meet.
    fn some(&self, number: usize) -> Option<usize> {
        let back = number.checked_rem(self.tokens.len().min(4))?;
        self.tokens.len().checked_sub(back + 1)
    }

    async fn perform(&mut self, act: &Act) {
        match *act {
            Act::Mint { owner, admin, hours } => self.mint(owner, admin, hours).await,
            Act::MintChild { parent, hours } => self.mint_child(parent, hours).await,
            Act::Revoke(number) => {
                let Some(token) = self.some(number) else { return };
                let outcome = self.elsewhere.revoke(self.tokens[token].id, None, &cli()).await.unwrap();
                let token = &mut self.tokens[token];
                let expected =
                    if token.revoked { RevokeOutcome::AlreadyRevoked } else { RevokeOutcome::Revoked };
                assert_eq!(outcome, expected);
                token.revoked = true;
            }
            Act::RevokeAll(owner) => {
                let count = self.elsewhere.revoke_all(Some(&name(owner)), &cli()).await.unwrap();
                let now = self.now();
                let good = |token: &&mut Token| token.owner == owner && !token.revoked && now < token.ends;
                let ended = self.tokens.iter_mut().filter(good).map(|token| token.revoked = true).count();
                assert_eq!(count, u64::try_from(ended).unwrap());
            }
            Act::Redate { token, hours } => {
                let Some(token) = self.some(token) else { return };
                let stood = self.line(token).all(|link| !link.revoked && self.now() < link.ends);
                let lifetime = Lifetime::For(HOUR * u32::try_from(hours).unwrap());
                let end = lifetime.ends_at(self.now()).unwrap().unwrap();
                let above = self.line(token).skip(1).map(|link| link.ends).min();
                match self.elsewhere.redate_token(self.tokens[token].id, lifetime, &cli()).await {
                    Ok(_) => {
                        assert!(stood, "what has ended stays so");
                        assert!(above.is_none_or(|above| end <= above), "it outlives what it hangs on");
                        self.tokens[token].ends = end;
                    }
                    Err(TokenError::Ended(_)) => assert!(!stood),
                    Err(TokenError::Outlives(latest)) => {
                        assert_eq!(above, Some(latest));
                        assert!(end > latest);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Act::Disable(owner, disabled) => {
                self.change(owner, UserPatch { disabled: Some(disabled), ..UserPatch::default() }).await;
                self.people[owner].disabled = disabled;
            }
            Act::SetRole(owner, admin) => {
                let role = if admin { Role::Admin } else { Role::User };
                self.change(owner, UserPatch { role: Some(role), ..UserPatch::default() }).await;
                self.people[owner].admin = admin;
            }
            Act::DeleteAndMakeAnew(owner) => {
                self.elsewhere.delete_user(&name(owner), &cli()).await.unwrap();
                // A name made anew inherits nothing.
                self.tokens
                    .iter_mut()
                    .filter(|token| token.owner == owner)
                    .for_each(|token| token.revoked = true);
                self.make(name(owner), Role::User).await;
                self.people[owner] = Person::default();
            }
            Act::Wait { hours } => self.clock.advance(HOUR * u32::try_from(hours).unwrap()),
        }
    }

    async fn mint(&mut self, owner: usize, admin: bool, hours: u64) {
        let scopes = if admin {
            vec![PlainScope::Admin]
        } else {
            vec![PlainScope::TokensWrite, PlainScope::Introspect]
        };
        let lifetime = Lifetime::For(HOUR * u32::try_from(hours).unwrap());
        let order = MintOrder {
            owner: name(owner),
            name: None,
            scopes: Some(Scopes::plain(scopes)),
            lifetime: Some(lifetime),
        };
        let Person { disabled, admin: by_role } = self.people[owner];
        match self.elsewhere.mint(order, &cli()).await {
            Ok(minted) => {
                assert!(!disabled && (by_role || !admin));
                self.keep(&minted.credential, minted.secret.expose(), owner, None, admin);
                if let Some(token) = self.tokens.last_mut() {
                    token.introspects = if by_role { Introspects::AsAdmin } else { Introspects::Granted };
                }
            }
            Err(MintError::OwnerDisabled(_)) => assert!(disabled),
            Err(MintError::ScopeBeyond(_)) => assert!(admin && !by_role),
            Err(error) => panic!("{error}"),
        }
    }

    /// By the token itself, in the daemon.
    async fn mint_child(&mut self, parent: usize, hours: Option<u64>) {
        let Some(parent) = self.some(parent) else { return };
        let Ok(principal) = self.verify(parent).await else {
            assert!(!self.stands(parent));
            return;
        };
        let Ok(permit) = principal.permit::<actions::WriteTokens>() else { return };
        let owner = self.tokens[parent].owner;
        let lifetime = hours.map(|hours| Lifetime::For(HOUR * u32::try_from(hours).unwrap()));
        let scopes = Some(Scopes::plain([PlainScope::TokensWrite]));
        let order = MintOrder { owner: name(owner), name: None, scopes, lifetime };
        let end = self.line(parent).map(|link| link.ends).min().unwrap();
        match self.verifier.mint(&permit, order, None).await {
            Ok(minted) => {
                let ends = minted.credential.expires_at.unwrap();
                assert!(ends <= end, "it outlives what it hangs on");
                self.keep(&minted.credential, minted.secret.expose(), owner, Some(parent), false);
            }
            Err(MintError::OutlivesParent(_)) => {
                let asked = lifetime.unwrap().ends_at(self.now()).unwrap().unwrap();
                assert!(asked > end);
            }
            Err(MintError::TooDeep) => assert_eq!(self.line(parent).count(), 16),
            Err(error) => panic!("{error}"),
        }
    }

    fn keep(
        &mut self,
        credential: &fallgate_domain::credential::Credential,
        secret: &str,
        owner: usize,
        parent: Option<usize>,
        admin: bool,
    ) {
        let ends = credential.expires_at.unwrap();
        let (id, secret) = (credential.id, secret.to_owned());
        let introspects = Introspects::No;
        self.tokens.push(Token { id, secret, owner, parent, admin, introspects, ends, revoked: false });
    }

    /// On every token there ever was, both say the same.
    async fn compare(&self, after: &Act) {
        for (number, token) in self.tokens.iter().enumerate() {
            match self.verify(number).await {
                Ok(principal) => {
                    assert!(self.stands(number), "token {number} was let in after {after:?}");
                    assert_eq!(principal.credential(), token.id);
                    assert_eq!(principal.username().unwrap().as_str(), NAMES[token.owner]);
                    let by_role = self.people[token.owner].admin;
                    let may_ask = principal.scopes().allow(&PlainScope::Introspect.into());
                    let should = match token.introspects {
                        Introspects::No => false,
                        Introspects::AsAdmin => by_role,
                        Introspects::Granted => true,
                    };
                    assert_eq!(may_ask, should, "token {number} after {after:?}");
                    assert_eq!(principal.clone().permit::<actions::AskOfCredentials>().is_ok(), may_ask);
                    assert_eq!(
                        principal.is_admin(),
                        token.admin && by_role,
                        "token {number} after {after:?}"
                    );
                }
                Err(Refusal::BadCredential(_)) => {
                    assert!(!self.stands(number), "token {number} was refused after {after:?}");
                }
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }
}

proptest! {
    // Every act is flushed to the disk, and every account costs a real hash.
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn r27_r42_every_decision_is_what_a_simple_model_says(acts in proptest::collection::vec(act(), 20..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for act in &acts {
                world.perform(act).await;
                world.compare(act).await;
            }
        });
    }
}
