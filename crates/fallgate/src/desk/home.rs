//! The desk on a home folder: acts go through the registrar, in this process.

use std::time::{Duration, Instant};

use fallgate_authority::{
    AgentError, AgentOrder, CutError, CutOrder, Denial, MintOrder, Policy, Registrar, RevokeOutcome,
    SecretError, TrailError, UserOrder, UserPatch, WholeTrail, WorkerEnd, WorkerOrder,
};
use fallgate_domain::agent::AgentName;
use fallgate_domain::audit::Event;
use fallgate_domain::credential::{CredentialKind, TokenName};
use fallgate_domain::cut::CutTarget;
use fallgate_domain::id::{CredentialId, CutId};
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::route::RouteName;
use fallgate_domain::secret::SecretText;
use fallgate_domain::user::{DisplayName, Username};
use fallgate_store::{CredentialFilter, EventFilter, Listed};
use fallgate_web::view::{
    AgentList, AgentView, ClosedView, CutList, CutView, EndedView, EventPage, Inspected, InspectedView,
    MintedView, MintedWorkerView, PlacedCutView, TokenView, UserList, UserView,
};
use zeroize::Zeroizing;

use super::{NewAgent, NewToken, NewUser, Revocation, words};
use crate::config::Environment;
use crate::control::{self, Request};
use crate::failure::Failure;
use crate::home::{Home, HomeFolder};
use crate::place::Here;
use crate::{cmd, lifecycle, output, root_key};

/// How many events are read at once when all are.
const PAGE: u32 = 1_000;
/// A gate is given a second to close what is cut, and then tells how much that was.
const TOLD_WITHIN: Duration = Duration::from_millis(1_200);

pub(crate) struct HomeDesk {
    folder: HomeFolder,
    home: Home,
    registrar: Registrar,
    /// Why the config cannot be read. What is stricter by it is not done, all else is.
    misconfigured: Option<Failure>,
    /// The gate's own.
    origin: String,
    /// Those of the config, if there is one.
    routes: Option<Vec<RouteName>>,
}

impl HomeDesk {
    /// Opens the store of a home folder, and says what was put right on it.
    pub(super) async fn open(here: Here, home: Home) -> Result<Self, Failure> {
        home.warnings().iter().for_each(output::warn);
        let Here { folder, policy, origin, routes, .. } = here;
        let (policy, misconfigured) = match policy {
            Ok(policy) => (policy, None),
            Err(failure) => (Policy::default(), Some(failure)),
        };
        let registrar = cmd::open(&home, &folder, policy).await?;
        Ok(Self { folder, home, registrar, misconfigured, origin, routes })
    }

    /// For what the policy in the config has a say in.
    fn configured(&self) -> Result<&Registrar, Failure> {
        match &self.misconfigured {
            None => Ok(&self.registrar),
            Some(failure) => Err(failure.clone()),
        }
    }

    /// What the policy asks of a passphrase, if it could be read.
    pub(super) fn fewest_bytes(&self) -> Option<usize> {
        self.configured().ok().map(|registrar| registrar.policy().passphrase_bytes)
    }

    /// Whether the config names all routes but this one.
    pub(super) fn knows_not(&self, route: &RouteName) -> bool {
        self.routes.as_ref().is_some_and(|routes| !routes.contains(route))
    }

    pub(super) fn folder(&self) -> &HomeFolder {
        &self.folder
    }

    pub(super) async fn users(&self) -> Result<UserList, Failure> {
        Ok(self.registrar.store().users().await?.into())
    }

    pub(super) async fn find_user(&self, username: &Username) -> Result<Option<UserView>, Failure> {
        Ok(self.registrar.store().user_named(username).await?.map(UserView::from))
    }

    pub(super) async fn create_user(
        &self,
        new: NewUser,
        passphrase: Zeroizing<String>,
    ) -> Result<UserView, Failure> {
        let NewUser { username, display_name, role } = new;
        let about = about(&username, display_name.as_ref());
        let passphrase = self.configured()?.check_passphrase(passphrase, about).await?;
        let order = UserOrder { username, display_name, role, passphrase };
        let made = self.registrar.create_user(order, &lifecycle::actor()).await;
        made.map(UserView::from).map_err(words::user)
    }

    pub(super) async fn change_user(
        &self,
        username: &Username,
        patch: UserPatch,
    ) -> Result<UserView, Failure> {
        let changed = self.registrar.change_user(username, patch, &lifecycle::actor()).await;
        changed.map(UserView::from).map_err(words::user)
    }

    pub(super) async fn delete_user(&self, username: &Username) -> Result<Option<EndedView>, Failure> {
        let ended = self.registrar.delete_user(username, &lifecycle::actor()).await;
        ended.map(|ended| Some(ended.into())).map_err(words::user)
    }

