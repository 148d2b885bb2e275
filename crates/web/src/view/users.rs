//! Accounts, as the API shows them to admins.

use fallgate_domain::clock::Timestamp;
use fallgate_domain::user::{DisplayName, Role, User, Username};
use fallgate_store::EndedCredentials;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// A person's account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = User)]
pub struct UserView {
    /// How they sign in.
    #[schema(value_type = words::Username)]
    pub username: Username,
    /// How they are shown.
    #[schema(value_type = words::Name)]
    pub display_name: DisplayName,
    /// What they may do at most.
    #[schema(value_type = words::PersonsRole)]
    pub role: Role,
    /// When the account was made.
    #[schema(value_type = words::Time)]
    pub created_at: Timestamp,
    /// Since when it is disabled.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub disabled_at: Option<Timestamp>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            username: user.username,
            display_name: user.display_name,
            role: user.role,
            created_at: user.created_at,
            disabled_at: user.disabled_at,
        }
    }
}

/// `GET /api/users`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserList {
    /// Everybody, by username.
    pub users: Vec<UserView>,
}

impl From<Vec<User>> for UserList {
    fn from(users: Vec<User>) -> Self {
        Self { users: users.into_iter().map(UserView::from).collect() }
    }
}

/// What setting a passphrase has ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Ended)]
pub struct EndedView {
    /// How many sign-ins.
    pub revoked_logins: u64,
    /// How many tokens.
    pub revoked_tokens: u64,
}

impl From<EndedCredentials> for EndedView {
    fn from(ended: EndedCredentials) -> Self {
        Self { revoked_logins: ended.logins, revoked_tokens: ended.tokens }
    }
}
