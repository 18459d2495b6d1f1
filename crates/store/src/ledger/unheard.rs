//! Endpoints of a list that were not heard of yet.
//!
//! Most of them answer within moments, and what they report makes their rows. So nobody's row is written
//! with the task, but when somebody goes by rows: a client that looks at them, a cancel, a retry, a worker
//! that comes back, a deadline. One of the deadlines is a few seconds after the task was stored. Until then
//! the list says who is expected, and the counters are those of the whole list.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::TaskId;
use tasker_core::name::{EndpointName, TaskType};
use tasker_core::state::TaskStatus;
use tasker_core::store::Timing;
use tasker_core::task::TaskHead;

use super::locked::{lock_task, lock_tasks};
use super::{Conn, insert_responses, now};
use crate::batch::{MAX_LIST, at_most};
use crate::failure::Failure;
use crate::rows::{ResponseBody, list, span, stored};
use crate::schema::{endpoints, responses, tasks};

/// The lists of tasks, in their clients' order.
type Lists = HashMap<TaskId, Vec<EndpointName>>;

/// Whether an expected endpoint may have no row.
pub(super) fn may_lack_rows(task: &TaskHead) -> bool {
    // All who were expected in a task that is DONE have answered.
    task.rows_due_at.is_some() && task.status != TaskStatus::Done
}

/// How many rows are written down in one transaction, but for a single task with more of them.
const MOST_ROWS: u32 = 10_000;

/// Types of which a worker said hello to this process since rows were taken to be asked about. The broker
/// may have had no inbox for it, so what has no row yet is to be asked, too.
#[derive(Debug, Default)]
pub(super) struct Returned(Mutex<BTreeSet<TaskType>>);

impl Returned {
    fn types(&self) -> MutexGuard<'_, BTreeSet<TaskType>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, task_type: TaskType) {
        self.types().insert(task_type);
    }

    pub(super) fn take(&self) -> Vec<TaskType> {
        std::mem::take(&mut *self.types()).into_iter().collect()
    }
}

/// Writes down the missing rows of some tasks of these types; tells whether there are more of them.
pub(super) async fn write_down_of(
    conn: &mut Conn,
    (types, limit, timing): &(Vec<TaskType>, u32, Timing),
) -> Result<bool, Failure> {
    let now = now(conn).await?;
    let limit = at_most(*limit);
    let names: Vec<&str> = types.iter().map(TaskType::as_str).collect();
    let query = tasks::table
        // Whoever lacks rows is due when it gets them, or before.
        .filter(tasks::due_at.le(stored(now + span(timing.rows_after))))
        .filter(tasks::rows_due_at.is_not_null())
        .filter(tasks::status.ne(TaskStatus::Done.code()))
        .filter(among!(tasks.task_type, names))
        .order(tasks::due_at)
        .limit(limit as i64 + 1)
        .select(tasks::id);
    let mut ids: Vec<TaskId> = kept!(query).load(conn).await?;
    let mut is_more = ids.len() > limit;
    ids.truncate(limit);
    let mut lacking = lock_tasks(conn, ids).await?;
    is_more |= leave_what_is_too_much(&mut lacking);
    write_down(conn, lacking.values_mut(), now, timing.ask_every).await?;
    Ok(is_more)
}

/// Leaves tasks for the next time if too many rows of them would have to be written down; tells whether it
/// did.
pub(super) fn leave_what_is_too_much(tasks: &mut BTreeMap<TaskId, TaskHead>) -> bool {
    let before = tasks.len();
    let mut rows = 0;
    tasks.retain(|_, task| {
        let is_first = rows == 0;
        if may_lack_rows(task) {
            rows += task.counts.expected;
        }
        is_first || rows <= MOST_ROWS
    });
    tasks.len() < before
}

/// Writes down the missing rows of one task, for somebody who wants to look at them.
pub(super) async fn write_down_one(
    conn: &mut Conn,
    (task, ask_every): &(TaskId, Duration),
) -> Result<(), Failure> {
    let now = now(conn).await?;
    match lock_task(conn, *task).await? {
        Some(mut task) => write_down(conn, [&mut task], now, *ask_every).await,
        None => Ok(()),
    }
}

