//! The courier between all processes: the in-process broker, which chance makes lose, refuse, repeat,
//! delay and reorder messages, and lose confirms and acknowledgements, at every arrow of the line.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tasker_broker::local::LocalBroker;
use tasker_core::broker::{
    Address, Broker, BrokerError, Confirmed, Consumer, Delivery, Message, Queue,
};
use tasker_core::{EndpointName, TaskType, TaskUid};
use tokio::time::{Instant, sleep};

use crate::chance::{Arrow, Chance, Draw};
use crate::cut::Line;

/// What a confirm that never comes looks like.
const NO_CONFIRM: BrokerError = BrokerError::TimedOut(Duration::from_secs(5));
/// The longest delay of a message, in seconds.
const LATEST_S: u64 = 100;

/// What chance may do to reports and hellos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Losses {
    /// Everything: the broker may forget what it confirmed. Journals are never lost then: that both
    /// are lost together is not survived.
    Broker,
    /// Workers' journals are lost. What the broker confirmed to a worker arrives, in its order.
    Journals,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Delivered,
    /// Confirmed and lost.
    Lost,
    /// Not taken, and said so.
    Refused,
    /// Taken, and the confirm lost.
    Unconfirmed,
    /// Taken twice, the second time this much later.
    Twice(Duration),
    /// Confirmed, and delivered this much later.
    Late(Duration),
}

/// One message, for the trace of a failure.
#[derive(Debug)]
struct Noted {
    at: Duration,
    arrow: Arrow,
    number: u64,
    to: String,
    fate: Fate,
    body: Bytes,
}

/// The office that every process has a line to.
pub(crate) struct Office {
    chance: Chance,
    losses: Losses,
    began: Instant,
    is_faulty: AtomicBool,
    broker: Mutex<Arc<LocalBroker>>,
    inboxes: Mutex<BTreeSet<(TaskType, EndpointName)>>,
    counts: Mutex<HashMap<Arrow, u64>>,
    notes: Mutex<Vec<Noted>>,
}

impl Office {
    pub(crate) fn new(seed: u64, losses: Losses) -> Arc<Self> {
        Arc::new(Self {
            chance: Chance(seed),
            losses,
            began: Instant::now(),
            is_faulty: AtomicBool::new(true),
            broker: Mutex::new(LocalBroker::new()),
            inboxes: Mutex::default(),
            counts: Mutex::default(),
            notes: Mutex::default(),
        })
    }

    fn broker(&self) -> Arc<LocalBroker> {
        Arc::clone(&self.broker.lock().unwrap())
    }

    /// From now on nothing goes wrong.
    pub(crate) fn behave(&self) {
        self.is_faulty.store(false, Ordering::SeqCst);
    }

    /// The broker goes away or comes back, with what it holds.
    pub(crate) fn set_up(&self, up: bool) {
        self.broker().set_up(up);
    }

    /// The broker forgets its queues, its exchanges and everything in them.
    pub(crate) fn forget(&self) {
        let forgotten = std::mem::replace(&mut *self.broker.lock().unwrap(), LocalBroker::new());
        forgotten.set_up(false);
    }

    /// A decision about the next message of an arrow, and its number.
    fn draw(&self, arrow: Arrow) -> (u64, Draw) {
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(arrow).or_default();
        *count += 1;
        (*count, Draw(self.chance.number(arrow, *count)))
    }

    fn fate(&self, arrow: Arrow) -> (u64, Fate) {
        let (number, mut draw) = self.draw(arrow);
        if !self.is_faulty.load(Ordering::SeqCst) {
            return (number, Fate::Delivered);
        }
        let is_kept =
            self.losses == Losses::Journals && matches!(arrow, Arrow::Report | Arrow::Hello);
        let later = draw.seconds(LATEST_S);
        let fate = match draw.below(100) {
            0..60 => Fate::Delivered,
            60..68 => Fate::Refused,
            68..76 => Fate::Unconfirmed,
            76..84 if is_kept => Fate::Twice(Duration::ZERO),
            84.. if is_kept => Fate::Delivered,
            76..84 => Fate::Twice(later),
            84..92 => Fate::Late(later),
            _ => Fate::Lost,
        };
        (number, fate)
    }

    /// How often each fault was injected, and how many messages there were.
    pub(crate) fn injections(&self) -> String {
        let mut counts: std::collections::BTreeMap<_, u32> = std::collections::BTreeMap::new();
        for note in self.notes.lock().unwrap().iter() {
            let fate = format!("{:?}", note.fate);
            let word = fate.split('(').next().unwrap_or_default().to_owned();
            *counts.entry(word).or_default() += 1;
        }
        format!("{counts:?}")
    }

    /// Every message that named a task.
    pub(crate) fn trace(&self, uid: TaskUid) -> String {
        let uid = uid.to_string();
        let mut lines = String::new();
        for note in self.notes.lock().unwrap().iter() {
            let body = String::from_utf8_lossy(&note.body);
            let Some(at) = body.find(&uid) else { continue };
            let start = body[..at].rfind('{').unwrap_or(0);
            let about: String = body[start..].chars().take(170).collect();
            lines += &format!(
                "{:>9.3} {:?} #{} to {}: {:?} {about}\n",
                note.at.as_secs_f64(),
                note.arrow,
                note.number,
                note.to,
                note.fate,
            );
        }
        lines
    }

