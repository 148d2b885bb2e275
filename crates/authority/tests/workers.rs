//! Worker tokens by a clock that can be set: to the second, at both edges of what clocks may differ by, and for as long as
//! a revocation is remembered.

#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use fallgate_authority::{
    Actor, Denial, ExchangeError, ExchangeOrder, MintOrder, MintedWorker, Passphrase, Policy, Presented,
    Principal, Refusal, Registrar, RequestFacts, TokenError, UserOrder, UserPatch, Verifier, WorkerEnd,
    WorkerOrder,
};
use fallgate_domain::clock::{Clock, TestClock, Timestamp};
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::root_key::RootKey;
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::user::Role;
use fallgate_domain::worker::{LONGEST_LIFE, MOST_SKEW};
use fallgate_store::Location;
use tempfile::TempDir;
use zeroize::Zeroizing;

const FACTS: RequestFacts<'static> = RequestFacts { ip: None, user_agent: None };
const SECOND: Duration = Duration::from_secs(1);

struct House {
    _folder: TempDir,
    clock: Arc<TestClock>,
    verifier: Arc<Verifier>,
    /// Another process, as far as the store can tell.
    elsewhere: Registrar,
}

fn cli() -> Actor {
    Actor::Cli { os_user: "tester".to_owned() }
}

#[expect(clippy::disallowed_methods, reason = "a test assembles its own house")]
async fn registrar(folder: &TempDir, clock: Arc<TestClock>, skew: Duration) -> Registrar {
    let location = Location::Sqlite(folder.path().join("fallgate.db"));
    let (store, vault) = fallgate_store::open(&location).await.unwrap();
    let policy = Policy { worker_skew: skew, ..Policy::default() };
    let registrar = Registrar::new(store, vault, clock, Arc::new(SystemEntropy), policy);
    let _ = registrar.unlock(&RootKey::from_bytes(&[7; 32])).await.unwrap();
    registrar
}

impl House {
    async fn new(skew: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::parse("2026-01-01T00:00:00Z").unwrap()));
        let elsewhere = registrar(&folder, clock.clone(), skew).await;
        let text = Zeroizing::new("correct horse battery staple".to_owned());
        let passphrase = Passphrase::new(text, &[], &Policy::default()).unwrap();
        let order =
            UserOrder { username: "ada".parse().unwrap(), display_name: None, role: Role::User, passphrase };
        elsewhere.create_user(order, &cli()).await.unwrap();
        let (verifier, _notes) =
            Verifier::start(registrar(&folder, clock.clone(), skew).await).await.unwrap();
        Self { _folder: folder, clock, verifier, elsewhere }
    }

    async fn mint(&self, life: Duration) -> MintedWorker {
        let order = WorkerOrder {
            agent: "ada".parse().unwrap(),
            life: Some(life),
            scopes: None,
            audience: None,
            session: None,
        };
        self.elsewhere.mint_worker(order, "https://gate.example", &cli()).await.unwrap()
    }

    async fn verify(&self, worker: &MintedWorker) -> Result<Principal, Refusal> {
        let lease = self.verifier.lease();
        let value = Zeroizing::new(format!("Bearer {}", *worker.token));
        let presented = Presented::from_authorization(Some(value.as_bytes()))?;
        self.verifier.verify(&presented, &FACTS, &lease.handle()).await
    }

    async fn denial(&self, worker: &MintedWorker) -> Option<Denial> {
        match self.verify(worker).await {
            Ok(_) => None,
            Err(Refusal::BadCredential(denial)) => Some(denial),
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn at(&self, time: Timestamp, worker: &MintedWorker) -> Option<Denial> {
        self.clock.set(time);
        self.denial(worker).await
    }
}

fn before(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_millis(time.millis() - i64::try_from(by.as_millis()).unwrap())
}

#[tokio::test]
async fn r40_clocks_may_differ_by_just_so_much_at_both_ends_of_a_life() {
    let millisecond = Duration::from_millis(1);
    for skew in [Duration::ZERO, Duration::from_secs(30), MOST_SKEW] {
        let house = House::new(skew).await;
        let worker = house.mint(Duration::from_hours(1)).await;
        let (begins, ends) = (worker.claims.not_before, worker.claims.expires_at);
        let early = before(begins, skew);
        // Not seen before, and seen before: it is the same.
        for _ in 0..2 {
            assert_eq!(house.at(before(early, millisecond), &worker).await, Some(Denial::NotYet), "{skew:?}");
            assert_eq!(house.at(early, &worker).await, None, "{skew:?}");
            assert_eq!(house.at(before(ends.plus(skew), millisecond), &worker).await, None, "{skew:?}");
            assert_eq!(house.at(ends.plus(skew), &worker).await, Some(Denial::Expired), "{skew:?}");
        }
        // What is allowed for another's clock is nobody's to plan with.
        house.clock.set(begins);
        assert_eq!(house.verify(&worker).await.unwrap().expires_at(), Some(ends));
    }
}

#[tokio::test]
async fn r27_whoever_is_shut_out_before_the_exchange_is_committed_gets_nothing() {
    let order = || ExchangeOrder { agent: None, life: None, scopes: None, audience: None };
    let issuer = "https://gate.example";
    for revoked in [false, true] {
        let house = House::new(Duration::ZERO).await;
        let scopes = Some(Scopes::plain([PlainScope::AgentsWrite, PlainScope::IdentityRead]));
        let token = MintOrder { owner: "ada".parse().unwrap(), name: None, scopes, lifetime: None };
        let token = house.elsewhere.mint(token, &cli()).await.unwrap();
        let subject = house.verifier.subject(token.secret.expose().as_bytes(), &FACTS).await.unwrap();
        let worker = house.verifier.exchange(&subject, order(), issuer, None).await.unwrap();
        assert_eq!(house.denial(&worker).await, None);
        if revoked {
            let _ = house.elsewhere.revoke(token.credential.id, None, &cli()).await.unwrap();
        } else {
            let patch = UserPatch { disabled: Some(true), ..UserPatch::default() };
            house.elsewhere.change_user(&"ada".parse().unwrap(), patch, &cli()).await.unwrap();
        }
        let refused = house.verifier.exchange(&subject, order(), issuer, None).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Ended), "{refused:?}");
        assert!(house.denial(&worker).await.is_some());
    }
}

