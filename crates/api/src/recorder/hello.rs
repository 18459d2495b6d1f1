//! Hello → welcome.

use futures_util::{StreamExt, stream};
use tasker_core::BootId;
use tasker_core::broker::{Address, BrokerError, Message};
use tasker_core::store::{HelloAnswer, StoreError, WorkerSign};
use tasker_core::wire::{CancelEntry, Had, Welcome};
use uuid::Uuid;

use super::sort::HelloFrom;
use super::{Recorder, Rejected, Trouble};
use crate::chain::chain;
use crate::courier::{Posted, reason};
use crate::metrics::count;

/// Identities in one welcome.
const WELCOME_UIDS: usize = 5_000;

impl Recorder {
    /// Answers hellos of different workers side by side. Returns the tags of refused ones.
    pub(super) async fn greet_all(&self, hellos: Vec<HelloFrom>) -> Result<Rejected, Trouble> {
        if hellos.is_empty() {
            return Ok(Rejected::new());
        }
        let greetings = hellos.into_iter().map(|hello| async move {
            let tag = hello.tag;
            let is_noted = self.greet(hello).await?;
            Ok((!is_noted).then_some(tag))
        });
        let answers: Vec<Result<Option<u64>, Trouble>> = stream::iter(greetings)
            .buffer_unordered(self.settings.hellos)
            .collect()
            .await;
        // Welcomes are on their way; what is due can be asked now.
        self.asks.notify_one();
        answers.into_iter().filter_map(Result::transpose).collect()
    }

    /// Opens the worker's inbox, notes its start and welcomes it. Returns false if the ledger
    /// refuses it.
    async fn greet(&self, hello: HelloFrom) -> Result<bool, Trouble> {
        let HelloFrom { sign, fresh, .. } = hello;
        let WorkerSign {
            task_type,
            endpoint,
            ..
        } = &sign;
        if let Err(error) = self.courier.broker.open_inbox(task_type, endpoint).await {
            if !self.courier.is_up() {
                return Err(Trouble::Courier(error));
            }
            // The trouble of one inbox must not hold back everybody's reports. Without a welcome
            // the worker says hello again.
            count(&self.metrics.loop_failures, "loop", "hello", 1);
            let reason = reason(&error);
            self.courier.tell("open an inbox", &error);
            tracing::debug!(%endpoint, task.r#type = %task_type, reason, %error, "an inbox could not be opened");
            self.courier.suspect();
        }
        let answer = match self.store.hello(sign.clone(), fresh).await {
            Ok(answer) => answer,
            Err(error @ StoreError::Unavailable(_)) => return Err(Trouble::Store(error)),
            Err(error) => {
                count(&self.metrics.dead_lettered, "reason", "refused", 1);
                let sender = format!("{task_type}.{endpoint}");
                self.refused.tell("refused", &sender, &chain(&error));
                return Ok(false);
            }
        };
        self.tell_settled(&answer.settled);
        self.fleet.note(task_type, endpoint);
        for welcome in welcomes(sign.boot, answer) {
            let message = Message {
                to: Address::Inboxes(task_type.clone(), vec![endpoint.clone()]),
                persistent: false,
                id: Uuid::now_v7(),
                body: welcome.encode().into(),
            };
            match self.courier.publish(message).await {
                Posted::Routed => {}
                Posted::Away => {
                    let error = BrokerError::Away("a welcome could not be published".into());
                    return Err(Trouble::Courier(error));
                }
                // Counted by the courier; the worker says hello again.
                Posted::Unroutable | Posted::GaveUp => return Ok(true),
            }
        }
        self.metrics.hellos.inc();
        tracing::debug!(%endpoint, task.r#type = %task_type, fresh, "a worker said hello");
        Ok(true)
    }
}

/// The answer in messages of bounded size; all but the last say that more follows.
fn welcomes(boot: BootId, answer: HelloAnswer) -> Vec<Welcome> {
    enum Uid {
        Cancelled(CancelEntry),
        Had(Had),
    }
    let now = answer.now;
    let cancelled = answer.cancelled.into_iter().map(Uid::Cancelled);
    let all: Vec<Uid> = cancelled
        .chain(answer.had.into_iter().map(Uid::Had))
        .collect();
    let count = all.len().div_ceil(WELCOME_UIDS).max(1);
    let mut welcomes: Vec<Welcome> = (1..=count)
        .map(|number| Welcome {
            boot,
            now,
            cancelled: Vec::new(),
            had: Vec::new(),
            more: number < count,
        })
        .collect();
    for (i, uid) in all.into_iter().enumerate() {
        let welcome = &mut welcomes[i / WELCOME_UIDS];
        match uid {
            Uid::Cancelled(entry) => welcome.cancelled.push(entry),
            Uid::Had(had) => welcome.had.push(had),
        }
    }
    welcomes
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use tasker_core::TaskUid;

    fn answer(cancelled: usize, had: usize) -> HelloAnswer {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let entry = |_| CancelEntry {
            uid: TaskUid::mint(),
            expires_at: now,
        };
        HelloAnswer {
            now,
            cancelled: (0..cancelled).map(entry).collect(),
            had: (0..had)
                .map(|_| Had {
                    uid: TaskUid::mint(),
                    attempt: 1,
                })
                .collect(),
            settled: Vec::new(),
        }
    }

    #[test]
    fn a_long_answer_is_cut_and_only_its_end_says_so() {
        for (cancelled, had, messages) in
            [(0, 0, 1), (1, 4_999, 1), (1, 5_000, 2), (6_000, 6_000, 3)]
        {
            let all = welcomes(BootId::mint(), answer(cancelled, had));
            assert_eq!(all.len(), messages);
            let last = all.len() - 1;
            assert!(all.iter().enumerate().all(|(i, w)| w.more == (i < last)));
            assert!(
                all.iter()
                    .all(|w| w.cancelled.len() + w.had.len() <= WELCOME_UIDS)
            );
            assert_eq!(
                all.iter().map(|w| w.cancelled.len()).sum::<usize>(),
                cancelled
            );
            assert_eq!(all.iter().map(|w| w.had.len()).sum::<usize>(), had);
        }
    }
}
