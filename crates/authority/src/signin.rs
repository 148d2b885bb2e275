//! Signing in: a passphrase is checked, and a right one becomes a sign-in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fallgate_domain::audit::{self, NewEvent};
use fallgate_domain::credential::{
    Credential, CredentialKind, LastUse, NewCredential, Revocation, TokenName,
};
use fallgate_domain::cut::CutNotice;
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::id::CredentialId;
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_domain::user::User;
use fallgate_store::{NewLogin, PassphraseHash, SignInAccount, SignedIn as Written, StoreError};
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use crate::caller::Newcomer;
use crate::device;
use crate::halt::Unwritten;
use crate::hash_queue::Lane;
use crate::hasher::HasherBusy;
use crate::imported_hash;
use crate::passphrase::{self, Costs, HashFailed, Verdict};
use crate::policy::Policy;
use crate::registrar::Actor;
use crate::throttle::Throttled;
use crate::uses;
use crate::verifier::Verifier;

/// How often a check is begun anew because the account changed under it.
const MOST_CHECKS: usize = 3;

/// In an event, the name of somebody who is nobody's user. What was typed is not written down: it may be a passphrase
/// in the wrong field. No username has this character.
pub(crate) const NOBODY: &str = "?";

/// What somebody signs in with.
#[derive(Debug)]
pub struct SignInOrder {
    /// As it was typed. Perhaps it is the passphrase, in the wrong field: to be wiped too.
    pub username: Zeroizing<String>,
    /// As it was typed.
    pub passphrase: Zeroizing<String>,
    /// What the sign-in will be called; read off the `User-Agent`, if nothing is said.
    pub device_name: Option<TokenName>,
}

/// A sign-in that was made, with the one sight of its secret.
#[derive(Debug)]
pub struct NewSignIn {
    /// Its row.
    pub credential: Credential,
    /// Whose it is.
    pub user: User,
    /// For the cookie.
    pub secret: PlainToken,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Name and passphrase do not belong together. Whether there is such a user is not told (requirement R52).
    #[error("the username or the passphrase is wrong")]
    Wrong,
    /// Longer than anything that is anybody's. Told before anything is looked up, so for every name alike.
    #[error("a username or a passphrase has at most {} bytes", Policy::MOST_BYTES)]
    TooLong,
    /// There is no user who could sign in.
    #[error("there is no user yet")]
    SetupNeeded,
    /// A cut stops them. Told to nobody who does not know the passphrase.
    #[error("they are cut")]
    Cut(CutNotice),
    /// Too many tries.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The account kept changing while its passphrase was checked.
    #[error("the account is being changed; try again")]
    Unsettled,
    /// The passphrase could not be checked now.
    #[error(transparent)]
    Hash(#[from] HashFailed),
    /// No random bytes for the secret.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// What was to end with the passphrase until now has ended in this process only.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<HasherBusy> for SignInError {
    fn from(busy: HasherBusy) -> Self {
        Self::Hash(busy.into())
    }
}

/// Somebody showed their passphrase.
pub(crate) struct Proven {
    pub(crate) user: User,
    /// The hash that it was right by.
    pub(crate) proof: PassphraseHash,
    /// A better one.
    pub(crate) rehashed: Option<PassphraseHash>,
}

/// Why a passphrase was not taken, for the audit trail only.
#[derive(Debug, Clone, Copy)]
enum Miss {
    UnknownUser,
    NoPassphrase,
    WrongPassphrase,
    Disabled,
}

impl Miss {
    const fn name(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown-user",
            Self::NoPassphrase => "no-passphrase",
            Self::WrongPassphrase => "wrong-passphrase",
            Self::Disabled => "disabled",
        }
    }
}

impl Verifier {
    /// Makes a sign-in for whoever shows the passphrase of an enabled account. The one that they held until now ends
    /// with it (requirement R20).
    pub async fn sign_in(&self, order: SignInOrder, newcomer: &Newcomer) -> Result<NewSignIn, SignInError> {
        if self.needs_setup().await? {
            return Err(SignInError::SetupNeeded);
        }
        for _ in 0..MOST_CHECKS {
            let lane = Lane::of(newcomer.ip);
            let proven = self.prove(&order.username, &order.passphrase, newcomer.ip, lane).await?;
            if let Some(signed_in) = self.sign_in_proven(proven, order.device_name.clone(), newcomer).await? {
                return Ok(signed_in);
            }
        }
        Err(SignInError::Unsettled)
    }