#[tokio::test]
async fn r42_a_revocation_is_never_forgotten_before_the_token_is_dead() {
    // The longest life there is, the largest skew, and a sweep at every second around each moment that matters.
    let house = House::new(MOST_SKEW).await;
    let start = house.verifier.clock().now();
    let worker = house.mint(LONGEST_LIFE).await;
    assert_eq!(house.denial(&worker).await, None);
    house.elsewhere.revoke_worker(worker.claims.id, WorkerEnd::default(), &cli()).await.unwrap();
    assert_eq!(house.denial(&worker).await, Some(Denial::Revoked));
    let dead_at = worker.claims.expires_at.plus(MOST_SKEW);
    assert_eq!(dead_at, start.plus(LONGEST_LIFE).plus(MOST_SKEW));

    let mut forgotten = 0;
    for moment in [start, worker.claims.expires_at, dead_at, dead_at.plus(MOST_SKEW)] {
        let first = before(moment, Duration::from_secs(20)).max(start);
        for second in 0..40 {
            house.clock.set(first.plus(second * SECOND));
            forgotten += house.elsewhere.sweep_workers().await.unwrap();
            let denial = house.denial(&worker).await;
            assert!(denial.is_some(), "good again at {} (dead at {dead_at})", house.verifier.clock().now());
        }
    }
    assert_eq!(forgotten, 1, "in the end it is forgotten");
    assert_eq!(house.denial(&worker).await, Some(Denial::Expired));
}

#[tokio::test]
async fn r42_a_token_from_a_clock_that_is_ahead_is_remembered_as_long_as_it_lives() {
    let house = House::new(MOST_SKEW).await;
    let start = house.verifier.clock().now();
    house.clock.set(start.plus(MOST_SKEW));
    let worker = house.mint(LONGEST_LIFE).await;
    house.clock.set(start);
    assert_eq!(house.denial(&worker).await, None, "as far ahead as may be");
    house.elsewhere.revoke_worker(worker.claims.id, WorkerEnd::default(), &cli()).await.unwrap();
    let dead_at = worker.claims.expires_at.plus(MOST_SKEW);
    for second in 0..700 {
        house.clock.set(before(dead_at, (700 - second) * SECOND));
        house.elsewhere.sweep_workers().await.unwrap();
        assert_eq!(house.denial(&worker).await, Some(Denial::Revoked), "{second}");
    }
}

