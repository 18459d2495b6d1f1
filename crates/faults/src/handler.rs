//! The handler of the drills: it says in a ledger when it begins and ends, and does in between what
//! its payload says: `{"ms": 20}` works so long, `{"fail": 2}` fails the first two attempts, then
//! succeeds.
//!
//! The ledger is on the disk before the handler goes on, by group commit: many runs share a sync.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tasker_core::errnr;
use tasker_core::handler::{Handler, HandlerError, Job, Output};
use tasker_testkit::drill::{Ledger, RunLine, RunStage, now_ms};
use tokio::sync::oneshot;

/// What a payload orders.
#[derive(Debug, Clone, Copy, Default)]
pub struct Order {
    /// How long it works.
    pub work: Duration,
    /// How many attempts fail.
    pub failures: u32,
}

impl Order {
    /// Reads it from a payload.
    #[must_use]
    pub fn of(payload: &Value) -> Self {
        let number = |key: &str| payload[key].as_u64().unwrap_or(0);
        Self {
            work: Duration::from_millis(number("ms")),
            failures: u32::try_from(number("fail")).unwrap_or(u32::MAX),
        }
    }
}

/// The ledger of a process that runs many handlers.
#[derive(Debug, Clone)]
pub struct RunLedger(mpsc::Sender<(String, oneshot::Sender<()>)>);

impl RunLedger {
    /// Opens it; a thread of its own writes it.
    ///
    /// # Panics
    /// If the file cannot be opened; later, if it cannot be written: a drill without its ledger proves
    /// nothing.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let ledger = Ledger::open(path).expect("the handlers' ledger");
        let (lines, waiting) = mpsc::channel::<(String, oneshot::Sender<()>)>();
        std::thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let batch: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                let (lines, done): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
                ledger.write(&lines).expect("the handlers' ledger");
                for done in done {
                    // The run may have been stopped meanwhile.
                    done.send(()).ok();
                }
            }
        });
        Self(lines)
    }

    async fn write(&self, line: String) {
        let (done, written) = oneshot::channel();
        self.0.send((line, done)).expect("the ledger's thread");
        written.await.expect("the ledger's thread");
    }
}

/// The handler.
#[derive(Debug, Clone)]
pub struct LedgerHandler(pub RunLedger);

#[async_trait]
impl Handler for LedgerHandler {
    async fn run(&self, job: Job<'_>) -> Result<Output, HandlerError> {
        let payload = job.payload.map_or("null", |raw| raw.get());
        let payload: Value = serde_json::from_str(payload).unwrap_or_default();
        let order = Order::of(&payload);
        let line = |stage, token: &str| RunLine {
            stage,
            identifier: job.identifier.to_string(),
            endpoint: job.endpoint.to_string(),
            attempt: job.attempt,
            run: job.run,
            token: token.to_owned(),
            at_ms: now_ms(),
        };
        let token = format!("{:016x}", rand::random::<u64>());
        self.0.write(line(RunStage::Start, &token).line()).await;
        tokio::time::sleep(order.work).await;
        if job.attempt <= order.failures {
            let errmsg = format!("attempt {} fails, as ordered", job.attempt);
            return Err(HandlerError::new(errnr::GENERAL, errmsg));
        }
        self.0.write(line(RunStage::End, &token).line()).await;
        Output::json(&serde_json::json!({ "token": token }))
    }
}
