//! The open rows of endpoints of some kind: live ones, silent ones.
//!
//! How to find them is dictated, the endpoints first and their rows by index. Left to itself MariaDB reads
//! all tasks there are, because by its statistics there are no open rows: nearly all are final.

use chrono::NaiveDateTime;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Timestamp};
use diesel_async::RunQueryDsl;
use tasker_core::id::TaskId;

use super::Conn;
use super::locked::UNDER_WAY;
use crate::failure::Failure;

/// An open row.
#[derive(Debug, QueryableByName)]
pub(super) struct Found {
    #[diesel(sql_type = BigInt)]
    pub(super) id: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) task_id: TaskId,
}

/// Rows of endpoints that were seen since then, to be asked about now, at most so many.
pub(super) async fn due_to_be_asked(
    conn: &mut Conn,
    seen_since: NaiveDateTime,
    now: NaiveDateTime,
    limit: usize,
) -> Result<Vec<Found>, Failure> {
    // What was taken in time may go on beyond the end, or have ended and its report been lost: nobody but
    // its endpoint can tell.
    let text = open_rows(&format!(
        "endpoints.last_seen_at >= ? AND responses.ask_at <= ? \
         AND (tasks.expires_at > ? OR {})",
        under_way()
    ));
    let found = diesel::sql_query(text)
        .bind::<Timestamp, _>(seen_since)
        .bind::<Timestamp, _>(now)
        .bind::<Timestamp, _>(now)
        .bind::<BigInt, _>(limit as i64);
    Ok(found.load(conn).await?)
}

/// Rows under way of endpoints that have been silent since then, and for longer than the task may run, at
/// most so many.
pub(super) async fn silent(
    conn: &mut Conn,
    since: NaiveDateTime,
    limit: usize,
) -> Result<Vec<Found>, Failure> {
    let text = open_rows(&format!(
        "endpoints.last_seen_at <= ? AND {} AND responses.last_modified_at <= ? AND {} <= ?",
        under_way(),
        end_of_timeout!(),
    ));
    let found = diesel::sql_query(text)
        .bind::<Timestamp, _>(since)
        .bind::<Timestamp, _>(since)
        .bind::<Timestamp, _>(since)
        .bind::<BigInt, _>(limit as i64);
    Ok(found.load(conn).await?)
}

fn open_rows(condition: &str) -> String {
    format!(
        "SELECT responses.id, responses.task_id \
         FROM endpoints {then} responses {by_index} ON responses.task_type = endpoints.task_type \
         AND responses.endpoint = endpoints.name AND responses.is_open = 1 \
         {then} tasks ON tasks.id = responses.task_id \
         WHERE {condition} LIMIT ?",
        then = then!(),
        by_index = by_index!("responses_ask"),
    )
}

fn under_way() -> String {
    let [received, running] = UNDER_WAY;
    format!("responses.state IN ({received}, {running})")
}
