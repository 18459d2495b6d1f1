//! The Accounts port, operation by operation.

mod audit;
mod tokens;
mod users;

use async_trait::async_trait;
use tasker_core::accounts::{
    Accounts, AuditEntry, AuditEvent, AuditFilter, NewToken, NewUser, PasswordHash, TokenInfo,
    User, Valid,
};
use tasker_core::name::Client;
use tasker_core::store::StoreError;
use tasker_core::token::TokenKey;

use super::door::Access::{Look, Read, Write};
use super::{Conn, Ledger, insert_audit, now};

#[async_trait]
impl Accounts for Ledger {
    async fn add_user(&self, user: NewUser) -> Result<bool, StoreError> {
        self.run("add_user", Write, user, |conn, user| {
            Box::pin(users::add(conn, user))
        })
        .await
    }

    async fn set_password(
        &self,
        user: &Client,
        password: PasswordHash,
    ) -> Result<bool, StoreError> {
        let input = (user.clone(), password);
        self.run("set_password", Write, input, |conn, input| {
            Box::pin(users::set_password(conn, input))
        })
        .await
    }

    async fn remove_user(&self, user: &Client) -> Result<bool, StoreError> {
        self.run("remove_user", Write, user.clone(), |conn, user| {
            Box::pin(users::remove(conn, user))
        })
        .await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.run("users", Look, (), |conn, ()| Box::pin(users::all(conn)))
            .await
    }

    async fn user(
        &self,
        name: &Client,
    ) -> Result<Option<(User, Option<PasswordHash>)>, StoreError> {
        self.run("user", Look, name.clone(), |conn, name| {
            Box::pin(users::one(conn, name))
        })
        .await
    }

    async fn add_token(&self, token: NewToken) -> Result<bool, StoreError> {
        self.run("add_token", Write, token, |conn, token| {
            Box::pin(tokens::add(conn, token))
        })
        .await
    }

    async fn revoke_token(&self, key: &TokenKey) -> Result<Option<Client>, StoreError> {
        self.run("revoke_token", Write, key.clone(), |conn, key| {
            Box::pin(tokens::revoke(conn, key))
        })
        .await
    }

    async fn tokens(&self, user: Option<&Client>) -> Result<Vec<TokenInfo>, StoreError> {
        self.run("tokens", Read, user.cloned(), |conn, user| {
            Box::pin(tokens::all(conn, user.as_ref()))
        })
        .await
    }

    async fn valid(&self, keys: Vec<TokenKey>) -> Result<Vec<Option<Valid>>, StoreError> {
        let (valid, used) = self
            .run("valid", Look, keys, |conn, keys| {
                Box::pin(tokens::valid(conn, keys))
            })
            .await?;
        if !used.is_empty() {
            self.run("used", Write, used, |conn, used| {
                Box::pin(tokens::used(conn, used))
            })
            .await?;
        }
        Ok(valid)
    }

    async fn note(&self, events: Vec<AuditEvent>) -> Result<(), StoreError> {
        self.run("note", Write, events, |conn, events| {
            Box::pin(audit::note(conn, events))
        })
        .await
    }

    async fn audit(&self, filter: AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        self.run("audit", Read, filter, |conn, filter| {
            Box::pin(audit::page(conn, filter))
        })
        .await
    }
}
