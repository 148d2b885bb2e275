//! Bringing a sign-in over to a route's host. A cookie is bound to one host; so whoever is signed in with us gets a code,
//! and the route's host gives a cookie of its own for it: a sign-in that hangs on theirs, opens that one route, and ends
//! when theirs does.
//!
//! A code is in an address, so it is good once, for half a minute, on one host, and only for the browser that knocked
//! there ([`crate::knock`]). Codes live in memory: a restart costs nobody more than a click.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{Credential, CredentialKind, NewCredential};
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::host::Host;
use fallgate_domain::id::CredentialId;
use fallgate_domain::scope::Scopes;
use fallgate_domain::token::{PlainToken, TokenHash, TokenKind};
use fallgate_store::{Minted, StoreError};
use parking_lot::Mutex;
use zeroize::Zeroize;

use crate::entry::{Entry, Parent};
use crate::knock::{Challenge, Knock};
use crate::lease::Need;
use crate::permit::RoutePolicy;
use crate::principal::Principal;
use crate::refusal::{Denial, Refusal};
use crate::registrar::{Actor, Authority};
use crate::signin::NewSignIn;
use crate::tokens::TokenError;
use crate::verifier::Verifier;
use crate::{device, uses};

/// How long a code is good.
const LIFE: Duration = Duration::from_secs(30);
/// How many codes of one sign-in wait at most, and how many in all. The oldest makes room.
const MOST_OF_ONE: usize = 16;
const MOST: usize = 4_096;

/// Codes that were given out and not used yet, by their hash.
#[derive(Debug, Default)]
pub(crate) struct EnterCodes(Mutex<HashMap<TokenHash, Waiting>>);

#[derive(Debug)]
struct Waiting {
    /// The sign-in that is to be brought over.
    parent: Arc<Entry>,
    host: Box<str>,
    challenge: Challenge,
    /// Where the browser wanted to go.
    target: Box<str>,
    until: Timestamp,
}

/// Where a sign-in is to be brought over to.
#[derive(Debug, Clone, Copy)]
pub struct EnterOrder<'a> {
    /// The route.
    pub route: &'a Arc<RoutePolicy>,
    /// Its host.
    pub host: &'a Host<'a>,
    /// Of the browser that was sent from there.
    pub challenge: Challenge,
    /// Path and query that it wanted to go to.
    pub target: &'a str,
}

/// Whoever comes in by a code.
#[derive(Debug)]
pub struct Entrant<'a> {
    /// The host that they came to.
    pub host: &'a Host<'a>,
    /// The route of that host.
    pub route: &'a Arc<RoutePolicy>,
    /// What their browser got there before it was sent to sign in.
    pub knock: Option<&'a Knock>,
    /// As whom they are signed in there until now, if they are.
    pub held: Option<&'a Principal>,
    /// The client's address, if it came over IP.
    pub ip: Option<IpAddr>,
    /// What the client calls itself.
    pub user_agent: Option<&'a [u8]>,
}

/// A sign-in on a route's host, with the one sight of its secret.
#[derive(Debug)]
pub struct Entered {
    /// Its row.
    pub credential: Credential,
    /// For the cookie.
    pub secret: PlainToken,
    /// Path and query that the browser wanted to go to.
    pub target: String,
}

/// Why nobody came in by a code.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// It is none, or was used, is too old, another host's or another browser's. Which of these is not told.
    #[error("this way in was good once, for half a minute, and for the browser that asked for it")]
    Stale {
        /// Where the browser wanted to go, if it is the one that asked.
        target: Option<String>,
    },
    /// The sign-in does not stand any more, or the route is not for its owner.
    #[error("the sign-in may not come in here")]
    Refused(Refusal),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EnterCodes {
    fn keep(&self, hash: TokenHash, waiting: Waiting, now: Timestamp) {
        let mut codes = self.0.lock();
        codes.retain(|_, waiting| now < waiting.until);
        let own = |other: &Waiting| other.parent.id == waiting.parent.id;
        if codes.values().filter(|other| own(other)).count() >= MOST_OF_ONE {
            drop_oldest(&mut codes, own);
        } else if codes.len() >= MOST {
            drop_oldest(&mut codes, |_| true);
        }
        codes.insert(hash, waiting);
    }

    /// Whatever comes of it, the code is good for nothing from here on.
    fn take(&self, hash: &TokenHash) -> Option<Waiting> {
        self.0.lock().remove(hash)
    }
}

