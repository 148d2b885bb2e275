//! What is open now and would be closed if something were ended: for whoever is about to.

use std::collections::HashMap;

use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::{AgentId, CredentialId, UserId};

use crate::entry::{Entry, Parent};
use crate::verifier::Verifier;

/// What is about to be ended, with all that hangs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// One credential.
    Credential(CredentialId),
    /// All tokens of a user.
    Tokens(UserId),
    /// All sign-ins of a user but this one.
    Logins(UserId, Option<CredentialId>),
    /// All that a user has.
    User(UserId),
    /// What runs as an agent.
    Agent(AgentId),
}

impl Ending {
    /// Whether it ends this link itself.
    fn takes(self, link: &Entry) -> bool {
        let owned_by = |user: UserId| link.account.user.as_ref().is_some_and(|owner| owner.id == user);
        match self {
            Self::Credential(id) => link.id == id,
            Self::Tokens(user) => link.is_token() && owned_by(user),
            Self::Logins(user, but) => {
                let spared = but.is_some_and(|but| link.id == but || link.parent.is(but));
                link.kind == CredentialKind::Login && owned_by(user) && !spared
            }
            Self::User(user) => owned_by(user),
            Self::Agent(id) => link.agent.as_ref().is_some_and(|agent| agent.id == id),
        }
    }

    /// Whether it ends this credential, or something that it hangs on.
    fn ends(self, entry: &Entry) -> bool {
        let mut link = entry;
        loop {
            if self.takes(link) {
                return true;
            }
            match &link.parent {
                Parent::Entry(parent) => link = parent,
                Parent::None | Parent::Gone => return false,
            }
        }
    }
}

impl Verifier {
    /// How many streams are open now that this would close. Tells a number and nothing else: who may hear it is decided
    /// by who may end that.
    pub fn open_under(&self, ending: Ending) -> u64 {
        self.live.credentials().iter().filter(|entry| ending.ends(entry)).map(|_| 1).sum()
    }

    /// How many streams each agent has open now.
    pub fn open_by_agent(&self) -> HashMap<AgentId, u64> {
        let mut open = HashMap::new();
        for agent in self.live.credentials().iter().filter_map(|entry| entry.agent.as_ref()) {
            *open.entry(agent.id).or_default() += 1;
        }
        open
    }

    /// How many streams each user has open now.
    pub fn open_by_user(&self) -> HashMap<UserId, u64> {
        let mut open = HashMap::new();
        for entry in self.live.credentials() {
            if let Some(user) = &entry.account.user {
                *open.entry(user.id).or_default() += 1;
            }
        }
        open
    }
}
