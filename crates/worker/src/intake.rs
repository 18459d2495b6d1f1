//! The consume loop around steps 5 and 6: take, claim, acknowledge, and what follows.

use std::time::Duration;

use tasker_core::backoff::Backoff;
use tasker_core::broker::{BrokerError, Consumer, Delivery, Queue};
use tasker_core::fault::{self, Point, Protection};
use tasker_core::task::RunPolicy;
use tasker_core::wire::{RefusalReason, WireError};
use tasker_core::{ResponseState, errnr};
use tokio_util::sync::CancellationToken;

use crate::claim::{Effect, decide};
use crate::desk::Withdrawn;
use crate::journal::Record;
use crate::outcome::Outcome;
use crate::rest::rest;
use crate::run::finish;
use crate::take::{Item, Me, take};
use crate::worker::{CONSUME_PATIENCE, Shared};

/// How long to wait after the broker denied access: only an administrator changes that.
const DENIED_WAIT: Duration = Duration::from_secs(30);
/// How often a closed window is looked at, besides at every write of the journal.
const WINDOW_LOOK: Duration = Duration::from_secs(1);

/// Why a consumer was left.
enum Left {
    /// The worker stops.
    Stopped,
    /// The claim window is full.
    WindowFull,
    /// The journal cannot be written.
    JournalRefuses,
    /// The broker ended it.
    Lost(BrokerError),
}

/// Consumes until told to stop; then gives back what is not claimed.
pub(crate) async fn intake(shared: &Shared, stop: &CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut was_denied = false;
    let mut was_lost = false;
    shared.outbox.hello();
    while !stop.is_cancelled() {
        let consumed = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            consumed = consume(shared) => consumed,
        };
        let left = match consumed {
            Ok(consumer) => {
                was_denied = false;
                if std::mem::take(&mut was_lost) {
                    tracing::info!(
                        "task.type" = %shared.settings.task_type,
                        endpoint = %shared.settings.endpoint,
                        "tasks can come again"
                    );
                }
                backoff.reset();
                drink(shared, consumer, stop).await
            }
            Err(error) => Left::Lost(error),
        };
        match left {
            Left::Stopped => return,
            Left::WindowFull => {
                stop.run_until_cancelled(window(shared)).await;
                continue;
            }
            Left::JournalRefuses => {
                stop.run_until_cancelled(journal(shared)).await;
                continue;
            }
            Left::Lost(BrokerError::Denied(what)) => {
                if !std::mem::replace(&mut was_denied, true) {
                    tracing::error!(
                        "task.type" = %shared.settings.task_type,
                        endpoint = %shared.settings.endpoint,
                        error = what,
                        "the broker denies this endpoint its inbox"
                    );
                }
                stop.run_until_cancelled(tokio::time::sleep(DENIED_WAIT))
                    .await;
            }
            Left::Lost(error) => {
                if was_lost {
                    // Said once.
                } else if let BrokerError::NoQueue(queue) = &error {
                    // The usual first start of an endpoint.
                    tracing::info!(
                        "task.type" = %shared.settings.task_type,
                        endpoint = %shared.settings.endpoint,
                        queue,
                        "there is no inbox yet; saying hello until the API has made it"
                    );
                } else {
                    tracing::warn!(
                        "task.type" = %shared.settings.task_type,
                        endpoint = %shared.settings.endpoint,
                        %error,
                        "no tasks can come; saying hello until they can"
                    );
                }
                was_lost = true;
                let resting = rest(&*shared.broker, &mut backoff);
                stop.run_until_cancelled(resting).await;
            }
        }
        // After every reconnect; and if there is no inbox, whoever reads this makes it.
        shared.outbox.hello();
    }
}

async fn consume(shared: &Shared) -> Result<Box<dyn Consumer>, BrokerError> {
    let settings = &shared.settings;
    let inbox = Queue::Inbox(settings.task_type.clone(), settings.endpoint.clone());
    tokio::time::timeout(
        CONSUME_PATIENCE,
        shared.broker.consume(&inbox, settings.prefetch),
    )
    .await
    .map_err(|_| BrokerError::TimedOut(CONSUME_PATIENCE))?
}

/// Waits until half of the claim window is free.
async fn window(shared: &Shared) {
    tracing::info!(
        "task.type" = %shared.settings.task_type,
        endpoint = %shared.settings.endpoint,
        "the claim window is full; taking no more until half of it is done"
    );
    loop {
        let changed = shared.journal.changed();
        if shared.window_use() <= 0.5 {
            return;
        }
        // Reports leave without a write, hence the clock.
        let _either = tokio::time::timeout(WINDOW_LOOK, changed).await;
    }
}

