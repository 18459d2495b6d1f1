//! Step 10 of the line, show: what clients read.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::min;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, SmallInt, Text};
use diesel_async::RunQueryDsl;
use tasker_core::account::ClientScope;
use tasker_core::id::TaskId;
use tasker_core::missing::Missing;
use tasker_core::name::{EndpointName, Identifier, TaskType};
use tasker_core::state::ResponseState;
use tasker_core::store::{Endpoint, ResponseFilter, Standing, Tally, TaskFilter};
use tasker_core::task::{Task, TaskHead, TaskResponse};

use super::open::in_states;
use super::{Conn, now};
use crate::batch::MAX_LIST;
use crate::failure::Failure;
use crate::rows::{EndpointRow, HeadRow, ResponseRow, StoredRow, span};
use crate::schema::{endpoints, responses, tasks};

pub(super) async fn task(
    conn: &mut Conn,
    (scope, task_type, identifier): &(ClientScope, TaskType, Identifier),
) -> Result<Option<Task>, Failure> {
    let row: Option<StoredRow> = tasks::table
        .filter(tasks::client.eq(scope.client().as_str()))
        .filter(tasks::task_type.eq(task_type.as_str()))
        .filter(tasks::identifier.eq(identifier.as_str()))
        .select(StoredRow::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row
        .map(StoredRow::decode)
        .transpose()?
        .map(|(task, _)| task))
}

pub(super) async fn tasks(conn: &mut Conn, filter: &TaskFilter) -> Result<Vec<TaskHead>, Failure> {
    let rows: Vec<HeadRow> = tasks::table
        .filter(among!(tasks.id, &page(conn, filter).await?))
        .order(tasks::id.desc())
        .select(HeadRow::as_select())
        .load(conn)
        .await?;
    rows.into_iter().map(HeadRow::decode).collect()
}

