//! Handing out tasks, each to one worker.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::name::Identifier;
use tasker_core::runs::{ClaimOrder, Claimed, Run, RunTask, RunTaskState};

use super::super::{Conn, insert_run_tasks, now, save_run_tasks};
use super::{lock, show};
use crate::failure::{Failure, raced};
use crate::rows::{RunTaskRow, codes, int, stored};
use crate::schema::{pull_workers, run_tasks, runs};

/// How many numbers are looked at in one statement, beyond those that are wanted.
const AHEAD: u32 = 64;
/// How many numbers one transaction looks at.
const MAX_AHEAD: u32 = 8_192;

/// What one transaction did.
pub(super) struct Step {
    /// For the first workers, in order.
    pub(super) answers: Vec<Claimed>,
    /// Those for whom nothing was found.
    pub(super) left: Vec<Identifier>,
    /// Whether another transaction may find something for them.
    pub(super) goes_on: bool,
}

/// Hands out tasks. The run's row is locked, so nobody else does at the same time.
pub(super) async fn claim(conn: &mut Conn, order: &ClaimOrder) -> Result<Option<Step>, Failure> {
    let Some(row) = lock(conn, &order.key).await? else {
        return Ok(None);
    };
    let kind = row.payloads;
    let mut run = row.decode()?;
    let now = now(conn).await?;
    let workers = workers(conn, order).await?;
    let known = |name: &Identifier| workers.contains_key(name.as_str());
    let wanted = order.workers.iter().filter(|name| known(name)).count();
    let mut found = returned(conn, &run, now, wanted).await?;
    let next_task = run.next_task;
    fresh(conn, &mut run, wanted, now, &mut found).await?;
    if run.next_task != next_task {
        diesel::update(runs::table.find(run.id))
            .set(runs::next_task.eq(int(run.next_task)))
            .execute(conn)
            .await?;
    }
    let goes_on = found.len() < wanted && run.next_task < run.num_tasks;
    let mut found = found.into_iter();
    let (mut answers, mut written) = (Vec::new(), Written::default());
    let mut names = order.workers.iter();
    for name in names.by_ref() {
        let Some(worker) = workers.get(name.as_str()) else {
            answers.push(Claimed::UnknownWorker);
            continue;
        };
        let Some((number, old)) = found.next() else {
            let left = std::iter::once(name).chain(names).cloned().collect();
            written.save(conn).await?;
            return Ok(Some(Step {
                answers,
                left,
                goes_on,
            }));
        };
        let (is_new, mut task) = match old {
            None => (true, RunTask::untouched(number)),
            Some(task) => (false, task.at(&run, now)),
        };
        task.hand_out(&run, *worker, now, order.lease);
        written.add(is_new, RunTaskRow::new(run.id, &task));
        let mut shown = show::shown(&run, task, now);
        shown.payload = show::payload(conn, &run, kind, number).await?;
        shown.worker = Some(name.as_str().to_owned());
        answers.push(Claimed::Task(Box::new(shown)));
    }
    written.save(conn).await?;
    Ok(Some(Step {
        answers,
        left: Vec::new(),
        goes_on: false,
    }))
}

/// Rows that were changed, to be written together.
#[derive(Default)]
pub(super) struct Written {
    new: Vec<RunTaskRow>,
    old: Vec<RunTaskRow>,
}

impl Written {
    pub(super) fn add(&mut self, is_new: bool, row: RunTaskRow) {
        if is_new {
            self.new.push(row);
        } else {
            self.old.push(row);
        }
    }

    pub(super) async fn save(self, conn: &mut Conn) -> Result<(), Failure> {
        // Somebody may have touched the task for the first time meanwhile.
        insert_run_tasks(conn, self.new).await.map_err(raced)?;
        save_run_tasks(conn, self.old).await?;
        Ok(())
    }
}