    /// Publishes one copy of a message; a fanout has one for each inbox.
    async fn copy(&self, message: Message) -> Result<Confirmed, BrokerError> {
        let arrow = arrow_of(&message);
        let (number, fate) = self.fate(arrow);
        self.notes.lock().unwrap().push(Noted {
            at: self.began.elapsed(),
            arrow,
            number,
            to: format!("{:?}", message.to),
            fate,
            body: message.body.clone(),
        });
        let broker = self.broker();
        match fate {
            Fate::Delivered => broker.publish(message).await,
            Fate::Lost if broker.is_up() => Ok(Confirmed::Routed),
            Fate::Lost => broker.publish(message).await,
            Fate::Refused => Err(BrokerError::Nacked),
            Fate::Unconfirmed => {
                broker.publish(message).await?;
                Err(NO_CONFIRM)
            }
            Fate::Twice(later) => {
                let confirmed = broker.publish(message.clone()).await;
                if later.is_zero() {
                    let _again = broker.publish(message).await;
                } else {
                    deliver_later(broker, message, later);
                }
                confirmed
            }
            Fate::Late(later) if broker.is_up() => {
                deliver_later(broker, message, later);
                Ok(Confirmed::Routed)
            }
            Fate::Late(_) => broker.publish(message).await,
        }
    }
}

/// If the broker is away or wiped then, it is lost.
fn deliver_later(broker: Arc<LocalBroker>, message: Message, later: Duration) {
    tokio::spawn(async move {
        sleep(later).await;
        let _lost = broker.publish(message).await;
    });
}

fn arrow_of(message: &Message) -> Arrow {
    let has = |word: &[u8]| message.body.windows(word.len()).any(|part| part == word);
    match message.to {
        Address::Presence(..) => Arrow::Heartbeat,
        Address::Reports(..) if has(b"\"hello\":") => Arrow::Hello,
        Address::Reports(..) => Arrow::Report,
        _ if has(b"\"welcome\":") => Arrow::Welcome,
        _ if has(b"\"cancel\":") => Arrow::Cancel,
        // The relay names its audience; an ask is for whoever gets it.
        _ if has(b"\"audience\":null") => Arrow::Ask,
        _ => Arrow::Task,
    }
}

#[async_trait]
impl Broker for Line<Arc<Office>> {
    async fn declare(&self, task_types: &[TaskType]) -> Result<(), BrokerError> {
        self.carry(self.far.broker().declare(task_types)).await
    }

    async fn open_inbox(
        &self,
        task_type: &TaskType,
        endpoint: &EndpointName,
    ) -> Result<(), BrokerError> {
        let inbox = (task_type.clone(), endpoint.clone());
        self.far.inboxes.lock().unwrap().insert(inbox);
        self.carry(self.far.broker().open_inbox(task_type, endpoint))
            .await
    }

    async fn publish(&self, message: Message) -> Result<Confirmed, BrokerError> {
        let copies = match &message.to {
            Address::Everybody(task_type) => {
                let inboxes = self.far.inboxes.lock().unwrap();
                let of_type = inboxes.iter().filter(|(of, _)| of == task_type);
                of_type
                    .map(|(of, name)| Message {
                        to: Address::Inboxes(of.clone(), vec![name.clone()]),
                        ..message.clone()
                    })
                    .collect()
            }
            _ => vec![message],
        };
        self.carry(async {
            let mut confirmed = Ok(Confirmed::Unroutable);
            for copy in copies {
                // One queue that refuses refuses for all, though the others have it.
                match (self.far.copy(copy).await, &confirmed) {
                    (_, Err(_)) | (Ok(Confirmed::Unroutable), _) => {}
                    (other, _) => confirmed = other,
                }
            }
            confirmed
        })
        .await
    }

    async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Consumer>, BrokerError> {
        let consumer = self
            .carry(self.far.broker().consume(queue, prefetch))
            .await?;
        Ok(Box::new(Tap {
            line: self.clone(),
            consumer: Some(consumer),
        }))
    }

    fn is_up(&self) -> bool {
        self.far.broker().is_up()
    }

    async fn close(&self) {}
}

/// A consumer whose acknowledgements can be lost, and which ends with its process.
struct Tap {
    line: Line<Arc<Office>>,
    consumer: Option<Box<dyn Consumer>>,
}

impl Tap {
    fn gone() -> BrokerError {
        BrokerError::Away("the channel was closed".into())
    }
}

#[async_trait]
impl Consumer for Tap {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let consumer = self.consumer.as_mut().ok_or_else(Self::gone)?;
        tokio::select! {
            biased;
            () = self.line.cut.cancelled() => {}
            deliveries = consumer.next(max) => return deliveries,
        }
        // Its process died: what it held goes to the next one.
        self.consumer = None;
        std::future::pending().await
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), BrokerError> {
        let (_, mut draw) = self.line.far.draw(Arrow::Ack);
        let is_lost = self.line.far.is_faulty.load(Ordering::SeqCst) && draw.percent(8);
        if is_lost || self.line.cut.is_cancelled() {
            self.consumer = None;
            return self.line.carry(async { Err(Self::gone()) }).await;
        }
        let consumer = self.consumer.as_mut().ok_or_else(Self::gone)?;
        consumer.ack_through(tag).await
    }

    async fn reject(&mut self, tag: u64) -> Result<(), BrokerError> {
        let consumer = self.consumer.as_mut().ok_or_else(Self::gone)?;
        consumer.reject(tag).await
    }

    async fn stop(self: Box<Self>) {}
}
