//! Placing and lifting cuts. The order is the contract: commit, then cut, and only then acknowledge.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::audit;
use fallgate_domain::cut::{Cut, CutReason, CutTarget};
use fallgate_domain::entropy::NoEntropy;
use fallgate_domain::id::CutId;
use fallgate_domain::lifetime::{InvalidLifetime, Lifetime};
use fallgate_store::{CutOn, CutRow, LiftedCut, PlacedCut, StoreError};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::actions::ManageCuts;
use crate::closing::Closed;
use crate::consent;
use crate::halt::Unwritten;
use crate::permit::{Action, Permit};
use crate::principal::Principal;
use crate::registrar::{Actor, Registrar};
use crate::verifier::Verifier;

/// How long is waited for what a cut closes to let go. What does not is cut all the same.
const PATIENCE: Duration = Duration::from_secs(1);
/// In a browser a cut is lifted by whoever signed in no longer ago than this.
const FRESH: Duration = Duration::from_mins(10);

/// What is to be cut.
#[derive(Debug, Clone)]
pub struct CutOrder {
    /// What.
    pub target: CutTarget,
    /// Why, for whoever is refused by it.
    pub reason: Option<CutReason>,
    /// For how long; never: until it is lifted.
    pub lifetime: Lifetime,
}

/// A cut that stands.
#[derive(Debug, Clone)]
pub struct CutPlaced {
    /// The cut.
    pub cut: Cut,
    /// What it closed.
    pub closed: Closed,
    /// How long that took, from the moment at which the cut was durable.
    pub took: Duration,
}

