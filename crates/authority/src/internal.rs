//! The machine's internal token: what makes the secret in its file count. The file itself is the program's matter.

use std::collections::BTreeMap;

use fallgate_domain::audit::Action;
use fallgate_domain::credential::Revocation;
use fallgate_domain::entropy::NoEntropy;
use fallgate_domain::id::CredentialId;
use fallgate_domain::internal::InternalToken;
use fallgate_store::{InternalHeld, NewInternal, StoreError};

use crate::registrar::{Actor, Registrar};

/// Why an internal token does not count.
#[derive(Debug, thiserror::Error)]
pub enum InternalTokenError {
    /// It was revoked or replaced once, and does not come back.
    #[error("it was revoked")]
    Ended,
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Registrar {
    /// A new one, which counts for nothing yet.
    pub fn draw_internal(&self) -> Result<InternalToken, InternalTokenError> {
        Ok(InternalToken::new(&*self.entropy)?)
    }

    /// Makes sure that this internal token counts and no other one does.
    pub async fn hold_internal(
        &self,
        token: &InternalToken,
        actor: &Actor,
    ) -> Result<(), InternalTokenError> {
        self.hold(token, Action::InternalTokenMake, actor).await
    }

    /// The same because somebody wants another one.
    pub async fn rotate_internal(
        &self,
        token: &InternalToken,
        actor: &Actor,
    ) -> Result<(), InternalTokenError> {
        self.hold(token, Action::InternalTokenRotate, actor).await
    }

    async fn hold(
        &self,
        token: &InternalToken,
        action: Action,
        actor: &Actor,
    ) -> Result<(), InternalTokenError> {
        let now = self.clock.now();
        let id = CredentialId::new(now, &*self.entropy)?;
        let new = NewInternal { id, hash: token.hash(), minted_by: actor.mark(), created_at: now };
        let reason = Some("replaced by another internal token".to_owned());
        let revocation = Revocation { at: now, by: actor.mark(), reason };
        let event = actor.event(now, action, id.to_string(), BTreeMap::new());
        match self.vault.hold_internal(new, revocation, event).await? {
            InternalHeld::Now(_) | InternalHeld::Already => Ok(()),
            InternalHeld::Ended => Err(InternalTokenError::Ended),
        }
    }
}