/// The numbers of those workers that are known.
async fn workers(conn: &mut Conn, order: &ClaimOrder) -> Result<HashMap<String, i64>, Failure> {
    let names: Vec<&str> = order.workers.iter().map(|name| name.as_str()).collect();
    let rows: Vec<(String, i64)> = pull_workers::table
        .filter(pull_workers::client.eq(order.key.scope.client().as_str()))
        .filter(among!(pull_workers.uuid, names))
        .select((pull_workers::uuid, pull_workers::id))
        .load(conn)
        .await?;
    Ok(rows.into_iter().collect())
}

/// A task that may be handed out: its number, and its row if it has one.
type Free = BTreeMap<u32, Option<RunTask>>;

/// Tasks that went back: put back, taken back by a restart, or left by a worker whose lease is over.
async fn returned(
    conn: &mut Conn,
    run: &Run,
    now: DateTime<Utc>,
    wanted: usize,
) -> Result<Free, Failure> {
    let mut free = Free::new();
    let table = || {
        run_tasks::table
            .filter(run_tasks::run_id.eq(run.id))
            .select(RunTaskRow::as_select())
    };
    let rows: Vec<RunTaskRow> = lock_what_is_free!(
        table()
            .filter(run_tasks::state.eq(codes::WAITING))
            .order((run_tasks::state, run_tasks::epoch, run_tasks::task))
            .limit(wanted as i64)
    )
    .load(conn)
    .await?;
    add(&mut free, rows)?;
    for state in [codes::COMPUTING, codes::DONE_PARTLY] {
        if free.len() < wanted && run.epoch > 0 {
            let rows: Vec<RunTaskRow> = lock_what_is_free!(
                table()
                    .filter(run_tasks::state.eq(state))
                    .filter(run_tasks::epoch.lt(int(run.epoch)))
                    .order((run_tasks::state, run_tasks::epoch, run_tasks::task))
                    .limit((wanted - free.len()) as i64)
            )
            .load(conn)
            .await?;
            add(&mut free, rows)?;
        }
    }
    if free.len() < wanted {
        let rows: Vec<RunTaskRow> = lock_what_is_free!(
            table()
                .filter(run_tasks::lease_until.le(stored(now)))
                .order(run_tasks::lease_until)
                .limit(wanted as i64)
        )
        .load(conn)
        .await?;
        add(&mut free, rows)?;
    }
    while free.len() > wanted {
        free.pop_last();
    }
    Ok(free)
}

fn add(free: &mut Free, rows: Vec<RunTaskRow>) -> Result<(), Failure> {
    for row in rows {
        let task = row.decode()?;
        free.insert(task.number, Some(task));
    }
    Ok(())
}

/// The next numbers, without those that somebody touched before their turn and that do not wait.
async fn fresh(
    conn: &mut Conn,
    run: &mut Run,
    wanted: usize,
    now: DateTime<Utc>,
    free: &mut Free,
) -> Result<(), Failure> {
    let last = run.num_tasks.min(run.next_task.saturating_add(MAX_AHEAD));
    while free.len() < wanted && run.next_task < last {
        let missing = u32::try_from(wanted - free.len()).unwrap_or(AHEAD);
        let end = last.min(run.next_task.saturating_add(missing.saturating_add(AHEAD)));
        let rows: Vec<RunTaskRow> = lock!(
            run_tasks::table
                .filter(run_tasks::run_id.eq(run.id))
                .filter(run_tasks::task.ge(int(run.next_task)))
                .filter(run_tasks::task.lt(int(end)))
                .order(run_tasks::task)
                .select(RunTaskRow::as_select())
        )
        .load(conn)
        .await?;
        let rows = rows.into_iter().map(RunTaskRow::decode);
        let rows = rows.map(|task| task.map(|task| (task.number, task)));
        let mut rows: BTreeMap<u32, RunTask> = rows.collect::<Result<_, _>>()?;
        while free.len() < wanted && run.next_task < end {
            let number = run.next_task;
            run.next_task += 1;
            let old = rows.remove(&number);
            let waits = |task: &RunTask| task.clone().at(run, now).state == RunTaskState::Waiting;
            if old.as_ref().is_none_or(waits) {
                free.insert(number, old);
            }
        }
    }
    Ok(())
}
