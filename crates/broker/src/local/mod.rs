//! The broker inside the process: same contract, no durability. The ledger and the journals make up
//! for what it forgets when the process ends, as they do for RabbitMQ.

mod consumer;
mod queue;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tasker_core::broker::{Address, Broker, BrokerError, Confirmed, Consumer, Message, Queue};
use tasker_core::{EndpointName, TaskType};
use tokio::sync::{Notify, watch};

use self::consumer::LocalConsumer;
use self::queue::{LocalQueue, Stored, WhenFull};
use crate::Names;

/// How long a publish waits for its confirm while they are held.
const CONFIRM: Duration = Duration::from_secs(5);

/// A broker in memory. Every clone of the `Arc` is the same broker.
#[derive(Debug)]
pub struct LocalBroker {
    shared: Arc<Shared>,
    held: watch::Sender<bool>,
}

/// What the broker and its consumers share.
#[derive(Debug)]
struct Shared {
    names: Names,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    up: bool,
    /// The exchanges that were declared, by name.
    exchanges: HashSet<String>,
    queues: HashMap<String, LocalQueue>,
    last_consumer: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn away() -> BrokerError {
    BrokerError::Away("switched off".into())
}

impl State {
    fn check_up(&self) -> Result<(), BrokerError> {
        if self.up { Ok(()) } else { Err(away()) }
    }

    fn check_exchange(&self, name: &str) -> Result<(), BrokerError> {
        if self.exchanges.contains(name) {
            Ok(())
        } else {
            Err(BrokerError::Away(format!("no exchange {name}")))
        }
    }

    fn make(&mut self, name: String, single_active: bool, when_full: WhenFull) {
        self.queues
            .entry(name)
            .or_insert_with(|| LocalQueue::new(single_active, when_full));
    }

    /// What was rejected goes to the dead-letter queue.
    fn bury(&mut self, names: &Names, mut letter: Stored) {
        letter.redelivered = false;
        if let Some(dead) = self.queues.get_mut(&names.dead()) {
            // It drops its oldest letter when it is full, so it never refuses.
            dead.push(letter);
        }
    }
}

impl LocalBroker {
    /// An empty broker that can be reached.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let state = State {
            up: true,
            exchanges: HashSet::new(),
            queues: HashMap::new(),
            last_consumer: 0,
        };
        Arc::new(Self {
            shared: Arc::new(Shared {
                names: Names::new("local"),
                state: Mutex::new(state),
            }),
            held: watch::Sender::new(false),
        })
    }

    /// Simulates a broker that goes away and comes back. While it is away every operation fails with
    /// [`BrokerError::Away`]; its consumers end and what they had not acknowledged is given back.
    /// What it stores survives.
    pub fn set_up(&self, up: bool) {
        let mut state = self.shared.state();
        state.up = up;
        if !up {
            state
                .queues
                .values_mut()
                .for_each(LocalQueue::end_consumers);
        }
    }

    /// Simulates a slow broker: messages are delivered, but their publishers do not learn of it
    /// until this is called with `false`, or time out after 5 seconds.
    pub fn hold_confirms(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// Puts the message where it belongs, at once.
    fn route(&self, message: Message) -> Result<Confirmed, BrokerError> {
        let names = &self.shared.names;
        let mut state = self.shared.state();
        state.check_up()?;
        let (exchange, key, queues) = match &message.to {
            Address::Everybody(task_type) => {
                let exchange = names.task_exchange(task_type);
                let prefix = format!("{exchange}.");
                let inboxes = state.queues.keys().filter(|name| name.starts_with(&prefix));
                (exchange, String::new(), inboxes.cloned().collect())
            }
            Address::Inboxes(task_type, endpoints) => {
                let inbox = |endpoint| names.inbox_queue(task_type, endpoint);
                let distinct: HashSet<_> = endpoints.iter().map(inbox).collect();
                let key = endpoints.first();
                let key = key.map_or_else(String::new, |first| names.key(task_type, first));
                (names.inbox_exchange(), key, distinct.into_iter().collect())
            }
            Address::Reports(task_type, endpoint) => {
                let key = names.key(task_type, endpoint);
                (names.reports(), key, vec![names.reports()])
            }
            Address::Events => {
                let prefix = names.events_queue("");
                let queues = state.queues.keys().filter(|name| name.starts_with(&prefix));
                (names.events(), String::new(), queues.cloned().collect())
            }
            Address::Presence(task_type, endpoint) => {
                let key = names.key(task_type, endpoint);
                (names.presence(), key, vec![names.presence()])
            }
        };
        state.check_exchange(&exchange)?;
        let (mut routed, mut refused) = (false, false);
        for name in queues {
            if let Some(queue) = state.queues.get_mut(&name) {
                routed = true;
                refused |= !queue.push(Stored::new(&key, &message));
            }
        }
        match (routed, refused) {
            (_, true) => Err(BrokerError::Nacked),
            (true, false) => Ok(Confirmed::Routed),
            (false, false) => Ok(Confirmed::Unroutable),
        }
    }
}

