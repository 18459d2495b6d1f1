//! One run of the handler, watched: time-out, stop, panic, progress.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;
use tasker_core::TaskUid;
use tasker_core::handler::{HandlerError, Job, JobContext, Output, Stop};
use tasker_core::task::Progress;
use tasker_core::wire::WireTask;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::journal::Known;
use crate::outcome::Ended;
use crate::worker::Shared;

/// How often progress is reported at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How long a note of progress may be, in bytes.
const NOTE_BYTES: usize = 200;
/// How long a dropped run may take to let go, before it is left to itself.
const LET_GO: Duration = Duration::from_secs(2);

/// What a run is about; owned, because the handler runs in a task of its own.
#[derive(Debug)]
pub(crate) struct Assignment {
    uid: TaskUid,
    identifier: String,
    client: String,
    attempt: u32,
    run: u32,
    payload: Option<Box<RawValue>>,
    timeout: Duration,
}

impl Assignment {
    pub(crate) fn new(task: &WireTask<'_>, known: &Known, timeout: Duration) -> Self {
        Self {
            uid: task.uid,
            identifier: task.identifier.clone().into_owned(),
            client: task.client.clone().into_owned(),
            attempt: known.attempt,
            run: known.run,
            payload: task.payload.map(ToOwned::to_owned),
            timeout,
        }
    }
}

/// The worker as a run sees it.
struct Context {
    shared: Arc<Shared>,
    uid: TaskUid,
    stop: watch::Receiver<Option<Stop>>,
    has_news: Arc<AtomicBool>,
}

#[async_trait]
impl JobContext for Context {
    fn progress(&self, mut progress: Progress) {
        progress.percent = progress.percent.min(100);
        if let Some(note) = &mut progress.note {
            note.truncate(note.floor_char_boundary(NOTE_BYTES));
        }
        self.shared.desk.set_progress(self.uid, progress);
        self.has_news.store(true, Ordering::Relaxed);
    }

    async fn stopped(&self) -> Stop {
        match self.stop.clone().wait_for(Option::is_some).await {
            Ok(stop) => stop.unwrap_or(Stop::Shutdown),
            // The worker is gone, and with it whoever could tell.
            Err(_) => Stop::Shutdown,
        }
    }
}

/// A spawned task that does not outlive its owner.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs the handler once. `asked` is how others ask the run to stop.
pub(crate) async fn perform(
    shared: &Arc<Shared>,
    assignment: Assignment,
    mut asked: watch::Receiver<Option<Stop>>,
) -> Ended {
    let (uid, timeout) = (assignment.uid, assignment.timeout);
    let (stop, stopped) = watch::channel(None);
    let has_news = Arc::new(AtomicBool::new(false));
    let context = Context {
        shared: Arc::clone(shared),
        uid,
        stop: stopped,
        has_news: Arc::clone(&has_news),
    };
    let mut handler = Owned(tokio::spawn(run(Arc::clone(shared), assignment, context)));
    let mut deadline = pin!(tokio::time::sleep(timeout));
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    let reason = loop {
        tokio::select! {
            biased;
            result = &mut handler.0 => return returned(result),
            () = &mut deadline => break Stop::TimedOut,
            stop = asked.wait_for(Option::is_some) => {
                break stop.ok().and_then(|stop| *stop).unwrap_or(Stop::Shutdown);
            }
            _ = ticks.tick() => {
                if has_news.swap(false, Ordering::Relaxed) {
                    shared.outbox.tell(uid);
                }
            }
        }
    };
    stop.send_replace(Some(reason));
    let grace = shared.handler.stop_grace();
    if tokio::time::timeout(grace, &mut handler.0).await.is_err() {
        handler.0.abort();
        if tokio::time::timeout(LET_GO, &mut handler.0).await.is_err() {
            tracing::error!(
                "task.uid" = %uid,
                "task.type" = %shared.settings.task_type,
                endpoint = %shared.settings.endpoint,
                "a handler blocks its thread and cannot be dropped; it goes on unwatched"
            );
        }
    }
    Ended::Stopped(reason)
}

async fn run(
    shared: Arc<Shared>,
    assignment: Assignment,
    context: Context,
) -> Result<Output, HandlerError> {
    let job = Job {
        uid: assignment.uid,
        identifier: &assignment.identifier,
        task_type: shared.settings.task_type.as_str(),
        client: &assignment.client,
        endpoint: shared.settings.endpoint.as_str(),
        attempt: assignment.attempt,
        run: assignment.run,
        payload: assignment.payload.as_deref(),
        timeout: assignment.timeout,
        context: &context,
    };
    shared.handler.run(job).await
}

fn returned(result: Result<Result<Output, HandlerError>, tokio::task::JoinError>) -> Ended {
    match result {
        Ok(result) => Ended::Returned(result),
        Err(error) if error.is_panic() => Ended::Panicked,
        // Only a runtime that ends cancels it.
        Err(_) => Ended::Stopped(Stop::Shutdown),
    }
}
