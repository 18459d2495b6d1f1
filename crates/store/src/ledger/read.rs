//! Step 10 of the line, show: what clients read.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::{count_star, min};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use tasker_core::id::TaskId;
use tasker_core::missing::Missing;
use tasker_core::name::{Client, EndpointName, Identifier, TaskType};
use tasker_core::state::ResponseState;
use tasker_core::store::{Endpoint, ResponseFilter, Standing, Tally, TaskFilter};
use tasker_core::task::{Task, TaskHead, TaskResponse};

use super::{Conn, now};
use crate::failure::Failure;
use crate::rows::{EndpointRow, HeadRow, ResponseRow, StoredRow, span};
use crate::schema::{endpoints, responses, tasks};

pub(super) async fn task(
    conn: &mut Conn,
    (client, task_type, identifier): &(Client, TaskType, Identifier),
) -> Result<Option<Task>, Failure> {
    let row: Option<StoredRow> = tasks::table
        .filter(tasks::client.eq(client.as_str()))
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
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        id: TaskId,
    }
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
    let found: Vec<Found> = diesel::sql_query(text)
        .bind::<Text, _>(filter.client.as_str())
        .bind::<Text, _>(filter.task_type.as_str())
        .bind::<BigInt, _>(filter.before.unwrap_or(TaskId::MAX))
        .bind::<BigInt, _>(i64::from(filter.limit))
        .load(conn)
        .await?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

pub(super) async fn responses(
    conn: &mut Conn,
    (task, filter): &(TaskId, ResponseFilter),
) -> Result<Vec<TaskResponse>, Failure> {
    let mut query = responses::table
        .filter(responses::task_id.eq(*task))
        .select(ResponseRow::as_select())
        .order(responses::id)
        .limit(filter.limit.into())
        .into_boxed();
    if let Some(state) = filter.state {
        query = query.filter(responses::state.eq(state.code()));
    }
    if filter.received_only {
        query = query.filter(among!(responses.state, states(ResponseState::is_received)));
    }
    if let Some(after) = filter.after {
        query = query.filter(responses::id.gt(after));
    }
    let rows: Vec<ResponseRow> = query.load(conn).await?;
    rows.into_iter().map(ResponseRow::decode).collect()
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

async fn tally(conn: &mut Conn, task: TaskId, missing: u32) -> Result<Tally, Failure> {
    let now = now(conn).await?;
    let counts: Vec<(i16, bool, i64)> = responses::table
        .filter(responses::task_id.eq(task))
        .group_by((responses::state, responses::expected))
        .select((responses::state, responses::expected, count_star()))
        .load(conn)
        .await?;
    let mut tally = Tally {
        now,
        states: BTreeMap::new(),
        next_retry_at: None,
        late: 0,
        missing: Vec::new(),
    };
    for (code, expected, count) in counts {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if expected {
            tally.states.insert(state(task, code)?, count);
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
        .filter(responses::task_id.eq(task))
        .filter(responses::expected.eq(true))
        .filter(responses::state.eq_any(states(|state| !state.is_finished())))
        .order(responses::id)
        .limit(missing.into())
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

/// The numbers of the states that pass.
fn states(pass: impl Fn(ResponseState) -> bool) -> Vec<i16> {
    let all = ResponseState::ALL.iter().copied();
    all.filter(|state| pass(*state))
        .map(ResponseState::code)
        .collect()
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
