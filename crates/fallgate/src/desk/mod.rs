//! What commands have done for them, in one form wherever it is done: on the home folder or by a gate over HTTP.
//!
//! Every operation answers with the API's own views, and commands print nothing else. That is why both ways print the
//! same.

mod home;
mod server;
mod words;

use fallgate_authority::{CutOrder, UserPatch, WholeTrail, WorkerEnd, WorkerOrder};
use fallgate_domain::agent::AgentName;
use fallgate_domain::audit::Event;
use fallgate_domain::credential::TokenName;
use fallgate_domain::id::{CredentialId, CutId};
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::Scopes;
use fallgate_domain::secret::SecretText;
use fallgate_domain::user::{DisplayName, Role, Username};
use fallgate_store::EventFilter;
use fallgate_web::view::{
    AgentList, AgentView, CutList, CutView, EndedView, EventPage, Inspected, MintedView, MintedWorkerView,
    PlacedCutView, TokenView, UserList, UserView,
};
use zeroize::Zeroizing;

use self::home::HomeDesk;
pub(crate) use self::home::about;
use self::server::ServerDesk;
use crate::client::Client;
use crate::config::Environment;
use crate::failure::Failure;
use crate::home::Home;
use crate::place::{Here, Place, Server};

/// Where acts are done and lists are read. Failures are in words already, the same from both.
pub(crate) enum Desk {
    Home(Box<HomeDesk>),
    Server(Box<ServerDesk>),
}

/// An account to be made.
pub(crate) struct NewUser {
    pub(crate) username: Username,
    pub(crate) display_name: Option<DisplayName>,
    pub(crate) role: Role,
}

/// A token to be minted.
pub(crate) struct NewToken {
    /// Whose; on a gate, the caller's own if nothing is said.
    pub(crate) owner: Option<Username>,
    pub(crate) name: Option<TokenName>,
    pub(crate) scopes: Option<Scopes>,
    pub(crate) lifetime: Option<Lifetime>,
}

/// An agent to be made.
pub(crate) struct NewAgent {
    pub(crate) name: AgentName,
    /// Whose; on a gate, the caller's own if nothing is said.
    pub(crate) owner: Option<Username>,
    pub(crate) scopes: Option<Scopes>,
    pub(crate) routes: Vec<RouteName>,
}

/// What came of revoking one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revocation {
    Now,
    /// Only the home folder tells.
    Before,
}

macro_rules! at_either {
    ($self:ident, $desk:ident => $work:expr) => {
        match $self {
            Self::Home($desk) => $work.await,
            Self::Server($desk) => $work,
        }
    };
}

impl Desk {
    /// The desk in that place. A home folder that is not there is made if `make` says so.
    pub(crate) async fn open(place: Place, make: bool) -> Result<Self, Failure> {
        match place {
            Place::Home(here) => Self::home(here, make).await,
            Place::Server(server) => Self::server(server),
        }
    }

    async fn home(here: Here, make: bool) -> Result<Self, Failure> {
        let home = if make { Home::make(&here.folder)? } else { here.existing()? };
        Ok(Self::Home(Box::new(HomeDesk::open(here, home).await?)))
    }

    fn server(server: Server) -> Result<Self, Failure> {
        Ok(Self::Server(Box::new(ServerDesk::new(Client::new(server)?))))
    }

    /// A command that works in the same place, to be pasted into a shell.
    pub(crate) fn command(&self, words: impl std::fmt::Display) -> String {
        match self {
            Self::Home(desk) => desk.folder().command(words),
            Self::Server(desk) => desk.server().command(words),
        }
    }

