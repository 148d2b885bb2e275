//! Properties of whole trees of tokens, minted and ended at random through the real verifier on a real store.

#![cfg(test)]

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum_core::extract::FromRequestParts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fallgate_authority::{
    Actor, Lease, MintError, MintOrder, MintedToken, Newcomer, Passphrase, Policy, Presented, Principal,
    Refusal, Registrar, RequestFacts, RoutePolicy, SignInOrder, UserOrder, Verifier, WorkerEnd, actions,
};
use fallgate_domain::clock::{Clock, TestClock, Timestamp};
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::route::Admission;
use fallgate_domain::scope::{PlainScope, Scope, Scopes};
use fallgate_domain::user::Role;
use fallgate_store::Location;
use http::request::Parts;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

const FACTS: RequestFacts<'static> = RequestFacts { ip: None, user_agent: None };
const ROUTES: [&str; 3] = ["a", "b", "c"];
/// What no tree of these tests lives to see the end of, unless it is asked for.
const LONG: u64 = 3_600;
/// A line of tokens gets this long; the next one is refused.
const DEEPEST: usize = 16;

/// One store and one verifier for all cases: making people costs a passphrase's hash each.
struct House {
    runtime: Runtime,
    clock: Arc<TestClock>,
    verifier: Arc<Verifier>,
    /// Another process, as far as the store can tell.
    elsewhere: Registrar,
    /// Somebody's sign-in.
    login: String,
    _folder: TempDir,
}

fn cli() -> Actor {
    Actor::Cli { os_user: "tester".to_owned() }
}

#[expect(clippy::disallowed_methods, reason = "a test assembles its own house")]
async fn registrar(folder: &TempDir, clock: Arc<TestClock>) -> Registrar {
    let location = Location::Sqlite(folder.path().join("fallgate.db"));
    let (store, vault) = fallgate_store::open(&location).await.unwrap();
    Registrar::new(store, vault, clock, Arc::new(SystemEntropy), Policy::default())
}

impl House {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::parse("2026-01-01T00:00:00Z").unwrap()));
        let (verifier, elsewhere, login) = runtime.block_on(async {
            let elsewhere = registrar(&folder, clock.clone()).await;
            for (name, role) in [("alice", Role::User), ("root", Role::Admin)] {
                let text = Zeroizing::new("correct horse battery staple".to_owned());
                let passphrase = Passphrase::new(text, &[], &Policy::default()).unwrap();
                let order =
                    UserOrder { username: name.parse().unwrap(), display_name: None, role, passphrase };
                elsewhere.create_user(order, &cli()).await.unwrap();
            }
            let (verifier, _notes) = Verifier::start(registrar(&folder, clock.clone()).await).await.unwrap();
            let (mut parts, _lease) = asked(&[], &verifier);
            let newcomer = Newcomer::from_request_parts(&mut parts, &verifier).await.unwrap();
            let text = |text: &str| Zeroizing::new(text.to_owned());
            let (username, passphrase) = (text("root"), text("correct horse battery staple"));
            let order = SignInOrder { username, passphrase, device_name: None };
            let login = verifier.sign_in(order, &newcomer).await.unwrap().secret.expose().to_owned();
            (verifier, elsewhere, login)
        });
        Self { runtime, clock, verifier, elsewhere, login, _folder: folder }
    }

    async fn present(&self, header: &[u8]) -> Result<Principal, Refusal> {
        let presented = Presented::from_authorization(Some(header))?;
        let lease = self.verifier.lease();
        self.verifier.verify(&presented, &FACTS, &lease.handle()).await
    }

    async fn verify(&self, token: &MintedToken) -> Result<Principal, Refusal> {
        self.present(format!("Bearer {}", token.secret.expose()).as_bytes()).await
    }
}

/// A request with these header fields, and the lease of its connection.
fn asked(fields: &[(&str, &str)], verifier: &Verifier) -> (Parts, Lease) {
    let request =
        fields.iter().fold(http::Request::get("/"), |request, (name, value)| request.header(*name, *value));
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let lease = verifier.lease();
    parts.extensions.insert(lease.handle());
    (parts, lease)
}

