//! Publishing: whoever is free takes all that has piled up.
//!
//! A few lanes, each with a channel in confirm mode, carry one batch at a time. So hundreds of
//! publishes are under way at once, nothing waits for a timer, and every batch can be judged as a
//! whole (see [`super::verdict`]).

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tasker_core::broker::{BrokerError, Confirmed};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connect::Live;
use super::error::{is_not_found, unsent, within};
use super::link::{Link, closed};
use super::outgoing::Outgoing;
use super::settings::Timeouts;
use super::topology::Topology;
use super::verdict::{Answer, judge};

const LANES: usize = 4;
/// Bounds of one batch.
const BATCH_PUBLISHES: usize = 256;
const BATCH_BYTES: usize = 4 << 20;
/// Publishes that wait for a lane; more wait at the door.
const QUEUE: usize = 1024;

type Verdict = Result<Confirmed, BrokerError>;

/// A publish and who waits for its confirm.
struct Waiting {
    outgoing: Outgoing,
    verdict: oneshot::Sender<Verdict>,
}

/// The door to the lanes.
#[derive(Debug)]
pub(super) struct Publisher {
    queue: mpsc::Sender<Waiting>,
    link: Link,
    timeouts: Timeouts,
}

impl Publisher {
    /// The publisher and the task that runs its lanes, to be spawned.
    pub(super) fn new(
        link: Link,
        topology: Arc<Topology>,
        timeouts: Timeouts,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let lane = Lane {
            link: link.clone(),
            topology,
            timeouts,
            channel: None,
            missing_exchange: false,
        };
        let publisher = Self {
            queue,
            link,
            timeouts,
        };
        (publisher, run(waiting, lane, stop))
    }

    /// Publishes and waits for the confirm. Refuses at once while the broker is known to be away.
    pub(super) async fn publish(&self, outgoing: Outgoing) -> Verdict {
        if !self.link.live().await?.is_usable() {
            return Err(BrokerError::Away("the connection is blocked".into()));
        }
        // Waiting for a lane whose own batch is running out of time, opening a channel, and the
        // confirm.
        let limit = 2 * self.timeouts.confirm + self.timeouts.operation;
        let (verdict, answer) = oneshot::channel();
        let carried = async {
            let waiting = Waiting { outgoing, verdict };
            self.queue.send(waiting).await.map_err(|_| closed())?;
            answer.await.unwrap_or_else(|_| Err(closed()))
        };
        match tokio::time::timeout(limit, carried).await {
            Ok(verdict) => verdict,
            Err(_) => Err(BrokerError::TimedOut(limit)),
        }
    }
}

/// Gives batches to free lanes, in order, until it is stopped; then lets the lanes finish.
async fn run(mut queue: mpsc::Receiver<Waiting>, lane: Lane, stop: CancellationToken) {
    let mut free: Vec<Lane> = (1..LANES).map(|_| lane.sibling()).collect();
    let spare = lane.sibling();
    free.push(lane);
    let mut busy: JoinSet<Lane> = JoinSet::new();
    loop {
        let Some(lane) = free.pop() else {
            // A lane that panicked is replaced: there must always be four.
            if let Some(done) = busy.join_next().await {
                free.push(done.unwrap_or_else(|_| spare.sibling()));
            }
            continue;
        };
        let first = tokio::select! {
            () = stop.cancelled() => break,
            first = queue.recv() => first,
        };
        let Some(first) = first else { break };
        let batch = fill(first, &mut queue);
        busy.spawn(lane.carry(batch));
        while let Some(done) = busy.try_join_next() {
            free.push(done.unwrap_or_else(|_| spare.sibling()));
        }
    }
    queue.close();
    while let Ok(waiting) = queue.try_recv() {
        answer(waiting.verdict, Err(closed()));
    }
    while busy.join_next().await.is_some() {}
}

