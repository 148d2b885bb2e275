//! The device's side: it shows a code, waits, and is signed in.

use std::net::IpAddr;

use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, TokenName};
use fallgate_domain::entropy;
use fallgate_domain::pairing::PairingCode;
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_domain::user::{DisplayName, Username};
use zeroize::{Zeroize, Zeroizing};

use super::table::{Asker, Pairing, Starter};
use super::{PairingError, PairingStatus};
use crate::caller::Newcomer;
use crate::consent::{Consent, MARK};
use crate::hash_queue::Lane;
use crate::registrar::Actor;
use crate::signin::{NewSignIn, SignInError};
use crate::tokens::TokenError;
use crate::verifier::Verifier;
use crate::{device, uses};

/// What the cookie is called in which a browser keeps its [`Claim`]. The prefix makes browsers hold it to https, one
/// host and `Path=/`.
pub const fn pairing_cookie_name(https: bool) -> &'static str {
    if https { "__Host-fallgate-pair" } else { "fallgate-pair" }
}

/// Whom a code is for, before it is used.
#[derive(Debug)]
pub struct PairingOffer {
    /// Whom a device will be signed in as.
    pub username: Username,
    /// As they are shown.
    pub display_name: DisplayName,
    /// Whether it asks for their passphrase in place of somebody's consent.
    pub needs_passphrase: bool,
    /// What the device is called if it is not named.
    pub device: String,
}

/// A device uses a code.
#[derive(Debug)]
pub struct RedeemOrder {
    /// As it was sent.
    pub code: Zeroizing<String>,
    /// What the sign-in will be called; read off the `User-Agent`, if nothing is said.
    pub device_name: Option<TokenName>,
    /// As it was typed, if it was.
    pub passphrase: Option<Zeroizing<String>>,
}

/// What came of it.
#[derive(Debug)]
pub enum Redeemed {
    /// The passphrase was right.
    SignedIn(Box<NewSignIn>),
    /// The other side is asked.
    Asked(Claim),
}

/// What a device holds while the other side is asked.
#[derive(Debug)]
pub struct Claim {
    /// By which it is known. Nobody is anybody by it.
    pub secret: PlainToken,
    /// Shown on both sides.
    pub number: u8,
    /// Until when it may wait.
    pub until: Timestamp,
}

/// What the other side has said.
#[derive(Debug)]
pub enum Collected {
    /// Nothing yet.
    Waiting {
        /// Shown on both sides.
        number: u8,
        /// Until when the device may wait.
        until: Timestamp,
    },
    /// Yes.
    SignedIn(Box<NewSignIn>),
}

impl Verifier {
    /// Whom a code is for. It stays good.
    pub async fn pairing_offer(&self, code: &str, newcomer: &Newcomer) -> Result<PairingOffer, PairingError> {
        let pairing = self.find_pairing(code, newcomer.ip)?;
        let user = self.store().user(pairing.owner).await?.ok_or(PairingError::StarterEnded)?;
        Ok(PairingOffer {
            username: user.username,
            display_name: user.display_name,
            needs_passphrase: matches!(pairing.starter, Starter::Gate),
            device: device_name(None, newcomer),
        })
    }

    /// Uses a code: whatever comes of it, nobody else can, unless it was a wrong passphrase that was shown with it.
    pub async fn redeem_pairing(
        &self,
        order: RedeemOrder,
        newcomer: &Newcomer,
    ) -> Result<Redeemed, PairingError> {
        let RedeemOrder { code, device_name: name, passphrase } = order;
        let pairing = self.find_pairing(&code, newcomer.ip)?;
        let device = device_name(name, newcomer);
        match (&pairing.starter, passphrase) {
            (Starter::Gate, None) => Err(PairingError::PassphraseNeeded),
            (Starter::Gate, Some(passphrase)) => {
                let signed_in = self.pair_by_passphrase(pairing, device, &passphrase, newcomer).await?;
                Ok(Redeemed::SignedIn(Box::new(signed_in)))
            }
            (Starter::SignIn(_) | Starter::Operator, _) => {
                self.ask_other_side(pairing, device, newcomer.ip).await.map(Redeemed::Asked)
            }
        }
    }

    /// Where it stands for the device that holds this, and the number that both sides show.
    pub fn pairing_wait(&self, claim: &[u8]) -> Option<(PairingStatus, u8)> {
        let pairing = self.claimed(claim)?;
        Some((pairing.status, pairing.asker?.number))
    }

    /// Signs in the device that holds this, once it was let in.
    pub async fn collect_pairing(
        &self,
        claim: &[u8],
        newcomer: &Newcomer,
    ) -> Result<Collected, PairingError> {
        let now = self.clock().now();
        let mut pairing = self.claimed(claim).ok_or(PairingError::Unknown)?;
        let asker = pairing.asker.take().ok_or(PairingError::Unknown)?;
        if pairing.status == PairingStatus::Asked {
            return Ok(Collected::Waiting { number: asker.number, until: pairing.until });
        }
        // Before anything is made: it is made once.
        self.pairings.pass(pairing.id, PairingStatus::Allowed, PairingStatus::Done, now)?;
        let signed_in = self.sign_in_paired(&pairing, asker.device, newcomer).await;
        if signed_in.is_err() {
            let _ = self.pairings.pass(pairing.id, PairingStatus::Done, PairingStatus::Withdrawn, now);
        }
        signed_in.map(|signed_in| Collected::SignedIn(Box::new(signed_in)))
    }

