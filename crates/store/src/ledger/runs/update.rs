//! Changing tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::runs::{Changer, Run, RunId, RunTask, UpdateOrder, Updated};

use super::super::{Conn, now};
use super::claim::Written;
use super::is_covered;
use crate::failure::Failure;
use crate::rows::{RunRow, RunTaskRow, int};
use crate::schema::{pull_workers, run_tasks, runs};

/// A task in the hand of the operation.
struct Held {
    task: RunTask,
    is_new: bool,
    is_changed: bool,
}

pub(super) async fn update(
    conn: &mut Conn,
    orders: &[UpdateOrder],
) -> Result<Vec<Updated>, Failure> {
    let now = now(conn).await?;
    let runs = runs_of(conn, orders).await?;
    let mut wanted: BTreeMap<RunId, BTreeSet<u32>> = BTreeMap::new();
    for (order, run) in orders.iter().zip(&runs) {
        if let Some(run) = run.as_ref().filter(|run| order.number < run.num_tasks) {
            wanted.entry(run.id).or_default().insert(order.number);
        }
    }
    let mut tasks = HashMap::new();
    for (run, numbers) in wanted {
        lock_tasks(conn, run, numbers, &mut tasks).await?;
    }
    let mut results = Vec::with_capacity(orders.len());
    for (order, run) in orders.iter().zip(&runs) {
        let Some(run) = run else {
            results.push(Updated::NoRun);
            continue;
        };
        let Some(held) = tasks.get_mut(&(run.id, order.number)) else {
            results.push(Updated::NoTask);
            continue;
        };
        let Ok(worker) = worker(conn, order).await? else {
            results.push(Updated::UnknownWorker);
            continue;
        };
        let change = held
            .task
            .change(&order.change, worker, run, now, order.lease);
        held.is_changed |= change.is_ok();
        results.push(change.map_or(Updated::NotHeld, |()| Updated::Done));
    }
    let mut written = Written::default();
    for ((run, _), held) in tasks.into_iter().filter(|(_, held)| held.is_changed) {
        written.add(held.is_new, RunTaskRow::new(run, &held.task));
    }
    written.save(conn).await?;
    Ok(results)
}

/// The run of each order, if there is one and its scope covers it.
async fn runs_of(conn: &mut Conn, orders: &[UpdateOrder]) -> Result<Vec<Option<Run>>, Failure> {
    let uids: BTreeSet<&[u8]> = orders
        .iter()
        .map(|order| &order.key.uid.0.as_bytes()[..])
        .collect();
    let rows: Vec<RunRow> = runs::table
        .filter(among!(runs.uid, uids))
        .select(RunRow::as_select())
        .load(conn)
        .await?;
    let mut found = Vec::with_capacity(orders.len());
    let rows: HashMap<Vec<u8>, RunRow> = rows.into_iter().map(|r| (r.uid.clone(), r)).collect();
    for order in orders {
        let row = rows.get(&order.key.uid.0.as_bytes()[..]);
        let row = row.filter(|row| is_covered(&order.key, row));
        found.push(row.cloned().map(RunRow::decode).transpose()?);
    }
    Ok(found)
}

/// Locks tasks of a run, by number.
async fn lock_tasks(
    conn: &mut Conn,
    run: RunId,
    numbers: BTreeSet<u32>,
    tasks: &mut HashMap<(RunId, u32), Held>,
) -> Result<(), Failure> {
    let rows: Vec<RunTaskRow> = lock!(
        run_tasks::table
            .filter(run_tasks::run_id.eq(run))
            .filter(among!(
                run_tasks.task,
                numbers.iter().map(|number| int(*number))
            ))
            .order(run_tasks::task)
            .select(RunTaskRow::as_select())
    )
    .load(conn)
    .await?;
    for number in numbers {
        let task = RunTask::untouched(number);
        let held = Held {
            task,
            is_new: true,
            is_changed: false,
        };
        tasks.insert((run, number), held);
    }
    for row in rows {
        let task = row.decode()?;
        let held = Held {
            is_new: false,
            is_changed: false,
            task,
        };
        tasks.insert((run, held.task.number), held);
    }
    Ok(())
}

/// The worker that wants a change, if it is one; `Err(())`: it is not known.
async fn worker(conn: &mut Conn, order: &UpdateOrder) -> Result<Result<Option<i64>, ()>, Failure> {
    let table = pull_workers::table
        .filter(pull_workers::client.eq(order.key.scope.client().as_str()))
        .select(pull_workers::id);
    Ok(match &order.changer {
        Changer::Anybody => Ok(None),
        Changer::Worker(name) => {
            let found: Option<i64> = table
                .filter(pull_workers::uuid.eq(name.as_str()))
                .first(conn)
                .await
                .optional()?;
            found.map(Some).ok_or(())
        }
        Changer::Session(session) => {
            let found: Vec<i64> = table
                .filter(pull_workers::session.eq(session.to_vec()))
                .limit(2)
                .load(conn)
                .await?;
            match found.as_slice() {
                [one] => Ok(Some(*one)),
                _ => Ok(None),
            }
        }
    })
}