/// A batch of what has piled up, in order, within its bounds.
fn fill(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> Vec<Waiting> {
    let mut bytes = first.outgoing.body.len();
    let mut batch = vec![first];
    while batch.len() < BATCH_PUBLISHES && bytes < BATCH_BYTES {
        let Ok(next) = queue.try_recv() else { break };
        bytes += next.outgoing.body.len();
        batch.push(next);
    }
    batch
}

fn answer(to: oneshot::Sender<Verdict>, verdict: Verdict) {
    // Whoever no longer waits does not want to know.
    let _ = to.send(verdict);
}

/// One channel and its way to another one.
struct Lane {
    link: Link,
    topology: Arc<Topology>,
    timeouts: Timeouts,
    channel: Option<(Arc<Live>, Channel)>,
    /// The last channel was closed because of an exchange that does not exist.
    missing_exchange: bool,
}

impl Lane {
    fn sibling(&self) -> Self {
        Self {
            link: self.link.clone(),
            topology: self.topology.clone(),
            timeouts: self.timeouts,
            channel: None,
            missing_exchange: false,
        }
    }

    async fn carry(mut self, mut batch: Vec<Waiting>) -> Self {
        // Whose publisher gave up while it was queued is not sent: nobody would learn of it.
        batch.retain(|waiting| !waiting.verdict.is_closed());
        let (batch, verdicts): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| (waiting.outgoing, waiting.verdict))
            .unzip();
        let outcome = match self.open().await {
            Ok(channel) => self.publish(&channel, &batch).await,
            Err(error) => {
                let error = unsent(error);
                batch.iter().map(|_| Err(error.clone())).collect()
            }
        };
        for (to, verdict) in verdicts.into_iter().zip(outcome) {
            answer(to, verdict);
        }
        self
    }

    /// The channel of this lane: the one it has, or a new one.
    async fn open(&mut self) -> Result<Channel, BrokerError> {
        let live = self.link.live().await?;
        if let Some((of, channel)) = &self.channel
            && Arc::ptr_eq(of, &live)
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        if std::mem::take(&mut self.missing_exchange) {
            self.topology.declare_again(&live).await?;
        }
        let channel = live.open_channel().await?;
        let selecting = channel.confirm_select(ConfirmSelectOptions::default());
        live.checked(within(self.timeouts.operation, selecting).await)?;
        self.channel = Some((live, channel.clone()));
        Ok(channel)
    }

    async fn publish(&mut self, channel: &Channel, batch: &[Outgoing]) -> Vec<Verdict> {
        // All futures are polled by this task alone, in order: lapin numbers a publish and queues
        // its frames in the first poll, and two threads at that could swap the numbers.
        let mut pending: FuturesUnordered<_> = batch
            .iter()
            .enumerate()
            .map(|(index, outgoing)| {
                Box::pin(async move { (index, publish(channel, outgoing).await) })
            })
            .collect();
        let mut answers: Vec<Answer> = batch.iter().map(|_| None).collect();
        let limit = self.timeouts.confirm;
        let all = async {
            while let Some((index, answered)) = pending.next().await {
                answers[index] = Some(answered);
            }
        };
        let in_time = tokio::time::timeout(limit, all).await.is_ok();
        self.missing_exchange = answers
            .iter()
            .any(|answer| matches!(answer, Some(Err(error)) if is_not_found(error)));
        let late = pending
            .into_iter()
            .filter_map(|publish| publish.now_or_never()?.1.ok())
            .collect();
        if !in_time {
            // Its confirms may still come and must not be taken for those of the next batch. The
            // next channel will not open either if it is the broker that hangs, and that ends the
            // connection; it does open if it was one slow queue.
            self.channel = None;
        }
        let identities: Vec<_> = batch.iter().map(Outgoing::identity).collect();
        judge(&identities, answers, late, limit)
    }
}

async fn publish(channel: &Channel, outgoing: &Outgoing) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    channel
        .basic_publish(
            outgoing.exchange.clone(),
            outgoing.key.clone(),
            options,
            &outgoing.body,
            outgoing.properties.clone(),
        )
        .await?
        .await
}