    /// The pairing that waits for this code.
    fn find_pairing(&self, code: &str, ip: Option<IpAddr>) -> Result<Pairing, PairingError> {
        let now = self.clock().now();
        self.pairings.throttle.count(ip, now)?;
        let code = PairingCode::parse(code.as_bytes()).map_err(|_| PairingError::Unknown);
        code.and_then(|code| self.pairings.by_code(&code, now)).inspect_err(|error| {
            if matches!(error, PairingError::Unknown | PairingError::Worn) {
                self.refusals.count_sign_in("wrong-pairing-code", None, ip);
            }
        })
    }

    fn claimed(&self, claim: &[u8]) -> Option<Pairing> {
        let claim = PlainToken::parse(TokenKind::PairingClaim, claim).ok()?;
        self.pairings.by_claim(&claim.hash(), self.clock().now())
    }

    async fn ask_other_side(
        &self,
        mut pairing: Pairing,
        device: String,
        ip: Option<IpAddr>,
    ) -> Result<Claim, PairingError> {
        let (now, entropy) = (self.clock().now(), &*self.registrar.entropy);
        let mut random = entropy::bytes::<32>(entropy)?;
        let secret = PlainToken::new(TokenKind::PairingClaim, &random);
        random.zeroize();
        let number = two_digits(entropy::bytes(entropy)?);
        let asker = Asker { claim: Some(secret.hash()), device, ip, number };
        pairing.asker = Some(asker.clone());
        let until = self.pairings.ask(pairing.id, asker, PairingStatus::Asked, now)?;
        if let Err(error) = self.registrar.vault.record(vec![pairing.redeemed(now, ip)]).await {
            self.pairings.withdraw(pairing.id, now);
            return Err(error.into());
        }
        Ok(Claim { secret, number, until })
    }

    async fn pair_by_passphrase(
        &self,
        mut pairing: Pairing,
        device: String,
        passphrase: &Zeroizing<String>,
        newcomer: &Newcomer,
    ) -> Result<NewSignIn, PairingError> {
        let (id, ip, now) = (pairing.id, newcomer.ip, self.clock().now());
        self.pairings.begin_try(id, now)?;
        let proven = self.prove(pairing.username.as_str(), passphrase, ip, Lane::of(ip)).await;
        let now = self.clock().now();
        let proven = match proven {
            Ok(proven) if proven.user.id == pairing.owner => proven,
            Ok(_) => return Err(PairingError::StarterEnded),
            Err(SignInError::Wrong | SignInError::TooLong) => return Err(self.pairings.failed_try(id, now)),
            Err(error) => {
                self.pairings.forget_try(id, now);
                return Err(error.into());
            }
        };
        let asker = Asker { claim: None, device: device.clone(), ip, number: 0 };
        pairing.asker = Some(asker.clone());
        self.pairings.ask(id, asker, PairingStatus::Done, now)?;
        self.registrar.vault.record(vec![pairing.redeemed(now, ip)]).await?;
        let device_name = device.parse().ok();
        let signed_in = self.sign_in_proven(proven, device_name, newcomer).await?;
        signed_in.ok_or(PairingError::SignIn(SignInError::Unsettled))
    }

    /// Makes the sign-in of a device that was let in. What it had until now ends (requirement R20).
    async fn sign_in_paired(
        &self,
        pairing: &Pairing,
        device: String,
        newcomer: &Newcomer,
    ) -> Result<NewSignIn, PairingError> {
        let consent = Consent {
            owner: pairing.owner,
            by: pairing.credential(),
            device,
            minted_by: format!("{MARK}{}", pairing.id),
            detail: pairing.detail(),
        };
        let signed_in = self.sign_in_by_consent(consent, newcomer).await?;
        self.end_held(newcomer).await;
        Ok(signed_in)
    }

    /// Ends what a browser had before. A failure is no reason to keep the device out: what is left ends by itself.
    async fn end_held(&self, newcomer: &Newcomer) {
        let Some(held) = newcomer.held().filter(|held| held.kind() == CredentialKind::Login) else { return };
        let credential = held.credential();
        let holder = Actor::Holder { credential, ip: newcomer.ip };
        let actor = Actor::standing(held, newcomer.ip).unwrap_or(holder);
        let ended = self.end(held, &actor, credential, audit::Action::Logout, "signed in anew").await;
        if let Err(error @ (TokenError::Store(_) | TokenError::Unwritten(_))) = ended {
            tracing::warn!(%error, %credential, "a sign-in that was replaced has not ended");
        }
    }
}

fn device_name(told: Option<TokenName>, newcomer: &Newcomer) -> String {
    let guessed = || device::name(newcomer.user_agent.as_deref().map(uses::shown).as_deref());
    told.map_or_else(guessed, TokenName::into_string)
}

/// From 10 to 99, so that nobody wonders about a zero.
fn two_digits(random: [u8; 4]) -> u8 {
    u8::try_from(10 + u32::from_be_bytes(random) % 90).unwrap_or(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_two_digits() {
        for random in [[0; 4], [0xff; 4], [0, 0, 0, 89], [0, 0, 0, 90]] {
            assert!((10..=99).contains(&two_digits(random)), "{random:?}");
        }
    }
}
