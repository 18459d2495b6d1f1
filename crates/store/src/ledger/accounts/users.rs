//! Users.

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::RunQueryDsl;
use tasker_core::accounts::{NewUser, PasswordHash, User};
use tasker_core::name::Client;

use super::{Conn, now};
use crate::failure::Failure;
use crate::rows::{UserRow, grants, stored};
use crate::schema::{tokens, users};

pub(super) async fn add(conn: &mut Conn, user: &NewUser) -> Result<bool, Failure> {
    let now = now(conn).await?;
    let password = user.password.as_ref().map(|hash| hash.0.as_str());
    let added = diesel::insert_into(users::table)
        .values((
            users::name.eq(user.name.as_str()),
            users::role.eq(user.role.as_str()),
            users::grants.eq(grants(&user.grants)),
            users::password.eq(password),
            users::created_at.eq(stored(now)),
        ))
        .execute(conn)
        .await;
    match added {
        Ok(_) => Ok(true),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn set_password(
    conn: &mut Conn,
    (user, password): &(Client, PasswordHash),
) -> Result<bool, Failure> {
    let one = users::table.find(user.as_str());
    let changed = diesel::update(one)
        .set(users::password.eq(&password.0))
        .execute(conn)
        .await?;
    Ok(changed > 0)
}

pub(super) async fn remove(conn: &mut Conn, user: &Client) -> Result<bool, Failure> {
    let removed = diesel::delete(users::table.find(user.as_str()))
        .execute(conn)
        .await?;
    diesel::delete(tokens::table.filter(tokens::user_name.eq(user.as_str())))
        .execute(conn)
        .await?;
    Ok(removed > 0)
}

pub(super) async fn all(conn: &mut Conn) -> Result<Vec<User>, Failure> {
    let rows: Vec<UserRow> = users::table
        .order(users::name)
        .select(UserRow::as_select())
        .load(conn)
        .await?;
    rows.into_iter().map(|row| Ok(row.decode()?.0)).collect()
}

pub(super) async fn one(
    conn: &mut Conn,
    name: &Client,
) -> Result<Option<(User, Option<PasswordHash>)>, Failure> {
    let row: Option<UserRow> = users::table
        .find(name.as_str())
        .select(UserRow::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(UserRow::decode).transpose()
}
