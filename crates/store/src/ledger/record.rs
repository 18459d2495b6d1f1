//! Steps 8 and 9 of the line, report and settle: a batch of reports, fenced, in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::{TaskId, TaskUid};
use tasker_core::name::EndpointName;
use tasker_core::state::ResponseState;
use tasker_core::store::{Arrived, RecordVerdict, Recorded};
use tasker_core::task::{Audience, TaskHead};

use super::locked::{Settled, lock_tasks, settle_and_save};
use super::presence::{Worker, greet};
use super::{Conn, insert_responses, load_responses, now, save_responses, unheard};
use crate::apply::{apply, happened_at, is_in_time};
use crate::batch::MAX_LIST;
use crate::failure::{Failure, raced};
use crate::rows::{ResponseBody, ResponseRow, span};
use crate::schema::tasks;

/// A row as the batch leaves it.
struct Draft {
    /// `None`: it is made by this batch.
    id: Option<i64>,
    body: ResponseBody,
    is_changed: bool,
}

/// Reports, the numbers of their tasks as far as they are known, their endpoints that may not be written
/// down, and how long an open row rests before it is asked about.
type Batch = (
    Vec<Arrived>,
    HashMap<TaskUid, TaskId>,
    Vec<Worker>,
    Duration,
);

/// Rows by task and endpoint.
type Drafts = HashMap<(TaskId, String), Draft>;

pub(super) async fn record(
    conn: &mut Conn,
    (batch, known, strangers, ask_every): &Batch,
) -> Result<Recorded, Failure> {
    let now = now(conn).await?;
    let ask_at = now + span(*ask_every);
    greet(conn, strangers.iter().map(|(t, e)| (t, e)), now).await?;
    let ids = find_tasks(conn, batch, known).await?;
    let mut tasks = lock_tasks(conn, ids.values().copied().collect()).await?;
    let mut drafts = load(conn, batch, &ids).await?;
    let lists = lists(conn, batch, &tasks, &ids, &drafts).await?;
    let mut verdicts = Vec::with_capacity(batch.len());
    let mut touched = BTreeSet::new();
    let mut retries = 0;
    for arrived in batch {
        let task = ids
            .get(&arrived.report.uid)
            .and_then(|id| tasks.get_mut(id))
            .filter(|task| task.uid == arrived.report.uid);
        let verdict = match task {
            None => RecordVerdict::UnknownTask,
            Some(task) => {
                let is_listed = lists
                    .get(&task.id)
                    .is_some_and(|list| list.contains(&arrived.endpoint));
                let terms = (is_listed, now, ask_at);
                let (verdict, is_retried) = judge(task, arrived, &mut drafts, terms)?;
                retries += u32::from(is_retried);
                if verdict == RecordVerdict::Applied {
                    touched.insert(task.id);
                }
                verdict
            }
        };
        verdicts.push(verdict);
    }
    save(conn, drafts).await?;
    let mut settled = Settled::new();
    let touched = tasks.values_mut().filter(|task| touched.contains(&task.id));
    settle_and_save(conn, touched, now, false, &mut settled).await?;
    Ok(Recorded {
        verdicts,
        settled,
        retries,
    })
}

/// Judges one report, and makes the row of an endpoint that has none: of one that was not heard of yet
/// (`is_listed`), or that nobody expected. Tells also whether another attempt follows.
fn judge(
    task: &mut TaskHead,
    arrived: &Arrived,
    drafts: &mut Drafts,
    (is_listed, now, ask_at): (bool, DateTime<Utc>, DateTime<Utc>),
) -> Result<(RecordVerdict, bool), Failure> {
    let random = rand::random::<f64>();
    let is_retried = |verdict, row: &ResponseBody| {
        verdict == RecordVerdict::Applied && row.state == ResponseState::Retrying.code()
    };
    if arrived.task_type != task.task_type {
        return Ok((RecordVerdict::Stranger, false));
    }
    let key = (task.id, arrived.endpoint.as_str().to_owned());
    if let Some(draft) = drafts.get_mut(&key) {
        let verdict = apply(task, &mut draft.body, &arrived.report, now, ask_at, random)?;
        draft.is_changed |= verdict == RecordVerdict::Applied;
        return Ok((verdict, is_retried(verdict, &draft.body)));
    }
    if task.audience == Audience::Listed && !is_listed {
        return Ok((RecordVerdict::Stranger, false));
    }
    let is_open = task.audience == Audience::Subscribed;
    let joins = is_open && is_in_time(task, happened_at(&arrived.report, task, now));
    let since = if is_listed { task.created_at } else { now };
    let expected = is_listed || joins;
    let mut body = ResponseBody::waiting(task, &arrived.endpoint, expected, since, ask_at);
    let verdict = apply(task, &mut body, &arrived.report, now, ask_at, random)?;
    let is_retried = is_retried(verdict, &body);
    if verdict == RecordVerdict::Applied {
        body.late |= is_open && !expected;
        task.counts.expected += u32::from(joins);
        let draft = Draft {
            id: None,
            body,
            is_changed: true,
        };
        drafts.insert(key, draft);
    }
    Ok((verdict, is_retried))
}

