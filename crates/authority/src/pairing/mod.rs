//! Pairing a device: a code on one screen becomes a sign-in on another (20-web, "Pairing a phone").
//!
//! A code is no credential. Whoever uses it waits until the side that made it lets them in, or, where nobody can be
//! asked, shows the passphrase. Only then there is a sign-in, which hangs on nothing: it lives on its own.

mod redeem;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;

use fallgate_domain::audit::{self, NewEvent};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::cut::CutNotice;
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::id::{PairingId, UserId};
use fallgate_domain::pairing::{CODE_RANDOM, PairingCode};
use fallgate_domain::user::{DisplayName, Role, User, Username};
use fallgate_store::StoreError;
use serde_json::Value;
use zeroize::Zeroizing;

pub use self::redeem::{Claim, Collected, PairingOffer, RedeemOrder, Redeemed, pairing_cookie_name};
pub(crate) use self::table::Pairings;
use self::table::{LIFE, Pairing, Starter};
use crate::caller::SignedIn;
use crate::consent::ConsentError;
use crate::registrar::Actor;
use crate::signin::SignInError;
use crate::throttle::Throttled;
use crate::verifier::Verifier;

/// Where a pairing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairingStatus {
    /// No device has used the code yet.
    Waiting,
    /// One has, and waits to be let in.
    Asked,
    /// It was let in, and has not come for its sign-in yet.
    Allowed,
    /// It is signed in.
    Done,
    /// It was not let in.
    Refused,
    /// Its time was over.
    Late,
    /// Too many wrong tries ended it.
    Worn,
    /// Whoever made it took it back.
    Withdrawn,
}

impl PairingStatus {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Asked,
        Self::Allowed,
        Self::Done,
        Self::Refused,
        Self::Late,
        Self::Worn,
        Self::Withdrawn,
    ];

    /// As the API writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Asked => "asked",
            Self::Allowed => "allowed",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Worn => "worn",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Who made a code, and so may see what becomes of it and let a device in.
#[derive(Debug, Clone, Copy)]
pub enum PairingSide<'a> {
    /// Somebody signed in, from where. It is the very sign-in, not only its owner.
    SignIn(&'a SignedIn, Option<IpAddr>),
    /// Somebody with access to the home folder.
    Operator(&'a Actor),
}

/// A code that was made, with the one sight of it.
#[derive(Debug)]
pub struct StartedPairing {
    /// Its public name.
    pub id: PairingId,
    /// For the fragment of an address: never sent to us in one.
    pub code: PairingCode,
    /// Whom a device will be signed in as.
    pub username: Username,
    /// As they are shown.
    pub display_name: DisplayName,
    /// Until when it is good.
    pub until: Timestamp,
}

/// A pairing as whoever made it sees it.
#[derive(Debug, Clone)]
pub struct PairingNow {
    /// Its public name.
    pub id: PairingId,
    /// Where it stands.
    pub status: PairingStatus,
    /// Whom the device will be signed in as.
    pub username: Username,
    /// What the device is called, once one has used the code.
    pub device: Option<String>,
    /// From where it came, if that is known.
    pub ip: Option<IpAddr>,
    /// The number that both sides show.
    pub number: Option<u8>,
    /// When this ends by itself, or when it ended.
    pub until: Timestamp,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    /// There is no such code, or it ended a while ago. Which of these is not told.
    #[error("this is no pairing code of this gate, or it ended a while ago: have a new one shown")]
    Unknown,
    /// There is no such pairing, or another sign-in made it.
    #[error("you have no such pairing")]
    NotYours,
    /// Two minutes are over.
    #[error("this pairing is over: each step has two minutes. Have a new code shown")]
    Late,
    /// A device used it before.
    #[error(
        "this pairing code was used before, and each is good once. If that was not you, do not let that device in, and look at your signed-in devices"
    )]
    Used,
    /// Too many wrong tries.
    #[error("this pairing code has ended after five wrong tries: have a new one shown")]
    Worn,
    /// The other side did not let the device in.
    #[error("this device was not signed in. If you meant it to be, have a new code shown")]
    Refused,
    /// Whoever made it took it back.
    #[error("this pairing code was taken back: have a new one shown")]
    Withdrawn,
    /// What made the code does not stand any more, or whom it is for cannot sign in.
    #[error("the account or the sign-in that made this pairing code is shut out now")]
    StarterEnded,
    /// No device asks to be let in.
    #[error("no device waits to be let in")]
    NobodyAsks,
    /// Nobody can be asked about it, so the passphrase has to be shown.
    #[error("this code asks for the passphrase too")]
    PassphraseNeeded,
    /// The passphrase is wrong.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// There is nobody of that name.
    #[error("there is no user {0}")]
    UnknownUser(Username),
    /// They are disabled.
    #[error("the user {0} is disabled")]
    Disabled(Username),
    /// Nobody was named, and there is no admin who could sign in.
    #[error("there is no enabled admin: name somebody with --username")]
    NoAdmin,
    /// A cut stops them.
    #[error("they are cut")]
    Cut(CutNotice),
    /// Too many tries from one network.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The passphrase was not looked at, or nobody was signed in by it.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ConsentError> for PairingError {
    fn from(error: ConsentError) -> Self {
        match error {
            ConsentError::Ended => Self::StarterEnded,
            ConsentError::Cut(notice) => Self::Cut(notice),
            ConsentError::Entropy(error) => error.into(),
            ConsentError::Store(error) => error.into(),
        }
    }
}

