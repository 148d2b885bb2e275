//! Sign-ins on a real store: what they rest on, and when they end by themselves.

#![cfg(test)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use axum_core::extract::FromRequestParts;
use fallgate_authority::{
    Actor, CameByHttps, Denial, Ended, Lease, NewSignIn, Newcomer, Passphrase, PeerAddress, Policy,
    Presented, Principal, Refusal, Registrar, RequestFacts, SetupError, SetupOrder, SignInError, SignInOrder,
    SignedIn, UserOrder, Verifier,
};
use fallgate_domain::clock::{TestClock, Timestamp};
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::user::Role;
use fallgate_store::Location;
use http::Request;
use http::request::Parts;
use tempfile::TempDir;
use zeroize::Zeroizing;

const PASSPHRASE: &str = "correct horse battery staple";
const IP: &str = "192.0.2.7";
const DAY: Duration = Duration::from_hours(24);
const MOMENT: Duration = Duration::from_millis(1);

struct House {
    folder: TempDir,
    clock: Arc<TestClock>,
    verifier: Arc<Verifier>,
    elsewhere: Registrar,
}

#[expect(clippy::disallowed_methods, reason = "a test assembles its own house")]
async fn registrar(folder: &TempDir, clock: Arc<TestClock>) -> Registrar {
    let location = Location::Sqlite(folder.path().join("fallgate.db"));
    let (store, vault) = fallgate_store::open(&location).await.unwrap();
    Registrar::new(store, vault, clock, Arc::new(SystemEntropy), Policy::default())
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.to_owned()), &[], &Policy::default()).unwrap()
}

impl House {
    /// Nobody lives in it.
    async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::parse("2026-01-01T00:00:00Z").unwrap()));
        let elsewhere = registrar(&folder, clock.clone()).await;
        let (verifier, _notes) = Verifier::start(registrar(&folder, clock.clone()).await).await.unwrap();
        Self { folder, clock, verifier, elsewhere }
    }

    /// With an alice.
    async fn new() -> Self {
        let house = Self::empty().await;
        let (username, passphrase) = ("alice".parse().unwrap(), passphrase(PASSPHRASE));
        let order = UserOrder { username, display_name: None, role: Role::User, passphrase };
        house.elsewhere.create_user(order, &cli()).await.unwrap();
        house
    }

    /// The same after a restart: all that was written down is known, and nothing else.
    async fn restarted(self) -> Self {
        let Self { folder, clock, verifier, elsewhere } = self;
        drop(verifier);
        let (verifier, _notes) = Verifier::start(registrar(&folder, clock.clone()).await).await.unwrap();
        Self { folder, clock, verifier, elsewhere }
    }

    fn parts(headers: &[(&str, &str)], lease: &Lease) -> Parts {
        let mut request = Request::post("/").header("user-agent", "curl/8.5.0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(PeerAddress(Some(IP.parse::<IpAddr>().unwrap())));
        parts.extensions.insert(CameByHttps(false));
        parts.extensions.insert(lease.handle());
        parts
    }

    async fn newcomer(&self) -> Newcomer {
        let lease = self.verifier.lease();
        Newcomer::from_request_parts(&mut Self::parts(&[], &lease), &self.verifier).await.unwrap()
    }

    async fn try_sign_in(&self, username: &str, passphrase: &str) -> Result<NewSignIn, SignInError> {
        let order = SignInOrder {
            username: Zeroizing::new(username.to_owned()),
            passphrase: Zeroizing::new(passphrase.to_owned()),
            device_name: None,
        };
        self.verifier.sign_in(order, &self.newcomer().await).await
    }

    async fn sign_in(&self) -> NewSignIn {
        self.try_sign_in("alice", PASSPHRASE).await.unwrap()
    }

    async fn verify(&self, login: &NewSignIn, lease: &Lease) -> Result<Principal, Refusal> {
        let value = format!("Bearer {}", login.secret.expose());
        let presented = Presented::from_authorization(Some(value.as_bytes()))?;
        let facts = RequestFacts { ip: None, user_agent: None };
        self.verifier.verify(&presented, &facts, &lease.handle()).await
    }

    async fn stands(&self, login: &NewSignIn) -> Result<(), Refusal> {
        self.verify(login, &self.verifier.lease()).await.map(drop)
    }

    async fn signed_in(&self, login: &NewSignIn, lease: &Lease) -> SignedIn {
        let bearer = format!("Bearer {}", login.secret.expose());
        let mut parts = Self::parts(&[("authorization", &bearer)], lease);
        SignedIn::from_request_parts(&mut parts, &self.verifier).await.unwrap()
    }

    fn raw(&self, statement: &str) {
        let raw = rusqlite::Connection::open(self.folder.path().join("fallgate.db")).unwrap();
        raw.execute_batch(statement).unwrap();
    }
}

fn cli() -> Actor {
    Actor::Cli { os_user: "tester".to_owned() }
}

