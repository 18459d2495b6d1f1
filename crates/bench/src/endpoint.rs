//! One simulated endpoint: a worker that performs every task by doing nothing.
//!
//! It keeps what `docs/wire.md` asks of a worker: nothing is acknowledged before its claim is durable,
//! nothing is reported as run before its end is durable, a `once` task is not run before the broker
//! confirmed that it was received, a known task is answered and not run again, reports go in order and
//! until the broker confirms them. It leaves out what a run that takes no time does not need: the START
//! record, progress, cancels. Names are never used twice, so no second worker stands by.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::RawValue;
use tasker_core::backoff::Backoff;
use tasker_core::broker::{Address, Broker, BrokerError, Confirmed, Consumer, Message, Queue};
use tasker_core::task::RunPolicy;
use tasker_core::wire::{Envelope, Hello, Report, ReportBatch};
use tasker_core::{BootId, EndpointName, JournalUid, ResponseState, TaskType, TaskUid};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use crate::error::BenchError;
use crate::fleet::Fleet;
use crate::journal::{Kind, record};

/// As many messages as a worker takes by default.
const PREFETCH: u16 = 32;
/// How many reports one message carries; each is some 250 bytes.
const MOST_REPORTS: usize = 1000;
/// How many claimed tasks may wait to be run; then the intake waits.
const WINDOW: usize = 10_000;
/// How often a hello that got no welcome is repeated.
const HELLO_AGAIN: Duration = Duration::from_secs(30);

/// An endpoint.
pub(crate) struct Endpoint {
    pub(crate) number: u32,
    pub(crate) name: EndpointName,
    pub(crate) task_type: TaskType,
    pub(crate) broker: Arc<dyn Broker>,
    journal: JournalUid,
    boot: BootId,
    is_welcomed: AtomicBool,
    /// Held until it is welcomed.
    turn: Mutex<Option<OwnedSemaphorePermit>>,
}

/// A task that was claimed now or earlier.
struct Claimed {
    uid: TaskUid,
    attempt: u32,
    run_policy: RunPolicy,
    is_new: bool,
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(2))
}

impl Endpoint {
    pub(crate) fn new(
        number: u32,
        name: EndpointName,
        task_type: TaskType,
        broker: Arc<dyn Broker>,
    ) -> Self {
        Self {
            number,
            name,
            task_type,
            broker,
            journal: JournalUid::mint(),
            boot: BootId::mint(),
            is_welcomed: AtomicBool::new(false),
            turn: Mutex::new(None),
        }
    }

    pub(crate) fn heartbeat(&self) -> ReportBatch {
        let (task_type, name) = (self.task_type.clone(), self.name.clone());
        ReportBatch::heartbeat(task_type, name, self.journal, self.boot)
    }

    pub(crate) fn is_welcomed(&self) -> bool {
        self.is_welcomed.load(Ordering::Relaxed)
    }

