//! Step 4 of the line, publish: stored tasks → envelopes → confirmed → SENT.
//!
//! What this process stored comes straight from the store step; a sweep at the start, every half
//! lease and whenever the broker has come back finds what nobody published. Many messages are under
//! way at once; marks of confirmed tasks ride together. A process that dies anywhere here leaves a
//! lease behind that runs out, and the task is published twice at worst.

mod pack;
mod work;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tasker_core::ProcessId;
use tasker_core::backoff::Backoff;
use tasker_core::fault::{self, Point, Protection};
use tasker_core::store::{Store, StoreError};
use tasker_core::task::Task;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::courier::{Courier, Posted};
use crate::fleet::Fleet;
use crate::metrics::{Metrics, count};
use crate::outage::Outage;
use crate::pause::backoff;
use crate::settings::RelaySettings;

pub(crate) use pack::Due;
use pack::{Key, Memory, Parcel};
use work::Work;

/// Tasks taken by one sweep.
const SWEEP: u32 = 256;
/// Further away than any process lives; a timer that is not set.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// Where tasks are handed to the relay.
#[derive(Clone)]
pub(crate) struct RelayDesk(mpsc::Sender<Due>);

impl RelayDesk {
    /// Hands a task over. If the relay is full, the sweep finds the task when its lease is over.
    pub(crate) fn hand_over(&self, due: Due) {
        if let Err(refused) = self.0.try_send(due) {
            let (mpsc::error::TrySendError::Full(due) | mpsc::error::TrySendError::Closed(due)) =
                refused;
            tracing::debug!(task.uid = %due.task.head.uid, "left to the sweep");
        }
    }
}

/// Who waits for a mark: the task, and the request that stored it.
type Waiter = (Key, Option<oneshot::Sender<()>>);

/// The relay of one process.
pub(crate) struct Relay {
    inbox: mpsc::Receiver<Due>,
    store: Arc<dyn Store>,
    ledger: Arc<Outage>,
    courier: Arc<Courier>,
    fleet: Arc<Fleet>,
    metrics: Arc<Metrics>,
    owner: ProcessId,
    settings: RelaySettings,
    lease: Duration,

    memory: Memory,
    sending: Work<(Parcel, bool)>,
    send_backoff: Backoff,
    send_from: Instant,
    confirmed: Vec<Waiter>,
    marking: Work<(Vec<Waiter>, Result<(), StoreError>)>,
    mark_backoff: Backoff,
    mark_from: Instant,
    sweeping: Work<Result<Vec<Task>, StoreError>>,
}

/// Makes a relay and its desk.
#[expect(
    clippy::too_many_arguments,
    reason = "called once, where everything is wired"
)]
pub(crate) fn relay(
    store: Arc<dyn Store>,
    ledger: Arc<Outage>,
    courier: Arc<Courier>,
    fleet: Arc<Fleet>,
    metrics: Arc<Metrics>,
    owner: ProcessId,
    settings: RelaySettings,
    lease: Duration,
) -> (RelayDesk, Relay) {
    let (tx, inbox) = mpsc::channel(settings.memory.min(4096));
    let relay = Relay {
        inbox,
        store,
        ledger,
        courier,
        fleet,
        metrics,
        owner,
        settings,
        lease,
        memory: Memory::default(),
        sending: Work::new(),
        send_backoff: backoff(),
        send_from: Instant::now(),
        confirmed: Vec::new(),
        marking: Work::new(),
        mark_backoff: backoff(),
        mark_from: Instant::now(),
        sweeping: Work::new(),
    };
    (RelayDesk(tx), relay)
}

