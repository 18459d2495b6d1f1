//! Deliveries → what to write, in an order that keeps each worker's words in theirs.

use std::collections::HashSet;

use bytes::Bytes;
use tasker_core::broker::Delivery;
use tasker_core::store::{Arrived, WorkerSign};
use tasker_core::wire::ReportBatch;
use tasker_core::{EndpointName, TaskType};

/// A message with reports.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) tag: u64,
    /// Who sent it, for the log.
    pub(super) routing_key: String,
    /// The message, to read it once more if its reports are refused.
    pub(super) body: Bytes,
    pub(super) arrived: Vec<Arrived>,
}

/// A hello.
#[derive(Debug)]
pub(super) struct HelloFrom {
    pub(super) tag: u64,
    pub(super) sign: WorkerSign,
    pub(super) fresh: bool,
}

/// A message that nobody can read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) tag: u64,
    /// One word for counters.
    pub(super) reason: &'static str,
    pub(super) routing_key: String,
    /// What is wrong and where.
    pub(super) error: String,
}

/// Letters, then hellos of other workers: within a phase the two do not touch each other.
#[derive(Debug, Default)]
pub(super) struct Phase {
    pub(super) letters: Vec<Letter>,
    pub(super) hellos: Vec<HelloFrom>,
}

/// A batch, sorted.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) phases: Vec<Phase>,
    pub(super) heartbeats: Vec<WorkerSign>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// Reads a message and checks its sender: the routing key, which the broker checked, decides; what
/// the message itself says must agree.
pub(super) fn read(delivery: &Delivery) -> Result<ReportBatch, Unreadable> {
    let unreadable = |reason, error: String| Unreadable {
        tag: delivery.tag,
        reason,
        routing_key: delivery.routing_key.chars().take(256).collect(),
        error,
    };
    let Some((task_type, endpoint)) = delivery.sender() else {
        return Err(unreadable(
            "foreign",
            "the routing key names no worker".into(),
        ));
    };
    let batch = ReportBatch::parse(&delivery.body).map_err(|error| {
        // Of a foreign text only the beginning is worth a line of the log.
        let text: String = error.to_string().chars().take(300).collect();
        unreadable(error.reason(), text)
    })?;
    if (&batch.task_type, &batch.endpoint) != (&task_type, &endpoint) {
        let said = format!("it speaks for {}.{}", batch.task_type, batch.endpoint);
        return Err(unreadable("foreign", said));
    }
    Ok(batch)
}

/// The worker that a message names.
pub(super) fn sign(batch: &ReportBatch) -> WorkerSign {
    WorkerSign {
        task_type: batch.task_type.clone(),
        endpoint: batch.endpoint.clone(),
        journal: batch.journal,
        boot: batch.boot,
    }
}

/// The reports of a message.
pub(super) fn arrived(batch: ReportBatch) -> Vec<Arrived> {
    let ReportBatch {
        task_type,
        endpoint,
        reports,
        ..
    } = batch;
    let arrived = |report| Arrived {
        task_type: task_type.clone(),
        endpoint: endpoint.clone(),
        report,
    };
    reports.into_iter().map(arrived).collect()
}

/// Sorts a batch. A worker's reports stay before its later hello and after its earlier one; workers
/// are independent of each other, so that thousands of hellos can be answered side by side.
pub(super) fn sort(deliveries: Vec<Delivery>, task_types: &HashSet<TaskType>) -> Sorted {
    let mut sorted = Sorted::default();
    let mut phase = Phase::default();
    let mut greeted: HashSet<(TaskType, EndpointName)> = HashSet::new();
    for delivery in deliveries {
        let batch = match read(&delivery) {
            Ok(batch) => batch,
            Err(unreadable) => {
                sorted.unreadable.push(unreadable);
                continue;
            }
        };
        if batch.hello.is_some() && !task_types.contains(&batch.task_type) {
            sorted.unreadable.push(Unreadable {
                tag: delivery.tag,
                reason: "unknown_type",
                error: format!("task type {} is not configured", batch.task_type),
                routing_key: delivery.routing_key,
            });
            continue;
        }
        if batch.is_heartbeat() {
            sorted.heartbeats.push(sign(&batch));
            continue;
        }
        let sender = (batch.task_type.clone(), batch.endpoint.clone());
        if greeted.contains(&sender) {
            sorted.phases.push(std::mem::take(&mut phase));
            greeted.clear();
        }
        if let Some(hello) = &batch.hello {
            phase.hellos.push(HelloFrom {
                tag: delivery.tag,
                sign: sign(&batch),
                fresh: hello.fresh,
            });
            if !batch.reports.is_empty() {
                // First words first: the reports of the same message come after its hello.
                sorted.phases.push(std::mem::take(&mut phase));
                greeted.clear();
            } else {
                greeted.insert(sender);
            }
        }
        if !batch.reports.is_empty() {
            phase.letters.push(Letter {
                tag: delivery.tag,
                routing_key: delivery.routing_key,
                arrived: arrived(batch),
                body: delivery.body,
            });
        }
    }
    sorted.phases.push(phase);
    sorted
}

#[cfg(test)]
#[path = "sort_tests.rs"]
mod tests;
