//! Step 7, run: a permit, START on the disk, the handler, END on the disk.

use std::sync::Arc;
use std::time::Duration;

use tasker_core::backoff::Backoff;
use tasker_core::fault::{self, Point};
use tasker_core::handler::Stop;
use tasker_core::task::RunPolicy;
use tasker_core::wire::{RefusalReason, WireTask};
use tasker_core::{ResponseState, TaskUid, errnr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::claim::expired;
use crate::desk::Taken;
use crate::job::{Assignment, perform};
use crate::journal::{End, JournalError, Known, Phase, Record, Released, Start, unix_ms};
use crate::outcome::{Ended, Outcome, judge};
use crate::settings::WorkerError;
use crate::worker::Shared;

/// How long, beyond its grace, a stopped run may take to be dropped and journalled.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Starts what may start until told to stop; then waits for what runs until the drain deadline, then
/// stops it.
pub(crate) async fn dispatch(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> Result<(), WorkerError> {
    let permits = Arc::new(Semaphore::new(shared.settings.concurrency.max(1)));
    let mut runs = JoinSet::new();
    loop {
        let gate = &shared.gate;
        let next = async {
            // A permit before work: the run owns it and a panic gives it back.
            let permit = Arc::clone(&permits).acquire_owned().await;
            let taken = shared.desk.next(|policy| gate.may_start(policy)).await;
            permit.ok().map(|permit| (permit, taken))
        };
        let patience = gate.patience_ends();
        tokio::select! {
            () = stop.cancelled() => break,
            Some((permit, taken)) = next => {
                runs.spawn(one(Arc::clone(shared), taken, permit));
            }
            Some(ended) = runs.join_next() => ended.map_err(|_| WorkerError::Part("run"))?,
            () = tokio::time::sleep_until(patience), if Instant::now() < gate.patience_ends() => {
                shared.desk.look_again();
            }
        }
    }
    drain(shared, runs).await
}

async fn drain(shared: &Shared, mut runs: JoinSet<()>) -> Result<(), WorkerError> {
    let all = async {
        while let Some(ended) = runs.join_next().await {
            ended.map_err(|_| WorkerError::Part("run"))?;
        }
        Ok(())
    };
    tokio::pin!(all);
    if let Ok(ended) = tokio::time::timeout(shared.settings.drain_deadline, &mut all).await {
        return ended;
    }
    shared.desk.shut_down();
    let grace = shared.handler.stop_grace() + 2 * LAST_WORDS;
    // What is not over then is dropped with `runs`; the next start finds START without END.
    tokio::time::timeout(grace, all).await.unwrap_or(Ok(()))
}

/// One task from the queue to its end.
async fn one(shared: Arc<Shared>, taken: Taken, _permit: OwnedSemaphorePermit) {
    let uid = taken.uid;
    if let Some(known) = shared.journal.known(uid).filter(Known::is_open) {
        start(&shared, taken, known).await;
    }
    shared.desk.ended(uid);
}

async fn start(shared: &Arc<Shared>, taken: Taken, known: Known) {
    let uid = taken.uid;
    if known.is_cancelled {
        let outcome = Outcome::of(ResponseState::Cancelled, errnr::CANCELLED);
        return finish(shared, uid, &known, outcome, None).await;
    }
    if known.expires_at <= shared.gate.now() {
        let outcome = if known.run == 0 {
            Outcome {
                errmsg: Some(expired(known.expires_at)),
                ..Outcome::of(ResponseState::Rejected, errnr::EXPIRED)
            }
        } else {
            // It did run before; "rejected" would deny that.
            Outcome::of(ResponseState::Interrupted, errnr::INTERRUPTED)
        };
        return finish(shared, uid, &known, outcome, None).await;
    }
    let task = match shared.journal.task(uid).await {
        Ok(Some(task)) => task,
        Ok(None) | Err(JournalError::Closed) => return,
        Err(error) => return unreadable(shared, uid, &known, &error).await,
    };
    let Some(known) = journal_start(shared, uid, &known).await else {
        return;
    };
    fault::reach(Point::AfterStart);
    let began = known.since;
    shared.outbox.tell(uid);
    let Ok(task) = WireTask::parse(&task) else {
        let outcome = Outcome::of(ResponseState::Rejected, errnr::BAD_ENTRY);
        return finish(shared, uid, &known, outcome, None).await;
    };
    let allowed = Duration::from_secs(u64::from(known.timeout_s));
    let timeout = shared
        .handler
        .max_run()
        .map_or(allowed, |most| most.min(allowed));
    let assignment = Assignment::new(&task, &known, timeout);
    let ended = perform(shared, assignment, taken.stop).await;
    let is_repeatable = known.run_policy == RunPolicy::Idempotent;
    if is_repeatable && matches!(ended, Ended::Stopped(Stop::Shutdown)) {
        let released = Released {
            uid,
            attempt: known.attempt,
            run: known.run,
            cut_off: known.cut_off,
        };
        write(shared, Record::Released(released)).await;
        return;
    }
    let outcome = judge(ended, timeout);
    finish(shared, uid, &known, outcome, Some(began.elapsed())).await;
}

/// Ends a task that the disk no longer holds as it was claimed: waiting for it would keep its place
/// from others for ever.
async fn unreadable(shared: &Shared, uid: TaskUid, known: &Known, error: &JournalError) {
    tracing::error!(
        "task.uid" = %uid,
        "task.type" = %shared.settings.task_type,
        endpoint = %shared.settings.endpoint,
        %error,
        "a claimed task cannot be read back from the journal and is not run"
    );
    let outcome = if known.run == 0 {
        Outcome {
            errmsg: Some("the task cannot be read back from the journal".to_owned()),
            ..Outcome::of(ResponseState::Rejected, errnr::BAD_ENTRY)
        }
    } else {
        Outcome::of(ResponseState::Interrupted, errnr::INTERRUPTED)
    };
    finish(shared, uid, known, outcome, None).await;
}

/// Writes START and returns what is known after it; `None` if the journal refused until the worker
/// was told to stop, or the attempt was replaced.
async fn journal_start(shared: &Shared, uid: TaskUid, known: &Known) -> Option<Known> {
    // START without END, and not by this worker: that run died.
    let died = u32::from(known.phase == Phase::Started);
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    loop {
        let start = Start {
            uid,
            attempt: known.attempt,
            run: known.run + 1,
            cut_off: known.cut_off + died,
            at: unix_ms(),
        };
        match shared.journal.write(vec![Record::Start(start)]).await {
            // The attempt may have been replaced by a later one while the record was written.
            Ok(()) => {
                let now = shared.journal.known(uid)?;
                return (now.attempt == known.attempt).then_some(now);
            }
            // The journal says aloud that it refuses.
            Err(_) => {
                let wait = tokio::time::sleep(backoff.wait());
                shared.stop.run_until_cancelled(wait).await?;
            }
        }
    }
}

/// Writes the end of an attempt, as long as it takes, and has it reported.
pub(crate) async fn finish(
    shared: &Shared,
    uid: TaskUid,
    known: &Known,
    outcome: Outcome,
    elapsed: Option<Duration>,
) {
    let end = End {
        uid,
        attempt: known.attempt,
        run: known.run,
        state: outcome.state,
        errnr: outcome.errnr,
        errmsg: outcome.errmsg,
        payload: outcome.payload,
        elapsed_ms: elapsed.map(|e| u64::try_from(e.as_millis()).unwrap_or(u64::MAX)),
        expires_at: known.expires_at,
        at: unix_ms(),
    };
    tracing::debug!(
        "task.uid" = %uid,
        "task.type" = %shared.settings.task_type,
        endpoint = %shared.settings.endpoint,
        state = %end.state,
        errnr = end.errnr,
        "a task ended"
    );
    let refused = (end.state == ResponseState::Rejected).then_some(end.errnr);
    write(shared, Record::End(end)).await;
    if let Some(reason) = refused.and_then(RefusalReason::of_errnr) {
        shared.refusals.count(reason);
    }
    fault::reach(Point::AfterEnd);
    shared.outbox.tell(uid);
}

/// Writes a record, again and again until the journal takes it. If the worker ends before, the next
/// start finds START without END.
async fn write(shared: &Shared, record: Record) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    while shared.journal.write(vec![record.clone()]).await.is_err() {
        tokio::time::sleep(backoff.wait()).await;
    }
}
