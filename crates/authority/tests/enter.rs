//! Sign-ins that are brought over to the host of a route, on a real store: how long a code is good, and what hangs on
//! what.

#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use axum_core::extract::FromRequestParts;
use fallgate_authority::{
    Actor, CameByHttps, Challenge, Denial, EnterError, EnterOrder, Entered, Entrant, Knock, Lease, NewSignIn,
    Newcomer, Passphrase, PeerAddress, Policy, Presented, Refusal, Registrar, RequestFacts, RoutePolicy,
    SignInOrder, SigningOut, UseNotes, UserOrder, Verifier, knock_cookie_name,
};
use fallgate_domain::clock::{TestClock, Timestamp};
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::host::Host;
use fallgate_domain::route::Admission;
use fallgate_domain::token::PlainToken;
use fallgate_domain::user::Role;
use fallgate_store::Location;
use http::request::Parts;
use http::{HeaderMap, Request, header};
use tempfile::TempDir;
use zeroize::Zeroizing;

const PASSPHRASE: &str = "correct horse battery staple";
const MOMENT: Duration = Duration::from_millis(1);

/// One user, who signed in, and one route.
struct House {
    folder: TempDir,
    notes: UseNotes,
    clock: Arc<TestClock>,
    verifier: Arc<Verifier>,
    login: NewSignIn,
    route: Arc<RoutePolicy>,
    knock: Knock,
}

impl House {
    #[expect(clippy::disallowed_methods, reason = "a test assembles its own house")]
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::parse("2026-01-01T00:00:00Z").unwrap()));
        let location = Location::Sqlite(folder.path().join("fallgate.db"));
        let (store, vault) = fallgate_store::open(&location).await.unwrap();
        let registrar =
            Registrar::new(store, vault, clock.clone(), Arc::new(SystemEntropy), Policy::default());
        let text = Zeroizing::new(PASSPHRASE.to_owned());
        let passphrase = Passphrase::new(text.clone(), &[], &Policy::default()).unwrap();
        let order = UserOrder {
            username: "alice".parse().unwrap(),
            display_name: None,
            role: Role::User,
            passphrase,
        };
        registrar.create_user(order, &Actor::Cli { os_user: "tester".to_owned() }).await.unwrap();
        let (verifier, notes) = Verifier::start(registrar).await.unwrap();
        let order =
            SignInOrder { username: Zeroizing::new("alice".to_owned()), passphrase: text, device_name: None };
        let lease = verifier.lease();
        let newcomer = Newcomer::from_request_parts(&mut parts(None, &lease), &verifier).await.unwrap();
        let login = verifier.sign_in(order, &newcomer).await.unwrap();
        let route = Arc::new(RoutePolicy::new("app".parse().unwrap(), Admission::default()));
        let knock = verifier.knock(&HeaderMap::new(), false).unwrap();
        Self { folder, notes, clock, verifier, login, route, knock }
    }

    /// What another process makes of the store as it is now.
    #[expect(clippy::disallowed_methods, reason = "a test assembles its own house")]
    async fn started_anew(folder: &TempDir, clock: &Arc<TestClock>) -> Arc<Verifier> {
        let location = Location::Sqlite(folder.path().join("fallgate.db"));
        let (store, vault) = fallgate_store::open(&location).await.unwrap();
        let registrar =
            Registrar::new(store, vault, clock.clone(), Arc::new(SystemEntropy), Policy::default());
        Verifier::start(registrar).await.unwrap().0
    }

    fn code(&self) -> PlainToken {
        self.code_for(self.knock.challenge())
    }

    fn code_for(&self, challenge: Challenge) -> PlainToken {
        let host = host("app.example");
        let order = EnterOrder { route: &self.route, host: &host, challenge, target: "/wanted" };
        self.verifier.enter_code_of_new(&self.login, &order).unwrap()
    }

    async fn enter(&self, code: &PlainToken) -> Result<Entered, EnterError> {
        let host = host("app.example");
        let entrant = Entrant {
            host: &host,
            route: &self.route,
            knock: Some(&self.knock),
            held: None,
            ip: None,
            user_agent: None,
        };
        self.verifier.enter(code.expose().as_bytes(), &entrant).await
    }

    async fn stands(&self, secret: &PlainToken, lease: &Lease) -> Result<(), Refusal> {
        let presented = Presented::from_authorization(Some(bearer(secret).as_bytes()))?;
        let facts = RequestFacts { ip: None, user_agent: None };
        self.verifier.verify(&presented, &facts, &lease.handle()).await.map(drop)
    }
}

