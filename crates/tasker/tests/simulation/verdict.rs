//! The comparison: what the client was promised, what the ledger says, and what the handlers did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::task::{TaskHead, TaskResponse};
use tasker_core::{TaskUid, errnr};

use crate::performer::Run;
use crate::process::{ONCE, Worker};
use crate::world::{Wanted, World};

/// What a simulation showed.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) accepted: usize,
    /// Endpoints that were promised a task and have no true answer.
    pub(crate) lost: usize,
    /// Answers that the handlers' ledger does not know.
    pub(crate) lies: usize,
    /// Runs that nobody asked for.
    pub(crate) phantoms: usize,
    /// Runs of a `once` task beyond the first of their attempt.
    pub(crate) duplicated: usize,
    pub(crate) interrupted: usize,
    pub(crate) deaths: usize,
    pub(crate) recovered_after: Option<Duration>,
    pub(crate) injections: String,
    /// What is wrong, each with the trace of its task.
    pub(crate) faults: Vec<String>,
}

/// Every way to be wrong, and the number that counts it.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Lost,
    Lie,
    Phantom,
    Duplicated,
}

impl Verdict {
    fn fault(&mut self, world: &World, wrong: Wrong, uid: Option<TaskUid>, what: &str) {
        *match wrong {
            Wrong::Lost => &mut self.lost,
            Wrong::Lie => &mut self.lies,
            Wrong::Phantom => &mut self.phantoms,
            Wrong::Duplicated => &mut self.duplicated,
        } += 1;
        let mut text = format!("{wrong:?}: {what}\n");
        if let Some(uid) = uid {
            for run in world.runs.all().iter().filter(|run| run.uid == uid) {
                let (start, end) = (run.start.as_secs_f64(), run.end);
                let _ = writeln!(
                    text,
                    "{start:>9.3} attempt {} run {} on {}, end {end:?}",
                    run.attempt, run.run, run.endpoint
                );
            }
            text += &world.office.trace(uid);
        }
        self.faults.push(text);
    }
}

/// Compares, after everything had time to come to its end.
pub(crate) async fn compare(world: &World, recovered_after: Option<Duration>) -> Verdict {
    let mut verdict = Verdict {
        recovered_after,
        injections: world.office.injections(),
        deaths: world
            .workers
            .iter()
            .map(|worker| worker.deaths.lock().unwrap().0)
            .sum(),
        ..Verdict::default()
    };
    let wanted = world.wanted.lock().unwrap().clone();
    let tasks: BTreeMap<String, TaskHead> = world
        .tasks()
        .await
        .into_iter()
        .map(|task| (task.identifier.to_string(), task))
        .collect();
    let runs = world.runs.all();
    for run in &runs {
        let asked = wanted.iter().find(|one| one.identifier == run.identifier);
        let is_meant = asked.is_some_and(|one| one.endpoints.contains(&run.endpoint));
        let is_stored = tasks
            .get(&run.identifier)
            .is_some_and(|task| task.uid == run.uid);
        if !is_meant || !is_stored {
            verdict.fault(world, Wrong::Phantom, Some(run.uid), &format!("{run:?}"));
        }
    }
    for one in wanted.iter().filter(|one| one.is_accepted) {
        verdict.accepted += 1;
        let Some(task) = tasks.get(&one.identifier) else {
            verdict.fault(world, Wrong::Lost, None, &format!("{one:?} is not stored"));
            continue;
        };
        judge(&mut verdict, world, one, task, &runs).await;
    }
    verdict
}