    /// Makes a sign-in for whoever has shown their passphrase. `None`: the account has changed since.
    pub(crate) async fn sign_in_proven(
        &self,
        proven: Proven,
        device_name: Option<TokenName>,
        newcomer: &Newcomer,
    ) -> Result<Option<NewSignIn>, SignInError> {
        let Proven { user, proof, rehashed } = proven;
        self.freshen().await?;
        if let Some(cut) = self.view.cuts.on_sign_in(user.id, user.role) {
            self.refusals.count_sign_in("cut", Some(user.username), newcomer.ip);
            return Err(SignInError::Cut(cut.notice()));
        }
        let (new, secret) = self.new_login(&user, device_name, newcomer)?;
        let credential = new.credential.clone();
        let actor = Actor::signing_in(&user, credential.id, newcomer.ip);
        let mut detail = BTreeMap::from([("name".to_owned(), Value::from(credential.name.clone()))]);
        let held = newcomer.held.as_ref().filter(|held| held.kind() == CredentialKind::Login);
        let replaces = held.map(|held| {
            detail.insert("replaces".to_owned(), held.credential().to_string().into());
            let reason = Some("signed in anew".to_owned());
            (held.credential(), Revocation { at: credential.created_at, by: actor.mark(), reason })
        });
        let event =
            actor.event(credential.created_at, audit::Action::Login, user.username.to_string(), detail);
        let login = NewLogin { new, proof, rehashed, replaces };
        if let Written::SignedIn(_) = self.registrar.vault.sign_in(login, event).await? {
            self.freshen_after_act().await;
            return Ok(Some(NewSignIn { credential, user, secret }));
        }
        Ok(None)
    }

    /// Holds a passphrase against that of the account of that name. However it fails, it takes the same time and says
    /// the same.
    pub(crate) async fn prove(
        &self,
        username: &str,
        text: &Zeroizing<String>,
        ip: Option<IpAddr>,
        lane: Lane,
    ) -> Result<Proven, SignInError> {
        // What waits in the queue is short, and what costs us nothing is not written down.
        if username.len().max(text.len()) > Policy::MOST_BYTES {
            return Err(SignInError::TooLong);
        }
        let proven = self.proven(username, text, ip, lane).await;
        if matches!(proven, Err(SignInError::Throttled(_))) {
            self.refusals.count_sign_in("throttled", None, ip);
        }
        proven
    }

    async fn proven(
        &self,
        username: &str,
        text: &Zeroizing<String>,
        ip: Option<IpAddr>,
        lane: Lane,
    ) -> Result<Proven, SignInError> {
        let pair = self.logins.pair(username, ip);
        // Whoever has to wait takes no place in the queue.
        self.logins.check(&pair, self.clock().now())?;
        let account = match username.parse() {
            Ok(username) => self.registrar.vault.sign_in_account(&username).await?,
            Err(_) => None,
        };
        let (throttle, clock) = (self.logins.clone(), self.clock().clone());
        let entropy = self.registrar.entropy.clone();
        let costs = self.costs().await?;
        let text = text.clone();
        let check = move || {
            throttle.begin(&pair, clock.now())?;
            let checked = check(account, &text, costs)?;
            // Counted here and now: whoever hangs up to hide a failure has failed.
            match checked {
                Ok((user, proof, verdict)) => {
                    throttle.succeeded(&pair);
                    let is_old = verdict == Verdict::RightButOld;
                    let rehashed = if is_old { Some(passphrase::hash(&text, &*entropy)?) } else { None };
                    Ok(Ok(Proven { user, proof, rehashed }))
                }
                Err(miss) => {
                    throttle.failed(pair, clock.now());
                    Ok(Err(miss))
                }
            }
        };
        let checked: Result<_, SignInError> = self.registrar.hasher.run(lane, check).await?;
        match checked? {
            Ok(proven) => Ok(proven),
            Err((user, miss)) => {
                if self.refusals.take_single() {
                    self.registrar.vault.record(vec![self.failure(user, miss, ip)]).await?;
                } else {
                    self.refusals.count_sign_in(miss.name(), user.map(|user| user.username), ip);
                }
                Err(SignInError::Wrong)
            }
        }
    }

