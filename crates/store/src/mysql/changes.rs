//! Many rows in one statement: a thousand reports must not be two thousand round trips, for which their
//! tasks stay locked.
//!
//! The statements are kept, as those of [`super::expression`] are: rows are cut into parts of few lengths,
//! so a connection keeps nineteen statements of each kind at most.

use diesel::dsl::SqlTypeOf;
use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{Error, QueryResult};
use diesel_async::RunQueryDsl;

use super::Conn;
use crate::batch::parts;
use crate::rows::{NewNoticeRow, NewTaskRow, ResponseBody, ResponseRow, RunPayloadRow, RunTaskRow};
use crate::schema::{notices, responses, run_payloads, run_tasks, tasks};

/// The most rows of one statement: the server holds on to each placeholder of a kept one.
const MAX_ROWS: usize = 64;

/// A row that can be inserted.
trait Row: Send + Sync {
    const TABLE: &str;

    fn push_names(out: &mut AstPass<'_, '_, Mysql>);

    fn push_values<'b>(&'b self, out: &mut AstPass<'_, 'b, Mysql>) -> QueryResult<()>;
}

macro_rules! row {
    ($row:ty, $table:ident: $first:ident $($other:ident)+) => {
        impl Row for $row {
            const TABLE: &str = stringify!($table);

            fn push_names(out: &mut AstPass<'_, '_, Mysql>) {
                out.push_sql(concat!(stringify!($first) $(, ", ", stringify!($other))+));
            }

            fn push_values<'b>(&'b self, out: &mut AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
                out.push_bind_param::<SqlTypeOf<$table::$first>, _>(&self.$first)?;
                $(out.push_sql(",");
                out.push_bind_param::<SqlTypeOf<$table::$other>, _>(&self.$other)?;)+
                Ok(())
            }
        }
    };
}

row!(NewTaskRow, tasks: uid client task_type identifier body_hash status audience run_policy timeout_s
    max_attempts retry_backoff_s retry_backoff_max_s wire endpoints expected received finished failed
    created_at wait_until expires_at publish_due_at publish_owner due_at callback_url rows_due_at);

row!(ResponseBody, responses: task_id task_type endpoint state attempt final_attempt run expected presumed
    late errnr errmsg payload progress_percent progress_note created_at received_at started_at finished_at
    last_modified_at elapsed_ms ask_at retry_at);

row!(NewNoticeRow, notices: uid kind subject url host body state tries created_at next_try_at datasource job);

row!(RunTaskRow, run_tasks: run_id task state percent attempt epoch worker_id started_at updated_at
    lease_until result);

row!(RunPayloadRow, run_payloads: run_id task payload);

impl Row for ResponseRow {
    const TABLE: &str = ResponseBody::TABLE;

    fn push_names(out: &mut AstPass<'_, '_, Mysql>) {
        out.push_sql("id, ");
        ResponseBody::push_names(out);
    }

    fn push_values<'b>(&'b self, out: &mut AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        out.push_bind_param::<SqlTypeOf<responses::id>, _>(&self.id)?;
        out.push_sql(",");
        self.body.push_values(out)
    }
}

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

const TAKE_OVER_RUN_TASK: &str = take_over!(state percent attempt epoch worker_id started_at updated_at
    lease_until result);

/// An INSERT of many rows, and what follows them.
struct Insertion<'r, R> {
    rows: &'r [R],
    end: &'static str,
}

impl<R> QueryId for Insertion<'_, R> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<R: Row> QueryFragment<Mysql> for Insertion<'_, R> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        out.push_sql("INSERT INTO ");
        out.push_sql(R::TABLE);
        out.push_sql(" (");
        R::push_names(&mut out);
        out.push_sql(") VALUES ");
        for (i, row) in self.rows.iter().enumerate() {
            out.push_sql(if i > 0 { ",(" } else { "(" });
            row.push_values(&mut out)?;
            out.push_sql(")");
        }
        out.push_sql(self.end);
        Ok(())
    }
}

/// Up to this length there is a statement for each number of rows.
const SHORT: usize = 16;

/// Cuts rows into parts of kept lengths, mostly one or two.
fn kept_parts<R>(rows: &[R]) -> impl Iterator<Item = &[R]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let length = match rest.len() {
            0 => return None,
            short @ ..=SHORT => short,
            long => (long / SHORT * SHORT).min(MAX_ROWS),
        };
        let (part, after) = rest.split_at(length);
        rest = after;
        Some(part)
    })
}

async fn insert<R: Row>(
    conn: &mut Conn,
    rows: &[R],
    weight: impl Fn(&R) -> usize,
    end: &'static str,
) -> Result<(), Error> {
    for part in parts(rows, MAX_ROWS, weight).flat_map(kept_parts) {
        Insertion { rows: part, end }.execute(conn).await?;
    }
    Ok(())
}

/// Inserts new tasks.
pub(crate) async fn insert_tasks(conn: &mut Conn, rows: Vec<NewTaskRow>) -> Result<(), Error> {
    insert(conn, &rows, NewTaskRow::weight, "").await
}

/// Inserts new notices.
pub(crate) async fn insert_notices(conn: &mut Conn, rows: Vec<NewNoticeRow>) -> Result<(), Error> {
    insert(conn, &rows, |row| row.body.len() + 4096, "").await
}

/// Inserts new responses.
pub(crate) async fn insert_responses(
    conn: &mut Conn,
    rows: Vec<ResponseBody>,
) -> Result<(), Error> {
    insert(conn, &rows, ResponseBody::weight, "").await
}

/// Writes rows back that exist and whose tasks are locked.
pub(crate) async fn save_responses(conn: &mut Conn, rows: Vec<ResponseRow>) -> Result<(), Error> {
    insert(conn, &rows, |row| row.body.weight(), TAKE_OVER).await
}

/// Inserts tasks of runs that have no row.
pub(crate) async fn insert_run_tasks(conn: &mut Conn, rows: Vec<RunTaskRow>) -> Result<(), Error> {
    insert(conn, &rows, RunTaskRow::weight, "").await
}

/// Writes tasks of runs back that exist and are locked.
pub(crate) async fn save_run_tasks(conn: &mut Conn, rows: Vec<RunTaskRow>) -> Result<(), Error> {
    insert(conn, &rows, RunTaskRow::weight, TAKE_OVER_RUN_TASK).await
}

/// Inserts what the tasks of a new run get.
pub(crate) async fn insert_run_payloads(
    conn: &mut Conn,
    rows: Vec<RunPayloadRow>,
) -> Result<(), Error> {
    insert(conn, &rows, RunPayloadRow::weight, "").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_parts_of_few_lengths() {
        let lengths = |count: usize| -> Vec<usize> {
            let rows: Vec<usize> = (0..count).collect();
            let parts: Vec<&[usize]> = kept_parts(&rows).collect();
            assert_eq!(parts.concat(), rows);
            parts.iter().map(|part| part.len()).collect()
        };
        assert_eq!(lengths(0), [0; 0]);
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(16), [16]);
        assert_eq!(lengths(31), [16, 15]);
        assert_eq!(lengths(60), [48, 12]);
        assert_eq!(lengths(203), [64, 64, 64, 11]);
    }
}