fn drop_oldest(codes: &mut HashMap<TokenHash, Waiting>, among: impl Fn(&Waiting) -> bool) {
    let waiting = codes.iter().filter(|(_, waiting)| among(waiting));
    let oldest = waiting.min_by_key(|(_, waiting)| waiting.until).map(|(hash, _)| *hash);
    oldest.map(|hash| codes.remove(&hash));
}

impl Verifier {
    /// A code that brings the caller's sign-in over. Refused to whoever may not use the route.
    pub fn enter_code(&self, caller: &Principal, order: &EnterOrder<'_>) -> Result<PlainToken, EnterError> {
        self.give_enter_code(caller.entry.clone(), order)
    }

    /// The same for whoever has just signed in.
    pub fn enter_code_of_new(
        &self,
        login: &NewSignIn,
        order: &EnterOrder<'_>,
    ) -> Result<PlainToken, EnterError> {
        let gone = || EnterError::Refused(Refusal::BadCredential(Denial::Unknown));
        let parent = self.view.entry_of(login.credential.id).ok_or_else(gone)?;
        self.give_enter_code(parent, order)
    }

    fn give_enter_code(&self, parent: Arc<Entry>, order: &EnterOrder<'_>) -> Result<PlainToken, EnterError> {
        if parent.kind != CredentialKind::Login {
            return Err(EnterError::Refused(Refusal::NoSignIn));
        }
        let role = parent.account.role();
        Need::Route { route: order.route.clone(), by_cookie: true }
            .check(&parent, role)
            .map_err(EnterError::Refused)?;
        let code = self.draw(TokenKind::EnterCode)?;
        let now = self.clock().now();
        let EnterOrder { host, challenge, target, .. } = *order;
        let (host, target, until) = (host.as_str().into(), target.into(), now.plus(LIFE));
        self.enter_codes.keep(code.hash(), Waiting { parent, host, challenge, target, until }, now);
        Ok(code)
    }

    /// Signs in on a route's host whoever brings a good code: with no more than that route, and not for longer than the
    /// sign-in that the code was given for. What they had there until now ends (requirement R20).
    pub async fn enter(&self, code: &[u8], entrant: &Entrant<'_>) -> Result<Entered, EnterError> {
        let waiting = PlainToken::parse(TokenKind::EnterCode, code)
            .ok()
            .and_then(|code| self.enter_codes.take(&code.hash()))
            .ok_or(EnterError::Stale { target: None })?;
        let own = *waiting.host == *entrant.host.as_str()
            && entrant.knock.is_some_and(|knock| knock.challenge() == waiting.challenge);
        if !own {
            return Err(EnterError::Stale { target: None });
        }
        let target = String::from(waiting.target);
        self.freshen().await?;
        let now = self.clock().now();
        if now >= waiting.until {
            return Err(EnterError::Stale { target: Some(target) });
        }
        let parent = waiting.parent;
        let counted = |refusal: Refusal| {
            self.count_refusal(&refusal, Some(parent.id), entrant.ip);
            EnterError::Refused(refusal)
        };
        let role = parent.judge(now).map_err(|denial| counted(Refusal::BadCredential(denial)))?;
        Need::Route { route: entrant.route.clone(), by_cookie: true }
            .check(&parent, role)
            .map_err(counted)?;
        let (credential, secret) = self.child_of(&parent, entrant, now)?;
        let event = brought_over(&parent, &credential, entrant, now);
        let new = NewCredential { credential: credential.clone(), hash: secret.hash() };
        match self.registrar.vault.mint(new, u32::MAX, event).await {
            Ok(Minted::Minted(_)) => {}
            // It ended just now.
            Ok(
                Minted::OwnerUnknown
                | Minted::OwnerDisabled
                | Minted::ParentEnded
                | Minted::TooDeep
                | Minted::TooMany,
            )
            | Err(StoreError::CallerEnded) => {
                return Err(counted(Refusal::BadCredential(Denial::ParentEnded)));
            }
            Err(error) => return Err(error.into()),
        }
        self.freshen_after_act().await;
        if let Some(held) = entrant.held {
            self.end_brought_over(held, entrant.ip).await;
        }
        Ok(Entered { credential, secret, target })
    }