    /// Where it is, in words that end a sentence.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Home(desk) => format!("in {}", desk.folder().path.display()),
            Self::Server(desk) => format!("at {}", desk.server().origin.text()),
        }
    }

    /// The command that makes a first token there.
    pub(crate) fn first_token(&self) -> String {
        match self {
            Self::Home(_) => self.command("token create --username NAME"),
            Self::Server(_) => self.command("token create --name NAME"),
        }
    }

    /// The command that makes a first agent there.
    pub(crate) fn first_agent(&self) -> String {
        match self {
            Self::Home(_) => self.command("agent create NAME --owner USER"),
            Self::Server(_) => self.command("agent create NAME"),
        }
    }

    /// How many bytes a passphrase must have; a gate does not tell.
    pub(crate) fn fewest_bytes(&self) -> Option<usize> {
        match self {
            Self::Home(desk) => desk.fewest_bytes(),
            Self::Server(_) => None,
        }
    }

    /// Those of some routes that the config does not have; none when that cannot be told.
    pub(crate) fn unknown_routes<'r>(
        &self,
        wanted: impl Iterator<Item = &'r RouteName>,
    ) -> Vec<&'r RouteName> {
        match self {
            Self::Home(desk) => wanted.filter(|name| desk.knows_not(name)).collect(),
            Self::Server(_) => Vec::new(),
        }
    }

    /// Everybody, by username.
    pub(crate) async fn users(&self) -> Result<UserList, Failure> {
        at_either!(self, desk => desk.users())
    }

    /// The user of that name, if there is one.
    pub(crate) async fn find_user(&self, username: &Username) -> Result<Option<UserView>, Failure> {
        at_either!(self, desk => desk.find_user(username))
    }

    /// The same, for whoever may not be shown it.
    pub(crate) async fn account_if_shown(&self, username: &Username) -> Result<Option<UserView>, Failure> {
        match self {
            Self::Home(desk) => desk.find_user(username).await,
            Self::Server(desk) => desk.account_if_shown(username),
        }
    }

    /// The user of that name. Asked before anything else is: nobody should answer for nothing.
    pub(crate) async fn user(&self, username: &Username) -> Result<UserView, Failure> {
        let found = self.find_user(username).await?;
        found.ok_or_else(|| words::unknown_user(username))
    }

    /// Makes sure that the name is free, as far as can be told now.
    pub(crate) async fn expect_no_user(&self, username: &Username) -> Result<(), Failure> {
        match self.find_user(username).await? {
            Some(_) => Err(words::username_taken(username)),
            None => Ok(()),
        }
    }

    pub(crate) async fn create_user(
        &self,
        new: NewUser,
        passphrase: Zeroizing<String>,
    ) -> Result<UserView, Failure> {
        match self {
            Self::Home(desk) => desk.create_user(new, passphrase).await,
            Self::Server(desk) => desk.create_user(&new, &passphrase),
        }
    }

    pub(crate) async fn change_user(
        &self,
        username: &Username,
        patch: UserPatch,
    ) -> Result<UserView, Failure> {
        at_either!(self, desk => desk.change_user(username, patch))
    }

    /// Deletes an account, and tells how many credentials that ended; only the home folder can.
    pub(crate) async fn delete_user(&self, username: &Username) -> Result<Option<EndedView>, Failure> {
        at_either!(self, desk => desk.delete_user(username))
    }

    pub(crate) async fn reset_passphrase(
        &self,
        user: &UserView,
        passphrase: Zeroizing<String>,
        revoke_tokens: bool,
    ) -> Result<EndedView, Failure> {
        match self {
            Self::Home(desk) => desk.reset_passphrase(user, passphrase, revoke_tokens).await,
            Self::Server(desk) => desk.reset_passphrase(user, &passphrase, revoke_tokens),
        }
    }

    pub(crate) async fn mint(&self, new: NewToken) -> Result<MintedView, Failure> {
        at_either!(self, desk => desk.mint(new))
    }

    /// A user's tokens, or all that one may see; ended ones too if asked for.
    pub(crate) async fn tokens(
        &self,
        user: Option<&Username>,
        with_ended: bool,
    ) -> Result<Vec<TokenView>, Failure> {
        at_either!(self, desk => desk.tokens(user, with_ended))
    }

    /// Ends a token, or else a worker token; `end` is for those.
    pub(crate) async fn revoke(&self, id: CredentialId, end: WorkerEnd) -> Result<Revocation, Failure> {
        at_either!(self, desk => desk.revoke(id, end))
    }

    /// Ends all tokens of a user, or of everybody, and tells how many.
    pub(crate) async fn revoke_all(&self, user: Option<&Username>) -> Result<u64, Failure> {
        at_either!(self, desk => desk.revoke_all(user))
    }

    /// Ends the credential whose secret this is, and tells its id; nothing when nothing that could be ended has it.
    pub(crate) async fn revoke_held(
        &self,
        secret: &SecretText,
    ) -> Result<Option<(CredentialId, Revocation)>, Failure> {
        at_either!(self, desk => desk.revoke_held(secret))
    }

    pub(crate) async fn rename_token(&self, id: CredentialId, name: TokenName) -> Result<TokenView, Failure> {
        at_either!(self, desk => desk.rename_token(id, name))
    }

    pub(crate) async fn redate_token(
        &self,
        id: CredentialId,
        lifetime: Lifetime,
    ) -> Result<TokenView, Failure> {
        at_either!(self, desk => desk.redate_token(id, lifetime))
    }

    /// The credential whose secret this is, ended or not.
    pub(crate) async fn inspect(&self, secret: &SecretText) -> Result<Option<Inspected>, Failure> {
        at_either!(self, desk => desk.inspect(secret))
    }

    pub(crate) async fn create_agent(&self, new: NewAgent) -> Result<AgentView, Failure> {
        at_either!(self, desk => desk.create_agent(new))
    }

    /// A user's agents, or all that one may see, by name.
    pub(crate) async fn agents(&self, owner: Option<&Username>) -> Result<AgentList, Failure> {
        at_either!(self, desk => desk.agents(owner))
    }

    /// The agent of that name. Asked before anything else is: nobody should answer for nothing.
    pub(crate) async fn agent(&self, name: &AgentName) -> Result<AgentView, Failure> {
        at_either!(self, desk => desk.agent(name))
    }

    pub(crate) async fn disable_agent(&self, name: &AgentName, disabled: bool) -> Result<AgentView, Failure> {
        at_either!(self, desk => desk.disable_agent(name, disabled))
    }

    /// Mints a worker token. On a home folder the root key has to be where the gate has it.
    pub(crate) async fn mint_worker(
        &self,
        order: WorkerOrder,
        environment: &Environment,
    ) -> Result<MintedWorkerView, Failure> {
        match self {
            Self::Home(desk) => desk.mint_worker(order, environment).await,
            Self::Server(desk) => desk.mint_worker(&order),
        }
    }

    pub(crate) async fn delete_agent(&self, name: &AgentName) -> Result<(), Failure> {
        at_either!(self, desk => desk.delete_agent(name))
    }

    /// Whether it can tell which routes there are.
    pub(crate) fn knows_routes(&self) -> bool {
        match self {
            Self::Home(desk) => desk.knows_routes(),
            Self::Server(_) => true,
        }
    }

    pub(crate) async fn cut(&self, order: CutOrder) -> Result<PlacedCutView, Failure> {
        at_either!(self, desk => desk.cut(order))
    }

    /// The cuts that stand and that one may see, oldest first.
    pub(crate) async fn cuts(&self) -> Result<CutList, Failure> {
        at_either!(self, desk => desk.cuts())
    }

    /// Lifts a cut, and tells what it was.
    pub(crate) async fn lift(&self, id: CutId) -> Result<CutView, Failure> {
        at_either!(self, desk => desk.lift(id))
    }

    /// A page of the audit trail, newest first.
    pub(crate) async fn events(&self, filter: EventFilter) -> Result<EventPage, Failure> {
        at_either!(self, desk => desk.events(filter))
    }

    /// Walks the whole trail. On a home folder the signature of a checkpoint is looked into too; a gate's word is taken
    /// for it.
    pub(crate) async fn verify_trail(&self, environment: &Environment) -> Result<WholeTrail, Failure> {
        at_either!(self, desk => desk.verify_trail(environment))
    }

    /// The next events behind that one, oldest first; none when there are none yet.
    pub(crate) async fn events_after(&self, seq: u64) -> Result<Vec<Event>, Failure> {
        at_either!(self, desk => desk.events_after(seq))
    }
}
