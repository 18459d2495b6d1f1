//! What clients read of runs.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use diesel::dsl::{count_star, sum};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::runs::{Progress, Run, RunFilter, RunId, RunKey, RunTask, ShownTask};

use super::super::{Conn, now};
use super::find;
use crate::batch::at_most;
use crate::failure::Failure;
use crate::rows::{RunRow, RunTaskRow, codes, int, payloads, stored};
use crate::schema::{pull_workers, run_payloads, run_tasks, runs};

pub(super) async fn runs(
    conn: &mut Conn,
    filter: &RunFilter,
) -> Result<Vec<(Run, Option<Progress>)>, Failure> {
    let mut query = runs::table.select(RunRow::as_select()).into_boxed();
    if let Some(client) = filter.scope.bound() {
        query = query.filter(runs::client.eq(client.as_str()));
    }
    let rows: Vec<RunRow> = query
        .filter(runs::id.lt(filter.before.unwrap_or(RunId::MAX)))
        .order(runs::id.desc())
        .limit(at_most(filter.limit) as i64)
        .load(conn)
        .await?;
    let found = rows.into_iter().map(RunRow::decode);
    let found: Vec<Run> = found.collect::<Result<_, _>>()?;
    if !filter.with_progress {
        return Ok(found.into_iter().map(|run| (run, None)).collect());
    }
    let mut counts = count(conn, &found).await?;
    let with_progress = found.into_iter().map(|run| {
        let progress = counts.remove(&run.id).unwrap_or_default();
        (run, Some(progress))
    });
    Ok(with_progress.collect())
}

pub(super) async fn run(
    conn: &mut Conn,
    (key, with_progress): &(RunKey, bool),
) -> Result<Option<(Run, Progress)>, Failure> {
    let Some(row) = find(conn, key).await? else {
        return Ok(None);
    };
    let run = row.decode()?;
    if !with_progress {
        return Ok(Some((run, Progress::default())));
    }
    let counts = count(conn, std::slice::from_ref(&run)).await?;
    let progress = counts.into_values().next().unwrap_or_default();
    Ok(Some((run, progress)))
}

/// Rows of a run that were written in the same epoch and are in the same state: how many, and the sum of
/// how far they came.
type Group = (RunId, i16, i32, i64, Option<f64>);

/// Counts the tasks of runs. Those without a row wait.
async fn count(conn: &mut Conn, runs: &[Run]) -> Result<BTreeMap<RunId, Progress>, Failure> {
    let now = now(conn).await?;
    let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
    let groups: Vec<Group> = run_tasks::table
        .filter(run_tasks::run_id.eq_any(&ids))
        .group_by((run_tasks::run_id, run_tasks::state, run_tasks::epoch))
        .select((
            run_tasks::run_id,
            run_tasks::state,
            run_tasks::epoch,
            count_star(),
            sum(run_tasks::percent),
        ))
        .load(conn)
        .await?;
    let lapsed: Vec<(RunId, i32, i64)> = run_tasks::table
        .filter(run_tasks::run_id.eq_any(&ids))
        .filter(run_tasks::lease_until.le(stored(now)))
        .group_by((run_tasks::run_id, run_tasks::epoch))
        .select((run_tasks::run_id, run_tasks::epoch, count_star()))
        .load(conn)
        .await?;
    let counted = runs.iter().map(|run| {
        let (mut computing, mut done, mut percent) = (0, 0, 0.0);
        for (_, state, epoch, count, sum) in groups.iter().filter(|group| group.0 == run.id) {
            if *epoch < int(run.reset_epoch) {
                continue;
            }
            percent += sum.unwrap_or(0.0);
            let is_of_now = *epoch >= int(run.epoch);
            match *state {
                codes::COMPUTING if is_of_now => computing += count,
                codes::DONE_PARTLY if is_of_now => done += count,
                codes::DONE => done += count,
                _ => {}
            }
        }
        let over = lapsed
            .iter()
            .filter(|(id, epoch, _)| *id == run.id && *epoch >= int(run.epoch));
        computing -= over.map(|(_, _, count)| count).sum::<i64>();
        let (computing, done) = (number(computing), number(done));
        let progress = Progress {
            waiting: run.num_tasks.saturating_sub(computing).saturating_sub(done),
            computing,
            done,
            percent: if run.num_tasks == 0 {
                0.0
            } else {
                percent / f64::from(run.num_tasks)
            },
        };
        (run.id, progress)
    });
    Ok(counted.collect())
}

fn number(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}

pub(super) async fn task(
    conn: &mut Conn,
    (key, number, whole): &(RunKey, u32, bool),
) -> Result<Option<Option<ShownTask>>, Failure> {
    let Some(row) = find(conn, key).await? else {
        return Ok(None);
    };
    let kind = row.payloads;
    let run = row.decode()?;
    if *number >= run.num_tasks {
        return Ok(Some(None));
    }
    let now = now(conn).await?;
    let row: Option<RunTaskRow> = run_tasks::table
        .find((run.id, int(*number)))
        .select(RunTaskRow::as_select())
        .first(conn)
        .await
        .optional()?;
    let task = row.map(RunTaskRow::decode).transpose()?;
    let task = task.unwrap_or_else(|| RunTask::untouched(*number));
    let mut shown = shown(&run, task, now);
    if *whole {
        shown.payload = payload(conn, &run, kind, *number).await?;
        if let Some(worker) = shown.task.worker {
            shown.worker = pull_workers::table
                .find(worker)
                .select(pull_workers::uuid)
                .first(conn)
                .await
                .optional()?;
        }
    } else {
        shown.task.result = None;
    }
    Ok(Some(Some(shown)))
}

/// A task as it counts now, without what other tables know of it.
pub(super) fn shown(run: &Run, task: RunTask, now: DateTime<Utc>) -> ShownTask {
    ShownTask {
        run: run.id,
        task: task.at(run, now),
        worker: None,
        payload: None,
    }
}

/// What the worker of a task gets.
pub(super) async fn payload(
    conn: &mut Conn,
    run: &Run,
    kind: i16,
    number: u32,
) -> Result<Option<Bytes>, Failure> {
    let found: Option<Vec<u8>> = match kind {
        payloads::SAME => {
            runs::table
                .find(run.id)
                .select(runs::payload)
                .first(conn)
                .await?
        }
        payloads::EACH => run_payloads::table
            .find((run.id, int(number)))
            .select(run_payloads::payload)
            .first(conn)
            .await
            .optional()?,
        _ => None,
    };
    Ok(found.map(Bytes::from))
}