impl Relay {
    /// Publishes until `stop`; then what it holds, for at most [`RelaySettings::flush_within`].
    /// Returns how many tasks it leaves to the next process.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> usize {
        let mut sweep = interval((self.lease / 2).max(Duration::from_millis(50)));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut returns = self.courier.returns();
        let mut give_up_at = None;
        loop {
            let is_stopping = give_up_at.is_some();
            self.send();
            self.mark();
            self.show_depth();
            let is_idle = self.memory.held() == 0 && self.inbox.is_empty();
            if is_stopping && (is_idle || !self.courier.is_up()) && self.marking.is_empty() {
                break;
            }
            let send_again = self.wake_at(self.send_from, self.memory.waiting());
            let mark_again = self.wake_at(self.mark_from, self.confirmed.len());
            let give_up = give_up_at.unwrap_or_else(|| Instant::now() + NEVER);
            tokio::select! {
                Some(due) = self.inbox.recv(), if self.memory.has_room(&self.settings) => {
                    self.take(due);
                    while self.memory.has_room(&self.settings)
                        && let Ok(due) = self.inbox.try_recv()
                    {
                        self.take(due);
                    }
                }
                Some(sent) = self.sending.next() => match sent {
                    Ok((parcel, is_sent)) => self.sent(parcel, is_sent),
                    Err(keys) => {
                        self.memory.all_landed();
                        self.let_go(&keys);
                    }
                },
                Some(marked) = self.marking.next() => match marked {
                    Ok((waiters, result)) => self.marked(waiters, result),
                    Err(keys) => self.let_go(&keys),
                },
                Some(swept) = self.sweeping.next() => match swept {
                    Ok(result) => self.swept(result),
                    Err(keys) => self.let_go(&keys),
                },
                _ = sweep.tick(), if !is_stopping => self.sweep(),
                Ok(()) = returns.changed(), if !is_stopping => {
                    self.send_from = Instant::now();
                    self.sweep();
                }
                () = sleep_until(send_again) => {}
                () = sleep_until(mark_again) => {}
                () = stop.cancelled(), if !is_stopping => {
                    self.inbox.close();
                    give_up_at = Some(Instant::now() + self.settings.flush_within);
                }
                () = sleep_until(give_up), if is_stopping => break,
            }
        }
        self.memory.held()
    }

    /// When a pause ends; never, if there is no pause or nothing that waits for its end.
    fn wake_at(&self, from: Instant, waiting: usize) -> Instant {
        let now = Instant::now();
        if waiting > 0 && from > now {
            from
        } else {
            now + NEVER
        }
    }

    fn take(&mut self, due: Due) {
        let known = self.fleet.count(&due.task.head.task_type);
        self.memory.push(due, known);
    }

    /// Publishes what waits, as far as the window allows.
    fn send(&mut self) {
        while self.sending.len() < self.settings.in_flight && self.send_from <= Instant::now() {
            let Some(parcel) = self.memory.next(&self.settings) else {
                return;
            };
            let courier = Arc::clone(&self.courier);
            let keys = parcel.items.iter().map(|item| item.key).collect();
            self.sending.spawn(keys, async move {
                let messages = parcel.messages().into_iter();
                let posted = join_all(messages.map(|message| courier.publish(message))).await;
                // What was nacked three times counts as sent: some queues have it, asking heals
                // the rest. A full inbox must not hold back a whole fleet.
                (parcel, !posted.contains(&Posted::Away))
            });
        }
    }

    fn sent(&mut self, parcel: Parcel, is_sent: bool) {
        self.memory.landed(&parcel);
        if !is_sent {
            self.memory.push_back(parcel);
            if self.send_from <= Instant::now() {
                self.send_from = Instant::now() + self.send_backoff.wait();
            }
            return;
        }
        fault::reach(Point::AfterConfirm);
        self.send_backoff.reset();
        let kind = if parcel.is_cancel() { "cancel" } else { "task" };
        let published = parcel.items.len() as u64;
        count(&self.metrics.published, "kind", kind, published);
        let waiters = parcel.items.into_iter().map(|item| (item.key, item.told));
        self.confirmed.extend(waiters);
    }

    /// Marks all that is confirmed, in one transaction; one at a time.
    fn mark(&mut self) {
        let is_due = !self.confirmed.is_empty() && self.mark_from <= Instant::now();
        if !is_due || !self.marking.is_empty() {
            return;
        }
        let waiters = std::mem::take(&mut self.confirmed);
        let store = Arc::clone(&self.store);
        let keys: Vec<Key> = waiters.iter().map(|(key, _)| *key).collect();
        self.marking.spawn(keys.clone(), async move {
            let result = store.mark_sent(keys).await;
            (waiters, result)
        });
    }

    fn marked(&mut self, waiters: Vec<Waiter>, result: Result<(), StoreError>) {
        self.ledger.learn(&result);
        match result {
            Ok(()) => self.mark_backoff.reset(),
            Err(error @ StoreError::Unavailable(_)) => {
                self.failed("relay", &error);
                self.mark_from = Instant::now() + self.mark_backoff.wait();
                self.confirmed.extend(waiters);
                return;
            }
            Err(error) => {
                self.failed("relay", &error);
                let keys: Vec<Key> = waiters.iter().map(|(key, _)| *key).collect();
                self.let_go(&keys);
                return;
            }
        }
        for (key, told) in waiters {
            self.memory.release(key);
            if told.is_some_and(|told| told.send(()).is_err()) {
                tracing::trace!(
                    task.id = key.0,
                    "its request was answered before the confirm"
                );
            }
        }
    }

    fn sweep(&mut self) {
        let is_of_use = self.courier.is_up()
            && self.memory.has_room(&self.settings)
            && !fault::is_left_out(Protection::Outbox);
        if is_of_use && self.sweeping.is_empty() {
            let store = Arc::clone(&self.store);
            let owner = self.owner;
            self.sweeping.spawn(
                Vec::new(),
                async move { store.take_unsent(owner, SWEEP).await },
            );
        }
    }

    fn swept(&mut self, result: Result<Vec<Task>, StoreError>) {
        self.ledger.learn(&result);
        match result {
            Ok(tasks) => {
                let is_more = tasks.len() as u32 >= SWEEP;
                for task in tasks {
                    self.take(Due { task, told: None });
                }
                if is_more {
                    self.sweep();
                }
            }
            // The next tick tries again.
            Err(error) => self.failed("sweep", &error),
        }
    }

    /// Forgets tasks: the sweep finds them when their lease is over, and they are published once more.
    fn let_go(&mut self, keys: &[Key]) {
        keys.iter().for_each(|key| self.memory.release(*key));
    }

    fn failed(&self, what: &'static str, error: &StoreError) {
        count(&self.metrics.loop_failures, "loop", what, 1);
        if !matches!(error, StoreError::Unavailable(_)) {
            tracing::error!(error = %chain(error), "{what}: the ledger refused the relay");
        }
    }

    fn show_depth(&self) {
        self.metrics.relay_depth.set(self.memory.waiting() as i64);
        self.metrics.relay_in_flight.set(self.sending.len() as i64);
    }
}