    fn turn(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts when it has its turn, and performs tasks until it is dropped.
    pub(crate) async fn run(
        &self,
        fleet: &Fleet,
        starting: Arc<Semaphore>,
    ) -> Result<(), BenchError> {
        // Never closed.
        let turn = starting.acquire_owned().await.ok();
        *self.turn() = turn;
        let (claimed, to_run) = mpsc::channel(WINDOW);
        tokio::select! {
            ended = self.take(fleet, claimed) => ended,
            ended = self.answer(fleet, to_run) => ended,
        }
    }

    /// Says hello and consumes the inbox, again and again: the API makes the inbox when it has read the
    /// hello.
    async fn take(&self, fleet: &Fleet, claimed: mpsc::Sender<Claimed>) -> Result<(), BenchError> {
        let inbox = Queue::Inbox(self.task_type.clone(), self.name.clone());
        let mut known = HashMap::new();
        // What came before the welcome is claimed, and run after it.
        let mut held = Vec::new();
        let mut backoff = backoff();
        let mut hello_at: Option<Instant> = None;
        loop {
            if hello_at.is_none_or(|at| at.elapsed() >= HELLO_AGAIN) {
                let mut hello = self.heartbeat();
                hello.hello = Some(Hello {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    fresh: !self.is_welcomed(),
                });
                self.say(fleet, &hello).await;
                hello_at = Some(Instant::now());
            }
            // The API has to make the inbox first; each look at one that is not there costs a channel.
            tokio::time::sleep(backoff.wait()).await;
            let error = match self.broker.consume(&inbox, PREFETCH).await {
                Ok(mut consumer) => {
                    let consuming =
                        self.consume(fleet, &mut *consumer, &mut known, &mut held, &claimed);
                    let ended = consuming.await?;
                    backoff.reset();
                    hello_at = None;
                    ended
                }
                Err(error) => error,
            };
            fleet.note(&error);
        }
    }

    /// Claims what comes until the consumer ends.
    async fn consume(
        &self,
        fleet: &Fleet,
        consumer: &mut dyn Consumer,
        known: &mut HashMap<TaskUid, u32>,
        held: &mut Vec<Claimed>,
        claimed: &mpsc::Sender<Claimed>,
    ) -> Result<BrokerError, BenchError> {
        loop {
            let deliveries = match consumer.next(usize::from(PREFETCH)).await {
                Ok(deliveries) => deliveries,
                Err(error) => return Ok(error),
            };
            let mut records = Vec::new();
            let (mut good, mut bad) = (None, Vec::new());
            for delivery in deliveries {
                match Envelope::parse(&delivery.body, &self.name) {
                    Ok(envelope) => {
                        good = Some(delivery.tag);
                        self.claim(fleet, envelope, known, &mut records, held);
                    }
                    Err(_) => bad.push(delivery.tag),
                }
            }
            if !records.is_empty() {
                fleet.journal.append(records).await?;
            }
            let settled = settle(consumer, good, &bad).await;
            // What is in the journal is run, whatever the broker heard of it.
            if self.is_welcomed() {
                for one in held.drain(..) {
                    // It is received as long as this runs.
                    let _ = claimed.send(one).await;
                }
            }
            if let Err(error) = settled {
                return Ok(error);
            }
        }
    }

    /// Notes what is for this endpoint.
    fn claim(
        &self,
        fleet: &Fleet,
        envelope: Envelope,
        known: &mut HashMap<TaskUid, u32>,
        records: &mut Vec<u8>,
        held: &mut Vec<Claimed>,
    ) {
        for entry in envelope.entries {
            let highest = known.entry(entry.uid).or_default();
            let is_new = entry.attempt > *highest;
            if is_new {
                *highest = entry.attempt;
                record(records, self.number, Kind::Claim, entry.uid, &entry.task);
            }
            held.push(Claimed {
                uid: entry.uid,
                attempt: *highest,
                run_policy: entry.run_policy,
                is_new,
            });
        }
        if let Some(welcome) = envelope.welcome.filter(|w| w.boot == self.boot) {
            for had in welcome.had {
                known.insert(had.uid, had.attempt);
            }
            if !welcome.more && !self.is_welcomed.swap(true, Ordering::Relaxed) {
                fleet.welcomed();
                self.turn().take();
            }
        }
    }

    /// Runs and reports what was claimed, all that has piled up at a time.
    async fn answer(
        &self,
        fleet: &Fleet,
        mut to_run: mpsc::Receiver<Claimed>,
    ) -> Result<(), BenchError> {
        let mut batch = Vec::new();
        while to_run.recv_many(&mut batch, MOST_REPORTS).await > 0 {
            let once = |one: &&Claimed| one.is_new && one.run_policy == RunPolicy::Once;
            let received: Vec<_> = batch.iter().filter(once).map(received).collect();
            if !received.is_empty() {
                self.report(fleet, received).await;
            }
            let mut records = Vec::new();
            let mut ended = 0;
            for one in batch.iter().filter(|one| one.is_new) {
                record(&mut records, self.number, Kind::End, one.uid, b"");
                ended += 1;
            }
            if ended > 0 {
                fleet.journal.append(records).await?;
            }
            self.report(fleet, batch.drain(..).map(succeeded).collect())
                .await;
            fleet.ended(ended);
        }
        Ok(())
    }

    async fn report(&self, fleet: &Fleet, reports: Vec<Report>) {
        let mut message = self.heartbeat();
        message.reports = reports;
        self.say(fleet, &message).await;
    }

    /// Publishes until the broker has it.
    async fn say(&self, fleet: &Fleet, batch: &ReportBatch) {
        let message = Message {
            to: Address::Reports(self.task_type.clone(), self.name.clone()),
            persistent: true,
            id: Uuid::now_v7(),
            body: Bytes::from(batch.encode()),
        };
        let mut backoff = backoff();
        loop {
            // Never closed.
            let turn = fleet.speaking.acquire().await;
            let published = self.broker.publish(message.clone()).await;
            drop(turn);
            match published {
                Ok(Confirmed::Routed) => return,
                Ok(Confirmed::Unroutable) => {
                    fleet.note(&BrokerError::NoQueue("of reports".to_owned()));
                }
                Err(error) => fleet.note(&error),
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }
}

/// Rejects what nobody can read and acknowledges the rest.
async fn settle(
    consumer: &mut dyn Consumer,
    good: Option<u64>,
    bad: &[u64],
) -> Result<(), BrokerError> {
    for tag in bad {
        consumer.reject(*tag).await?;
    }
    match good {
        Some(last) => consumer.ack_through(last).await,
        None => Ok(()),
    }
}

fn received(claimed: &Claimed) -> Report {
    Report::plain(claimed.uid, claimed.attempt, 0, ResponseState::Received)
}

#[expect(clippy::needless_pass_by_value, reason = "it is over with it")]
fn succeeded(claimed: Claimed) -> Report {
    Report {
        run: 1,
        state: ResponseState::Succeeded,
        errnr: Some(0),
        payload: RawValue::from_string("{\"done\":true}".to_owned()).ok(),
        elapsed_ms: Some(0),
        ..received(&claimed)
    }
}

#[cfg(test)]
mod tests;
