//! Tokens.

use std::collections::HashMap;

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::accounts::{NewToken, TokenInfo, Valid};
use tasker_core::name::Client;
use tasker_core::token::TokenKey;

use super::{Conn, now};
use crate::failure::Failure;
use crate::rows::{TokenRow, UserRow, grants, seconds, stored};
use crate::schema::{tokens, users};

/// How long tokens that have ended are still listed.
const LISTED_FOR: TimeDelta = TimeDelta::days(30);
/// How exactly the last use of a token is noted: a note is a write, and most requests only read.
const NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);
/// The most tokens that are listed.
const MAX_LISTED: i64 = 10_000;

pub(super) async fn add(conn: &mut Conn, token: &NewToken) -> Result<bool, Failure> {
    let now = now(conn).await?;
    // Locked, so that no token is added to a user who is being removed.
    let user: Option<String> = lock!(users::table.find(token.user.as_str()).select(users::name))
        .first(conn)
        .await
        .optional()?;
    if user.is_none() {
        return Ok(false);
    }
    let ended = stored(now - LISTED_FOR);
    let is_over = tokens::expires_at
        .lt(ended)
        .or(tokens::revoked_at.lt(ended));
    let old = tokens::table.filter(tokens::user_name.eq(token.user.as_str()));
    diesel::delete(old.filter(is_over.assume_not_null()))
        .execute(conn)
        .await?;
    let expires_at = token.expires_in_s.map(|span| stored(now + seconds(span)));
    diesel::insert_into(tokens::table)
        .values((
            tokens::token_key.eq(token.key.as_str()),
            tokens::user_name.eq(token.user.as_str()),
            tokens::secret_hash.eq(token.hash.to_vec()),
            tokens::note.eq(&token.note),
            tokens::grants.eq(grants(&token.grants)),
            tokens::created_at.eq(stored(now)),
            tokens::expires_at.eq(expires_at),
        ))
        .execute(conn)
        .await?;
    Ok(true)
}

pub(super) async fn revoke(conn: &mut Conn, key: &TokenKey) -> Result<Option<Client>, Failure> {
    let now = now(conn).await?;
    let one = tokens::table.find(key.as_str());
    let row: Option<TokenRow> = lock!(one.select(TokenRow::as_select()))
        .first(conn)
        .await
        .optional()?;
    let Some(token) = row.map(TokenRow::decode).transpose()? else {
        return Ok(None);
    };
    if token.revoked_at.is_none() {
        diesel::update(one)
            .set(tokens::revoked_at.eq(Some(stored(now))))
            .execute(conn)
            .await?;
    }
    Ok(Some(token.user))
}

pub(super) async fn all(conn: &mut Conn, user: Option<&Client>) -> Result<Vec<TokenInfo>, Failure> {
    let mut query = tokens::table
        .order((tokens::created_at.desc(), tokens::token_key))
        .limit(MAX_LISTED)
        .select(TokenRow::as_select())
        .into_boxed();
    if let Some(user) = user {
        query = query.filter(tokens::user_name.eq(user.as_str()));
    }
    let rows: Vec<TokenRow> = query.load(conn).await?;
    rows.into_iter().map(TokenRow::decode).collect()
}

/// What the keys are worth, and those whose use is to be noted.
pub(super) type Looked = (Vec<Option<Valid>>, Vec<TokenKey>);

pub(super) async fn valid(conn: &mut Conn, keys: &[TokenKey]) -> Result<Looked, Failure> {
    let now = now(conn).await?;
    let texts = keys.iter().map(TokenKey::as_str);
    let rows: Vec<(TokenRow, UserRow)> = tokens::table
        .inner_join(users::table)
        .filter(among!(tokens.token_key, texts))
        .select((TokenRow::as_select(), UserRow::as_select()))
        .load(conn)
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    let mut used = Vec::new();
    for (token, user) in rows {
        let (token, valid) = token.with(user)?;
        let is_over = token.revoked_at.is_some() || token.expires_at.is_some_and(|at| at <= now);
        if is_over {
            continue;
        }
        if token.last_used_at.is_none_or(|at| at + NOTED_EVERY <= now) {
            used.push(token.key.clone());
        }
        found.insert(token.key, valid);
    }
    let valid = keys.iter().map(|key| found.get(key).cloned()).collect();
    used.sort_unstable();
    Ok((valid, used))
}

pub(super) async fn used(conn: &mut Conn, keys: &[TokenKey]) -> Result<(), Failure> {
    let now = now(conn).await?;
    let texts = keys.iter().map(TokenKey::as_str);
    diesel::update(tokens::table.filter(among!(tokens.token_key, texts)))
        .set(tokens::last_used_at.eq(Some(stored(now))))
        .execute(conn)
        .await?;
    Ok(())
}