impl Verifier {
    /// Makes a code by which somebody signs in another device of theirs.
    pub async fn start_pairing(
        &self,
        caller: &SignedIn,
        ip: Option<IpAddr>,
    ) -> Result<StartedPairing, PairingError> {
        let user = self.store().user(caller.owner).await?.ok_or(PairingError::StarterEnded)?;
        let starter = Starter::SignIn(caller.principal().entry.clone());
        self.begin_pairing(user, starter, &caller.actor(ip)).await
    }

    /// Makes one for whoever has access to the home folder; for the first enabled admin, if nobody is named.
    pub async fn start_pairing_for(
        &self,
        username: Option<&Username>,
        actor: &Actor,
    ) -> Result<StartedPairing, PairingError> {
        let user = self.who_pairs(username).await?;
        self.begin_pairing(user, Starter::Operator, actor).await
    }

    /// Makes one as the gate starts. A terminal's lines can be read later, so it asks for the passphrase.
    pub async fn start_pairing_at_start(
        &self,
        username: Option<&Username>,
    ) -> Result<StartedPairing, PairingError> {
        let user = self.who_pairs(username).await?;
        self.begin_pairing(user, Starter::Gate, &Actor::Internal).await
    }

    /// A pairing as it is now, for whoever made it.
    pub fn pairing(&self, side: PairingSide<'_>, id: PairingId) -> Result<PairingNow, PairingError> {
        self.own_pairing(side, id).map(PairingNow::of)
    }

    /// Lets the device in that waits, or refuses it.
    pub async fn answer_pairing(
        &self,
        side: PairingSide<'_>,
        id: PairingId,
        allow: bool,
    ) -> Result<PairingNow, PairingError> {
        let now = self.clock().now();
        let pairing = self.own_pairing(side, id)?;
        if pairing.status == PairingStatus::Waiting {
            return Err(PairingError::NobodyAsks);
        }
        let (action, to) = if allow {
            (audit::Action::PairAllow, PairingStatus::Allowed)
        } else {
            (audit::Action::PairRefuse, PairingStatus::Refused)
        };
        let event = side.actor().event(now, action, pairing.username.to_string(), pairing.detail());
        let pass = || self.pairings.pass(id, PairingStatus::Asked, to, now);
        if allow {
            // Written down before anybody comes in by it.
            if pairing.status == PairingStatus::Asked {
                self.registrar.vault.record(vec![event]).await?;
            }
            pass()?;
        } else {
            pass()?;
            self.registrar.vault.record(vec![event]).await?;
        }
        self.pairing(side, id)
    }

    /// Takes a code back, whoever waits.
    pub fn withdraw_pairing(&self, side: PairingSide<'_>, id: PairingId) -> Result<(), PairingError> {
        self.own_pairing(side, id)?;
        self.pairings.withdraw(id, self.clock().now());
        Ok(())
    }

