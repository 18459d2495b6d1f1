//! The Accounts port: users, their tokens, and the record of who did what. One conformance suite
//! (`tasker-testkit`) that every backend passes.

use std::net::IpAddr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::account::{Grants, Role};
use crate::name::Client;
use crate::store::StoreError;
use crate::token::{SecretHash, TokenKey};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name; what it makes belongs to the client of that name.
    pub name: Client,
    /// What it is there for.
    pub role: Role,
    /// What of that it may touch.
    pub grants: Grants,
    /// Whether it has a password.
    pub has_password: bool,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

/// A user to be added.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its name.
    pub name: Client,
    /// What it is there for.
    pub role: Role,
    /// What of that it may touch.
    pub grants: Grants,
    /// The hash of its password (a PHC string); `None`: it uses tokens only.
    pub password: Option<PasswordHash>,
}

/// The hash of a password, a PHC string. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// What finds it.
    pub key: TokenKey,
    /// Whose it is.
    pub user: Client,
    /// What it is for, in its maker's words.
    pub note: String,
    /// What of the user's it may touch.
    pub grants: Grants,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked; `None`: it was not.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute; `None`: never.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A token to be added.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What finds it.
    pub key: TokenKey,
    /// What proves it.
    pub hash: SecretHash,
    /// Whose it is.
    pub user: Client,
    /// What it is for; at most 200 characters.
    pub note: String,
    /// What of the user's it may touch.
    pub grants: Grants,
    /// How long it lives, in seconds; `None`: for ever.
    pub expires_in_s: Option<u32>,
}

/// A token that counts: neither expired nor revoked, of a user that exists.
#[derive(Debug, Clone)]
pub struct Valid {
    /// What proves it.
    pub hash: SecretHash,
    /// Whose it is.
    pub user: Client,
    /// The user's role.
    pub role: Role,
    /// The user's grants and the token's; both must allow.
    pub grants: [Grants; 2],
}

/// What an entry of the audit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditKind {
    /// A request that makes or changes something was accepted.
    Accept,
    /// A request was refused: 401, 403 or 429.
    Deny,
    /// Somebody said their password, rightly.
    Login,
    /// A token was made.
    Token,
    /// A token was revoked.
    Revoke,
    /// A user was added, removed, or got another password.
    User,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Accept,
        Self::Deny,
        Self::Login,
        Self::Token,
        Self::Revoke,
        Self::User,
    ];

    /// The word of a kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Deny => "deny",
            Self::Login => "login",
            Self::Token => "token",
            Self::Revoke => "revoke",
            Self::User => "user",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// What it is about.
    pub kind: AuditKind,
    /// Who did it; `None`: nobody knows.
    pub who: Option<Client>,
    /// By which token.
    pub token: Option<TokenKey>,
    /// What was done, as `POST /worker/a 201`; at most 512 characters count.
    pub what: String,
    /// From where; `None`: on the command line of a host that has the database's address.
    pub from: Option<IpAddr>,
}

/// An entry of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number; later entries have greater ones.
    pub id: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// What happened.
    pub event: AuditEvent,
}

/// Which entries of the audit.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only of this kind.
    pub kind: Option<AuditKind>,
    /// Only what this one did.
    pub who: Option<Client>,
    /// Only with a smaller number: the last one of the page before.
    pub before: Option<i64>,
    /// How many at most, newest first.
    pub limit: u32,
}

/// The accounts.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Adds a user. `false`: the name is taken, nothing changed.
    async fn add_user(&self, user: NewUser) -> Result<bool, StoreError>;

    /// Gives a user another password. `false`: there is no such user.
    async fn set_password(&self, user: &Client, password: PasswordHash)
    -> Result<bool, StoreError>;

    /// Removes a user with all its tokens. What it made stays, and belongs to a user who gets the
    /// same name later. `false`: there is no such user.
    async fn remove_user(&self, user: &Client) -> Result<bool, StoreError>;

    /// Every user, by name.
    async fn users(&self) -> Result<Vec<User>, StoreError>;

    /// A user and the hash of its password.
    async fn user(&self, name: &Client)
    -> Result<Option<(User, Option<PasswordHash>)>, StoreError>;

    /// Adds a token, and forgets those of the user that ended a month ago. `false`: there is no such
    /// user.
    async fn add_token(&self, token: NewToken) -> Result<bool, StoreError>;

    /// Revokes a token, at once and for ever. `None`: there is no such token; otherwise whose it is.
    async fn revoke_token(&self, key: &TokenKey) -> Result<Option<Client>, StoreError>;

    /// Tokens of a user (`None`: of all), newest first.
    async fn tokens(&self, user: Option<&Client>) -> Result<Vec<TokenInfo>, StoreError>;

    /// For each key the token, if it counts now; and notes that they are used.
    async fn valid(&self, keys: Vec<TokenKey>) -> Result<Vec<Option<Valid>>, StoreError>;

    /// Writes entries of the audit, in order. There is no operation that changes or removes one.
    async fn note(&self, events: Vec<AuditEvent>) -> Result<(), StoreError>;

    /// A page of the audit, newest first.
    async fn audit(&self, filter: AuditFilter) -> Result<Vec<AuditEntry>, StoreError>;
}