    /// What each check has to cost, whatever is found (requirement R52).
    async fn costs(&self) -> Result<Costs, StoreError> {
        Ok(Costs::with_imported(self.registrar.vault.imported_passphrase_cost().await?))
    }

    fn failure(&self, user: Option<User>, miss: Miss, ip: Option<IpAddr>) -> NewEvent {
        NewEvent {
            at: self.clock().now(),
            action: audit::Action::LoginFailed,
            actor: NOBODY.to_owned(),
            credential: None,
            target: user.map_or_else(|| NOBODY.to_owned(), |user| user.username.to_string()),
            ip: ip.map(|ip| ip.to_string()),
            detail: BTreeMap::from([("reason".to_owned(), miss.name().into())]),
            author: None,
        }
    }

    /// The row of a sign-in that begins now.
    pub(crate) fn new_login(
        &self,
        user: &User,
        name: Option<TokenName>,
        newcomer: &Newcomer,
    ) -> Result<(NewCredential, PlainToken), NoEntropy> {
        let (now, entropy) = (self.clock().now(), &*self.registrar.entropy);
        let mut random = entropy::bytes::<32>(entropy)?;
        let secret = PlainToken::new(TokenKind::Login, &random);
        random.zeroize();
        let user_agent = newcomer.user_agent.as_deref().map(uses::shown);
        let name = name.map_or_else(|| device::name(user_agent.as_deref()), TokenName::into_string);
        let credential = Credential {
            id: CredentialId::new(now, entropy)?,
            kind: CredentialKind::Login,
            owner: Some(user.id),
            parent: None,
            minted_by: format!("user:{}", user.id),
            name,
            hint: secret.hint(),
            // All there are: what counts is what the owner's role allows at the time.
            scopes: Scopes::plain(PlainScope::ALL),
            created_at: now,
            expires_at: Some(now.plus(self.registrar.policy().login_life)),
            revoked: None,
            last_use: Some(LastUse { at: now, ip: newcomer.ip.map(|ip| ip.to_string()), user_agent }),
        };
        Ok((NewCredential { credential, hash: secret.hash() }, secret))
    }
}

/// Who it is, or who it would be and why not.
type Checked = Result<(User, PassphraseHash, Verdict), (Option<User>, Miss)>;

/// Costs the same, whatever it finds; on a thread that hashes.
fn check(account: Option<SignInAccount>, text: &str, costs: Costs) -> Result<Checked, HashFailed> {
    let proof = account.as_ref().and_then(|account| account.passphrase.clone());
    let verdict = match &proof {
        None => passphrase::verify_nothing(text, costs)?,
        Some(proof) => match passphrase::verify(proof, text, costs) {
            Err(error @ HashFailed::Unreadable) => {
                tracing::error!(%error, "somebody cannot sign in");
                passphrase::verify_nothing(text, costs)?
            }
            verdict => verdict?,
        },
    };
    let wrong = verdict == Verdict::Wrong;
    Ok(match (account, proof) {
        (None, _) => Err((None, Miss::UnknownUser)),
        (Some(account), None) => Err((Some(account.user), Miss::NoPassphrase)),
        (Some(account), Some(_)) if wrong => Err((Some(account.user), Miss::WrongPassphrase)),
        (Some(account), Some(proof)) if account.user.disabled_at.is_some() => {
            if imported_hash::is_one(&proof) {
                // In place of the hash that would be made anew.
                passphrase::verify_nothing(text, Costs::default())?;
            }
            Err((Some(account.user), Miss::Disabled))
        }
        (Some(account), Some(proof)) => Ok((account.user, proof, verdict)),
    })
}
