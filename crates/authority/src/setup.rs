//! The first run: as long as there is no user, whoever has the setup token makes the first admin.

use std::collections::BTreeMap;
use std::time::Duration;

use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::id::UserId;
use fallgate_domain::setup::SetupToken;
use fallgate_domain::user::{DisplayName, Role, User, Username};
use fallgate_store::{FirstUser, StoreError};
use parking_lot::Mutex;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::accounts::CheckPassphraseError;
use crate::caller::Newcomer;
use crate::passphrase::HashFailed;
use crate::policy::Policy;
use crate::registrar::Actor;
use crate::signin::NewSignIn;
use crate::verifier::Verifier;

/// How long a setup token is good. The next start makes another.
const LIFE: Duration = Duration::from_hours(24);
/// How often it is looked whether there is a user now.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The token of this run, as long as it may be used.
#[derive(Debug, Default)]
pub(crate) struct Setup(Mutex<Option<(SetupToken, Timestamp)>>);

/// The first admin to be.
#[derive(Debug)]
pub struct SetupOrder {
    /// Shows that they may.
    pub setup_token: Zeroizing<String>,
    /// How they sign in.
    pub username: Username,
    /// How they are shown; the username, if nothing is said.
    pub display_name: Option<DisplayName>,
    /// What they sign in with.
    pub passphrase: Zeroizing<String>,
}

/// Why there is no first admin now.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is a user already.
    #[error("Fallgate is set up already: sign in")]
    Done,
    /// Not the token of this run, or a day has passed.
    #[error("the setup token is wrong, or older than a day: restarting Fallgate makes a new one")]
    WrongToken,
    /// The passphrase is not good enough, or could not be looked at.
    #[error(transparent)]
    Passphrase(#[from] CheckPassphraseError),
    /// The passphrase could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashFailed),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Verifier {
    /// Makes the setup token of this run, to be written to where only whoever runs Fallgate finds it. `None`: there
    /// are users, so there is nothing to set up.
    pub fn open_setup(&self) -> Result<Option<SetupToken>, NoEntropy> {
        if self.view.has_users() {
            return Ok(None);
        }
        let random = Zeroizing::new(entropy::bytes::<32>(&*self.registrar.entropy)?);
        let token = SetupToken::new(&random);
        *self.setup.0.lock() = Some((token.clone(), self.clock().now().plus(LIFE)));
        Ok(Some(token))
    }

    /// Whether there is no user at all.
    pub async fn needs_setup(&self) -> Result<bool, StoreError> {
        if self.view.has_users() {
            return Ok(false);
        }
        // Another process may have made one a moment ago.
        self.freshen().await?;
        Ok(!self.view.has_users())
    }

    /// How many bytes a passphrase must have at least.
    pub fn fewest_passphrase_bytes(&self) -> usize {
        self.registrar.policy().passphrase_bytes.max(Policy::FEWEST_BYTES)
    }

    /// Returns when there is a user, by whatever way.
    pub async fn until_set_up(&self) {
        while !self.view.has_users() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        *self.setup.0.lock() = None;
    }

    /// Makes the first user, an admin, and signs them in.
    pub async fn set_up(&self, order: SetupOrder, newcomer: &Newcomer) -> Result<NewSignIn, SetupError> {
        if !self.needs_setup().await? {
            return Err(SetupError::Done);
        }
        if !self.setup.is(&order.setup_token, self.clock().now()) {
            return Err(SetupError::WrongToken);
        }
        let display_name = order.display_name.unwrap_or_else(|| DisplayName::from(&order.username));
        let about = vec![order.username.to_string(), display_name.to_string(), "fallgate".to_owned()];
        let passphrase = self.check_passphrase(order.passphrase, about).await?;
        let hash = self.registrar.hash(passphrase).await?;
        let now = self.clock().now();
        let user = User {
            id: UserId::new(now, &*self.registrar.entropy)?,
            username: order.username,
            display_name,
            role: Role::Admin,
            created_at: now,
            disabled_at: None,
        };
        let (new, secret) = self.new_login(&user, None, newcomer)?;
        let credential = new.credential.clone();
        let actor = Actor::signing_in(&user, credential.id, newcomer.ip);
        let detail = BTreeMap::from([("role".to_owned(), Value::from(user.role.name()))]);
        let event = actor.event(now, audit::Action::Setup, user.username.to_string(), detail);
        match self.registrar.vault.create_first_user(user.clone(), hash, new, event).await? {
            FirstUser::Created(_) => {
                self.freshen_after_act().await;
                Ok(NewSignIn { credential, user, secret })
            }
            FirstUser::NotTheFirst => Err(SetupError::Done),
        }
    }
}

impl Setup {
    fn is(&self, presented: &str, now: Timestamp) -> bool {
        let held = self.0.lock();
        held.as_ref().is_some_and(|(token, ends_at)| token.is(presented.as_bytes()) && now < *ends_at)
    }
}
