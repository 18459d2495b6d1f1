//! All simulated endpoints of a run.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tasker_core::broker::{Address, Broker, BrokerError, Message};
use tasker_core::{EndpointName, TaskType};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use crate::endpoint::Endpoint;
use crate::error::BenchError;
use crate::journal::Journal;
use crate::progress::Progress;

/// How many endpoints say hello at once: a real fleet does not start within a second either.
const STARTING: usize = 64;
/// How long is waited for the next welcome.
const WELCOME_WITHIN: Duration = Duration::from_secs(30);
/// How often each endpoint says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is looked whether anything moves.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many messages of endpoints may wait for their confirm. Ten thousand hosts that speak at once do so
/// over ten thousand connections; over a few, the last of them would run out of time, be repeated, and
/// keep the others waiting.
const SPEAKING: usize = 512;

/// What the endpoints of a process share.
pub(crate) struct Fleet {
    pub(crate) journal: Journal,
    pub(crate) speaking: Semaphore,
    welcomed: AtomicU64,
    ended: AtomicU64,
    changed: Notify,
    trouble: Mutex<Option<String>>,
}

/// A running fleet. Dropping it ends the endpoints.
pub(crate) struct Running {
    pub(crate) names: Vec<EndpointName>,
    pub(crate) fleet: Arc<Fleet>,
    tasks: JoinSet<Result<(), BenchError>>,
}

impl Fleet {
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            journal,
            speaking: Semaphore::new(SPEAKING),
            welcomed: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            changed: Notify::new(),
            trouble: Mutex::new(None),
        }
    }

    pub(crate) fn welcomed(&self) {
        self.welcomed.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// So many runs were reported and the broker has the reports.
    pub(crate) fn ended(&self, runs: u64) {
        self.ended.fetch_add(runs, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Something went wrong that is tried again.
    pub(crate) fn note(&self, error: &BrokerError) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Running {
    /// Starts endpoints, spread over the brokers, and waits until the ledger has welcomed all of them.
    pub(crate) async fn start(
        brokers: &[Arc<dyn Broker>],
        task_type: &TaskType,
        names: Vec<EndpointName>,
        journal_dir: &Path,
        progress: &dyn Progress,
    ) -> Result<Self, BenchError> {
        let fleet = Arc::new(Fleet::new(Journal::create(journal_dir)?));
        let mut running = Self {
            names,
            fleet,
            tasks: JoinSet::new(),
        };
        progress.begin("endpoints", running.names.len() as u64);
        let starting = Arc::new(Semaphore::new(STARTING));
        for (broker, names) in brokers.iter().zip(running.shares(brokers.len())) {
            let mut endpoints = Vec::with_capacity(names.len());
            for (number, name) in names {
                let (task_type, broker) = (task_type.clone(), Arc::clone(broker));
                let endpoint = Arc::new(Endpoint::new(number, name, task_type, broker));
                endpoints.push(Arc::clone(&endpoint));
                let (fleet, starting) = (Arc::clone(&running.fleet), Arc::clone(&starting));
                running
                    .tasks
                    .spawn(async move { endpoint.run(&fleet, starting).await });
            }
            running.tasks.spawn(beat(endpoints));
        }
        let all = running.names.len() as u64;
        let welcomed = running.wait(all, WELCOME_WITHIN, progress, |fleet| &fleet.welcomed);
        if !welcomed.await? {
            let trouble = running.fleet.trouble();
            return Err(BenchError::NotWelcomed {
                welcomed: running.fleet.welcomed.load(Ordering::Relaxed),
                endpoints: running.names.len(),
                within: WELCOME_WITHIN,
                last: trouble.unwrap_or_else(|| "no welcome came".to_owned()),
            });
        }
        Ok(running)
    }

    /// The endpoints of each broker, with their numbers.
    fn shares(&self, brokers: usize) -> Vec<Vec<(u32, EndpointName)>> {
        let mut shares = vec![Vec::new(); brokers.max(1)];
        for (number, name) in (0..).zip(&self.names) {
            let share = number as usize % shares.len();
            shares[share].push((number, name.clone()));
        }
        shares
    }

    /// Waits until so many runs have been reported. `false` if nothing moved for `patience`.
    pub(crate) async fn all_ended(
        &mut self,
        runs: u64,
        patience: Duration,
        progress: &dyn Progress,
    ) -> Result<bool, BenchError> {
        self.wait(runs, patience, progress, |fleet| &fleet.ended)
            .await
    }

    /// Waits until a counter is there. `false` if it did not move for `patience`.
    async fn wait(
        &mut self,
        goal: u64,
        patience: Duration,
        progress: &dyn Progress,
        counter: impl Fn(&Fleet) -> &AtomicU64,
    ) -> Result<bool, BenchError> {
        let (mut last, mut moved_at) = (0, Instant::now());
        let fleet = Arc::clone(&self.fleet);
        loop {
            let changed = fleet.changed.notified();
            let now = counter(&fleet).load(Ordering::Relaxed);
            progress.at(now);
            if now >= goal {
                return Ok(true);
            }
            if now > last {
                (last, moved_at) = (now, Instant::now());
            } else if moved_at.elapsed() >= patience {
                return Ok(false);
            }
            tokio::select! {
                _ = timeout(LOOK_EVERY, changed) => {}
                Some(ended) = self.tasks.join_next() => {
                    // Endpoints end by errors only.
                    ended.map_err(|e| BenchError::Strange(e.to_string()))??;
                }
            }
        }
    }
}

/// Says for all endpoints of a broker, one after the other, that they are alive.
async fn beat(endpoints: Vec<Arc<Endpoint>>) -> Result<(), BenchError> {
    let Ok(count) = u32::try_from(endpoints.len()) else {
        return Ok(());
    };
    let mut ticks = interval(HEARTBEAT / count.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for endpoint in endpoints.iter().cycle() {
        ticks.tick().await;
        if !endpoint.is_welcomed() {
            continue;
        }
        let message = Message {
            to: Address::Presence(endpoint.task_type.clone(), endpoint.name.clone()),
            persistent: false,
            id: Uuid::now_v7(),
            body: endpoint.heartbeat().encode().into(),
        };
        // The next one comes anyway.
        let _ = endpoint.broker.publish(message).await;
    }
    Ok(())
}
