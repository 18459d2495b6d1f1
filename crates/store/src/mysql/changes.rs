//! Many rows in one statement: a thousand reports must not be two thousand round trips, for which their
//! tasks stay locked.

use chrono::NaiveDateTime;
use diesel::result::Error;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::Conn;
use super::literal::Literal;
use crate::batch::parts;
use crate::rows::{NewTaskRow, ResponseBody, ResponseRow, TaskChange};
use crate::schema::{responses, tasks};

/// Tasks in one statement.
const MAX_TASKS: usize = 1_000;

/// The most bytes of values that are written as text, which doubles them; heavier ones are sent as they
/// are, since a statement must fit into `max_allowed_packet` (16 MiB by default).
const TEXT_BYTES: usize = 4 << 20;

/// The columns of a row, and their values as text.
macro_rules! columns {
    ($row:ty: $first:ident $($other:ident)+) => {
        impl $row {
            const NAMES: &str = concat!(stringify!($first) $(, ", ", stringify!($other))+);

            fn values(&self, out: &mut String) {
                self.$first.write(out);
                $(out.push(',');
                self.$other.write(out);)+
            }
        }
    };
}

columns!(NewTaskRow: uid client task_type identifier body_hash status audience run_policy timeout_s
    max_attempts retry_backoff_s retry_backoff_max_s wire endpoints expected received finished failed
    created_at wait_until expires_at publish_due_at publish_owner due_at);

columns!(ResponseBody: task_id task_type endpoint state attempt final_attempt run expected presumed late
    errnr errmsg payload progress_percent progress_note created_at received_at started_at finished_at
    last_modified_at elapsed_ms ask_at retry_at);

/// What a stored response takes over from the row that was to be inserted in its place.
macro_rules! take_over {
    ($first:ident $($other:ident)+) => {
        concat!(
            " ON DUPLICATE KEY UPDATE ", stringify!($first), " = VALUES(", stringify!($first), ")"
            $(, ", ", stringify!($other), " = VALUES(", stringify!($other), ")")+
        )
    };
}

const TAKE_OVER: &str = take_over!(state attempt final_attempt run expected presumed late errnr errmsg
    payload progress_percent progress_note received_at started_at finished_at last_modified_at elapsed_ms
    ask_at retry_at);

/// An INSERT of many rows.
fn insertion<T>(
    table: &str,
    names: &str,
    weight: usize,
    rows: &[T],
    values: impl Fn(&T, &mut String),
) -> String {
    let mut text = String::with_capacity(weight * 2 + 256);
    text.push_str("INSERT INTO ");
    text.push_str(table);
    text.push_str(" (");
    text.push_str(names);
    text.push_str(") VALUES ");
    for (i, row) in rows.iter().enumerate() {
        text.push_str(if i > 0 { ",(" } else { "(" });
        values(row, &mut text);
        text.push(')');
    }
    text
}

/// Inserts new tasks.
pub(crate) async fn insert_tasks(conn: &mut Conn, rows: Vec<NewTaskRow>) -> Result<(), Error> {
    for part in parts(&rows, NewTaskRow::COLUMNS, NewTaskRow::weight) {
        let weight: usize = part.iter().map(NewTaskRow::weight).sum();
        if weight > TEXT_BYTES {
            let insert = diesel::insert_into(tasks::table).values(part);
            insert.execute(conn).await?;
        } else {
            let (names, values) = (NewTaskRow::NAMES, NewTaskRow::values);
            let text = insertion("tasks", names, weight, part, values);
            conn.batch_execute(&text).await?;
        }
    }
    Ok(())
}

/// Inserts new responses.
pub(crate) async fn insert_responses(
    conn: &mut Conn,
    rows: Vec<ResponseBody>,
) -> Result<(), Error> {
    for part in parts(&rows, ResponseBody::COLUMNS, ResponseBody::weight) {
        let weight: usize = part.iter().map(ResponseBody::weight).sum();
        if weight > TEXT_BYTES {
            let insert = diesel::insert_into(responses::table).values(part);
            insert.execute(conn).await?;
        } else {
            let (names, values) = (ResponseBody::NAMES, ResponseBody::values);
            let text = insertion("responses", names, weight, part, values);
            conn.batch_execute(&text).await?;
        }
    }
    Ok(())
}

/// Writes rows back that exist and whose tasks are locked.
pub(crate) async fn save_responses(conn: &mut Conn, rows: Vec<ResponseRow>) -> Result<(), Error> {
    let names = format!("id, {}", ResponseBody::NAMES);
    // Replies of 256 KiB at most: no row is too heavy to be doubled.
    let weight = |row: &ResponseRow| row.body.weight() * 2;
    for part in parts(&rows, ResponseBody::COLUMNS + 1, weight) {
        let bytes = part.iter().map(|row| row.body.weight()).sum();
        let mut text = insertion("responses", &names, bytes, part, |row, out| {
            row.id.write(out);
            out.push(',');
            row.body.values(out);
        });
        text.push_str(TAKE_OVER);
        conn.batch_execute(&text).await?;
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
    let time = |at: NaiveDateTime| {
        let mut text = String::new();
        at.write(&mut text);
        text
    };
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