    pub(super) async fn reset_passphrase(
        &self,
        user: &UserView,
        passphrase: Zeroizing<String>,
        revoke_tokens: bool,
    ) -> Result<EndedView, Failure> {
        let about = about(&user.username, Some(&user.display_name));
        let passphrase = self.configured()?.check_passphrase(passphrase, about).await?;
        let actor = lifecycle::actor();
        let ended = self.registrar.reset_passphrase(&user.username, passphrase, revoke_tokens, &actor).await;
        ended.map(EndedView::from).map_err(words::user)
    }

    pub(super) async fn mint(&self, new: NewToken) -> Result<MintedView, Failure> {
        let NewToken { owner, name, scopes, lifetime } = new;
        let owner = owner.ok_or_else(|| {
            Failure::usage("whose the token will be must be said on a home folder: give --username")
        })?;
        let order = MintOrder { owner, name, scopes, lifetime };
        let minted = self.configured()?.mint(order, &lifecycle::actor()).await;
        minted.map(MintedView::of).map_err(words::mint)
    }

    pub(super) async fn tokens(
        &self,
        user: Option<&Username>,
        with_ended: bool,
    ) -> Result<Vec<TokenView>, Failure> {
        let store = self.registrar.store();
        let owner = match user {
            None => None,
            Some(name) => {
                let user = store.user_named(name).await?;
                Some(user.ok_or_else(|| words::unknown_user(name))?.id)
            }
        };
        let now = self.registrar.clock().now();
        let kinds = vec![CredentialKind::Token, CredentialKind::Legacy];
        let listed = store.credentials(&CredentialFilter { owner, kinds, with_ended, now }).await?;
        Ok(listed.into_iter().map(|listed| TokenView::of(listed, now)).collect())
    }

    pub(super) async fn revoke(&self, id: CredentialId, end: WorkerEnd) -> Result<Revocation, Failure> {
        Ok(match self.registrar.revoke(id, None, &lifecycle::actor()).await? {
            RevokeOutcome::Revoked => Revocation::Now,
            RevokeOutcome::AlreadyRevoked => Revocation::Before,
            RevokeOutcome::Unknown | RevokeOutcome::NotYours => self.revoke_worker(id, end).await?,
        })
    }

    async fn revoke_worker(&self, id: CredentialId, end: WorkerEnd) -> Result<Revocation, Failure> {
        let revoked = self.registrar.revoke_worker(id, end, &lifecycle::actor()).await;
        Ok(match revoked.map_err(words::token)?.outcome {
            RevokeOutcome::AlreadyRevoked => Revocation::Before,
            _ => Revocation::Now,
        })
    }

    pub(super) async fn revoke_all(&self, user: Option<&Username>) -> Result<u64, Failure> {
        self.registrar.revoke_all(user, &lifecycle::actor()).await.map_err(words::token)
    }

    pub(super) async fn revoke_held(
        &self,
        secret: &SecretText,
    ) -> Result<Option<(CredentialId, Revocation)>, Failure> {
        if let Some(worker) = self.registrar.inspect_worker(secret.expose().as_bytes()).await? {
            // Whoever makes one up names in it what they would like to see ended.
            if worker.refused == Some(Denial::NotOurs) {
                return Ok(None);
            }
            let id = worker.claims.id;
            return Ok(Some((id, self.revoke_worker(id, WorkerEnd::default()).await?)));
        }
        let Some(Inspected::Stored(held)) = self.inspect(secret).await? else { return Ok(None) };
        let id = held.token.id;
        Ok(Some((id, self.revoke(id, WorkerEnd::default()).await?)))
    }

    pub(super) async fn rename_token(&self, id: CredentialId, name: TokenName) -> Result<TokenView, Failure> {
        let renamed = self.registrar.rename_token(id, name, &lifecycle::actor()).await;
        renamed.map(|listed| self.shown(listed)).map_err(words::token)
    }

    pub(super) async fn redate_token(
        &self,
        id: CredentialId,
        lifetime: Lifetime,
    ) -> Result<TokenView, Failure> {
        let dated = self.configured()?.redate_token(id, lifetime, &lifecycle::actor()).await;
        dated.map(|listed| self.shown(listed)).map_err(words::token)
    }

    pub(super) async fn inspect(&self, secret: &SecretText) -> Result<Option<Inspected>, Failure> {
        let text = secret.expose().as_bytes();
        if let Some(worker) = self.registrar.inspect_worker(text).await? {
            return Ok(Some(Inspected::Worker(worker.into())));
        }
        let now = self.registrar.clock().now();
        match self.registrar.inspect(text).await {
            Ok(found) => Ok(found.map(|listed| Inspected::Stored(InspectedView::of(listed, now)))),
            Err(SecretError::Malformed(_)) => Ok(None),
            Err(SecretError::Store(error)) => Err(error.into()),
        }
    }

