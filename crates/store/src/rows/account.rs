//! Rows of users, tokens and the audit.

use chrono::NaiveDateTime;
use diesel::prelude::*;
use tasker_core::account::{Grants, Role};
use tasker_core::accounts::{
    AuditEntry, AuditEvent, AuditKind, PasswordHash, TokenInfo, User, Valid,
};
use tasker_core::name::Client;
use tasker_core::token::{SecretHash, TokenKey};

use super::stored;
use crate::failure::Failure;
use crate::schema::{audit, tokens, users};

/// How much of a text the audit keeps, in characters.
const MAX_WHAT: usize = 512;

fn corrupt(table: &'static str, name: &str, what: impl std::fmt::Display) -> Failure {
    Failure::Corrupt {
        table,
        what: format!("{name}: {what}"),
    }
}

/// Grants as the tables hold them.
pub(crate) fn grants(grants: &Grants) -> Vec<u8> {
    // Expect safety: lists of names always serialise.
    serde_json::to_vec(grants).expect("grants serialise")
}

fn read_grants(table: &'static str, name: &str, json: &[u8]) -> Result<Grants, Failure> {
    serde_json::from_slice(json).map_err(|e| corrupt(table, name, e))
}

fn client(table: &'static str, name: &str) -> Result<Client, Failure> {
    Client::parse(name).map_err(|e| corrupt(table, name, e))
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct UserRow {
    name: String,
    role: String,
    grants: Vec<u8>,
    password: Option<String>,
    created_at: NaiveDateTime,
}

impl UserRow {
    pub(crate) fn decode(self) -> Result<(User, Option<PasswordHash>), Failure> {
        let role = Role::from_word(&self.role);
        let user = User {
            name: client("users", &self.name)?,
            role: role.ok_or_else(|| corrupt("users", &self.name, "an unknown role"))?,
            grants: read_grants("users", &self.name, &self.grants)?,
            has_password: self.password.is_some(),
            created_at: self.created_at.and_utc(),
        };
        Ok((user, self.password.map(PasswordHash)))
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub(crate) struct TokenRow {
    token_key: String,
    user_name: String,
    secret_hash: Vec<u8>,
    note: String,
    grants: Vec<u8>,
    created_at: NaiveDateTime,
    expires_at: Option<NaiveDateTime>,
    revoked_at: Option<NaiveDateTime>,
    last_used_at: Option<NaiveDateTime>,
}

impl TokenRow {
    pub(crate) fn decode(self) -> Result<TokenInfo, Failure> {
        let key = &self.token_key;
        Ok(TokenInfo {
            key: TokenKey::parse(key).map_err(|e| corrupt("tokens", key, e))?,
            user: client("tokens", &self.user_name)?,
            grants: read_grants("tokens", key, &self.grants)?,
            note: self.note,
            created_at: self.created_at.and_utc(),
            expires_at: self.expires_at.map(|at| at.and_utc()),
            revoked_at: self.revoked_at.map(|at| at.and_utc()),
            last_used_at: self.last_used_at.map(|at| at.and_utc()),
        })
    }

    /// What it is worth together with its user.
    pub(crate) fn with(self, user: UserRow) -> Result<(TokenInfo, Valid), Failure> {
        let (user, _) = user.decode()?;
        let hash = SecretHash::try_from(self.secret_hash.as_slice());
        let hash = hash.map_err(|e| corrupt("tokens", &self.token_key, e))?;
        let token = self.decode()?;
        let valid = Valid {
            hash,
            user: user.name,
            role: user.role,
            grants: [user.grants, token.grants.clone()],
        };
        Ok((token, valid))
    }
}

#[derive(Insertable)]
#[diesel(table_name = audit)]
pub(crate) struct NewAuditRow {
    at: NaiveDateTime,
    kind: &'static str,
    who: Option<String>,
    token_key: Option<String>,
    what: String,
    address: Option<String>,
}

impl NewAuditRow {
    pub(crate) fn of(event: &AuditEvent, at: chrono::DateTime<chrono::Utc>) -> Self {
        Self {
            at: stored(at),
            kind: event.kind.as_str(),
            who: event.who.as_ref().map(|who| who.as_str().to_owned()),
            token_key: event.token.as_ref().map(|key| key.as_str().to_owned()),
            what: event.what.chars().take(MAX_WHAT).collect(),
            address: event.from.map(|from| from.to_string()),
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit)]
pub(crate) struct AuditRow {
    id: i64,
    at: NaiveDateTime,
    kind: String,
    who: Option<String>,
    token_key: Option<String>,
    what: String,
    address: Option<String>,
}

impl AuditRow {
    pub(crate) fn decode(self) -> Result<AuditEntry, Failure> {
        let bad = |what: &str| corrupt("audit", &self.id.to_string(), what);
        let who = self.who.map(|who| Client::parse(&who)).transpose();
        let token = self.token_key.map(|key| TokenKey::parse(&key)).transpose();
        let from = self.address.map(|address| address.parse()).transpose();
        let event = AuditEvent {
            kind: AuditKind::from_word(&self.kind).ok_or_else(|| bad("an unknown kind"))?,
            who: who.map_err(|_| bad("a bad name"))?,
            token: token.map_err(|_| bad("a bad key"))?,
            what: self.what,
            from: from.map_err(|_| bad("a bad address"))?,
        };
        Ok(AuditEntry {
            id: self.id,
            at: self.at.and_utc(),
            event,
        })
    }
}