/// Every scope that there is, with the routes of these tests.
fn universe() -> impl Iterator<Item = Scope> {
    let routes = ROUTES.into_iter().map(|name| Scope::Route(name.parse().unwrap()));
    PlainScope::ALL.into_iter().map(Scope::Plain).chain(routes)
}

/// What may be used, one by one: scopes, and routes as the relay asks for them.
fn powers(principal: &Principal) -> BTreeSet<String> {
    let scopes = principal.scopes();
    let allowed = universe().filter(|scope| scopes.allow(scope)).map(|scope| scope.to_string());
    let usable = ROUTES.into_iter().filter(|name| {
        let route = RoutePolicy::new(name.parse().unwrap(), Admission { allow: Vec::new() });
        principal.clone().permit_route(&Arc::new(route)).is_ok()
    });
    allowed.chain(usable.map(|name| format!("use {name}"))).collect()
}

/// A mint by one of the tokens that are there, counted from the last one.
#[derive(Debug, Clone)]
struct Branch {
    back: usize,
    scopes: Option<Scopes>,
    lifetime: Option<Lifetime>,
}

/// How a token comes to its end.
#[derive(Debug, Clone, Copy)]
enum End {
    /// In another process.
    Elsewhere,
    /// By its own permit, on this gate.
    Itself,
    /// By whoever holds its secret.
    Held,
    /// Its time was moved, and has come.
    Dated,
}

fn scopes() -> impl Strategy<Value = Scopes> {
    let all: Vec<_> = universe().collect();
    proptest::collection::vec(proptest::sample::select(all), 0..5).prop_map(|mut scopes| {
        // Most may mint, or trees would stay bushes.
        scopes.push(PlainScope::TokensWrite.into());
        Scopes::collect(scopes).unwrap()
    })
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    prop_oneof![
        1 => Just(Lifetime::Never),
        4 => (LONG..LONG * 24 * 200).prop_map(|seconds| Lifetime::For(Duration::from_secs(seconds))),
    ]
}

fn branch() -> impl Strategy<Value = Branch> {
    (0..4_usize, proptest::option::of(scopes()), proptest::option::of(lifetime()))
        .prop_map(|(back, scopes, lifetime)| Branch { back, scopes, lifetime })
}

fn end() -> impl Strategy<Value = (prop::sample::Index, End)> {
    let ends = [End::Elsewhere, End::Itself, End::Held, End::Dated];
    (any::<prop::sample::Index>(), proptest::sample::select(ends.to_vec()))
}

/// A tree as it grew: each token, and by which one it was minted.
struct Tree {
    tokens: Vec<MintedToken>,
    parents: Vec<Option<usize>>,
}

impl Tree {
    async fn rooted(house: &House, owner: &str, scopes: Scopes, lifetime: Lifetime) -> Self {
        let owner = owner.parse().unwrap();
        let order = MintOrder { owner, name: None, scopes: Some(scopes), lifetime: Some(lifetime) };
        let root = house.elsewhere.mint(order, &cli()).await.unwrap();
        Self { tokens: vec![root], parents: vec![None] }
    }

    fn line(&self, index: usize) -> Vec<usize> {
        std::iter::successors(Some(index), |index| self.parents[*index]).collect()
    }