    pub(super) async fn create_agent(&self, new: NewAgent) -> Result<AgentView, Failure> {
        let NewAgent { name, owner, scopes, routes } = new;
        let owner = owner.ok_or_else(|| {
            Failure::usage("whose the agent will be must be said on a home folder: give --owner")
        })?;
        let order = AgentOrder { name, owner, scopes, routes };
        let made = self.registrar.create_agent(order, &lifecycle::actor()).await;
        made.map(AgentView::from).map_err(words::agent)
    }

    pub(super) async fn agents(&self, owner: Option<&Username>) -> Result<AgentList, Failure> {
        let store = self.registrar.store();
        let owner = match owner {
            None => None,
            Some(name) => {
                let user = store.user_named(name).await?;
                Some(user.ok_or_else(|| words::unknown_user(name))?.id)
            }
        };
        Ok(store.agents(owner).await?.into())
    }

    pub(super) async fn agent(&self, name: &AgentName) -> Result<AgentView, Failure> {
        let found = self.registrar.store().agent_named(name).await?;
        found.map(AgentView::from).ok_or_else(|| words::agent(AgentError::Unknown(name.clone())))
    }

    pub(super) async fn disable_agent(&self, name: &AgentName, disabled: bool) -> Result<AgentView, Failure> {
        let changed = self.registrar.disable_agent(name, disabled, &lifecycle::actor()).await;
        if disabled
            && matches!(changed, Err(AgentError::Unknown(_)))
            && let Ok(username) = name.as_str().parse()
            && self.find_user(&username).await?.is_some()
        {
            return Err(words::everybodys_own(name));
        }
        changed.map(AgentView::from).map_err(words::agent)
    }

    pub(super) async fn mint_worker(
        &self,
        order: WorkerOrder,
        environment: &Environment,
    ) -> Result<MintedWorkerView, Failure> {
        let registrar = self.configured()?;
        root_key::unlock_kept(registrar, &self.home, environment).await?;
        let minted = registrar.mint_worker(order, &self.origin, &lifecycle::actor()).await;
        minted.map(MintedWorkerView::of).map_err(words::worker)
    }

    pub(super) async fn delete_agent(&self, name: &AgentName) -> Result<(), Failure> {
        self.registrar.delete_agent(name, &lifecycle::actor()).await.map_err(words::agent)
    }

    /// Whether there is a config that names the routes.
    pub(super) fn knows_routes(&self) -> bool {
        self.routes.is_some()
    }

    pub(super) async fn cut(&self, order: CutOrder) -> Result<PlacedCutView, Failure> {
        if let CutTarget::Route(name) = &order.target
            && self.knows_not(name)
        {
            return Err(words::cut(CutError::UnknownTarget(order.target)));
        }
        let cut = self.registrar.cut(order, &lifecycle::actor()).await.map_err(words::cut)?;
        let begun = Instant::now();
        // The cut stands whether or not a gate runs, and tells.
        let told = control::ask(&self.folder, &Request::Closed { cut: cut.id }, TOLD_WITHIN);
        let closed: Option<ClosedView> = told.ok().flatten();
        Ok(PlacedCutView::new(cut, closed.map(|closed| (closed, begun.elapsed()))))
    }

    pub(super) async fn cuts(&self) -> Result<CutList, Failure> {
        let cuts = self.registrar.store().cuts(self.registrar.clock().now()).await?;
        Ok(CutList { cuts: cuts.into_iter().map(CutView::from).collect() })
    }

    pub(super) async fn lift(&self, id: CutId) -> Result<CutView, Failure> {
        self.registrar.lift(id, &lifecycle::actor()).await.map(CutView::from).map_err(words::cut)
    }

    pub(super) async fn events(&self, filter: EventFilter) -> Result<EventPage, Failure> {
        let limit = filter.limit;
        let store = self.registrar.store();
        Ok(EventPage::of(store.find_events(&filter).await?, limit, store.audit_checkpoint().await?))
    }

    pub(super) async fn events_after(&self, seq: u64) -> Result<Vec<Event>, Failure> {
        Ok(self.registrar.store().events_after(seq, PAGE).await?)
    }

    pub(super) async fn verify_trail(&self, environment: &Environment) -> Result<WholeTrail, Failure> {
        let is_pruned = self.registrar.store().audit_checkpoint().await?.is_some();
        if is_pruned
            && let Err(failure) = root_key::unlock_kept(&self.registrar, &self.home, environment).await
        {
            output::warn(format_args!(
                "without the root key, the signing key in the store is taken for Fallgate's own: {failure}"
            ));
        }
        self.registrar.verify_trail().await.map_err(|error| match error {
            TrailError::Broken(_) | TrailError::Forged(_) => words::broken_trail(error),
            error => error.into(),
        })
    }

    fn shown(&self, listed: Listed) -> TokenView {
        TokenView::of(listed, self.registrar.clock().now())
    }
}

/// What an attacker would try first.
pub(crate) fn about(username: &Username, display_name: Option<&DisplayName>) -> Vec<String> {
    let mut about = vec![username.to_string(), "fallgate".to_owned()];
    about.extend(display_name.map(DisplayName::to_string));
    about
}
