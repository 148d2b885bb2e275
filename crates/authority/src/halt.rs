//! What is to end and cannot be written down, because the disk is full, say, ends in this process all the same.

use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::{AgentId, CredentialId, UserId};
use fallgate_domain::user::Username;
use fallgate_store::StoreError;

use crate::entry::Entry;
use crate::verifier::Verifier;

/// An end that this process keeps to and nobody else knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this could not be written down (the gate's log says why), so other processes do not know of it and a restart \
     undoes it; until then this gate refuses what was to end, and it has closed its connections: mend it, then do this \
     again"
)]
pub struct Unwritten;

/// Ends in this process what could not be written down; unless it is because whoever asked for it was shut out, who then
/// ends nothing.
pub(crate) fn or_halt<T, E>(
    written: Result<T, StoreError>,
    halt: impl FnOnce(&StoreError) -> Unwritten,
) -> Result<T, E>
where
    E: From<StoreError> + From<Unwritten>,
{
    written.map_err(|error| match error {
        StoreError::CallerEnded | StoreError::CallerCut(_) => error.into(),
        error => halt(&error).into(),
    })
}

/// What of somebody's is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owned {
    /// Sign-ins.
    Logins,
    /// What "all tokens" means.
    Tokens,
    /// Whatever it is.
    Everything,
}

impl Owned {
    fn has(self, entry: &Entry) -> bool {
        match self {
            Self::Logins => entry.kind == CredentialKind::Login,
            Self::Tokens => entry.is_token(),
            Self::Everything => true,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Logins => "sign-ins",
            Self::Tokens => "tokens",
            Self::Everything => "credentials",
        }
    }
}

/// In each the log comes last: that a line cannot be written must not keep anything from ending.
impl Verifier {
    /// Refuses a credential from now on and cuts what rests on it.
    pub(crate) fn halt_credential(&self, id: CredentialId, error: &StoreError) -> Unwritten {
        if let Some(entry) = self.view.entry_of(id) {
            entry.halt();
            // After it, never before: the contract of `View::apply`.
            entry.account.poke();
        }
        tracing::error!(%error, credential = %id, "cannot write down that a credential ends; refusing it until restarted");
        Unwritten
    }

    /// The same with all that somebody has of a kind, but one and the sign-ins that hang on it.
    pub(crate) fn halt_owned(
        &self,
        owner: UserId,
        what: Owned,
        except: Option<CredentialId>,
        error: &StoreError,
    ) -> Unwritten {
        if let Some(account) = self.view.account(owner) {
            self.view.each(|entry| {
                let is_theirs = entry.account.user.as_ref().is_some_and(|user| user.id == owner);
                // Of what hangs on it, only the sign-ins: a token that it minted is as good as any.
                let hangs = |except| entry.kind == CredentialKind::Login && entry.parent.is(except);
                let spared = except.is_some_and(|except| entry.id == except || hangs(except));
                if is_theirs && what.has(entry) && !spared {
                    entry.halt();
                }
            });
            account.poke();
        }
        let what = what.name();
        tracing::error!(%error, user = %owner, what, "cannot write down that these of a user's end; refusing them until restarted");
        Unwritten
    }

    /// The same with a whole account; or lets it in again, if that is what somebody wants now.
    pub(crate) fn halt_user(&self, username: &Username, error: &StoreError) -> Unwritten {
        self.set_halted(username, true);
        tracing::error!(%error, user = %username, "cannot write down that a user is shut out; refusing them until restarted");
        Unwritten
    }

    /// Takes back [`Verifier::halt_user`].
    pub(crate) fn unhalt_user(&self, username: &Username) {
        self.set_halted(username, false);
    }

    /// The same with an agent.
    pub(crate) fn halt_agent(&self, id: AgentId, error: &StoreError) -> Unwritten {
        self.set_agent_halted(id, true);
        tracing::error!(%error, agent = %id, "cannot write down that an agent is shut out; refusing it until restarted");
        Unwritten
    }

    /// Takes back [`Verifier::halt_agent`].
    pub(crate) fn unhalt_agent(&self, id: AgentId) {
        self.set_agent_halted(id, false);
    }

    fn set_agent_halted(&self, id: AgentId, yes: bool) {
        if let Some(agent) = self.view.agent(id) {
            agent.halt(yes);
            agent.account.poke();
        }
    }

    fn set_halted(&self, username: &Username, yes: bool) {
        let accounts = self.view.accounts();
        let named = accounts
            .iter()
            .filter(|account| account.user.as_ref().is_some_and(|user| user.username == *username));
        for account in named {
            account.halt(yes);
            account.poke();
        }
    }

    /// Cuts everything: what this process knows is not to be relied on any more.
    pub(crate) fn halt_all(&self) {
        for account in self.view.accounts() {
            account.halt(true);
            account.poke();
        }
    }
}