/// Why nothing was cut or lifted.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// There is nothing of that name.
    #[error("there is no {}", what(.0))]
    UnknownTarget(CutTarget),
    /// No such cut stands, or none that the caller may know of.
    #[error("there is no cut {0} that stands")]
    Unknown(CutId),
    /// A caller who acts for themselves only.
    #[error(
        "only an admin can cut that: you can cut yourself (user:{0}), your own credentials and your own agents"
    )]
    NotYourTarget(String),
    /// The same with a cut of somebody else.
    #[error("somebody else placed this cut: whoever did, or an admin, can lift it")]
    NotYours,
    /// Nobody owns the credential.
    #[error("nobody owns this credential, so it cannot cut")]
    Ownerless,
    /// A browser's sign-in that is too old to lift by.
    #[error("you signed in more than ten minutes ago: sign in again at /login?fresh=1, then lift the cut")]
    Stale,
    /// A browser's sign-in for which nobody showed a passphrase.
    #[error("this browser was paired, without your passphrase: sign in at /login?fresh=1, then lift the cut")]
    Paired,
    /// As many of theirs stand on the same thing as one may place.
    #[error("you have placed too many cuts on {0} already: lift some first")]
    TooMany(CutTarget),
    /// When it was to end.
    #[error(transparent)]
    Lifetime(#[from] InvalidLifetime),
    /// It stands in this process only.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// No random bytes for its id.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// In words that go behind "there is no".
fn what(target: &CutTarget) -> String {
    match target {
        CutTarget::User(name) => format!("user {name}"),
        CutTarget::Credential(id) => format!("credential {id}"),
        CutTarget::Agent(name) => format!("agent {name}"),
        CutTarget::Route(name) => format!("route {name}"),
        CutTarget::Everything => "such thing".to_owned(),
    }
}

impl Registrar {
    /// Places a cut, durably. A route is taken as it is named: whoever knows which there are asks before.
    pub async fn cut(&self, order: CutOrder, actor: &Actor) -> Result<Cut, CutError> {
        let cut = self.new_cut(order, actor)?;
        self.place(&cut, actor).await?;
        Ok(cut)
    }

    /// Lifts a cut that stands; tells what it was.
    pub async fn lift(&self, id: CutId, actor: &Actor) -> Result<Cut, CutError> {
        let now = self.clock.now();
        let detail = BTreeMap::from([("cut".to_owned(), Value::from(id.to_string()))]);
        let event = actor.event(now, audit::Action::CutLift, String::new(), detail);
        match self.vault.lift_cut(id, now, event).await? {
            LiftedCut::Lifted(_, cut) => Ok(cut),
            LiftedCut::Unknown => Err(CutError::Unknown(id)),
        }
    }

    fn new_cut(&self, order: CutOrder, actor: &Actor) -> Result<Cut, CutError> {
        let now = self.clock.now();
        Ok(Cut {
            id: CutId::new(now, &*self.entropy)?,
            target: order.target,
            reason: order.reason,
            placed_by: actor.name(),
            placer: actor.account(),
            created_at: now,
            expires_at: order.lifetime.ends_at(now)?,
        })
    }

    async fn place(&self, cut: &Cut, actor: &Actor) -> Result<(), CutError> {
        let mut detail = BTreeMap::from([("cut".to_owned(), Value::from(cut.id.to_string()))]);
        detail.extend(cut.reason.as_ref().map(|reason| ("reason".to_owned(), reason.as_str().into())));
        detail.extend(cut.expires_at.map(|end| ("expires_at".to_owned(), end.to_string().into())));
        let target = cut.target.to_string();
        let event = actor.event(cut.created_at, audit::Action::CutPlace, target, detail);
        match self.vault.place_cut(cut.clone(), event).await? {
            PlacedCut::Placed(_) => Ok(()),
            PlacedCut::Unknown => Err(CutError::UnknownTarget(cut.target.clone())),
            PlacedCut::TooMany => Err(CutError::TooMany(cut.target.clone())),
        }
    }
}

impl Verifier {
    /// Places a cut on a caller's behalf: on themselves or what they own, or, for an admin, on anything. What it ends is
    /// closed before this returns, also when it fails with [`CutError::Unwritten`].
    pub async fn cut(
        &self,
        permit: &Permit<ManageCuts>,
        order: CutOrder,
        ip: Option<IpAddr>,
    ) -> Result<CutPlaced, CutError> {
        // The request's body may have taken its time: what counts is what the caller may do now.
        self.freshen().await?;
        let actor = self.acting_on(permit, &order.target, ip)?;
        let cut = self.registrar.new_cut(order, &actor)?;
        // The caller is to hear what came of it, also if it is themselves that they cut.
        permit.principal().lease.act();
        match self.registrar.place(&cut, &actor).await {
            Err(CutError::Store(error))
                if !matches!(error, StoreError::CallerEnded | StoreError::CallerCut(_)) =>
            {
                return Err(self.halt_target(&cut, &error).await.into());
            }
            placed => placed?,
        }
        let begun = Instant::now();
        let closed = self.closed(cut.id, begun + PATIENCE).await;
        Ok(CutPlaced { cut, closed: closed.unwrap_or_default(), took: begun.elapsed() })
    }

    /// Lifts a cut on a caller's behalf: one that they placed, or, for an admin, any. What was not revoked meanwhile is
    /// as it was before.
    pub async fn lift(
        &self,
        permit: &Permit<ManageCuts>,
        id: CutId,
        ip: Option<IpAddr>,
    ) -> Result<Cut, CutError> {
        self.freshen().await?;
        let caller = permit.principal();
        let actor = Actor::of(permit, ip).ok_or(CutError::Ownerless)?;
        let now = self.clock().now();
        let cut = self.store().cut(id, now).await?.ok_or(CutError::Unknown(id))?;
        let placed = cut.placer.is_some() && cut.placer == caller.user();
        let actor = match (placed, caller.is_admin()) {
            (true, _) => actor,
            (false, true) => actor.for_others(),
            (false, false) if self.concerns(caller, &cut.target) => return Err(CutError::NotYours),
            (false, false) => return Err(CutError::Unknown(id)),
        };
        if let Some(lacking) = self.sign_in_lacks(permit).await? {
            return Err(lacking);
        }
        let lifted = self.registrar.lift(id, &actor).await?;
        self.freshen_after_act().await;
        Ok(lifted)
    }

    /// The cuts that stand, oldest first: for an admin all, for others those that they placed or that concern them.
    pub async fn cuts(&self, permit: &Permit<ManageCuts>) -> Result<Vec<Cut>, StoreError> {
        self.cuts_told_to(permit.principal()).await
    }

    /// The same for whoever looks at what is live: none, if their credential cannot cut.
    pub async fn cuts_beside_live(&self, caller: &Principal) -> Result<Vec<Cut>, StoreError> {
        if caller.scopes().allow(&ManageCuts::SCOPE.into()) {
            self.cuts_told_to(caller).await
        } else {
            Ok(Vec::new())
        }
    }

    async fn cuts_told_to(&self, caller: &Principal) -> Result<Vec<Cut>, StoreError> {
        let mut cuts = self.store().cuts(self.clock().now()).await?;
        if !caller.is_admin() {
            cuts.retain(|cut| {
                (cut.placer.is_some() && cut.placer == caller.user()) || self.concerns(caller, &cut.target)
            });
        }
        Ok(cuts)
    }

    /// What a cut closed in this process, whichever process placed it, once all of that has let go; waits a second for
    /// it. `None`: this process does not know of the cut.
    pub async fn closed_by(&self, cut: CutId) -> Option<Closed> {
        self.closed(cut, Instant::now() + PATIENCE).await
    }

    async fn closed(&self, cut: CutId, until: Instant) -> Option<Closed> {
        self.freshen_after_act().await;
        // Another task may be taking it in just now.
        drop(self.applying.lock().await);
        let closing = self.view.closings.of(cut)?;
        // Whoever does not let go in time is counted too: nothing passes through it any more.
        let _ = timeout_at(until, closing.all_gone()).await;
        Some(closing.closed())
    }

    /// As whom the caller cuts that, if they may.
    fn acting_on(
        &self,
        permit: &Permit<ManageCuts>,
        target: &CutTarget,
        ip: Option<IpAddr>,
    ) -> Result<Actor, CutError> {
        let caller = permit.principal();
        let actor = Actor::of(permit, ip).ok_or(CutError::Ownerless)?;
        if let CutTarget::Credential(id) = target
            && self.view.entry_of(*id).is_none()
        {
            return Err(CutError::UnknownTarget(target.clone()));
        }
        if self.concerns(caller, target) {
            Ok(actor)
        } else if caller.is_admin() {
            Ok(actor.for_others())
        } else {
            Err(CutError::NotYourTarget(actor.name()))
        }
    }

    /// That the caller may cut that, as far as can be told before they do.
    pub fn expect_may_cut(&self, permit: &Permit<ManageCuts>, target: &CutTarget) -> Result<(), CutError> {
        self.acting_on(permit, target, None).map(drop)
    }

    /// Whether it is the caller, or something that they own.
    fn concerns(&self, caller: &Principal, target: &CutTarget) -> bool {
        match target {
            CutTarget::User(name) => caller.username() == Some(name),
            CutTarget::Credential(id) => self.view.entry_of(*id).is_some_and(|entry| {
                let owner = entry.account.user.as_ref().map(|user| user.id);
                owner.is_some() && owner == caller.user()
            }),
            CutTarget::Agent(name) => self.view.agent_named(name).is_some_and(|agent| {
                let owner = agent.account.user.as_ref().map(|user| user.id);
                owner.is_some() && owner == caller.user()
            }),
            CutTarget::Route(_) | CutTarget::Everything => false,
        }
    }

    /// Whether the caller comes with a browser, and has not shown their passphrase lately enough to lift a cut
    /// (requirement R49).
    pub async fn must_sign_in_to_lift(&self, permit: &Permit<ManageCuts>) -> Result<bool, StoreError> {
        Ok(self.sign_in_lacks(permit).await?.is_some())
    }

    /// What a browser's sign-in lacks to lift a cut by. Whoever finds one open could pair another browser by it, so that
    /// is no sign-in of now.
    async fn sign_in_lacks(&self, permit: &Permit<ManageCuts>) -> Result<Option<CutError>, StoreError> {
        if !permit.came_by_cookie() {
            return Ok(None);
        }
        let listed = self.store().credential(permit.principal().credential()).await?;
        let now = self.clock().now();
        Ok(match listed.map(|listed| listed.credential) {
            Some(sign_in) if consent::is_by_consent(&sign_in) => Some(CutError::Paired),
            Some(sign_in) if now <= sign_in.created_at.plus(FRESH) => None,
            _ => Some(CutError::Stale),
        })
    }

    /// Cuts in this process what could not be written down.
    async fn halt_target(&self, cut: &Cut, error: &StoreError) -> Unwritten {
        let _one_at_a_time = self.applying.lock().await;
        if let Some(on) = self.named(&cut.target) {
            let row =
                CutRow { id: cut.id, on: on.clone(), reason: cut.reason.clone(), expires_at: cut.expires_at };
            self.view.cuts.take_unwritten(row);
            // After it, never before: the contract of `View::apply`.
            for account in self.view.count_closing(cut.id, &on) {
                account.poke();
            }
        }
        tracing::error!(%error, target = %cut.target, "cannot write down a cut; keeping to it until restarted");
        Unwritten
    }

    fn named(&self, target: &CutTarget) -> Option<CutOn> {
        Some(match target {
            CutTarget::User(name) => {
                let is_named = |user: &crate::entry::AccountUser| user.username == *name;
                let accounts = self.view.accounts();
                let account = accounts.iter().find(|account| account.user.as_ref().is_some_and(is_named))?;
                CutOn::User(account.user.as_ref()?.id)
            }
            CutTarget::Credential(id) => CutOn::Credential(*id),
            CutTarget::Agent(name) => CutOn::Agent(self.view.agent_named(name)?.id),
            CutTarget::Route(name) => CutOn::Route(name.clone()),
            CutTarget::Everything => CutOn::Everything,
        })
    }
}