/// The numbers of a page of tasks. The index is named, because MariaDB prefers to read all newer tasks of
/// the client: the further back the page, the longer it would take.
async fn page(conn: &mut Conn, filter: &TaskFilter) -> Result<Vec<TaskId>, Failure> {
    let (index, status) = match filter.status {
        None => (by_index!("tasks_list"), String::new()),
        Some(status) => (
            by_index!("tasks_list_by_status"),
            format!("AND status = {}", status.code()),
        ),
    };
    let text = format!(
        "SELECT id FROM tasks {index} WHERE client = ? AND task_type = ? {status} AND id < ? \
         ORDER BY id DESC LIMIT ?"
    );
    let query = diesel::sql_query(text)
        .bind::<Text, _>(filter.scope.client().as_str())
        .bind::<Text, _>(filter.task_type.as_str())
        .bind::<BigInt, _>(filter.before.unwrap_or(TaskId::MAX))
        .bind::<BigInt, _>(i64::from(filter.limit));
    let found: Vec<Number> = kept!(query).load(conn).await?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

pub(super) async fn responses(
    conn: &mut Conn,
    (task, filter): &(TaskId, ResponseFilter),
) -> Result<Vec<TaskResponse>, Failure> {
    let wanted = in_state(|state| {
        filter.state.is_none_or(|wanted| wanted == state)
            && (!filter.received_only || state.is_received())
    });
    let after = filter.after.unwrap_or(0);
    let numbers = numbers(conn, *task, &wanted, after, filter.limit).await?;
    let mut found = Vec::new();
    for part in numbers.chunks(MAX_LIST) {
        let rows: Vec<ResponseRow> = responses::table
            .filter(among!(responses.id, part))
            .order(responses::id)
            .select(ResponseRow::as_select())
            .load(conn)
            .await?;
        found.extend(rows);
    }
    found.into_iter().map(ResponseRow::decode).collect()
}

/// The numbers of a task's responses for which a condition holds, ascending. The index is named: otherwise
/// MariaDB reads all of them, payloads and all, and sorts them.
async fn numbers(
    conn: &mut Conn,
    task: TaskId,
    condition: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<i64>, Failure> {
    let text = format!(
        "SELECT id FROM responses {} WHERE task_id = ? AND id > ? AND {condition} \
         ORDER BY id LIMIT ?",
        by_index!("responses_page"),
    );
    let query = diesel::sql_query(text)
        .bind::<BigInt, _>(task)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(i64::from(limit));
    let found: Vec<Number> = kept!(query).load(conn).await?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

/// The number of a row.
#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

pub(super) async fn head(conn: &mut Conn, task: TaskId) -> Result<Option<TaskHead>, Failure> {
    let row: Option<HeadRow> = tasks::table
        .find(task)
        .select(HeadRow::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(HeadRow::decode).transpose()
}

pub(super) async fn standing(
    conn: &mut Conn,
    (task, page, missing): &(TaskId, ResponseFilter, u32),
) -> Result<Option<Standing>, Failure> {
    let Some(head) = head(conn, *task).await? else {
        return Ok(None);
    };
    Ok(Some(Standing {
        head,
        responses: responses(conn, &(*task, *page)).await?,
        tally: tally(conn, *task, *missing).await?,
    }))
}

/// How many responses are in a state.
#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = SmallInt)]
    state: i16,
    #[diesel(sql_type = Bool)]
    expected: bool,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

async fn tally(conn: &mut Conn, task: TaskId, missing: u32) -> Result<Tally, Failure> {
    let now = now(conn).await?;
    let text = format!(
        "SELECT state, expected, COUNT(*) AS count FROM responses {} WHERE task_id = ? \
         GROUP BY state, expected",
        by_index!("responses_page"),
    );
    let query = diesel::sql_query(text).bind::<BigInt, _>(task);
    let counts: Vec<Count> = kept!(query).load(conn).await?;
    let mut tally = Tally {
        now,
        states: BTreeMap::new(),
        next_retry_at: None,
        late: 0,
        missing: Vec::new(),
    };
    for group in counts {
        let count = u32::try_from(group.count).unwrap_or(u32::MAX);
        if group.expected {
            tally.states.insert(state(task, group.state)?, count);
        } else {
            tally.late += count;
        }
    }
    if tally.states.contains_key(&ResponseState::Retrying) {
        let next: Option<chrono::NaiveDateTime> = responses::table
            .filter(responses::task_id.eq(task))
            .filter(responses::expected.eq(true))
            .filter(responses::state.eq(ResponseState::Retrying.code()))
            .select(min(responses::retry_at))
            .first(conn)
            .await?;
        tally.next_retry_at = next.map(|at| at.and_utc());
    }
    if missing == 0 || tally.states.keys().all(|state| state.is_finished()) {
        return Ok(tally);
    }
    let condition = format!(
        "{} AND expected = 1",
        in_state(|state| !state.is_finished())
    );
    let unfinished = numbers(conn, task, &condition, 0, missing).await?;
    let worker = endpoints::task_type
        .eq(responses::task_type)
        .and(endpoints::name.eq(responses::endpoint));
    let rows: Vec<(
        String,
        i16,
        chrono::NaiveDateTime,
        Option<chrono::NaiveDateTime>,
    )> = responses::table
        .left_join(endpoints::table.on(worker))
        .filter(among!(responses.id, &unfinished))
        .order(responses::id)
        .select((
            responses::endpoint,
            responses::state,
            responses::last_modified_at,
            endpoints::last_seen_at.nullable(),
        ))
        .load(conn)
        .await?;
    for (endpoint, code, modified, seen) in rows {
        tally.missing.push(Missing {
            endpoint: EndpointName::parse(&endpoint).map_err(|_| bad(task, "endpoint"))?,
            state: state(task, code)?,
            last_modified_at: modified.and_utc(),
            last_seen_at: seen.map(|at| at.and_utc()),
        });
    }
    Ok(tally)
}

pub(super) async fn all_endpoints(
    conn: &mut Conn,
    offline_after: Duration,
) -> Result<Vec<Endpoint>, Failure> {
    let online_since = now(conn).await? - span(offline_after);
    let rows: Vec<EndpointRow> = endpoints::table
        .order((endpoints::task_type, endpoints::name))
        .select(EndpointRow::as_select())
        .load(conn)
        .await?;
    rows.into_iter()
        .map(|row| row.decode(online_since))
        .collect()
}

pub(super) async fn clock(conn: &mut Conn) -> Result<DateTime<Utc>, Failure> {
    now(conn).await
}

/// Whether a response is in one of the states that pass.
fn in_state(pass: impl Fn(ResponseState) -> bool) -> String {
    in_states(ResponseState::ALL.iter().filter(|state| pass(**state)))
}

fn state(task: TaskId, code: i16) -> Result<ResponseState, Failure> {
    ResponseState::from_code(code).ok_or_else(|| bad(task, "state"))
}

fn bad(task: TaskId, what: &str) -> Failure {
    Failure::Corrupt {
        table: "responses",
        what: format!("task {task}: {what}"),
    }
}