/// Waits until the journal can be written.
async fn journal(shared: &Shared) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    while shared.journal.write(vec![Record::Probe]).await.is_err() {
        tokio::time::sleep(backoff.wait()).await;
    }
}

async fn drink(shared: &Shared, mut consumer: Box<dyn Consumer>, stop: &CancellationToken) -> Left {
    let left = loop {
        // The welcome stands behind the tasks in the same queue. As long as nothing may run before it,
        // a full window would keep it out for ever; what the inbox holds is the bound then.
        let is_bound = shared.gate.may_start(RunPolicy::Once);
        if is_bound && shared.window_use() >= 1.0 {
            break Left::WindowFull;
        }
        let batch = tokio::select! {
            biased;
            () = stop.cancelled() => break Left::Stopped,
            batch = consumer.next(usize::from(shared.settings.prefetch)) => batch,
        };
        let served = match batch {
            Ok(batch) => serve(shared, consumer.as_mut(), batch).await,
            Err(error) => Err(Left::Lost(error)),
        };
        if let Err(left) = served {
            break left;
        }
    };
    // What was not acknowledged goes back with it.
    let _late = tokio::time::timeout(CONSUME_PATIENCE, consumer.stop()).await;
    left
}

/// Take, claim, acknowledge, follow up.
async fn serve(
    shared: &Shared,
    consumer: &mut dyn Consumer,
    batch: Vec<Delivery>,
) -> Result<(), Left> {
    let me = Me {
        endpoint: &shared.settings.endpoint,
        task_type: &shared.settings.task_type,
        handler: shared.handler.as_ref(),
    };
    let mut items: Vec<Item> = Vec::new();
    let mut readable = None;
    for delivery in batch {
        match take(&delivery.body, me) {
            Ok(more) => {
                items.extend(more);
                readable = Some(delivery.tag);
            }
            Err(error) => {
                dead_letter(shared, &delivery, &error);
                consumer.reject(delivery.tag).await.map_err(Left::Lost)?;
            }
        }
    }
    let now = shared.gate.ledger_now();
    let claims = shared
        .journal
        .peek(|index| decide(index, shared.boot, now, items));
    let mut unacked = readable;
    if fault::is_left_out(Protection::AckAfterClaim)
        && let Some(tag) = unacked.take()
    {
        consumer.ack_through(tag).await.map_err(Left::Lost)?;
    }
    if readable.is_some() {
        fault::reach(Point::BeforeClaim);
    }
    if shared.journal.write(claims.records).await.is_err() {
        return Err(Left::JournalRefuses);
    }
    if readable.is_some() {
        fault::reach(Point::AfterClaim);
    }
    let acked = match unacked {
        Some(tag) => consumer.ack_through(tag).await,
        None => Ok(()),
    };
    for reason in claims.refused {
        shared.refusals.count(reason);
    }
    // Claimed is claimed, whether the broker learned of it or not.
    for effect in claims.effects {
        follow(shared, effect).await;
    }
    acked.map_err(Left::Lost)
}

async fn follow(shared: &Shared, effect: Effect) {
    match effect {
        Effect::Queue {
            uid,
            attempt,
            run_policy,
        } => {
            shared.desk.offer(uid, attempt, run_policy);
            shared.outbox.tell(uid);
        }
        Effect::Answer(uid) => shared.outbox.tell(uid),
        Effect::Say(report) => shared.outbox.say(report),
        Effect::Open(now) => shared.open_gate(now),
        Effect::Cancel(uid) => match shared.desk.cancel(uid) {
            // Its run reports the end.
            Withdrawn::Stopping => {}
            Withdrawn::FromQueue | Withdrawn::Absent => {
                if let Some(known) = shared.journal.known(uid).filter(|known| known.is_open()) {
                    let outcome = Outcome::of(ResponseState::Cancelled, errnr::CANCELLED);
                    finish(shared, uid, &known, outcome, None).await;
                } else {
                    shared.outbox.tell(uid);
                }
            }
        },
    }
}

fn dead_letter(shared: &Shared, delivery: &Delivery, error: &WireError) {
    let reason = RefusalReason::from(error);
    let count = shared.refusals.count(reason);
    // Once for each doubling: a flood of bad messages must not become a flood of lines.
    if count.is_power_of_two() {
        tracing::warn!(
            "task.type" = %shared.settings.task_type,
            endpoint = %shared.settings.endpoint,
            message_id = delivery.message_id,
            reason = reason.as_str(),
            count,
            %error,
            "a message cannot be read and goes to the dead-letter queue"
        );
    }
}
