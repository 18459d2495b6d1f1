//! The loops behind the door: started together, stopped together.

use std::sync::Arc;

use tasker_core::TaskType;
use tasker_core::accounts::Accounts;
use tasker_core::broker::Queue;
use tasker_core::store::Ports;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::auth::{Doorkeeper, keyring, record};
use crate::board::Board;
use crate::bridge::{Bell, Bridge};
use crate::courier::Courier;
use crate::fleet::Fleet;
use crate::herald::Herald;
use crate::metrics::Metrics;
use crate::notifier::Notifier;
use crate::outage::Outage;
use crate::recorder::Recorder;
use crate::scheduler::{Duty, Scheduler};
use crate::settings::ApiSettings;
use crate::throttle::Throttle;

/// The loops that need nothing but to be stopped.
#[derive(Default)]
pub(super) struct Loops {
    pub(super) stop: CancellationToken,
    tasks: JoinSet<&'static str>,
}

impl Loops {
    /// The loops of the door: they serve requests, so they end after the last one.
    pub(super) fn doorkeeper(
        &mut self,
        accounts: &Arc<dyn Accounts>,
        ledger: &Arc<Outage>,
        metrics: &Arc<Metrics>,
    ) -> Doorkeeper {
        let (keyring, clerk) = keyring(Arc::clone(accounts), Arc::clone(ledger));
        let (record, writer) = record(
            Arc::clone(accounts),
            Arc::clone(ledger),
            Arc::clone(metrics),
        );
        let (stop_clerk, stop_writer) = (self.stop.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            clerk.run(stop_clerk).await;
            "the keyring"
        });
        self.tasks.spawn(async move {
            writer.run(stop_writer).await;
            "the writer of the audit"
        });
        let (accounts, ledger) = (Arc::clone(accounts), Arc::clone(ledger));
        Doorkeeper::new(accounts, ledger, keyring, record, Handle::current())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "called once, where everything is wired"
    )]
    pub(super) fn background(
        &mut self,
        settings: &Arc<ApiSettings>,
        ports: &Ports,
        ledger: &Arc<Outage>,
        courier: &Arc<Courier>,
        fleet: &Arc<Fleet>,
        board: &Arc<Board>,
        asks: &Arc<Notify>,
        bell: &Arc<Bell>,
        metrics: &Arc<Metrics>,
    ) {
        let store = &ports.store;
        let task_types: Vec<TaskType> = settings
            .task_types
            .iter()
            .map(|kind| kind.name.clone())
            .collect();
        let recorder = Arc::new(Recorder {
            store: Arc::clone(store),
            ledger: Arc::clone(ledger),
            courier: Arc::clone(courier),
            fleet: Arc::clone(fleet),
            board: Arc::clone(board),
            asks: Arc::clone(asks),
            bell: Arc::clone(bell),
            metrics: Arc::clone(metrics),
            task_types: task_types.iter().cloned().collect(),
            settings: settings.recorder,
            unreadable: Throttle::new(Level::WARN, "messages of a worker were dead-lettered"),
            refused: Throttle::new(
                Level::ERROR,
                "messages of a worker were refused by the ledger and dead-lettered",
            ),
        });
        for queue in [Queue::Reports, Queue::Presence] {
            let (recorder, stop) = (Arc::clone(&recorder), self.stop.clone());
            self.tasks.spawn(async move {
                recorder.run(queue, &stop).await;
                "the recorder"
            });
        }
        let scheduler = Arc::new(Scheduler {
            store: Arc::clone(store),
            jobs: Arc::clone(&ports.jobs),
            runs: Arc::clone(&ports.runs),
            ledger: Arc::clone(ledger),
            courier: Arc::clone(courier),
            board: Arc::clone(board),
            asks: Arc::clone(asks),
            metrics: Arc::clone(metrics),
            settings: settings.scheduler,
            lost_after: settings.timing.lost_after,
            retention: settings.retention,
        });
        for duty in Duty::ALL {
            let (scheduler, stop) = (Arc::clone(&scheduler), self.stop.clone());
            self.tasks.spawn(async move {
                scheduler.run(duty, &stop).await;
                "the scheduler"
            });
        }
        let (courier, stop) = (Arc::clone(courier), self.stop.clone());
        self.tasks.spawn(async move {
            courier.keep_topology(&task_types, &stop).await;
            "the topology's keeper"
        });
        let (fleet, store, stop) = (Arc::clone(fleet), Arc::clone(store), self.stop.clone());
        let ledger = Arc::clone(ledger);
        self.tasks.spawn(async move {
            fleet.keep_fresh(&*store, &ledger, &stop).await;
            "the fleet's picture"
        });
    }

    pub(super) fn bridge(&mut self, bridge: Bridge) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            bridge.run(&stop).await;
            "the bridge of jobs"
        });
    }

    pub(super) fn notify(&mut self, notifier: Notifier) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            Arc::new(notifier).run(&stop).await;
            "the notifier"
        });
    }

    /// News between the processes, if there is anybody who may wait for any.
    pub(super) fn herald(&mut self, herald: Herald) {
        let herald = Arc::new(herald);
        let (teller, stop) = (Arc::clone(&herald), self.stop.clone());
        self.tasks.spawn(async move {
            teller.tell(&stop).await;
            "the herald"
        });
        let (hearer, stop) = (Arc::clone(&herald), self.stop.clone());
        self.tasks.spawn(async move {
            hearer.hear(&stop).await;
            "the herald"
        });
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            herald.look(&stop).await;
            "the herald"
        });
    }

    /// The first loop that ends; none does before it is told to.
    pub(super) async fn any_end(&mut self) -> (&'static str, Option<JoinError>) {
        match self.tasks.join_next().await {
            Some(Ok(name)) => (name, None),
            Some(Err(error)) => ("a background loop", Some(error)),
            None => std::future::pending().await,
        }
    }

    pub(super) async fn all_end(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