const EXPIRED: Result<(), Refusal> = Err(Refusal::BadCredential(Denial::Expired));

#[tokio::test]
async fn a_sign_in_ends_when_it_was_not_used_for_a_week_and_after_a_month_however_it_was() {
    let house = House::new().await;
    let (idle, used) = (house.sign_in().await, house.sign_in().await);
    assert_eq!(idle.credential.kind, CredentialKind::Login);
    assert_eq!(idle.credential.name, "curl");
    for _ in 0..4 {
        house.clock.advance((7 * DAY).saturating_sub(MOMENT));
        assert_eq!(house.stands(&used).await, Ok(()));
    }
    assert_eq!(house.stands(&idle).await, EXPIRED);
    house.clock.set(used.credential.created_at.plus((30 * DAY).saturating_sub(MOMENT)));
    assert_eq!(house.stands(&used).await, Ok(()));
    house.clock.advance(MOMENT);
    assert_eq!(house.stands(&used).await, EXPIRED);
}

#[tokio::test]
async fn how_long_a_sign_in_lay_idle_survives_a_restart() {
    let house = House::new().await;
    let login = house.sign_in().await;
    house.clock.advance(6 * DAY);
    let house = house.restarted().await;
    assert_eq!(house.stands(&login).await, Ok(()));
    house.clock.advance(DAY);
    // That use was not written down before the next start, so it is the first day that counts again.
    let house = house.restarted().await;
    assert_eq!(house.stands(&login).await, EXPIRED);
    let id = login.credential.id;
    let used = fallgate_domain::credential::LastUse {
        at: login.credential.created_at.plus(6 * DAY),
        ip: None,
        user_agent: None,
    };
    house.raw(&format!(
        "UPDATE last_use SET at = {} WHERE credential = x'{}'",
        used.at.millis(),
        id.to_string().replace('-', "")
    ));
    let house = house.restarted().await;
    assert_eq!(house.stands(&login).await, Ok(()));
}

#[tokio::test]
async fn what_is_held_open_by_a_sign_in_keeps_it_in_use() {
    let house = House::new().await;
    let (login, lease) = (house.sign_in().await, house.verifier.lease());
    house.verify(&login, &lease).await.unwrap();
    for _ in 0..4 {
        house.clock.advance(6 * DAY);
        assert_eq!(lease.judge(), None);
    }
    house.verifier.note_held().await.unwrap();
    let again = Verifier::start(registrar(&house.folder, house.clock.clone()).await).await.unwrap().0;
    let bearer = format!("Bearer {}", login.secret.expose());
    let presented = Presented::from_authorization(Some(bearer.as_bytes())).unwrap();
    let facts = RequestFacts { ip: None, user_agent: None };
    again.verify(&presented, &facts, &again.lease().handle()).await.unwrap();
    let shown = house.verifier.store().credential(login.credential.id).await.unwrap().unwrap();
    assert_eq!(shown.credential.last_use.unwrap().ip.as_deref(), Some(IP), "from where it was");
    assert_eq!(house.stands(&login).await, Ok(()));
    lease.settle();
    house.clock.advance(7 * DAY);
    assert_eq!(house.stands(&login).await, EXPIRED);
    // Who looks too late finds the end: nobody knows that it was used meanwhile.
    let (login, lease) = (house.sign_in().await, house.verifier.lease());
    house.verify(&login, &lease).await.unwrap();
    house.clock.advance(7 * DAY);
    assert_eq!(lease.judge(), Some(Ended::Credential(Denial::Expired)));
}