fn host(name: &'static str) -> Host<'static> {
    Host::parse_config(name).unwrap()
}

fn bearer(secret: &PlainToken) -> String {
    format!("Bearer {}", secret.expose())
}

fn parts(secret: Option<&PlainToken>, lease: &Lease) -> Parts {
    let mut request = Request::post("/");
    if let Some(secret) = secret {
        request = request.header(header::AUTHORIZATION, bearer(secret));
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    parts.extensions.insert(PeerAddress(None));
    parts.extensions.insert(CameByHttps(false));
    parts.extensions.insert(lease.handle());
    parts
}

#[tokio::test]
async fn r20_a_code_is_good_before_half_a_minute_is_over_and_then_only_leads_back() {
    let house = House::new().await;
    let (good, late) = (house.code(), house.code());
    house.clock.advance(Duration::from_millis(29_999));
    assert_eq!(house.enter(&good).await.unwrap().target, "/wanted");
    house.clock.advance(MOMENT);
    match house.enter(&late).await.unwrap_err() {
        EnterError::Stale { target } => assert_eq!(target.as_deref(), Some("/wanted")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(house.enter(&late).await.unwrap_err(), EnterError::Stale { target: None }));
}

#[tokio::test]
async fn a_sign_in_has_a_few_codes_at_most_and_the_oldest_makes_room() {
    let house = House::new().await;
    let mut codes = Vec::new();
    for _ in 0..17 {
        codes.push(house.code());
        house.clock.advance(MOMENT);
    }
    assert!(matches!(house.enter(&codes[0]).await.unwrap_err(), EnterError::Stale { .. }));
    for code in &codes[1..] {
        house.enter(code).await.unwrap();
    }
}

#[tokio::test]
async fn r27_r31_what_was_brought_over_opens_one_route_and_ends_with_what_it_hangs_on() {
    let house = House::new().await;
    let entered = house.enter(&house.code()).await.unwrap();
    assert_eq!(entered.credential.parent, Some(house.login.credential.id));
    assert_eq!(entered.credential.scopes.to_string(), "route:app");
    assert_eq!(entered.credential.expires_at, house.login.credential.expires_at);
    let lease = house.verifier.lease();
    assert_eq!(house.stands(&entered.secret, &lease).await, Ok(()));
    assert_eq!(lease.judge(), None);

    // Using it keeps its origin from lying idle.
    for _ in 0..6 {
        house.clock.advance(Duration::from_hours(4 * 24));
        assert_eq!(house.stands(&entered.secret, &house.verifier.lease()).await, Ok(()));
    }
    assert_eq!(house.stands(&house.login.secret, &house.verifier.lease()).await, Ok(()));

    // Signing out with it ends its origin, and so all.
    let other = house.enter(&house.code()).await.unwrap();
    let asking = house.verifier.lease();
    let caller = SigningOut::from_request_parts(&mut parts(Some(&other.secret), &asking), &house.verifier)
        .await
        .unwrap();
    house.verifier.sign_out(&caller, None).await.unwrap();
    let revoked = Err(Refusal::BadCredential(Denial::Revoked));
    let orphaned = Err(Refusal::BadCredential(Denial::ParentEnded));
    let fresh = house.verifier.lease();
    assert_eq!(house.stands(&house.login.secret, &fresh).await, revoked);
    assert_eq!(house.stands(&other.secret, &fresh).await, orphaned);
    assert_eq!(house.stands(&entered.secret, &fresh).await, orphaned);
    assert!(lease.judge().is_some(), "what is open stays open");
}

#[tokio::test]
async fn r57_whoever_the_route_does_not_admit_any_more_does_not_come_in_by_a_code_given_before() {
    let mut house = House::new().await;
    let code = house.code();
    let admission = Admission { allow: vec!["user:bob".parse().unwrap()] };
    house.route = Arc::new(RoutePolicy::new("app".parse().unwrap(), admission));
    match house.enter(&code).await.unwrap_err() {
        EnterError::Refused(Refusal::NotAdmitted) => {}
        other => panic!("{other:?}"),
    }
    let host = host("app.example");
    let challenge = house.knock.challenge();
    let order = EnterOrder { route: &house.route, host: &host, challenge, target: "/" };
    let refused = house.verifier.enter_code_of_new(&house.login, &order).unwrap_err();
    assert!(matches!(refused, EnterError::Refused(Refusal::NotAdmitted)), "{refused:?}");
}

#[tokio::test]
async fn a_browser_that_knocks_again_keeps_what_it_has() {
    let house = House::new().await;
    let mut headers = HeaderMap::new();
    let cookie = house.knock.set_cookie(false);
    let pair = cookie.split(';').next().unwrap();
    assert!(pair.starts_with(knock_cookie_name(false)), "{pair}");
    headers.insert(header::COOKIE, pair.parse().unwrap());
    assert_eq!(house.verifier.knock(&headers, false).unwrap().challenge(), house.knock.challenge());
    assert_ne!(house.verifier.knock(&headers, true).unwrap().challenge(), house.knock.challenge());
    headers.append(header::COOKIE, pair.parse().unwrap());
    assert_ne!(house.verifier.knock(&headers, false).unwrap().challenge(), house.knock.challenge());
}

const DAY: Duration = Duration::from_hours(24);

async fn stands_in(verifier: &Arc<Verifier>, secret: &PlainToken) -> Result<(), Refusal> {
    let presented = Presented::from_authorization(Some(bearer(secret).as_bytes()))?;
    let lease = verifier.lease();
    verifier.verify(&presented, &RequestFacts { ip: None, user_agent: None }, &lease.handle()).await.map(drop)
}

#[tokio::test]
async fn r20_a_sign_in_that_is_used_only_where_it_was_brought_over_to_outlives_a_restart() {
    let house = House::new().await;
    let child = house.enter(&house.code()).await.unwrap().secret;
    for _ in 0..9 {
        house.clock.advance(DAY);
        stands_in(&house.verifier, &child).await.unwrap();
    }
    house.notes.run(&house.verifier, async {}).await;
    let anew = House::started_anew(&house.folder, &house.clock).await;
    assert_eq!(stands_in(&anew, &child).await, Ok(()));
    assert_eq!(stands_in(&anew, &house.login.secret).await, Ok(()));
}

#[tokio::test]
async fn r20_a_sign_in_by_whose_child_something_is_open_outlives_a_restart() {
    let house = House::new().await;
    let child = house.enter(&house.code()).await.unwrap().secret;
    let lease = house.verifier.lease();
    house.stands(&child, &lease).await.unwrap();
    for _ in 0..9 {
        house.clock.advance(DAY);
        assert_eq!(lease.judge(), None);
        house.verifier.note_held().await.unwrap();
    }
    let anew = House::started_anew(&house.folder, &house.clock).await;
    assert_eq!(stands_in(&anew, &child).await, Ok(()));
    assert_eq!(stands_in(&anew, &house.login.secret).await, Ok(()));
}