    fn child_of(
        &self,
        parent: &Entry,
        entrant: &Entrant<'_>,
        now: Timestamp,
    ) -> Result<(Credential, PlainToken), EnterError> {
        let secret = self.draw(TokenKind::Login)?;
        let end = now.plus(self.registrar.policy().login_life);
        let scopes = Scopes::collect([entrant.route.scope.clone()]).unwrap_or_default();
        let owner = parent.account.user.as_ref();
        let credential = Credential {
            id: CredentialId::new(now, &*self.registrar.entropy)?,
            kind: CredentialKind::Login,
            owner: owner.map(|user| user.id),
            parent: Some(parent.id),
            minted_by: author(parent, entrant.ip).mark(),
            name: device::name(entrant.user_agent.map(uses::shown).as_deref()),
            hint: secret.hint(),
            scopes,
            created_at: now,
            expires_at: Some(parent.deadline().map_or(end, |deadline| deadline.min(end))),
            revoked: None,
            last_use: None,
        };
        Ok((credential, secret))
    }

    fn draw(&self, kind: TokenKind) -> Result<PlainToken, NoEntropy> {
        let mut random = entropy::bytes::<32>(&*self.registrar.entropy)?;
        let token = PlainToken::new(kind, &random);
        random.zeroize();
        Ok(token)
    }

    /// Ends what a browser had on a route's host before. A failure is no reason to keep it out: what is left ends with
    /// what it hangs on, and by itself.
    async fn end_brought_over(&self, held: &Principal, ip: Option<IpAddr>) {
        if !is_brought_over(&held.entry) {
            return;
        }
        let actor = author(&held.entry, ip);
        let ended = self.end(held, &actor, held.credential(), audit::Action::Logout, "signed in anew").await;
        if let Err(error @ (TokenError::Store(_) | TokenError::Unwritten(_))) = ended {
            tracing::warn!(%error, credential = %held.credential(), "a sign-in that was replaced has not ended");
        }
    }
}

/// Whether it is a sign-in that was brought over to a route's host.
pub(crate) fn is_brought_over(entry: &Entry) -> bool {
    entry.kind == CredentialKind::Login
        && matches!(&entry.parent, Parent::Entry(parent) if parent.kind == CredentialKind::Login)
}

/// Whoever holds that sign-in, acting as long as it stands.
fn author(entry: &Entry, ip: Option<IpAddr>) -> Actor {
    match &entry.account.user {
        Some(user) => Actor::User {
            id: user.id,
            username: user.username.clone(),
            credential: entry.id,
            ip,
            by: Authority::Standing,
            worker: None,
        },
        None => Actor::Holder { credential: entry.id, ip },
    }
}

fn brought_over(
    parent: &Entry,
    credential: &Credential,
    entrant: &Entrant<'_>,
    now: Timestamp,
) -> audit::NewEvent {
    let owner = parent.account.user.as_ref();
    let target = owner.map_or_else(|| parent.id.to_string(), |user| user.username.to_string());
    let detail = BTreeMap::from([
        ("name".to_owned(), credential.name.clone().into()),
        ("login".to_owned(), credential.id.to_string().into()),
        ("route".to_owned(), entrant.route.name.as_str().into()),
    ]);
    author(parent, entrant.ip).event(now, audit::Action::Login, target, detail)
}
