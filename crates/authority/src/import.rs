//! Moving in from elsewhere: users and tokens that were made there, taken in as they are. The one act that writes
//! credentials of the kind `legacy`; nothing here makes a secret.

use std::collections::BTreeMap;

use fallgate_domain::audit::Action;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::entropy::NoEntropy;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::token::TokenHash;
use fallgate_domain::user::{DisplayName, Role, User, Username};
use fallgate_store::{Import, Imported, ImportedToken, ImportedUser, PassphraseHash, StoreError};

use crate::imported_hash::ScryptHash;
use crate::registrar::{Actor, Registrar};

/// Where they come from, as accounts and the audit trail remember it.
const SOURCE: &str = "llmux";

/// What an llmux installation has, read and checked.
#[derive(Debug, Default)]
pub struct LlmuxImport {
    /// Its users.
    pub users: Vec<LlmuxUser>,
    /// Its tokens, none of them expired.
    pub tokens: Vec<LlmuxToken>,
}

/// A user of llmux.
#[derive(Debug)]
pub struct LlmuxUser {
    /// How they sign in.
    pub username: Username,
    /// How they are shown.
    pub display_name: DisplayName,
    /// What they may do at most.
    pub role: Role,
    /// What their passphrase is checked against until they sign in.
    pub passphrase: ScryptHash,
    /// When llmux made the account.
    pub created_at: Timestamp,
}

/// A token of llmux.
#[derive(Debug)]
pub struct LlmuxToken {
    /// What it is known by here.
    pub hash: TokenHash,
    /// Its first characters, as far as they are known.
    pub hint: String,
    /// Whose it is: one of the users. `None` for the anonymous ones, which stay read-only.
    pub owner: Option<Username>,
    /// What it is called.
    pub name: String,
    /// When llmux made it.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When llmux saw it last.
    pub last_used_at: Option<Timestamp>,
}

/// Why nothing was taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No random bytes for the ids.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Registrar {
    /// Takes in all of it as one act, but for what was taken before or is in the way; tells of each, in order, what
    /// became of it. With `dry_run` nothing is done.
    pub async fn import_llmux(
        &self,
        import: LlmuxImport,
        dry_run: bool,
        actor: &Actor,
    ) -> Result<Imported, ImportError> {
        let now = self.clock.now();
        let users = import.users.into_iter().map(|user| self.imported_user(user, now));
        let users = users.collect::<Result<_, _>>()?;
        let tokens = import.tokens.into_iter().map(|token| self.imported_token(token, now, actor));
        let tokens = tokens.collect::<Result<_, _>>()?;
        let event = actor.event(now, Action::ImportLlmux, SOURCE.to_owned(), BTreeMap::new());
        let import = Import { source: SOURCE, users, tokens };
        Ok(self.vault.import(import, dry_run, event).await?)
    }

    fn imported_user(&self, user: LlmuxUser, now: Timestamp) -> Result<ImportedUser, NoEntropy> {
        let passphrase = PassphraseHash::from(&user.passphrase);
        let user = User {
            id: UserId::new(now, &*self.entropy)?,
            username: user.username,
            display_name: user.display_name,
            role: user.role,
            created_at: user.created_at,
            disabled_at: None,
        };
        Ok(ImportedUser { user, passphrase })
    }

    fn imported_token(
        &self,
        token: LlmuxToken,
        now: Timestamp,
        actor: &Actor,
    ) -> Result<ImportedToken, NoEntropy> {
        let scopes = if token.owner.is_some() { Scopes::default_for_tokens() } else { legacy_scopes() };
        // No token outlasts the policy, wherever it was made.
        let latest = self.policy().token_life.map(|longest| now.plus(longest));
        Ok(ImportedToken {
            id: CredentialId::new(now, &*self.entropy)?,
            hash: token.hash,
            owner: token.owner,
            minted_by: actor.mark(),
            name: token.name,
            hint: token.hint,
            scopes,
            created_at: token.created_at,
            expires_at: [token.expires_at, latest].into_iter().flatten().min(),
            last_used_at: token.last_used_at,
        })
    }
}

/// What an anonymous token may be used for.
fn legacy_scopes() -> Scopes {
    use PlainScope::{RoutesUse, SessionsAttach, SessionsRead, SessionsWrite};
    Scopes::plain([RoutesUse, SessionsRead, SessionsAttach, SessionsWrite])
}
