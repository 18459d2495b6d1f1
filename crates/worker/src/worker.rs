//! One worker: the steps wired together, started and stopped in order.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tasker_core::BootId;
use tasker_core::broker::Broker;
use tasker_core::handler::Handler;
use tasker_core::wire::ReportBatch;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;
use crate::gate::Gate;
use crate::intake::intake;
use crate::journal::{Index, Journal};
use crate::outbox::Outbox;
use crate::presence::presence;
use crate::recover::recover;
use crate::refusals::Refusals;
use crate::report::report;
use crate::run::dispatch;
use crate::settings::{Drained, WorkerError, WorkerSettings};

/// The most that a publish may take. Backends have shorter time-outs of their own.
pub(crate) const PUBLISH_PATIENCE: Duration = Duration::from_secs(30);
/// The most that starting or stopping a consumer may take.
pub(crate) const CONSUME_PATIENCE: Duration = Duration::from_secs(30);
/// How long the last reports may take to leave when the worker stops; the journal keeps the rest.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// What the steps share.
pub(crate) struct Shared {
    pub(crate) settings: WorkerSettings,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) journal: Journal,
    pub(crate) desk: Desk,
    pub(crate) outbox: Outbox,
    pub(crate) refusals: Refusals,
    pub(crate) gate: Gate,
    pub(crate) boot: BootId,
    pub(crate) stop: CancellationToken,
}

impl Shared {
    /// A message that says nothing but who this is.
    pub(crate) fn heartbeat(&self) -> ReportBatch {
        ReportBatch::heartbeat(
            self.settings.task_type.clone(),
            self.settings.endpoint.clone(),
            self.journal.uid(),
            self.boot,
        )
    }

    /// How full the claim window is; 1 is full. Reports that wait count too, so that a flood of tasks
    /// that are refused at once is held back by the reports of it.
    pub(crate) fn window_use(&self) -> f64 {
        fn share(part: u64, whole: u64) -> f64 {
            // A window is far below 2^52.
            #[expect(clippy::cast_precision_loss, reason = "a ratio needs no precision")]
            let (part, whole) = (part as f64, whole.max(1) as f64);
            part / whole
        }
        let (tasks, bytes) = self
            .journal
            .peek(|index| (index.open_tasks(), index.open_bytes()));
        let most = self.settings.window_tasks as u64;
        share(tasks as u64, most)
            .max(share(bytes, self.settings.window_bytes))
            .max(share(self.outbox.len() as u64, most.saturating_mul(2)))
    }

    /// The ledger has answered the hello.
    pub(crate) fn open_gate(&self, now: DateTime<Utc>) {
        self.gate.welcome(now);
        self.desk.look_again();
        self.outbox.look_again();
    }
}

/// Runs one worker until `stop`: takes tasks of one type for one endpoint, runs the handler on them and
/// reports what becomes of them. What is unfinished at the end is in the journal, and the next start
/// resumes it.
///
/// A panic of the handler is caught and reported as FAILED, if the program is built to unwind; built
/// to abort, it ends the worker, and the next start treats it as any other death of the worker.
///
/// Dropping the future is like killing the worker.
///
/// # Errors
/// [`WorkerError::Journal`] if the journal is damaged, or held by another worker of the same task type
/// and endpoint. Nothing that the broker does is an error: the worker waits for it.
pub async fn run(
    settings: WorkerSettings,
    handler: Arc<dyn Handler>,
    broker: Arc<dyn Broker>,
    stop: CancellationToken,
) -> Result<Drained, WorkerError> {
    let (dir, task_type, endpoint) = (
        settings.journal_dir.clone(),
        settings.task_type.clone(),
        settings.endpoint.clone(),
    );
    let opened = tokio::task::spawn_blocking(move || Journal::open(&dir, &task_type, &endpoint));
    let journal = opened.await.map_err(|_| WorkerError::Part("journal"))??;
    let last_welcome = journal.peek(Index::ledger_now);
    let shared = Arc::new(Shared {
        gate: Gate::new(last_welcome, settings.welcome_patience),
        desk: Desk::new(settings.last_try.clone()),
        settings,
        handler,
        broker,
        journal,
        outbox: Outbox::default(),
        refusals: Refusals::default(),
        boot: BootId::mint(),
        stop: stop.child_token(),
    });
    tracing::info!(
        "task.type" = %shared.settings.task_type,
        endpoint = %shared.settings.endpoint,
        journal = %shared.journal.uid(),
        boot = %shared.boot,
        "the worker starts"
    );
    let drained = work(&shared).await?;
    tracing::info!(
        "task.type" = %shared.settings.task_type,
        endpoint = %shared.settings.endpoint,
        left = drained.left,
        "the worker stopped"
    );
    Ok(drained)
}

/// All steps at once, then the end in order: no more intake, runs to their end, reports out.
async fn work(shared: &Arc<Shared>) -> Result<Drained, WorkerError> {
    let stop = &shared.stop;
    let flush = CancellationToken::new();
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(CONSUME_PATIENCE).await;
    };
    let taking = async {
        tokio::select! {
            () = intake(shared, stop) => {}
            // The broker or the disk does not answer. What is not acknowledged comes again.
            () = late => {}
        }
    };
    let line = async {
        stop.run_until_cancelled(recover(shared)).await;
        let running = async {
            let ran = dispatch(shared, stop).await;
            if ran.is_err() {
                // Nobody would run what is taken from here on.
                stop.cancel();
            }
            ran
        };
        let ((), ran) = tokio::join!(taking, running);
        flush.cancel();
        ran
    };
    let reporting = async {
        let mut reporting = std::pin::pin!(report(shared, &flush));
        tokio::select! {
            () = &mut reporting => return,
            () = flush.cancelled() => {}
        }
        let _unsent = tokio::time::timeout(FLUSH_PATIENCE, reporting).await;
    };
    tokio::select! {
        (ran, ()) = async { tokio::join!(line, reporting) } => ran?,
        () = presence(shared) => {}
    }
    Ok(Drained {
        left: shared.journal.peek(Index::open_tasks),
    })
}