/// Writes down the missing rows of tasks that are locked.
pub(super) async fn write_down<'t>(
    conn: &mut Conn,
    tasks: impl IntoIterator<Item = &'t mut TaskHead>,
    now: DateTime<Utc>,
    ask_every: Duration,
) -> Result<(), Failure> {
    let lacking = tasks.into_iter().filter(|task| may_lack_rows(task));
    let mut lacking: Vec<&mut TaskHead> = lacking.collect();
    let ids: Vec<TaskId> = lacking.iter().map(|task| task.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut missing = lists(conn, &ids).await?;
    for (id, names) in heard_of(conn, &ids).await? {
        if let Some(list) = missing.get_mut(&id) {
            list.retain(|name| !names.contains(name.as_str()));
        }
    }
    let hellos = hellos(conn, &lacking, &missing).await?;
    let mut rows = Vec::new();
    for task in &mut lacking {
        task.rows_due_at = None;
        let said = hellos.get(task.task_type.as_str());
        for name in missing.get(&task.id).into_iter().flatten() {
            // A hello lets its endpoint be asked about every row at once: also about those that it had not.
            let ask_at = match said.and_then(|said| said.get(name.as_str())) {
                Some(at) if *at > stored(task.created_at) => now,
                _ => task.created_at + span(ask_every),
            };
            let since = task.created_at;
            rows.push(ResponseBody::waiting(task, name, true, since, ask_at));
        }
    }
    if !rows.is_empty() {
        insert_responses(conn, rows).await?;
    }
    for part in ids.chunks(MAX_LIST) {
        diesel::update(tasks::table.filter(among!(tasks.id, part)))
            .set(tasks::rows_due_at.eq(None::<NaiveDateTime>))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// The lists of these tasks.
pub(super) async fn lists(conn: &mut Conn, ids: &[TaskId]) -> Result<Lists, Failure> {
    let mut lists = Lists::with_capacity(ids.len());
    for part in ids.chunks(MAX_LIST) {
        let found: Vec<(TaskId, Option<Vec<u8>>)> = tasks::table
            .filter(among!(tasks.id, part))
            .select((tasks::id, tasks::endpoints))
            .load(conn)
            .await?;
        for (id, json) in found {
            let list = list(id, json.as_deref())?;
            lists.insert(id, list.unwrap_or_default());
        }
    }
    Ok(lists)
}

/// The endpoints of these tasks that have rows.
async fn heard_of(
    conn: &mut Conn,
    ids: &[TaskId],
) -> Result<BTreeMap<TaskId, HashSet<String>>, Failure> {
    let mut heard: BTreeMap<TaskId, HashSet<String>> = BTreeMap::new();
    for part in ids.chunks(MAX_LIST) {
        let rows: Vec<(TaskId, String)> = responses::table
            .filter(among!(responses.task_id, part))
            .select((responses::task_id, responses::endpoint))
            .load(conn)
            .await?;
        for (id, name) in rows {
            heard.entry(id).or_default().insert(name);
        }
    }
    Ok(heard)
}

/// When these endpoints said hello last, by type and then by name.
async fn hellos(
    conn: &mut Conn,
    tasks: &[&mut TaskHead],
    missing: &Lists,
) -> Result<HashMap<String, HashMap<String, NaiveDateTime>>, Failure> {
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for task in tasks {
        let names = missing.get(&task.id).into_iter().flatten();
        let of_type = wanted.entry(task.task_type.as_str()).or_default();
        of_type.extend(names.map(EndpointName::as_str));
    }
    let mut hellos = HashMap::new();
    for (task_type, names) in wanted {
        let mut said = HashMap::with_capacity(names.len());
        let names: Vec<&str> = names.into_iter().collect();
        for part in names.chunks(MAX_LIST) {
            let found: Vec<(String, Option<NaiveDateTime>)> = endpoints::table
                .filter(endpoints::task_type.eq(task_type))
                .filter(among!(endpoints.name, part.iter().copied()))
                .select((endpoints::name, endpoints::hello_at))
                .load(conn)
                .await?;
            said.extend(found.into_iter().filter_map(|(name, at)| Some((name, at?))));
        }
        hellos.insert(task_type.to_owned(), said);
    }
    Ok(hellos)
}