#[async_trait]
impl Broker for LocalBroker {
    async fn declare(&self, task_types: &[TaskType]) -> Result<(), BrokerError> {
        let names = &self.shared.names;
        let mut state = self.shared.state();
        state.check_up()?;
        let types = task_types.iter().map(|name| names.task_exchange(name));
        state.exchanges.extend(types);
        state.exchanges.extend([
            names.inbox_exchange(),
            names.reports(),
            names.presence(),
            names.events(),
            names.dead(),
        ]);
        state.make(names.reports(), true, WhenFull::Refuse);
        state.make(names.presence(), false, WhenFull::DropOldest);
        state.make(names.dead(), false, WhenFull::DropOldest);
        Ok(())
    }

    async fn open_inbox(
        &self,
        task_type: &TaskType,
        endpoint: &EndpointName,
    ) -> Result<(), BrokerError> {
        let names = &self.shared.names;
        let mut state = self.shared.state();
        state.check_up()?;
        let exchanges = [names.task_exchange(task_type), names.inbox_exchange()];
        state.exchanges.extend(exchanges);
        let inbox = names.inbox_queue(task_type, endpoint);
        state.make(inbox, true, WhenFull::DropOldest);
        Ok(())
    }

    async fn publish(&self, message: Message) -> Result<Confirmed, BrokerError> {
        let confirmed = self.route(message)?;
        let mut held = self.held.subscribe();
        // The sender lives in `self`: waiting ends with a value or with the time-out.
        match tokio::time::timeout(CONFIRM, held.wait_for(|held| !held)).await {
            Ok(_) => Ok(confirmed),
            Err(_) => Err(BrokerError::TimedOut(CONFIRM)),
        }
    }

    async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Consumer>, BrokerError> {
        let names = &self.shared.names;
        let mut state = self.shared.state();
        state.check_up()?;
        state.last_consumer += 1;
        let id = state.last_consumer;
        let is_own = *queue == Queue::Events;
        let name = if is_own {
            if !state.exchanges.contains(&names.events()) {
                return Err(BrokerError::NoQueue(names.events()));
            }
            let name = names.events_queue(&id.to_string());
            state.make(name.clone(), false, WhenFull::DropOldest);
            name
        } else {
            names.queue(queue)
        };
        let Some(queue) = state.queues.get_mut(&name) else {
            return Err(BrokerError::NoQueue(name));
        };
        let changed: Arc<Notify> = queue.add_consumer(id, prefetch);
        let shared = self.shared.clone();
        Ok(Box::new(LocalConsumer::new(
            shared, name, id, changed, is_own,
        )))
    }

    fn is_up(&self) -> bool {
        self.shared.state().up
    }

    async fn close(&self) {
        self.set_up(false);
    }
}
