//! The desk of a gate: each operation is a request to its API.

use fallgate_authority::{
    AgentError, CutError, CutOrder, MintError, TokenError, UserError, UserPatch, WholeTrail, WorkerEnd,
    WorkerOrder,
};
use fallgate_domain::agent::AgentName;
use fallgate_domain::audit::{BrokenLink, Chain, Event};
use fallgate_domain::clock::{Clock, SystemClock, Timestamp};
use fallgate_domain::credential::{Status, TokenName};
use fallgate_domain::cut::{CutReason, CutTarget};
use fallgate_domain::id::{CredentialId, CutId};
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::secret::SecretText;
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_domain::user::{DisplayName, Role, Username};
use fallgate_domain::worker::Audience;
use fallgate_store::EventFilter;
use fallgate_web::view::{
    AgentList, AgentView, CutList, CutView, EndedView, EventPage, Inspected, MintedView, MintedWorkerView,
    PlacedCutView, RevokedCount, TokenList, TokenView, UserList, UserView, WhoAmI,
};
use form_urlencoded::Serializer;
use serde::Serialize;
use ureq::http::Method;

use super::{NewAgent, NewToken, NewUser, Revocation, words};
use crate::client::{Client, Fault, With};
use crate::config::Environment;
use crate::failure::Failure;
use crate::place::Server;

/// How many events are asked for at once when all are: as many as the API gives.
const PAGE: u64 = 1_000;

pub(crate) struct ServerDesk {
    client: Client,
}

#[derive(Serialize)]
struct CreateUser<'a> {
    username: &'a Username,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a DisplayName>,
    role: Role,
    passphrase: &'a str,
}

#[derive(Serialize)]
struct ChangeUser {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<DisplayName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<bool>,
}

#[derive(Serialize)]
struct Reset<'a> {
    passphrase: &'a str,
    revoke_tokens: bool,
}

#[derive(Serialize)]
struct Mint<'a> {
    name: TokenName,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a Username>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Scopes>,
    #[serde(flatten)]
    end: End,
}

#[derive(Serialize)]
struct Rename {
    name: TokenName,
}

/// When a token is to end. A while is counted from the gate's own now.
#[derive(Serialize)]
#[serde(untagged)]
enum End {
    Usual {},
    /// In seconds; `null` is never.
    In {
        expires_in: Option<u64>,
    },
    At {
        expires_at: Timestamp,
    },
}

#[derive(Serialize)]
struct NewCut<'a> {
    target: &'a CutTarget,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a CutReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

#[derive(Serialize)]
struct CreateAgent<'a> {
    name: &'a AgentName,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a Username>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Scopes>,
    routes: &'a [RouteName],
}

#[derive(Serialize)]
struct ChangeAgent {
    disabled: bool,
}

#[derive(Serialize)]
struct MintWorker<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a Scopes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<&'a [Audience]>,
}

#[derive(Serialize)]
struct Held<'a> {
    token: &'a str,
}

impl From<Lifetime> for End {
    fn from(lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Never => Self::In { expires_in: None },
            Lifetime::For(duration) => Self::In { expires_in: Some(duration.as_secs()) },
            Lifetime::Until(expires_at) => Self::At { expires_at },
        }
    }
}

