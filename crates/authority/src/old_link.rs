//! An old address with a token of llmux in it, opened in a browser: the token becomes a sign-in that hangs on it.
//! Nothing else is ever taken from an address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fallgate_domain::audit;
use fallgate_domain::credential::{Credential, CredentialKind, NewCredential};
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::id::CredentialId;
use fallgate_domain::legacy::LegacyToken;
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_store::{Minted, StoreError};
use http::HeaderMap;
use zeroize::Zeroize;

use crate::presented::Presented;
use crate::registrar::Actor;
use crate::verifier::Verifier;
use crate::{device, uses};

/// Whoever opened such an address.
#[derive(Debug, Clone, Copy)]
pub struct LinkVisitor<'a> {
    /// The client's address, if it came over IP.
    pub ip: Option<IpAddr>,
    /// What the client calls itself.
    pub user_agent: Option<&'a [u8]>,
}

/// A sign-in that hangs on an old token, with the one sight of its secret.
#[derive(Debug)]
pub struct LinkSignIn {
    /// Its row.
    pub credential: Credential,
    /// For the cookie.
    pub secret: PlainToken,
}

/// Why nobody was signed in by an old address, though its token may be good.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No random bytes for the secret.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a browser brings a cookie of our name, good or not, or a header that says who it is.
pub fn brings_credential(headers: &HeaderMap, https: bool) -> bool {
    headers.contains_key(http::header::AUTHORIZATION)
        || !matches!(Presented::from_cookies(headers, https), Ok(None))
}

impl Verifier {
    /// Makes a sign-in with the scopes of this old token, which ends with it at the latest. `None` for a token that
    /// does not stand, and for a network that comes too often.
    pub async fn sign_in_by_link(
        &self,
        secret: &[u8],
        visitor: LinkVisitor<'_>,
    ) -> Result<Option<LinkSignIn>, LinkError> {
        let Ok(token) = LegacyToken::parse(secret) else { return Ok(None) };
        if self.count_held(visitor.ip).is_err() {
            return Ok(None);
        }
        self.freshen().await?;
        let now = self.clock().now();
        let Some(parent) = self.view.entry(&token.hash()).filter(|entry| entry.judge(now).is_ok()) else {
            return Ok(None);
        };
        let entropy = &*self.registrar.entropy;
        let mut random = entropy::bytes::<32>(entropy)?;
        let secret = PlainToken::new(TokenKind::Login, &random);
        random.zeroize();
        let end = now.plus(self.registrar.policy().login_life);
        let actor = Actor::Holder { credential: parent.id, ip: visitor.ip };
        let owner = parent.account.user.as_ref();
        let credential = Credential {
            id: CredentialId::new(now, entropy)?,
            kind: CredentialKind::Login,
            owner: owner.map(|user| user.id),
            parent: Some(parent.id),
            minted_by: actor.mark(),
            name: device::name(visitor.user_agent.map(uses::shown).as_deref()),
            hint: secret.hint(),
            scopes: parent.scopes.clone(),
            created_at: now,
            expires_at: Some(parent.deadline().map_or(end, |deadline| deadline.min(end))),
            revoked: None,
            last_use: None,
        };
        let target = owner.map_or_else(|| parent.id.to_string(), |user| user.username.to_string());
        let detail = BTreeMap::from([
            ("name".to_owned(), credential.name.clone().into()),
            ("login".to_owned(), credential.id.to_string().into()),
        ]);
        let event = actor.event(now, audit::Action::Login, target, detail);
        let new = NewCredential { credential: credential.clone(), hash: secret.hash() };
        match self.registrar.vault.mint(new, u32::MAX, event).await? {
            Minted::Minted(_) => {
                self.freshen_after_act().await;
                Ok(Some(LinkSignIn { credential, secret }))
            }
            // It ended just now.
            Minted::OwnerUnknown
            | Minted::OwnerDisabled
            | Minted::ParentEnded
            | Minted::TooDeep
            | Minted::TooMany => Ok(None),
        }
    }
}