    /// Takes back all codes of a user whose sign-ins have just been ended: a device that has been let in and has not come
    /// for its sign-in yet would get one after all.
    pub(crate) fn withdraw_pairings_of(&self, owner: UserId) {
        self.pairings.withdraw_all_of(owner, self.clock().now());
    }

    fn own_pairing(&self, side: PairingSide<'_>, id: PairingId) -> Result<Pairing, PairingError> {
        let found = self.pairings.find(id, self.clock().now());
        found.filter(|pairing| side.made(pairing)).ok_or(PairingError::NotYours)
    }

    async fn who_pairs(&self, username: Option<&Username>) -> Result<User, PairingError> {
        if let Some(username) = username {
            let user = self.store().user_named(username).await?;
            let user = user.ok_or_else(|| PairingError::UnknownUser(username.clone()))?;
            return match user.disabled_at {
                None => Ok(user),
                Some(_) => Err(PairingError::Disabled(user.username)),
            };
        }
        let users = self.store().users().await?.into_iter();
        let admins = users.filter(|user| user.role == Role::Admin && user.disabled_at.is_none());
        // An id begins with the time of its making.
        admins.min_by_key(|user| user.id).ok_or(PairingError::NoAdmin)
    }

    async fn begin_pairing(
        &self,
        user: User,
        starter: Starter,
        actor: &Actor,
    ) -> Result<StartedPairing, PairingError> {
        let (now, entropy) = (self.clock().now(), &*self.registrar.entropy);
        let id = PairingId::new(now, entropy)?;
        let User { id: owner, username, display_name, .. } = user;
        let detail = BTreeMap::from([("pairing".to_owned(), Value::from(id.to_string()))]);
        let event = actor.event(now, audit::Action::PairStart, username.to_string(), detail);
        self.registrar.vault.record(vec![event]).await?;
        let until = now.plus(LIFE);
        loop {
            let random = Zeroizing::new(entropy::bytes::<CODE_RANDOM>(entropy)?);
            let code = PairingCode::new(&random);
            let pairing = Pairing {
                id,
                owner,
                username: username.clone(),
                starter: starter.clone(),
                name: code.name(),
                hash: code.hash(),
                tries: 0,
                status: PairingStatus::Waiting,
                until,
                asker: None,
            };
            if self.pairings.start(pairing, now) {
                return Ok(StartedPairing { id, code, username, display_name, until });
            }
        }
    }
}

impl PairingSide<'_> {
    fn actor(&self) -> Actor {
        match self {
            Self::SignIn(caller, ip) => caller.actor(*ip),
            Self::Operator(actor) => (*actor).clone(),
        }
    }

    fn made(&self, pairing: &Pairing) -> bool {
        match (self, &pairing.starter) {
            (Self::SignIn(caller, _), Starter::SignIn(entry)) => entry.id == caller.principal().credential(),
            (Self::Operator(_), Starter::Operator) => true,
            _ => false,
        }
    }
}

impl PairingNow {
    fn of(pairing: Pairing) -> Self {
        let Pairing { id, status, username, until, asker, .. } = pairing;
        let number = asker.as_ref().map(|asker| asker.number);
        let ip = asker.as_ref().and_then(|asker| asker.ip);
        Self { id, status, username, device: asker.map(|asker| asker.device), ip, number, until }
    }
}

impl Pairing {
    /// For the audit trail.
    fn detail(&self) -> BTreeMap<String, Value> {
        let mut detail = BTreeMap::from([("pairing".to_owned(), Value::from(self.id.to_string()))]);
        if let Some(asker) = &self.asker {
            detail.insert("name".to_owned(), asker.device.clone().into());
            detail.extend(asker.ip.map(|ip| ("from".to_owned(), ip.to_string().into())));
        }
        detail
    }

    /// That a device used the code, told before anybody knows whose it is.
    fn redeemed(&self, now: Timestamp, ip: Option<IpAddr>) -> NewEvent {
        NewEvent {
            at: now,
            action: audit::Action::PairRedeem,
            actor: crate::signin::NOBODY.to_owned(),
            credential: None,
            target: self.username.to_string(),
            ip: ip.map(|ip| ip.to_string()),
            detail: self.detail(),
            author: None,
        }
    }
}
