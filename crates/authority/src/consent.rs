//! Signing in a device because somebody stands for it: pairing and device sign-in end here.

use std::collections::BTreeMap;

use fallgate_domain::audit::{self, Author};
use fallgate_domain::credential::Credential;
use fallgate_domain::cut::CutNotice;
use fallgate_domain::entropy::NoEntropy;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_store::{Minted, StoreError};
use serde_json::Value;

use crate::caller::Newcomer;
use crate::registrar::Actor;
use crate::signin::NewSignIn;
use crate::verifier::Verifier;

/// How what made a sign-in begins, where somebody stood for it and nobody showed a passphrase.
pub(crate) const MARK: &str = "pairing:";

/// Whether nobody has shown a passphrase for that sign-in.
pub(crate) fn is_by_consent(sign_in: &Credential) -> bool {
    sign_in.minted_by.starts_with(MARK)
}

/// Somebody's word that a device may be signed in as them.
pub(crate) struct Consent {
    /// As whom.
    pub(crate) owner: UserId,
    /// The credential by which they gave it. It must stand to the last; none where access to the home folder is enough,
    /// which does not end.
    pub(crate) by: Option<CredentialId>,
    /// What the sign-in will be called.
    pub(crate) device: String,
    /// What the credential says of how it came to be: that nobody showed a passphrase for it.
    pub(crate) minted_by: String,
    /// For the audit trail.
    pub(crate) detail: BTreeMap<String, Value>,
}

/// Why the device was not signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsentError {
    /// Whoever gave it is shut out, or gone, or what they gave it by has ended.
    #[error("the account or the sign-in that this hangs on is shut out now")]
    Ended,
    /// A cut stops them.
    #[error("they are cut")]
    Cut(CutNotice),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for ConsentError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::CallerEnded => Self::Ended,
            StoreError::CallerCut(notice) => Self::Cut(notice),
            error => Self::Store(error),
        }
    }
}

impl Verifier {
    /// Makes the sign-in of a device that somebody stands for. It hangs on nothing: it lives on its own.
    pub(crate) async fn sign_in_by_consent(
        &self,
        consent: Consent,
        newcomer: &Newcomer,
    ) -> Result<NewSignIn, ConsentError> {
        let Consent { owner, by, device, minted_by, mut detail } = consent;
        self.freshen().await?;
        let user = self.store().user(owner).await?.ok_or(ConsentError::Ended)?;
        if let Some(cut) = self.view.cuts.on_sign_in(user.id, user.role) {
            self.refusals.count_sign_in("cut", Some(user.username), newcomer.ip);
            return Err(ConsentError::Cut(cut.notice()));
        }
        let (mut new, secret) = self.new_login(&user, device.parse().ok(), newcomer)?;
        new.credential.minted_by = minted_by;
        let credential = new.credential.clone();
        let actor = Actor::signing_in(&user, credential.id, newcomer.ip);
        detail.insert("name".to_owned(), credential.name.clone().into());
        let at = credential.created_at;
        let mut event = actor.event(at, audit::Action::Login, user.username.to_string(), detail);
        event.author = by.map(|credential| Author {
            credential,
            needs: None,
            at,
            though_all_is_cut: false,
            worker: None,
        });
        match self.registrar.vault.mint(new, u32::MAX, event).await? {
            Minted::Minted(_) => {}
            Minted::OwnerUnknown
            | Minted::OwnerDisabled
            | Minted::ParentEnded
            | Minted::TooDeep
            | Minted::TooMany => return Err(ConsentError::Ended),
        }
        self.freshen_after_act().await;
        Ok(NewSignIn { credential, user, secret })
    }
}