async fn judge(verdict: &mut Verdict, world: &World, one: &Wanted, task: &TaskHead, runs: &[Run]) {
    let rows = world.responses(task.id).await;
    let named: BTreeSet<_> = rows.iter().map(|row| row.endpoint.as_str()).collect();
    let meant: BTreeSet<_> = one.endpoints.iter().map(String::as_str).collect();
    let uid = Some(task.uid);
    if named != meant {
        verdict.fault(
            world,
            Wrong::Lost,
            uid,
            &format!("{one:?} has rows of {named:?}"),
        );
    }
    let is_finished = rows.iter().all(|row| row.state.is_finished());
    let is_true = match task.status {
        TaskStatus::Done => is_finished && !one.is_cancelled,
        TaskStatus::Incomplete => !is_finished && one.is_short_lived,
        TaskStatus::Cancelled => one.is_cancelled,
        TaskStatus::Created | TaskStatus::Sent => false,
    };
    if !is_true {
        let what = format!("{one:?} is {} with {:?}", task.status, task.counts);
        verdict.fault(world, Wrong::Lie, uid, &what);
    }
    for row in &rows {
        let own = |run: &&Run| run.uid == task.uid && run.endpoint == row.endpoint.as_str();
        let own: Vec<&Run> = runs.iter().filter(own).collect();
        if let Some((wrong, what)) = judge_row(verdict, world, one, row, &own) {
            let what = format!("{what}: {row:?} of {one:?}");
            verdict.fault(world, wrong, uid, &what);
        }
        let wipes = worker(world, one, row).deaths.lock().unwrap().1;
        if let Some(what) = judge_runs(one, row, &own, wipes) {
            let what = format!("{what}: {row:?} of {one:?}");
            verdict.fault(world, Wrong::Duplicated, uid, &what);
        }
    }
}

/// Whether the answer is what happened.
fn judge_row(
    verdict: &mut Verdict,
    world: &World,
    one: &Wanted,
    row: &TaskResponse,
    runs: &[&Run],
) -> Option<(Wrong, &'static str)> {
    let last = |run: &&&Run| run.attempt == row.attempt && run.run == row.run;
    let end = runs.iter().find(last).and_then(|run| run.end);
    let is_started = runs.iter().any(|run| run.attempt == row.attempt);
    let (deaths, wipes) = *worker(world, one, row).deaths.lock().unwrap();
    match row.state {
        ResponseState::Succeeded | ResponseState::Failed => {
            let succeeded = row.state == ResponseState::Succeeded;
            let is_told = end.is_some_and(|(_, success)| success == succeeded);
            (!is_told).then_some((Wrong::Lie, "no such end of a handler"))
        }
        ResponseState::TimedOut => {
            (!is_started || end.is_some()).then_some((Wrong::Lie, "no run that was ended"))
        }
        ResponseState::Interrupted => {
            verdict.interrupted += 1;
            let is_allowed = match row.errnr {
                Some(errnr::INTERRUPTED) => deaths > 0 && row.run > 0,
                Some(errnr::JOURNAL_LOST) => wipes > 0,
                // Its worker is back and was asked, unless the task was over.
                Some(errnr::LOST_CONTACT) => one.is_short_lived,
                _ => false,
            };
            (!is_allowed).then_some((Wrong::Lie, "nothing interrupted it"))
        }
        ResponseState::Cancelled => {
            (!one.is_cancelled).then_some((Wrong::Lie, "nobody cancelled it"))
        }
        ResponseState::Rejected => match row.errnr {
            Some(errnr::EXPIRED) if one.is_short_lived && !is_started => None,
            Some(errnr::POISON) if deaths >= 3 => None,
            _ => Some((Wrong::Lie, "nothing speaks against it")),
        },
        ResponseState::Expired if (one.is_short_lived || one.is_cancelled) && !is_started => None,
        ResponseState::Expired => Some((Wrong::Lost, "it was not over, or it was started")),
        _ => Some((Wrong::Lost, "no answer")),
    }
}

/// Whether runs were repeated in silence.
fn judge_runs(
    one: &Wanted,
    row: &TaskResponse,
    runs: &[&Run],
    wipes: usize,
) -> Option<&'static str> {
    let numbers: BTreeSet<_> = runs.iter().map(|run| (run.attempt, run.run)).collect();
    // A new journal counts runs anew, until the ledger has heard of it and ordered the next attempt:
    // an idempotent run does not wait for that.
    if numbers.len() + wipes < runs.len() {
        return Some("the same run twice");
    }
    if runs.iter().any(|run| run.attempt > row.attempt) {
        return Some("a run of an attempt that was never ordered");
    }
    let attempts: BTreeSet<_> = runs.iter().map(|run| run.attempt).collect();
    if one.task_type == ONCE {
        if attempts.len() < runs.len() {
            return Some("two runs of an attempt");
        }
        if row.attempt > 1 + one.retries {
            return Some("an attempt that no client ordered");
        }
    }
    None
}

fn worker<'a>(world: &'a World, one: &Wanted, row: &TaskResponse) -> &'a Worker {
    let is_own = |worker: &&std::sync::Arc<Worker>| {
        worker.task_type == one.task_type && worker.endpoint == row.endpoint.as_str()
    };
    world.workers.iter().find(is_own).unwrap()
}
