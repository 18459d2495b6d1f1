//! Who sends a request: a token, or a name with a password; and the record of what they did.

mod audit;
mod credentials;
mod keyring;
mod logins;
mod password;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tasker_core::Client;
use tasker_core::account::{Grants, Role};
use tasker_core::accounts::{Accounts, AuditEvent, AuditKind, PasswordHash, User, Valid};
use tasker_core::store::StoreError;
use tasker_core::token::{Token, TokenKey};
use tokio::runtime::Handle;

pub(crate) use audit::{Place, Record, record};
pub(crate) use credentials::Credentials;
pub(crate) use keyring::{Keyring, keyring};
use logins::Logins;
use password::Passwords;
pub use password::{BadPassword, MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, hash_password};

use crate::outage::Outage;

/// Somebody who is known.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) user: Client,
    pub(crate) role: Role,
    /// The user's and the token's; both must allow.
    pub(crate) grants: Vec<Grants>,
    /// `None`: by password.
    pub(crate) token: Option<TokenKey>,
}

/// Why somebody is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They said nothing.
    Silent,
    /// What they said counts for nothing.
    Wrong,
    /// Too many wrong passwords; after so long they may try again.
    TooMany(Duration),
    /// The ledger is away.
    Unavailable,
    /// Too many ask at once.
    Busy,
}

/// Who finds out who somebody is.
pub(crate) struct Doorkeeper {
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) ledger: Arc<Outage>,
    pub(crate) keyring: Keyring,
    pub(crate) record: Record,
    logins: Logins,
    passwords: Passwords,
    /// The runtime that the database's connections belong to.
    main: Handle,
}

impl Doorkeeper {
    pub(crate) fn new(
        accounts: Arc<dyn Accounts>,
        ledger: Arc<Outage>,
        keyring: Keyring,
        record: Record,
        main: Handle,
    ) -> Self {
        Self {
            accounts,
            ledger,
            keyring,
            record,
            logins: Logins::default(),
            passwords: Passwords::default(),
            main,
        }
    }

    /// Finds out who shows these credentials.
    pub(crate) async fn identify(
        &self,
        credentials: Credentials,
        from: IpAddr,
    ) -> Result<Known, Unknown> {
        match credentials {
            Credentials::None => Err(Unknown::Silent),
            Credentials::Unreadable => Err(Unknown::Wrong),
            Credentials::Token(token) => self.by_token(&token).await,
            Credentials::Password { user, password } => {
                self.by_password(user, password, from).await
            }
        }
    }

    /// Writes down that a token was made over HTTP.
    pub(crate) fn note_token(&self, user: Client, key: TokenKey) {
        self.record.try_note(AuditEvent {
            kind: AuditKind::Token,
            what: format!("{key} made for {user}"),
            who: Some(user),
            token: None,
            from: None,
        });
    }

    async fn by_token(&self, token: &Token) -> Result<Known, Unknown> {
        let worth = self.keyring.worth(token).await;
        let Valid {
            user, role, grants, ..
        } = worth
            .map_err(|_| Unknown::Unavailable)?
            .ok_or(Unknown::Wrong)?;
        Ok(Known {
            user,
            role,
            grants: grants.into(),
            token: Some(token.key.clone()),
        })
    }

    async fn by_password(
        &self,
        name: Client,
        password: String,
        from: IpAddr,
    ) -> Result<Known, Unknown> {
        // Who has to wait takes nobody's turn.
        let allowed = self.logins.check(&name, from, Instant::now());
        allowed.map_err(Unknown::TooMany)?;
        let found = self.user(name.clone()).await?;
        let (user, stored) = found.map_or((None, None), |(user, hash)| (Some(user), hash));
        let turn = self.passwords.turn().await.map_err(|_| Unknown::Busy)?;
        let begun = self.logins.begin(&name, from, Instant::now());
        begun.map_err(Unknown::TooMany)?;
        let is_right = turn.is(password, stored).await;
        let user = user.filter(|_| is_right).ok_or(Unknown::Wrong)?;
        self.logins.right(&name, from);
        self.record.try_note(AuditEvent {
            kind: AuditKind::Login,
            who: Some(name),
            token: None,
            what: "a right password".to_owned(),
            from: Some(from),
        });
        Ok(Known {
            user: user.name,
            role: user.role,
            grants: vec![user.grants],
            token: None,
        })
    }

    async fn user(&self, name: Client) -> Result<Option<(User, Option<PasswordHash>)>, Unknown> {
        let accounts = Arc::clone(&self.accounts);
        let found = self.main.spawn(async move { accounts.user(&name).await });
        let found = found.await.map_err(|_| Unknown::Unavailable)?;
        self.ledger.learn(&found);
        found.map_err(|error| {
            if !matches!(error, StoreError::Unavailable(_)) {
                tracing::error!(error = %crate::chain::chain(&error), "a user cannot be read");
            }
            Unknown::Unavailable
        })
    }
}
