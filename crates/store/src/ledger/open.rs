//! The open rows of one endpoint, or of endpoints of some kind: live ones, silent ones.
//!
//! How to find them is dictated, the endpoints first and their rows by index. Left to itself MariaDB reads
//! all tasks there are, because by its statistics there are no open rows: nearly all are final.

use chrono::NaiveDateTime;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamp};
use diesel_async::RunQueryDsl;
use tasker_core::id::TaskId;
use tasker_core::state::ResponseState;
use tasker_core::store::WorkerSign;

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
        in_states(&UNDER_WAY)
    ));
    let found = diesel::sql_query(text)
        .bind::<Timestamp, _>(seen_since)
        .bind::<Timestamp, _>(now)
        .bind::<Timestamp, _>(now)
        .bind::<BigInt, _>(limit as i64);
    Ok(kept!(found).load(conn).await?)
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
        in_states(&UNDER_WAY),
        end_of_timeout!(),
    ));
    let found = diesel::sql_query(text)
        .bind::<Timestamp, _>(since)
        .bind::<Timestamp, _>(since)
        .bind::<Timestamp, _>(since)
        .bind::<BigInt, _>(limit as i64);
    Ok(kept!(found).load(conn).await?)
}

/// Rows of an endpoint in one of these states.
pub(super) async fn of_endpoint(
    conn: &mut Conn,
    sign: &WorkerSign,
    states: &[ResponseState],
) -> Result<Vec<Found>, Failure> {
    let text = format!(
        "SELECT id, task_id FROM responses {} WHERE task_type = ? AND endpoint = ? AND is_open = 1 \
         AND {}",
        by_index!("responses_ask"),
        in_states(states),
    );
    let found = diesel::sql_query(text)
        .bind::<Text, _>(sign.task_type.as_str())
        .bind::<Text, _>(sign.endpoint.as_str());
    Ok(kept!(found).load(conn).await?)
}

/// Lets an endpoint be asked about its rows now. The pause before a next attempt is not cut short.
pub(super) async fn ask_now(
    conn: &mut Conn,
    sign: &WorkerSign,
    now: NaiveDateTime,
) -> Result<(), Failure> {
    let text = format!(
        "UPDATE responses {} SET ask_at = ? WHERE task_type = ? AND endpoint = ? AND is_open = 1 \
         AND (retry_at IS NULL OR retry_at <= ?)",
        by_index!("responses_ask"),
    );
    let update = diesel::sql_query(text)
        .bind::<Timestamp, _>(now)
        .bind::<Text, _>(sign.task_type.as_str())
        .bind::<Text, _>(sign.endpoint.as_str())
        .bind::<Timestamp, _>(now);
    kept!(update).execute(conn).await?;
    Ok(())
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

/// Whether a response is in one of these states; with none of them it never is.
pub(super) fn in_states<'s>(states: impl IntoIterator<Item = &'s ResponseState>) -> String {
    let codes = states
        .into_iter()
        .map(|state| format!(", {}", state.code()));
    format!("responses.state IN (NULL{})", codes.collect::<String>())
}
