//! The verifier on a real store: what stands, what falls, and that a change by somebody else counts at once.

#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fallgate_authority::{
    Actor, Denial, Ended, Lease, MintOrder, MintedToken, Passphrase, Policy, Presented, Principal, Refusal,
    Registrar, RequestFacts, RoutePolicy, Terms, UserError, UserOrder, UserPatch, Verifier, actions,
};
use fallgate_domain::clock::{TestClock, Timestamp};
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::route::Admission;
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::user::Role;
use fallgate_store::Location;
use tempfile::TempDir;
use zeroize::Zeroizing;

struct House {
    folder: TempDir,
    clock: Arc<TestClock>,
    verifier: Arc<Verifier>,
    /// Another process, as far as the store can tell.
    elsewhere: Registrar,
}

const FACTS: RequestFacts<'static> = RequestFacts { ip: None, user_agent: None };

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
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::parse("2026-01-01T00:00:00Z").unwrap()));
        let elsewhere = registrar(&folder, clock.clone()).await;
        for (name, role) in [("alice", Role::User), ("root", Role::Admin)] {
            let text = Zeroizing::new("correct horse battery staple".to_owned());
            let passphrase = Passphrase::new(text, &[], &Policy::default()).unwrap();
            let order = UserOrder { username: name.parse().unwrap(), display_name: None, role, passphrase };
            elsewhere.create_user(order, &cli()).await.unwrap();
        }
        let (verifier, _notes) = Verifier::start(registrar(&folder, clock.clone()).await).await.unwrap();
        Self { folder, clock, verifier, elsewhere }
    }

    async fn mint(&self, owner: &str, scopes: Option<Scopes>) -> MintedToken {
        let order = MintOrder { owner: owner.parse().unwrap(), name: None, scopes, lifetime: None };
        self.elsewhere.mint(order, &cli()).await.unwrap()
    }

    async fn verify(&self, secret: &str) -> Result<Principal, Refusal> {
        let lease = self.verifier.lease();
        let presented = Presented::from_authorization(Some(format!("Bearer {secret}").as_bytes()))?;
        self.verifier.verify(&presented, &FACTS, &lease.handle()).await
    }

    async fn denial(&self, secret: &str) -> Denial {
        match self.verify(secret).await {
            Err(Refusal::BadCredential(denial)) => denial,
            other => panic!("not denied: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_minted_elsewhere_is_known_at_once_and_unknown_ones_are_not() {
    let house = House::new().await;
    let minted = house.mint("alice", None).await;
    let principal = house.verify(minted.secret.expose()).await.unwrap();
    assert_eq!(principal.credential(), minted.credential.id);
    assert_eq!(principal.username().unwrap().as_str(), "alice");
    let other = fallgate_domain::token::PlainToken::new(fallgate_domain::token::TokenKind::Token, &[1; 32]);
    assert_eq!(house.denial(other.expose()).await, Denial::Unknown);
}

#[tokio::test]
async fn r42_a_revocation_elsewhere_counts_on_the_next_decision() {
    let house = House::new().await;
    let minted = house.mint("alice", None).await;
    house.verify(minted.secret.expose()).await.unwrap();
    house.elsewhere.revoke(minted.credential.id, None, &cli()).await.unwrap();
    assert_eq!(house.denial(minted.secret.expose()).await, Denial::Revoked);
}

#[tokio::test]
async fn r43_what_was_revoked_before_the_start_is_refused_from_the_first_decision() {
    let house = House::new().await;
    let minted = house.mint("alice", None).await;
    house.elsewhere.revoke(minted.credential.id, None, &cli()).await.unwrap();
    let again = registrar(&house.folder, house.clock.clone()).await;
    let (verifier, _notes) = Verifier::start(again).await.unwrap();
    let lease = verifier.lease();
    let presented =
        Presented::from_authorization(Some(format!("Bearer {}", minted.secret.expose()).as_bytes())).unwrap();
    let refused = verifier.verify(&presented, &FACTS, &lease.handle()).await.unwrap_err();
    assert_eq!(refused, Refusal::BadCredential(Denial::Revoked));
}

#[tokio::test]
async fn r33_a_token_ends_on_the_millisecond() {
    let house = House::new().await;
    let minted = house.mint("alice", None).await;
    let end = minted.credential.expires_at.unwrap();
    house.clock.set(Timestamp::from_millis(end.millis() - 1));
    house.verify(minted.secret.expose()).await.unwrap();
    house.clock.set(end);
    assert_eq!(house.denial(minted.secret.expose()).await, Denial::Expired);
}

#[tokio::test]
async fn r31_a_child_falls_with_its_parent_by_one_row() {
    let house = House::new().await;
    let scopes = Scopes::plain([PlainScope::TokensWrite, PlainScope::IdentityRead]);
    let parent = house.mint("alice", Some(scopes)).await;
    let permit =
        house.verify(parent.secret.expose()).await.unwrap().permit::<actions::WriteTokens>().unwrap();
    let order = MintOrder { owner: "root".parse().unwrap(), name: None, scopes: None, lifetime: None };
    let child = house.verifier.mint(&permit, order, None).await.unwrap();
    assert_eq!(child.owner.as_str(), "alice", "a plain user mints for nobody else");
    assert_eq!(child.credential.parent, Some(parent.credential.id));
    house.verify(child.secret.expose()).await.unwrap();
    house.elsewhere.revoke(parent.credential.id, None, &cli()).await.unwrap();
    assert_eq!(house.denial(child.secret.expose()).await, Denial::ParentEnded);
}

#[tokio::test]
async fn r29_a_username_that_comes_along_must_be_the_owners() {
    use base64::Engine;
    let house = House::new().await;
    let secret = house.mint("alice", None).await.secret;
    for (username, good) in [("alice", true), ("", true), ("root", false)] {
        let pair = format!("{username}:{}", secret.expose());
        let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let presented = Presented::from_authorization(Some(value.as_bytes())).unwrap();
        let lease = house.verifier.lease();
        let verified = house.verifier.verify(&presented, &FACTS, &lease.handle()).await;
        assert_eq!(verified.is_ok(), good, "{username}");
    }
}

#[tokio::test]
async fn a_permit_needs_the_scope_and_a_route_its_list() {
    let house = House::new().await;
    let scopes = Scopes::parse("route:notes").unwrap();
    let secret = house.mint("alice", Some(scopes)).await.secret;
    let principal = house.verify(secret.expose()).await.unwrap();
    assert!(matches!(principal.clone().permit::<actions::ReadIdentity>(), Err(Refusal::Beyond(_))));
    let route = |name: &str, allow: &[&str]| {
        let allow = allow.iter().map(|entry| entry.parse().unwrap()).collect();
        Arc::new(RoutePolicy::new(name.parse().unwrap(), Admission { allow }))
    };
    assert!(principal.clone().permit_route(&route("notes", &[])).is_ok());
    assert!(matches!(principal.clone().permit_route(&route("other", &[])), Err(Refusal::Beyond(_))));
    assert_eq!(principal.permit_route(&route("notes", &["role:admin"])).unwrap_err(), Refusal::NotAdmitted);
}

#[tokio::test]
async fn a_lease_ends_when_its_credential_is_revoked_elsewhere_and_no_other_does() {
    let house = House::new().await;
    let (one, other) = (house.mint("alice", None).await, house.mint("alice", None).await);
    let leases = [house.verifier.lease(), house.verifier.lease()];
    for (minted, lease) in [&one, &other].into_iter().zip(&leases) {
        let value = format!("Bearer {}", minted.secret.expose());
        let presented = Presented::from_authorization(Some(value.as_bytes())).unwrap();
        house.verifier.verify(&presented, &FACTS, &lease.handle()).await.unwrap();
    }
    let watching = tokio::spawn({
        let verifier = house.verifier.clone();
        async move { verifier.watch().await }
    });
    house.elsewhere.revoke(one.credential.id, None, &cli()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), leases[0].ended()).await.unwrap();
    assert_eq!(ended, Ended::Credential(Denial::Revoked));
    assert_eq!(leases[1].judge(), None);
    watching.abort();
}

/// A lease that rests on a token of alice's.
/// Uses a route on which nothing lasts longer than ten seconds once that is counted.
async fn leased(house: &House, lifetime: Duration) -> Lease {
    let lifetime = Some(Lifetime::For(lifetime));
    let order = MintOrder { owner: "alice".parse().unwrap(), name: None, scopes: None, lifetime };
    let minted = house.elsewhere.mint(order, &cli()).await.unwrap();
    let lease = house.verifier.lease();
    let value = format!("Bearer {}", minted.secret.expose());
    let presented = Presented::from_authorization(Some(value.as_bytes())).unwrap();
    let principal = house.verifier.verify(&presented, &FACTS, &lease.handle()).await.unwrap();
    let terms = Terms { max_stream_age: Some(Duration::from_secs(10)), ..Terms::default() };
    let route = RoutePolicy::new("app".parse().unwrap(), Admission::default()).on(terms);
    principal.permit_route(&Arc::new(route)).unwrap();
    lease
}

#[tokio::test(start_paused = true)]
async fn r51_a_lease_looks_again_within_half_a_minute_though_nobody_tells_it_to() {
    const DAY: Duration = Duration::from_hours(24);
    let house = House::new().await;
    let lease = leased(&house, DAY).await;
    let begun = tokio::time::Instant::now();
    // The clock is set forward, and nothing else happens.
    let ended = tokio::join!(lease.ended(), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        house.clock.advance(DAY * 2);
    });
    assert_eq!(ended.0, Ended::Credential(Denial::Expired));
    assert!(begun.elapsed() <= Duration::from_secs(31), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn r51_a_lease_ends_at_the_age_that_it_was_given_and_the_next_one_begins_anew() {
    let house = House::new().await;
    let lease = leased(&house, Duration::from_hours(24)).await;
    lease.handle().lasts_from(house.verifier.clock().now());
    house.clock.advance(Duration::from_millis(9_999));
    assert_eq!(lease.judge(), None);
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(lease.judge(), Some(Ended::TooOld));
    lease.settle();
    assert_eq!(lease.judge(), None, "nothing rests on it");
    // Given while somebody waits, it counts too.
    let lease = leased(&house, Duration::from_hours(24)).await;
    let ended = tokio::join!(lease.ended(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lease.handle().lasts_from(house.verifier.clock().now());
        tokio::time::sleep(Duration::from_secs(9)).await;
        house.clock.advance(Duration::from_secs(10));
    });
    assert_eq!(ended.0, Ended::TooOld);
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_when_its_credential_expires() {
    let house = House::new().await;
    let lease = leased(&house, Duration::from_secs(5)).await;
    let clock = house.clock.clone();
    let ended = tokio::join!(lease.ended(), async {
        tokio::time::sleep(Duration::from_millis(4_999)).await;
        clock.advance(Duration::from_secs(5));
    });
    assert_eq!(ended.0, Ended::Credential(Denial::Expired));
}

#[tokio::test]
async fn a_settled_lease_rests_on_nobody() {
    let house = House::new().await;
    let minted = house.mint("alice", None).await;
    let lease = house.verifier.lease();
    let value = format!("Bearer {}", minted.secret.expose());
    let presented = Presented::from_authorization(Some(value.as_bytes())).unwrap();
    house.verifier.verify(&presented, &FACTS, &lease.handle()).await.unwrap();
    lease.settle();
    house.elsewhere.revoke(minted.credential.id, None, &cli()).await.unwrap();
    house.verifier.freshen().await.unwrap();
    assert_eq!(lease.judge(), None);
}

/// Callers come in on two threads while their credentials are revoked on a third: whoever was let in is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn r47_nobody_survives_a_revocation_they_raced_with() {
    const ROUNDS: usize = 1_000;
    let house = Arc::new(House::new().await);
    let mut survivors = 0;
    let let_in_at_all = Arc::new(AtomicUsize::new(0));
    for _ in 0..ROUNDS / 50 {
        let minted = house.mint("alice", None).await;
        let value = format!("Bearer {}", minted.secret.expose());
        let presented = Presented::from_authorization(Some(value.as_bytes())).unwrap();
        let revoked = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let (house, presented, revoked) = (house.clone(), presented.clone(), revoked.clone());
                let let_in_at_all = let_in_at_all.clone();
                tokio::spawn(async move {
                    let mut let_in = Vec::new();
                    loop {
                        let acknowledged = revoked.load(Ordering::SeqCst);
                        let lease = house.verifier.lease();
                        let verified = house.verifier.verify(&presented, &FACTS, &lease.handle()).await;
                        assert!(!(acknowledged && verified.is_ok()), "let in after the revocation");
                        if verified.is_ok() {
                            let_in_at_all.fetch_add(1, Ordering::Relaxed);
                            let_in.push(lease);
                        } else {
                            return let_in;
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(300)).await;
        house.elsewhere.revoke(minted.credential.id, None, &cli()).await.unwrap();
        revoked.store(true, Ordering::SeqCst);
        for caller in callers {
            for lease in caller.await.unwrap() {
                let told = tokio::time::timeout(Duration::from_secs(5), lease.ended()).await;
                survivors += usize::from(told.is_err());
            }
        }
    }
    assert_eq!(survivors, 0);
    assert!(let_in_at_all.load(Ordering::Relaxed) > ROUNDS / 50, "the race was never on");
}

#[tokio::test]
async fn r57_a_disabled_users_credentials_are_refused_and_come_back_unless_they_were_revoked() {
    let house = House::new().await;
    let (kept, ended) = (house.mint("alice", None).await, house.mint("alice", None).await);
    let others = house.mint("root", None).await;
    let lease = house.verifier.lease();
    let presented =
        Presented::from_authorization(Some(format!("Bearer {}", kept.secret.expose()).as_bytes()));
    house.verifier.verify(&presented.unwrap(), &FACTS, &lease.handle()).await.unwrap();
    let disabled = |disabled| UserPatch { disabled: Some(disabled), ..UserPatch::default() };
    house.elsewhere.change_user(&"alice".parse().unwrap(), disabled(true), &cli()).await.unwrap();
    for token in [&kept, &ended] {
        assert_eq!(house.denial(token.secret.expose()).await, Denial::OwnerDisabled);
    }
    assert_eq!(lease.ended().await, Ended::Credential(Denial::OwnerDisabled));
    house.verify(others.secret.expose()).await.unwrap();

    house.elsewhere.revoke(ended.credential.id, None, &cli()).await.unwrap();
    house.elsewhere.change_user(&"alice".parse().unwrap(), disabled(false), &cli()).await.unwrap();
    house.verify(kept.secret.expose()).await.unwrap();
    assert_eq!(house.denial(ended.secret.expose()).await, Denial::Revoked);
}

#[tokio::test]
async fn r57_a_demoted_admins_tokens_shrink_at_once_and_what_rested_on_more_ends() {
    let house = House::new().await;
    let second = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
    house.elsewhere.change_user(&"alice".parse().unwrap(), second, &cli()).await.unwrap();
    let all = Scopes::plain([PlainScope::Admin]);
    let token = house.mint("alice", Some(all)).await;
    let managing = house.verifier.lease();
    let presented = format!("Bearer {}", token.secret.expose());
    let presented = || Presented::from_authorization(Some(presented.as_bytes())).unwrap();
    let caller = house.verifier.verify(&presented(), &FACTS, &managing.handle()).await.unwrap();
    caller.permit::<actions::ManageUsers>().unwrap();
    let reading = house.verifier.lease();
    let caller = house.verifier.verify(&presented(), &FACTS, &reading.handle()).await.unwrap();
    caller.permit::<actions::ReadIdentity>().unwrap();

    let plain = UserPatch { role: Some(Role::User), ..UserPatch::default() };
    house.elsewhere.change_user(&"alice".parse().unwrap(), plain, &cli()).await.unwrap();
    let caller = house.verify(token.secret.expose()).await.unwrap();
    assert!(!caller.is_admin());
    let refused = caller.permit::<actions::ManageUsers>().unwrap_err();
    assert_eq!(refused, Refusal::Beyond(PlainScope::Admin.into()));
    assert_eq!(managing.ended().await, Ended::Narrowed);
    assert_eq!(reading.judge(), None, "what a plain user may do as well goes on");
}

#[tokio::test]
async fn r31_a_deleted_users_credentials_are_refused_and_their_leases_end() {
    let house = House::new().await;
    let token = house.mint("alice", None).await;
    let lease = house.verifier.lease();
    let presented =
        Presented::from_authorization(Some(format!("Bearer {}", token.secret.expose()).as_bytes()));
    house.verifier.verify(&presented.unwrap(), &FACTS, &lease.handle()).await.unwrap();
    let ended = house.elsewhere.delete_user(&"alice".parse().unwrap(), &cli()).await.unwrap();
    assert_eq!((ended.logins, ended.tokens), (0, 1));
    assert_eq!(house.denial(token.secret.expose()).await, Denial::OwnerGone);
    assert_eq!(lease.ended().await, Ended::Credential(Denial::OwnerGone));

    let text = Zeroizing::new("correct horse battery staple".to_owned());
    let passphrase = Passphrase::new(text, &[], &Policy::default()).unwrap();
    let order =
        UserOrder { username: "alice".parse().unwrap(), display_name: None, role: Role::Admin, passphrase };
    house.elsewhere.create_user(order, &cli()).await.unwrap();
    assert_eq!(
        house.denial(token.secret.expose()).await,
        Denial::OwnerGone,
        "a new one of that name is another"
    );
    // And after a restart.
    let (verifier, _notes) =
        Verifier::start(registrar(&house.folder, house.clock.clone()).await).await.unwrap();
    let restarted = House { verifier, ..house };
    assert_eq!(restarted.denial(token.secret.expose()).await, Denial::OwnerGone);
}

#[tokio::test]
async fn the_last_admin_stays_and_a_name_is_taken_once() {
    let house = House::new().await;
    let root = "root".parse().unwrap();
    for patch in [
        UserPatch { role: Some(Role::User), ..UserPatch::default() },
        UserPatch { disabled: Some(true), ..UserPatch::default() },
    ] {
        let refused = house.elsewhere.change_user(&root, patch, &cli()).await;
        assert!(matches!(refused, Err(UserError::LastAdmin(_))), "{refused:?}");
    }
    let refused = house.elsewhere.delete_user(&root, &cli()).await;
    assert!(matches!(refused, Err(UserError::LastAdmin(_))), "{refused:?}");
    let text = || Zeroizing::new("correct horse battery staple".to_owned());
    let order = UserOrder {
        username: root,
        display_name: None,
        role: Role::User,
        passphrase: Passphrase::new(text(), &[], &Policy::default()).unwrap(),
    };
    let refused = house.elsewhere.create_user(order, &cli()).await;
    assert!(matches!(refused, Err(UserError::UsernameTaken(_))), "{refused:?}");
    let nobody = "nobody".parse().unwrap();
    let passphrase = Passphrase::new(text(), &[], &Policy::default()).unwrap();
    let refused = house.elsewhere.reset_passphrase(&nobody, passphrase, false, &cli()).await;
    assert!(matches!(refused, Err(UserError::Unknown(_))), "{refused:?}");
}
