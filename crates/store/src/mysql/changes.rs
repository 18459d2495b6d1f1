//! Many changed rows in one statement: a thousand reports must not be two thousand round trips, for
//! which their tasks stay locked.

use chrono::NaiveDateTime;
use diesel::ExpressionMethods;
use diesel::dsl::{DuplicatedKeys, SqlTypeOf, sql};
use diesel::result::Error;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::Conn;
use crate::batch::parts;
use crate::rows::{ResponseBody, ResponseRow, TaskChange};
use crate::schema::responses;

/// Tasks in one statement.
const MAX_TASKS: usize = 1_000;

/// What a row that is there already takes over from the row that was to be inserted.
macro_rules! the_new {
    ($($column:ident)+) => {
        ($(responses::$column.eq(sql::<SqlTypeOf<responses::$column>>(
            concat!("VALUES(", stringify!($column), ")")
        )),)+)
    };
}

/// Writes rows back that exist and whose tasks are locked.
pub(crate) async fn save_responses(conn: &mut Conn, rows: Vec<ResponseRow>) -> Result<(), Error> {
    for part in parts(&rows, ResponseBody::COLUMNS + 1, |row| row.body.weight()) {
        diesel::insert_into(responses::table)
            .values(part)
            .on_conflict(DuplicatedKeys)
            .do_update()
            .set(the_new!(
                state attempt final_attempt run expected presumed late errnr errmsg payload
                progress_percent progress_note received_at started_at finished_at
                last_modified_at elapsed_ms ask_at retry_at
            ))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Writes back what changed of locked tasks.
pub(crate) async fn save_tasks(conn: &mut Conn, changes: Vec<TaskChange>) -> Result<(), Error> {
    for part in changes.chunks(MAX_TASKS) {
        conn.batch_execute(&statement(part)).await?;
    }
    Ok(())
}

/// Numbers and times only, so that they may stand in the text.
fn statement(changes: &[TaskChange]) -> String {
    let rows: Vec<String> = changes.iter().map(row).collect();
    // In this order: each row of the list looks its task up by its number.
    format!(
        "UPDATE ({}) AS changed STRAIGHT_JOIN tasks ON tasks.id = changed.id SET \
         tasks.status = changed.status, tasks.expected = changed.expected, \
         tasks.received = changed.received, tasks.finished = changed.finished, \
         tasks.failed = changed.failed, tasks.wait_until = changed.wait_until, \
         tasks.expires_at = changed.expires_at, tasks.settled_at = changed.settled_at, \
         tasks.due_at = changed.due_at",
        rows.join(" UNION ALL ")
    )
}

fn row(change: &TaskChange) -> String {
    let time = |at: NaiveDateTime| format!("TIMESTAMP'{}'", at.format("%Y-%m-%d %H:%M:%S%.6f"));
    let maybe =
        |at: Option<NaiveDateTime>| at.map_or_else(|| "CAST(NULL AS DATETIME(6))".to_owned(), time);
    format!(
        "SELECT {} AS id, {} AS status, {} AS expected, {} AS received, {} AS finished, \
         {} AS failed, {} AS wait_until, {} AS expires_at, {} AS settled_at, {} AS due_at",
        change.id,
        change.status,
        change.expected,
        change.received,
        change.finished,
        change.failed,
        time(change.wait_until),
        time(change.expires_at),
        maybe(change.settled_at),
        maybe(change.due_at),
    )
}