#[tokio::test]
async fn a_revocation_is_remembered_as_long_as_somebody_says_if_they_insist() {
    let house = House::new(Duration::ZERO).await;
    let worker = house.mint(Duration::from_hours(1)).await;
    let start = house.verifier.clock().now();
    let end = worker.claims.expires_at;
    let revoke = async |expires_at, force| {
        let end = WorkerEnd { expires_at: Some(expires_at), force };
        house.elsewhere.revoke_worker(worker.claims.id, end, &cli()).await
    };
    assert!(matches!(revoke(end, false).await, Err(TokenError::WorkerEndEarly(_))));
    assert!(matches!(revoke(start, true).await, Err(TokenError::WorkerEndPast)));
    assert_eq!(house.denial(&worker).await, None);
    assert_eq!(revoke(end, true).await.unwrap().until, end);
    assert_eq!(house.denial(&worker).await, Some(Denial::Revoked));
    house.clock.set(before(end, SECOND));
    assert_eq!(house.elsewhere.sweep_workers().await.unwrap(), 0);
    house.clock.set(end);
    assert_eq!(house.elsewhere.sweep_workers().await.unwrap(), 1);
    assert_eq!(house.denial(&worker).await, Some(Denial::Expired));
}

#[tokio::test]
async fn r31_r42_a_renewal_that_is_revoked_meanwhile_is_not_made() {
    let house = House::new(Duration::ZERO).await;
    let worker = house.mint(Duration::from_hours(1)).await;
    let principal = house.verify(&worker).await.unwrap();
    house.clock.advance(Duration::from_mins(30));
    let moved = "https://moved.example";
    let renewed = house.verifier.renew_worker(&principal, moved, None).await.unwrap();
    assert_eq!(renewed.claims.life(), Duration::from_hours(1));
    assert_eq!((&*worker.claims.issuer, &*renewed.claims.issuer), ("https://gate.example", moved));
    assert_eq!(renewed.claims.family(), worker.claims.family());
    // The caller was let in; then somebody ended the other one, by another process; then the renewal is to be written.
    house.elsewhere.revoke_worker(renewed.claims.id, WorkerEnd::default(), &cli()).await.unwrap();
    assert!(house.verifier.renew_worker(&principal, moved, None).await.is_err());
    assert_eq!(house.denial(&worker).await, Some(Denial::Revoked));
    assert_eq!(house.denial(&renewed).await, Some(Denial::Revoked));
}

#[tokio::test]
async fn r45_more_tokens_than_are_kept_in_mind_are_all_judged_alike() {
    let house = House::new(Duration::ZERO).await;
    let mut workers = Vec::new();
    for _ in 0..64 {
        workers.push(house.mint(Duration::from_hours(1)).await);
    }
    for round in 0..3 {
        for (number, worker) in workers.iter().enumerate() {
            let dead = round > 0 && number % 2 == 0;
            assert_eq!(house.denial(worker).await, dead.then_some(Denial::Revoked), "{round} {number}");
        }
        for worker in workers.iter().step_by(2) {
            let _ =
                house.elsewhere.revoke_worker(worker.claims.id, WorkerEnd::default(), &cli()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn r42_what_is_minted_after_all_were_ended_stands_though_the_clock_was_wrong_then() {
    let house = House::new(Duration::ZERO).await;
    let right = house.clock.now();
    let month = Duration::from_secs(30 * 86_400);
    house.clock.set(right.plus(month));
    let early = house.mint(SECOND * 3_600).await;
    house.elsewhere.revoke_all(Some(&"ada".parse().unwrap()), &cli()).await.unwrap();
    assert_eq!(house.denial(&early).await, Some(Denial::Revoked));
    house.clock.set(right);
    let later = house.mint(SECOND * 3_600).await;
    assert_eq!(house.denial(&later).await, None);
    // Those are ended as well, and what comes after them is not.
    house.elsewhere.revoke_all(Some(&"ada".parse().unwrap()), &cli()).await.unwrap();
    assert_eq!(house.denial(&later).await, Some(Denial::Revoked));
    let last = house.mint(SECOND * 3_600).await;
    assert_eq!(house.denial(&last).await, None);
}
