//! Writes down who did what. A request reserves its place before it acts, so that nothing is done that
//! has no room in the record; a writer takes all that has piled up into one transaction. What a process
//! that is killed had not written yet (a fraction of a second's) is missing in the record.

use std::sync::Arc;
use std::time::Duration;

use tasker_core::accounts::{Accounts, AuditEvent};
use tasker_core::backoff::Backoff;
use tasker_core::store::StoreError;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::metrics::{Metrics, count};
use crate::outage::Outage;

/// Entries in one transaction, at most.
const BATCH: usize = 256;
/// Entries that may wait to be written.
const QUEUE: usize = 4096;
/// How long after a failure it is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a request waits for a place.
const PLACE_WITHIN: Duration = Duration::from_secs(2);

/// Where events are handed in.
#[derive(Clone)]
pub(crate) struct Record {
    events: mpsc::Sender<AuditEvent>,
    metrics: Arc<Metrics>,
}

/// A place for one event.
pub(crate) struct Place(OwnedPermit<AuditEvent>);

impl Place {
    pub(crate) fn fill(self, event: AuditEvent) {
        self.0.send(event);
    }
}

impl Record {
    /// A place; `None`: too many wait to be written.
    pub(crate) async fn reserve(&self) -> Option<Place> {
        let place = timeout(PLACE_WITHIN, self.events.clone().reserve_owned()).await;
        place.ok()?.ok().map(Place)
    }

    /// Notes what has been refused, if there is room: strangers must not be able to stop the others.
    pub(crate) fn try_note(&self, event: AuditEvent) {
        if self.events.try_send(event).is_err() {
            count(&self.metrics.audit_dropped, "kind", "deny", 1);
        }
    }
}

/// Writes them.
pub(crate) struct Writer {
    events: mpsc::Receiver<AuditEvent>,
    accounts: Arc<dyn Accounts>,
    ledger: Arc<Outage>,
    metrics: Arc<Metrics>,
}

pub(crate) fn record(
    accounts: Arc<dyn Accounts>,
    ledger: Arc<Outage>,
    metrics: Arc<Metrics>,
) -> (Record, Writer) {
    let (sender, events) = mpsc::channel(QUEUE);
    let record = Record {
        events: sender,
        metrics: Arc::clone(&metrics),
    };
    let writer = Writer {
        events,
        accounts,
        ledger,
        metrics,
    };
    (record, writer)
}

impl Writer {
    /// Until it is told to stop, after the last request; then it writes what is left.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let next = self.events.recv_many(&mut batch, BATCH);
            if stop.run_until_cancelled(next).await.is_none() {
                self.events.close();
                if self.events.recv_many(&mut batch, BATCH).await == 0 {
                    return;
                }
            }
            self.write(std::mem::take(&mut batch), &stop).await;
        }
    }

    async fn write(&self, events: Vec<AuditEvent>, stop: &CancellationToken) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let noted = self.accounts.note(events.clone()).await;
            self.ledger.learn(&noted);
            match noted {
                Ok(()) => return,
                Err(StoreError::Unavailable(_)) if !stop.is_cancelled() => {
                    let pause = tokio::time::sleep(backoff.wait());
                    stop.run_until_cancelled(pause).await;
                }
                Err(error) => {
                    let lost = events.len();
                    tracing::error!(error = %chain(&error), lost, "entries of the audit are lost");
                    count(&self.metrics.audit_dropped, "kind", "any", lost as u64);
                    return;
                }
            }
        }
    }
}