impl ServerDesk {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) fn server(&self) -> &Server {
        self.client.server()
    }

    pub(super) fn users(&self) -> Result<UserList, Failure> {
        self.client.get("/api/users").map_err(Fault::into_failure)
    }

    pub(super) fn find_user(&self, username: &Username) -> Result<Option<UserView>, Failure> {
        match self.client.get(&format!("/api/users/{username}")) {
            Ok(user) => Ok(Some(user)),
            Err(Fault::Refused(404, _)) => Ok(None),
            Err(fault) => Err(fault.into_failure()),
        }
    }

    /// Only admins are shown accounts.
    pub(super) fn account_if_shown(&self, username: &Username) -> Result<Option<UserView>, Failure> {
        match self.client.get(&format!("/api/users/{username}")) {
            Ok(user) => Ok(Some(user)),
            Err(Fault::Refused(403 | 404, _)) => Ok(None),
            Err(fault) => Err(fault.into_failure()),
        }
    }

    pub(super) fn create_user(&self, new: &NewUser, passphrase: &str) -> Result<UserView, Failure> {
        let body = CreateUser {
            username: &new.username,
            display_name: new.display_name.as_ref(),
            role: new.role,
            passphrase,
        };
        let made = self.client.send(Method::POST, "/api/users", &body);
        made.map_err(|fault| fault.or(|status| (status == 409).then(|| words::username_taken(&new.username))))
    }

    pub(super) fn change_user(&self, username: &Username, patch: UserPatch) -> Result<UserView, Failure> {
        let UserPatch { display_name, role, disabled } = patch;
        let body = ChangeUser { display_name, role, disabled };
        let changed = self.client.send(Method::PATCH, &format!("/api/users/{username}"), &body);
        changed.map_err(|fault| about_user(fault, username))
    }

    /// The API does not tell how many credentials ended.
    pub(super) fn delete_user(&self, username: &Username) -> Result<Option<EndedView>, Failure> {
        let path = format!("/api/users/{username}");
        let deleted = self.client.act(Method::DELETE, &path, None::<&()>, With::Usual);
        deleted.map(|()| None).map_err(|fault| about_user(fault, username))
    }

    pub(super) fn reset_passphrase(
        &self,
        user: &UserView,
        passphrase: &str,
        revoke_tokens: bool,
    ) -> Result<EndedView, Failure> {
        let body = Reset { passphrase, revoke_tokens };
        let path = format!("/api/users/{}/passphrase", user.username);
        let ended = self.client.send(Method::POST, &path, &body);
        ended.map_err(|fault| about_user(fault, &user.username))
    }

    pub(super) fn mint(&self, new: NewToken) -> Result<MintedView, Failure> {
        let NewToken { owner, name, scopes, lifetime } = new;
        if let Some(owner) = &owner {
            self.expect_may_own(owner, "tokens for others: leave --username out")?;
        }
        let body = Mint {
            name: name.unwrap_or_default(),
            username: owner.as_ref(),
            scopes,
            end: lifetime.map_or(End::Usual {}, End::from),
        };
        let minted: Result<MintedView, Fault> = self.client.send(Method::POST, "/api/tokens", &body);
        if let Ok(minted) = &minted
            && PlainToken::parse(TokenKind::Token, minted.secret.as_bytes()).is_err()
        {
            return Err(words::no_token());
        }
        minted.map_err(|fault| {
            fault.or(|status| match (status, owner) {
                (404, Some(owner)) => Some(words::mint(MintError::UnknownUser(owner))),
                _ => None,
            })
        })
    }

    pub(super) fn tokens(
        &self,
        user: Option<&Username>,
        with_ended: bool,
    ) -> Result<Vec<TokenView>, Failure> {
        let TokenList { me, mut tokens, users } = self.listed()?;
        if let Some(wanted) = user {
            match users {
                Some(users) if users.iter().any(|user| user.username == *wanted) => {}
                Some(_) => return Err(words::unknown_user(wanted)),
                None if me.username.as_ref() == Some(wanted) => {}
                None => return Err(words::token(TokenError::NotYours)),
            }
            tokens.retain(|token| token.username.as_ref() == Some(wanted));
        }
        tokens.retain(|token| with_ended || token.status == Status::Active);
        Ok(tokens)
    }

    /// The gate tells nobody whether it knew it.
    pub(super) fn revoke(&self, id: CredentialId, end: WorkerEnd) -> Result<Revocation, Failure> {
        let mut query = Serializer::new(String::new());
        if let Some(time) = end.expires_at {
            query.append_pair("expires_at", &time.to_string());
            query.append_pair("force", if end.force { "true" } else { "false" });
        }
        let query = query.finish();
        let path = format!("/api/tokens/{id}{}{query}", if query.is_empty() { "" } else { "?" });
        let revoked = self.client.act(Method::DELETE, &path, None::<&()>, With::Usual);
        revoked.map(|()| Revocation::Now).map_err(Fault::into_failure)
    }

    /// Everybody's tokens end user by user, the caller's own last: what they use may be among them.
    pub(super) fn revoke_all(&self, user: Option<&Username>) -> Result<u64, Failure> {
        if let Some(username) = user {
            return self.revoke_all_of(username);
        }
        let TokenList { me, tokens, users } = self.listed()?;
        let users = users.ok_or_else(|| {
            Failure::failed("only an admin can revoke everybody's tokens: give --user with your own name")
        })?;
        let (own, others): (Vec<_>, Vec<_>) =
            users.into_iter().map(|user| user.username).partition(|name| Some(name) == me.username.as_ref());
        let mut count = 0;
        let mut work = || {
            let unowned = |token: &&TokenView| token.username.is_none() && token.status == Status::Active;
            for token in tokens.iter().filter(unowned) {
                count += u64::from(self.revoke(token.id, WorkerEnd::default())? == Revocation::Now);
            }
            for username in others.iter().chain(&own) {
                count += self.revoke_all_of(username)?;
            }
            Ok(())
        };
        let done = work();
        done.map_err(|failure: Failure| {
            Failure::failed(format_args!(
                "{failure}; {count} were revoked until then: do it again for the rest"
            ))
        })?;
        Ok(count)
    }

    pub(super) fn revoke_held(
        &self,
        secret: &SecretText,
    ) -> Result<Option<(CredentialId, Revocation)>, Failure> {
        // Whose it is only its holder hears, and only while it stands.
        let known: Result<WhoAmI, Fault> = self.client.get_with("/api/whoami", With::Secret(secret.expose()));
        let id = match known {
            Ok(known) => Some(known.credential.id),
            Err(Fault::Refused(401, _)) => None,
            Err(fault) => return Err(fault.into_failure()),
        };
        let body = Held { token: secret.expose() };
        let revoked = self.client.act(Method::POST, "/api/tokens/revoke", Some(&body), With::Nothing);
        revoked.map_err(Fault::into_failure)?;
        Ok(id.map(|id| (id, Revocation::Now)))
    }

    pub(super) fn rename_token(&self, id: CredentialId, name: TokenName) -> Result<TokenView, Failure> {
        let changed = self.change_token(id, &Rename { name });
        changed.map_err(|fault| fault.or(|status| about_token(status, id)))
    }

    pub(super) fn redate_token(&self, id: CredentialId, lifetime: Lifetime) -> Result<TokenView, Failure> {
        let changed = self.change_token(id, &End::from(lifetime));
        // The gate's clock decides; what this one's says helps only to tell why.
        changed.map_err(|fault| {
            let why = |status| lifetime.ends_at(SystemClock.now()).err().filter(|_| status == 400);
            fault.or(|status| why(status).map(|why| words::token(why.into())).or(about_token(status, id)))
        })
    }

    pub(super) fn inspect(&self, secret: &SecretText) -> Result<Option<Inspected>, Failure> {
        let body = Held { token: secret.expose() };
        match self.client.send(Method::POST, "/api/tokens/inspect", &body) {
            Ok(token) => Ok(Some(token)),
            Err(Fault::Refused(404, _)) => Ok(None),
            Err(fault) => Err(fault.into_failure()),
        }
    }

    pub(super) fn cut(&self, order: CutOrder) -> Result<PlacedCutView, Failure> {
        let CutOrder { target, reason, lifetime } = order;
        let expires_in = match lifetime {
            Lifetime::For(duration) => Some(duration.as_secs()),
            Lifetime::Never | Lifetime::Until(_) => None,
        };
        let body = NewCut { target: &target, reason: reason.as_ref(), expires_in };
        let placed = self.client.send(Method::POST, "/api/cuts", &body);
        placed.map_err(|fault| {
            fault.or(|status| match status {
                404 => Some(words::cut(CutError::UnknownTarget(target))),
                409 => Some(words::cut(CutError::TooMany(target))),
                _ => None,
            })
        })
    }

    pub(super) fn cuts(&self) -> Result<CutList, Failure> {
        self.client.get("/api/cuts").map_err(Fault::into_failure)
    }

    /// The API does not say what it was, so that is asked before.
    pub(super) fn lift(&self, id: CutId) -> Result<CutView, Failure> {
        let unknown = || words::cut(CutError::Unknown(id));
        let cut = self.cuts()?.cuts.into_iter().find(|cut| cut.id == id).ok_or_else(unknown)?;
        let lifted = self.client.act(Method::DELETE, &format!("/api/cuts/{id}"), None::<&()>, With::Usual);
        lifted.map_err(|fault| fault.or(|status| (status == 404).then(unknown)))?;
        Ok(cut)
    }

    pub(super) fn events(&self, filter: EventFilter) -> Result<EventPage, Failure> {
        let EventFilter { before, limit, user, action, .. } = filter;
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        for (name, value) in [("user", user), ("action", action)] {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        }
        self.client.get(&format!("/api/audit?{}", query.finish())).map_err(Fault::into_failure)
    }

    pub(super) fn verify_trail(&self, _: &Environment) -> Result<WholeTrail, Failure> {
        let newest = self.events(EventFilter { limit: 1, ..EventFilter::default() })?;
        let begin = newest.checkpoint.map(|checkpoint| (checkpoint.seq, checkpoint.hash, checkpoint.at));
        let since = begin.as_ref().map(|(.., at)| *at);
        let mut chain = begin.map_or_else(Chain::default, |(seq, hash, _)| Chain::after(seq, hash));
        loop {
            let events = self.events_after(chain.last())?;
            if events.is_empty() {
                return Ok(WholeTrail { events: chain.followed(), since });
            }
            for event in &events {
                chain.follow(event).map_err(words::broken_trail)?;
            }
        }
    }

    /// The API pages backwards. The trail has no gaps, so the page that ends in front of `seq + PAGE + 1` begins
    /// behind `seq`; one that has nothing there lies in front of what is kept, and the next is looked at.
    pub(super) fn events_after(&self, seq: u64) -> Result<Vec<Event>, Failure> {
        let page = |before, limit| self.events(EventFilter { before, limit, ..EventFilter::default() });
        let newest = page(None, 1)?.events.first().map_or(0, |event| event.seq);
        let mut behind = seq;
        while behind < newest {
            let end = behind.saturating_add(PAGE);
            let EventPage { mut events, checkpoint, .. } =
                page(Some(end.saturating_add(1)), u32::try_from(PAGE).unwrap_or(u32::MAX))?;
            events.retain(|event| event.seq > seq);
            if !events.is_empty() {
                events.reverse();
                return Ok(events);
            }
            // Only a checkpoint explains a page with nothing in it.
            let missing = || words::broken_trail(BrokenLink::Missing(behind.saturating_add(1)));
            behind = checkpoint.map(|kept| kept.seq).filter(|kept| *kept > behind).ok_or_else(missing)?;
        }
        Ok(Vec::new())
    }

    pub(super) fn create_agent(&self, new: NewAgent) -> Result<AgentView, Failure> {
        let NewAgent { name, owner, scopes, routes } = new;
        if let Some(owner) = &owner {
            self.expect_may_own(owner, "agents for others: leave --owner out")?;
        }
        let body = CreateAgent { name: &name, owner: owner.as_ref(), scopes, routes: &routes };
        let made = self.client.send(Method::POST, "/api/agents", &body);
        made.map_err(|fault| {
            fault.or(|status| match (status, owner) {
                (404, Some(owner)) => Some(words::agent(AgentError::UnknownUser(owner))),
                _ => None,
            })
        })
    }

    /// Of an owner whom one is not shown there are none.
    pub(super) fn agents(&self, owner: Option<&Username>) -> Result<AgentList, Failure> {
        let mut list: AgentList = self.client.get("/api/agents").map_err(Fault::into_failure)?;
        if let Some(owner) = owner {
            list.agents.retain(|agent| agent.owner == *owner);
            if list.agents.is_empty() && self.account_if_shown(owner)?.is_none() {
                let me: WhoAmI = self.client.get("/api/whoami").map_err(Fault::into_failure)?;
                if me.username.as_ref() != Some(owner) {
                    return Err(words::unknown_user(owner));
                }
            }
        }
        Ok(list)
    }

    pub(super) fn agent(&self, name: &AgentName) -> Result<AgentView, Failure> {
        self.client.get(&format!("/api/agents/{name}")).map_err(|fault| about_agent(fault, name))
    }

    pub(super) fn disable_agent(&self, name: &AgentName, disabled: bool) -> Result<AgentView, Failure> {
        let body = ChangeAgent { disabled };
        let changed = self.client.send(Method::PATCH, &format!("/api/agents/{name}"), &body);
        if disabled && matches!(changed, Err(Fault::Refused(404, _))) && self.is_somebodys_own(name)? {
            return Err(words::everybodys_own(name));
        }
        changed.map_err(|fault| about_agent(fault, name))
    }

    pub(super) fn mint_worker(&self, order: &WorkerOrder) -> Result<MintedWorkerView, Failure> {
        let WorkerOrder { agent, life, scopes, audience, session: _ } = order;
        let ttl = life.map(|life| life.as_secs());
        let body = MintWorker { ttl, scopes: scopes.as_ref(), audience: audience.as_deref() };
        let minted = self.client.send(Method::POST, &format!("/api/agents/{agent}/tokens"), &body);
        minted.map_err(|fault| about_agent(fault, agent))
    }

    pub(super) fn delete_agent(&self, name: &AgentName) -> Result<(), Failure> {
        let path = format!("/api/agents/{name}");
        let deleted = self.client.act(Method::DELETE, &path, None::<&()>, With::Usual);
        deleted.map_err(|fault| about_agent(fault, name))
    }

    /// The API makes what a plain user asks for others for themselves: nobody should take it for somebody else's.
    fn expect_may_own(&self, owner: &Username, what: &str) -> Result<(), Failure> {
        let me: WhoAmI = self.client.get("/api/whoami").map_err(Fault::into_failure)?;
        let for_all = me.credential.scopes.allow(&PlainScope::Admin.into());
        if for_all || me.username.as_ref() == Some(owner) { Ok(()) } else { Err(words::for_others(what)) }
    }

    /// Whether it is a user's name, as far as one may know.
    fn is_somebodys_own(&self, agent: &AgentName) -> Result<bool, Failure> {
        let Ok(username) = agent.as_str().parse() else { return Ok(false) };
        let me: WhoAmI = self.client.get("/api/whoami").map_err(Fault::into_failure)?;
        Ok(me.username.as_ref() == Some(&username) || self.account_if_shown(&username)?.is_some())
    }

    fn listed(&self) -> Result<TokenList, Failure> {
        self.client.get("/api/tokens").map_err(Fault::into_failure)
    }

    fn revoke_all_of(&self, username: &Username) -> Result<u64, Failure> {
        let count: Result<RevokedCount, Fault> =
            self.client.delete(&format!("/api/tokens?username={username}"));
        count.map(|count| count.revoked).map_err(|fault| {
            fault
                .or(|status| (status == 404).then(|| words::token(TokenError::UnknownUser(username.clone()))))
        })
    }

    fn change_token(&self, id: CredentialId, body: &impl Serialize) -> Result<TokenView, Fault> {
        self.client.send(Method::PATCH, &format!("/api/tokens/{id}"), body)
    }
}

/// What the API refuses about a token that is there or not.
fn about_token(status: u16, id: CredentialId) -> Option<Failure> {
    match status {
        404 => Some(words::token(TokenError::Unknown(id))),
        409 => Some(words::token(TokenError::Ended(id))),
        _ => None,
    }
}

/// What the API refuses about an agent that is there or not.
fn about_agent(fault: Fault, name: &AgentName) -> Failure {
    fault.or(|status| (status == 404).then(|| words::agent(AgentError::Unknown(name.clone()))))
}

/// What the API refuses about an account that is there or not.
fn about_user(fault: Fault, username: &Username) -> Failure {
    fault.or(|status| match status {
        404 => Some(words::unknown_user(username)),
        409 => Some(words::user(UserError::LastAdmin(username.clone()))),
        _ => None,
    })
}