/// The numbers of the tasks that the batch names.
async fn find_tasks(
    conn: &mut Conn,
    batch: &[Arrived],
    known: &HashMap<TaskUid, TaskId>,
) -> Result<HashMap<TaskUid, TaskId>, Failure> {
    let uids = batch.iter().map(|arrived| arrived.report.uid);
    let uids: BTreeSet<TaskUid> = uids.filter(|uid| !known.contains_key(uid)).collect();
    let uids: Vec<&[u8]> = uids.iter().map(|uid| uid.0.as_bytes().as_slice()).collect();
    let mut ids = known.clone();
    for part in uids.chunks(MAX_LIST) {
        let rows: Vec<(Vec<u8>, TaskId)> = tasks::table
            .filter(among!(tasks.uid, part))
            .select((tasks::uid, tasks::id))
            .load(conn)
            .await?;
        for (uid, id) in rows {
            let uid = uuid::Uuid::from_slice(&uid).map_err(|e| Failure::Corrupt {
                table: "tasks",
                what: format!("id {id}: {e}"),
            })?;
            ids.insert(TaskUid(uid), id);
        }
    }
    Ok(ids)
}

/// The lists of tasks of which the batch has reports without a row, as far as rows may be missing.
async fn lists(
    conn: &mut Conn,
    batch: &[Arrived],
    tasks: &BTreeMap<TaskId, TaskHead>,
    ids: &HashMap<TaskUid, TaskId>,
    drafts: &Drafts,
) -> Result<HashMap<TaskId, HashSet<EndpointName>>, Failure> {
    let lacks = |arrived: &Arrived| {
        let task = tasks.get(ids.get(&arrived.report.uid)?)?;
        let has_row = || drafts.contains_key(&(task.id, arrived.endpoint.as_str().to_owned()));
        (unheard::may_lack_rows(task) && !has_row()).then_some(task.id)
    };
    let lacking: BTreeSet<TaskId> = batch.iter().filter_map(lacks).collect();
    let lacking: Vec<TaskId> = lacking.into_iter().collect();
    if lacking.is_empty() {
        return Ok(HashMap::new());
    }
    let lists = unheard::lists(conn, &lacking).await?;
    Ok(lists
        .into_iter()
        .map(|(id, list)| (id, list.into_iter().collect()))
        .collect())
}

/// The rows that the batch may change.
async fn load<'b>(
    conn: &mut Conn,
    batch: &'b [Arrived],
    ids: &HashMap<TaskUid, TaskId>,
) -> Result<Drafts, Failure> {
    let pair = |arrived: &'b Arrived| {
        let id = ids.get(&arrived.report.uid)?;
        Some((*id, arrived.endpoint.as_str()))
    };
    let wanted: BTreeSet<(TaskId, &str)> = batch.iter().filter_map(pair).collect();
    let wanted: Vec<_> = wanted.into_iter().collect();
    let rows = load_responses(conn, &wanted).await?;
    let draft = |row: ResponseRow| {
        let key = (row.body.task_id, row.body.endpoint.clone());
        let draft = Draft {
            id: Some(row.id),
            body: row.body,
            is_changed: false,
        };
        (key, draft)
    };
    Ok(rows.into_iter().map(draft).collect())
}

async fn save(conn: &mut Conn, drafts: Drafts) -> Result<(), Failure> {
    let mut changed: Vec<ResponseRow> = Vec::new();
    let mut made: Vec<ResponseBody> = Vec::new();
    for draft in drafts.into_values().filter(|draft| draft.is_changed) {
        match draft.id {
            Some(id) => changed.push(ResponseRow {
                id,
                body: draft.body,
            }),
            None => made.push(draft.body),
        }
    }
    changed.sort_unstable_by_key(|row| row.id);
    save_responses(conn, changed).await?;
    if !made.is_empty() {
        made.sort_unstable_by(|a, b| (a.task_id, &a.endpoint).cmp(&(b.task_id, &b.endpoint)));
        insert_responses(conn, made).await.map_err(raced)?;
    }
    Ok(())
}