#[tokio::test]
async fn a_hash_that_is_too_cheap_is_made_anew_when_its_passphrase_is_shown() {
    let house = House::new().await;
    let stored = || {
        let raw = rusqlite::Connection::open(house.folder.path().join("fallgate.db")).unwrap();
        raw.query_row(r#"SELECT passphrase FROM "user""#, [], |row| row.get::<_, String>(0)).unwrap()
    };
    let now = stored();
    house.sign_in().await;
    assert_eq!(stored(), now, "nothing to be made anew");
    let params = Params::new(19_456, 2, 1, None).unwrap();
    let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(PASSPHRASE.as_bytes(), &[7; 16])
        .unwrap()
        .to_string();
    house.raw(&format!(r#"UPDATE "user" SET passphrase = '{cheap}'"#));
    assert!(matches!(house.try_sign_in("alice", "another").await, Err(SignInError::Wrong)));
    assert_eq!(stored(), cheap);
    house.sign_in().await;
    assert!(stored().starts_with("$argon2id$v=19$m=65536,t=3,p=1$"), "{}", stored());
    house.sign_in().await;
}

#[tokio::test]
async fn r36_r52_whatever_is_wrong_nobody_is_signed_in_and_it_is_not_told_what() {
    let house = House::new().await;
    let too_long = "x".repeat(1_025);
    for (username, text) in [("alice", &*too_long), ("bob", &too_long), (&too_long, PASSPHRASE)] {
        let refused = house.try_sign_in(username, text).await.unwrap_err();
        assert!(matches!(refused, SignInError::TooLong), "{refused}");
    }
    for (username, text) in [("alice", "another"), ("bob", PASSPHRASE), ("ALICE", PASSPHRASE), ("", "")] {
        let refused = house.try_sign_in(username, text).await.unwrap_err();
        assert!(matches!(refused, SignInError::Wrong), "{username}: {refused}");
    }
    house.raw(r#"UPDATE "user" SET passphrase = 'no hash'"#);
    assert!(matches!(house.try_sign_in("alice", PASSPHRASE).await, Err(SignInError::Wrong)));
    house.raw(r#"UPDATE "user" SET passphrase = NULL"#);
    assert!(matches!(house.try_sign_in("alice", PASSPHRASE).await, Err(SignInError::Wrong)));
}

#[tokio::test]
async fn ones_own_passphrase_is_changed_by_showing_it_and_the_others_sign_ins_end() {
    let house = House::new().await;
    let (used, other) = (house.sign_in().await, house.sign_in().await);
    let (lease, others_lease) = (house.verifier.lease(), house.verifier.lease());
    let caller = house.signed_in(&used, &lease).await;
    house.verify(&other, &others_lease).await.unwrap();
    let new = "another staple of batteries";
    let change = async |current: &str| {
        let current = Zeroizing::new(current.to_owned());
        house.verifier.change_own_passphrase(&caller, &current, passphrase(new), false, None).await
    };
    assert!(matches!(change("wrong").await, Err(SignInError::Wrong)));
    let ended = change(PASSPHRASE).await.unwrap();
    assert_eq!((ended.logins, ended.tokens), (1, 0));
    assert_eq!(lease.judge(), None);
    assert_eq!(others_lease.judge(), Some(Ended::Credential(Denial::Revoked)));
    assert!(matches!(house.try_sign_in("alice", PASSPHRASE).await, Err(SignInError::Wrong)));
    house.try_sign_in("alice", new).await.unwrap();
}

/// Somebody who was let try five times waits, however many try at the same time.
#[tokio::test]
async fn r54_tries_that_wait_in_the_queue_are_counted_like_all_others() {
    let house = Arc::new(House::new().await);
    let tries: Vec<_> = (0..12)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move { house.try_sign_in("alice", "another").await.map(drop) })
        })
        .collect();
    let (mut wrong, mut throttled) = (0, 0);
    for tried in tries {
        match tried.await.unwrap() {
            Err(SignInError::Wrong) => wrong += 1,
            Err(SignInError::Throttled(wait)) => {
                assert_eq!(wait.retry_after, Duration::from_secs(2));
                throttled += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    // As many more may have begun as there are threads that hash.
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(wrong >= 5 && wrong < 5 + (cores / 2).max(1), "{wrong} were looked at, {throttled} not");
    // The right one waits too, and is not looked at.
    assert!(matches!(house.try_sign_in("alice", PASSPHRASE).await, Err(SignInError::Throttled(_))));
    house.clock.advance(Duration::from_mins(15));
    house.sign_in().await;
}

#[tokio::test]
async fn a_setup_token_is_good_once_and_for_a_day_and_never_when_there_is_a_user() {
    let house = House::empty().await;
    let order = |token: &str, username: &str| SetupOrder {
        setup_token: Zeroizing::new(token.to_owned()),
        username: username.parse().unwrap(),
        display_name: None,
        passphrase: Zeroizing::new(PASSPHRASE.to_owned()),
    };
    let newcomer = house.newcomer().await;
    let set_up =
        async |token: &str, username: &str| house.verifier.set_up(order(token, username), &newcomer).await;
    assert!(matches!(set_up("", "ada").await, Err(SetupError::WrongToken)), "none was made yet");
    let first = house.verifier.open_setup().unwrap().unwrap();
    let token = house.verifier.open_setup().unwrap().unwrap();
    assert!(matches!(set_up(first.expose(), "ada").await, Err(SetupError::WrongToken)), "it was replaced");
    assert!(matches!(house.try_sign_in("ada", "x").await, Err(SignInError::SetupNeeded)));
    let end = house.verifier.clock().now().plus(DAY);
    house.clock.set(end);
    assert!(matches!(set_up(token.expose(), "ada").await, Err(SetupError::WrongToken)), "it is a day old");
    house.clock.set(Timestamp::from_millis(end.millis() - 1));
    let made = set_up(token.expose(), "ada").await.unwrap();
    assert_eq!((made.user.role, made.user.username.as_str()), (Role::Admin, "ada"));
    assert_eq!(house.stands(&made).await, Ok(()));
    assert!(matches!(set_up(token.expose(), "bob").await, Err(SetupError::Done)));
    assert!(house.verifier.open_setup().unwrap().is_none());
    house.verifier.until_set_up().await;
}