    /// Mints, and holds what comes of it to the rule: within the parent, or refused because it would not be.
    async fn grow(&mut self, house: &House, branch: Branch) {
        let parent = self.tokens.len().saturating_sub(1 + branch.back);
        let minter = house.verify(&self.tokens[parent]).await.unwrap();
        let (its_powers, its_scopes, its_end) = (powers(&minter), minter.scopes(), minter.expires_at());
        let is_plain = minter.role() == Some(Role::User);
        let may_mint = its_scopes.allow(&PlainScope::TokensWrite.into());
        let Ok(permit) = minter.permit::<actions::WriteTokens>() else {
            assert!(!may_mint, "refused although it has tokens:write");
            return;
        };
        assert!(may_mint, "minted without tokens:write");
        let Branch { scopes, lifetime, .. } = branch;
        let owner = self.tokens[parent].owner.clone();
        let order = MintOrder { owner: owner.clone(), name: None, scopes: scopes.clone(), lifetime };
        let child = match house.verifier.mint(&permit, order, None).await {
            Ok(child) => child,
            Err(MintError::ScopeBeyond(scope) | MintError::ScopeBeyondParent(scope)) => {
                let asked = scopes.unwrap();
                // What somebody was granted they grant nobody.
                let is_grant = scope == PlainScope::Introspect.into() && is_plain;
                assert!(asked.iter().any(|asked| asked == scope));
                assert!(!its_scopes.allow(&scope) || is_grant, "{scope} was refused");
                return;
            }
            Err(MintError::OutlivesParent(limit)) => {
                let asked = lifetime.unwrap().ends_at(house.clock.now()).unwrap();
                assert!(its_end == Some(limit) && asked.is_none_or(|asked| asked > limit));
                return;
            }
            Err(MintError::TooDeep) => {
                assert!(self.line(parent).len() >= DEEPEST);
                return;
            }
            Err(other) => panic!("{other}"),
        };
        assert_eq!(
            (child.credential.parent, &child.owner),
            (Some(self.tokens[parent].credential.id), &owner)
        );
        let born = house.verify(&child).await.unwrap();
        let more: Vec<_> = powers(&born).difference(&its_powers).cloned().collect();
        assert!(more.is_empty(), "a child of {its_scopes:?} may {more:?}");
        assert!(!(is_plain && born.scopes().allow(&PlainScope::Introspect.into())), "a grant was handed on");
        let outlives = its_end.is_some_and(|limit| born.expires_at().is_none_or(|end| end > limit));
        assert!(!outlives, "a child ends {:?}, its parent {its_end:?}", born.expires_at());
        if let Some(asked) = scopes {
            assert_eq!(child.credential.scopes, asked, "what is granted is what was asked for");
        }
        self.tokens.push(child);
        self.parents.push(Some(parent));
    }

    async fn end(&self, house: &House, index: usize, how: End) {
        let token = &self.tokens[index];
        let (id, how) = match house.verify(token).await {
            // Whoever has ended already ends nothing by itself, and its date stays.
            Err(_) => (token.credential.id, End::Elsewhere),
            Ok(principal) if matches!(how, End::Itself) => match principal.permit::<actions::WriteTokens>() {
                Ok(permit) => {
                    house
                        .verifier
                        .revoke(&permit, token.credential.id, WorkerEnd::default(), None)
                        .await
                        .unwrap();
                    return;
                }
                Err(_) => (token.credential.id, End::Elsewhere),
            },
            Ok(_) => (token.credential.id, how),
        };
        match how {
            End::Elsewhere | End::Itself => {
                house.elsewhere.revoke(id, None, &cli()).await.unwrap();
            }
            End::Held => {
                house.verifier.revoke_held(token.secret.expose().as_bytes(), None).await.unwrap();
            }
            End::Dated => {
                let soon = Lifetime::For(Duration::from_secs(1));
                house.elsewhere.redate_token(id, soon, &cli()).await.unwrap();
                house.clock.advance(Duration::from_secs(1));
            }
        }
    }
}

fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(House::new)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn r27_r31_in_any_tree_a_child_is_within_its_parent_and_what_ends_takes_exactly_what_hangs_on_it(
        by_admin in any::<bool>(),
        scopes in scopes(),
        lifetime in lifetime(),
        branches in proptest::collection::vec(branch(), 1..24),
        ends in proptest::collection::vec(end(), 1..4),
    ) {
        let house = house();
        house.runtime.block_on(async {
            let owner = if by_admin { "root" } else { "alice" };
            let scopes = if by_admin { scopes } else { scopes.within(&Scopes::grantable(Role::User)) };
            let mut tree = Tree::rooted(house, owner, scopes, lifetime).await;
            for branch in branches {
                tree.grow(house, branch).await;
            }
            let mut ended = BTreeSet::new();
            for (which, how) in ends {
                let index = which.index(tree.tokens.len());
                tree.end(house, index, how).await;
                ended.insert(index);
                for (other, token) in tree.tokens.iter().enumerate() {
                    let stands = house.verify(token).await.is_ok();
                    let hangs_on_one = tree.line(other).iter().any(|above| ended.contains(above));
                    assert_eq!(stands, !hangs_on_one, "{other} after {how:?} of {index}, ended {ended:?}");
                }
            }
        });
    }

    #[test]
    fn r8_r29_no_carrier_changes_who_it_is_and_no_garbage_is_anybody(
        scopes in scopes(),
        lifetime in lifetime(),
        scheme in "[bB][eE][aA][rR][eE][rR]",
        blanks in " {1,3}",
        garbage in proptest::collection::vec(any::<u8>(), 0..120),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let house = house();
        house.runtime.block_on(async {
            let tree = Tree::rooted(house, "root", scopes, lifetime).await;
            let token = &tree.tokens[0];
            let secret = token.secret.expose();
            let known = house.verify(token).await.unwrap();
            let told = |principal: &Principal| {
                let (user, role) = (principal.user(), principal.role());
                (principal.credential(), principal.kind(), user, role, principal.scopes(), principal.expires_at())
            };
            let basic = |username: &str| format!("basic{blanks}{}", STANDARD.encode(format!("{username}:{secret}")));
            for header in [format!("{scheme}{blanks}{secret}{blanks}"), basic("root"), basic("")] {
                let caller = house.present(header.as_bytes()).await.unwrap();
                assert_eq!((told(&caller), powers(&caller)), (told(&known), powers(&known)), "{header}");
            }
            assert!(house.present(basic("alice").as_bytes()).await.is_err(), "another's name");
            // One byte of the secret is another one.
            let mut changed = secret.as_bytes().to_vec();
            let at = cut.index(changed.len());
            if changed[at] != byte {
                changed[at] = byte;
                let header = [b"Bearer ", changed.as_slice()].concat();
                assert!(house.present(&header).await.is_err(), "{}", header.escape_ascii());
            }
            for scheme in [&b""[..], b"Bearer ", b"Basic "] {
                assert!(house.present(&[scheme, &garbage].concat()).await.is_err());
            }
        });
    }

    #[test]
    fn r19_r29_a_sign_in_is_the_same_by_cookie_among_whatever_others_and_by_header(
        others in proptest::collection::vec("[a-z_]{0,6}(=[!-:<-~]{0,12})?", 0..5),
        at in any::<prop::sample::Index>(),
        second in any::<bool>(),
    ) {
        let house = house();
        house.runtime.block_on(async {
            let own = format!("fallgate={}", house.login);
            let mut cookies = others.clone();
            cookies.insert(at.index(cookies.len() + 1), own.clone());
            let (one, all) = (cookies.join("; "), others.join(";"));
            let basic = format!("Basic {}", STANDARD.encode(format!("root:{}", house.login)));
            let bearer = format!("Bearer {}", house.login);
            let ways = [
                vec![("cookie", one.as_str())],
                vec![("cookie", all.as_str()), ("cookie", own.as_str())],
                vec![("cookie", all.as_str()), ("authorization", bearer.as_str())],
                vec![("authorization", basic.as_str())],
            ];
            let mut told = Vec::new();
            for fields in &ways {
                let (mut parts, _lease) = asked(fields, &house.verifier);
                let caller = Principal::from_request_parts(&mut parts, &house.verifier).await.unwrap();
                told.push((caller.credential(), caller.user(), powers(&caller), caller.expires_at()));
            }
            assert!(told.iter().all(|other| *other == told[0]), "{told:?}");
            // Twice is once too often; and a bad header is not made good by a cookie.
            let twice = if second { vec![("cookie", one.as_str()), ("cookie", own.as_str())] } else {
                vec![("cookie", one.as_str()), ("authorization", "Bearer fgl_x")]
            };
            let (mut parts, _lease) = asked(&twice, &house.verifier);
            assert!(Principal::from_request_parts(&mut parts, &house.verifier).await.is_err());
        });
    }
}
