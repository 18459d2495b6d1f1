//! One queue: what waits, who consumes, what is not acknowledged yet.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tasker_core::broker::{Delivery, Message};
use tokio::sync::Notify;
use uuid::Uuid;

/// Bounds of what waits in one queue.
const MAX_MESSAGES: usize = 10_000;
const MAX_BYTES: usize = 64 << 20;

/// What a full queue does with one more message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// Takes it and forgets its oldest: the ledger knows what is missing.
    DropOldest,
    /// Refuses it: its publisher keeps it.
    Refuse,
}

/// A message in a queue.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    routing_key: String,
    id: Uuid,
    body: Bytes,
    pub(super) redelivered: bool,
}

impl Stored {
    pub(super) fn new(routing_key: &str, message: &Message) -> Self {
        Self {
            routing_key: routing_key.to_owned(),
            id: message.id,
            body: message.body.clone(),
            redelivered: false,
        }
    }
}

#[derive(Debug)]
struct Holder {
    id: u64,
    prefetch: usize,
    last_tag: u64,
    /// In the order of their tags.
    unacked: VecDeque<(u64, Stored)>,
}

#[derive(Debug)]
pub(super) struct LocalQueue {
    single_active: bool,
    when_full: WhenFull,
    ready: VecDeque<Stored>,
    ready_bytes: usize,
    /// In the order in which they came; with `single_active` the first one gets everything.
    consumers: Vec<Holder>,
    changed: Arc<Notify>,
}

impl LocalQueue {
    pub(super) fn new(single_active: bool, when_full: WhenFull) -> Self {
        Self {
            single_active,
            when_full,
            ready: VecDeque::new(),
            ready_bytes: 0,
            consumers: Vec::new(),
            changed: Arc::new(Notify::new()),
        }
    }

    /// Appends a message; `false` if it was refused.
    pub(super) fn push(&mut self, message: Stored) -> bool {
        while self.is_full() {
            if self.when_full == WhenFull::Refuse {
                return false;
            }
            if let Some(oldest) = self.ready.pop_front() {
                self.ready_bytes -= oldest.body.len();
            }
        }
        self.ready_bytes += message.body.len();
        self.ready.push_back(message);
        self.changed.notify_waiters();
        true
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= MAX_MESSAGES || self.ready_bytes >= MAX_BYTES
    }

    pub(super) fn add_consumer(&mut self, id: u64, prefetch: u16) -> Arc<Notify> {
        self.consumers.push(Holder {
            id,
            prefetch: usize::from(prefetch.max(1)),
            last_tag: 0,
            unacked: VecDeque::new(),
        });
        self.changed.clone()
    }

    fn holder(&mut self, id: u64) -> Option<&mut Holder> {
        self.consumers.iter_mut().find(|holder| holder.id == id)
    }

    /// What this consumer may have now, at most `max`; `None` if the consumer has ended.
    pub(super) fn take(&mut self, id: u64, max: usize) -> Option<Vec<Delivery>> {
        let place = self.consumers.iter().position(|holder| holder.id == id)?;
        if self.single_active && place > 0 {
            return Some(Vec::new());
        }
        let holder = &mut self.consumers[place];
        let room = holder.prefetch.saturating_sub(holder.unacked.len());
        let count = room.min(max.max(1)).min(self.ready.len());
        let mut deliveries = Vec::with_capacity(count);
        for message in self.ready.drain(..count) {
            self.ready_bytes -= message.body.len();
            holder.last_tag += 1;
            deliveries.push(Delivery {
                tag: holder.last_tag,
                routing_key: message.routing_key.clone(),
                message_id: Some(message.id.to_string()),
                redelivered: message.redelivered,
                body: message.body.clone(),
            });
            holder.unacked.push_back((holder.last_tag, message));
        }
        Some(deliveries)
    }

    /// Forgets what this consumer had up to this tag; `false` if the consumer has ended.
    pub(super) fn ack_through(&mut self, id: u64, tag: u64) -> bool {
        let Some(holder) = self.holder(id) else {
            return false;
        };
        holder.unacked.retain(|(held, _)| *held > tag);
        self.changed.notify_waiters();
        true
    }

    /// Takes one message out of what this consumer holds; `None` if the consumer has ended.
    pub(super) fn reject(&mut self, id: u64, tag: u64) -> Option<Option<Stored>> {
        let holder = self.holder(id)?;
        let place = holder.unacked.iter().position(|(held, _)| *held == tag);
        let letter = place.and_then(|place| holder.unacked.remove(place));
        self.changed.notify_waiters();
        Some(letter.map(|(_, message)| message))
    }

    /// Gives back, in order, what the consumer had not acknowledged.
    pub(super) fn remove_consumer(&mut self, id: u64) {
        if let Some(place) = self.consumers.iter().position(|holder| holder.id == id) {
            let holder = self.consumers.remove(place);
            for (_, mut message) in holder.unacked.into_iter().rev() {
                message.redelivered = true;
                self.ready_bytes += message.body.len();
                self.ready.push_front(message);
            }
        }
        self.changed.notify_waiters();
    }

    pub(super) fn end_consumers(&mut self) {
        while let Some(holder) = self.consumers.last() {
            self.remove_consumer(holder.id);
        }
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tasker_core::TaskType;
    use tasker_core::broker::Address;

    use super::*;

    fn message(n: usize) -> Stored {
        let to = Address::Everybody(TaskType::parse("worker").unwrap());
        let message = Message {
            to,
            persistent: true,
            id: Uuid::from_u128(n as u128),
            body: Bytes::from_static(b"{}"),
        };
        Stored::new("", &message)
    }

    #[test]
    fn a_full_queue_forgets_its_oldest_or_refuses() {
        for when_full in [WhenFull::DropOldest, WhenFull::Refuse] {
            let mut queue = LocalQueue::new(false, when_full);
            for n in 0..MAX_MESSAGES {
                assert!(queue.push(message(n)));
            }
            let taken = queue.push(message(MAX_MESSAGES));
            assert_eq!(taken, when_full == WhenFull::DropOldest);
            assert_eq!(queue.ready.len(), MAX_MESSAGES);
            let first = queue.ready.front().map(|message| message.id.as_u128());
            assert_eq!(first, Some(u128::from(taken)));
        }
    }

    #[test]
    fn what_is_given_back_comes_first_and_in_order() {
        let mut queue = LocalQueue::new(true, WhenFull::DropOldest);
        (0..4).for_each(|n| assert!(queue.push(message(n))));
        queue.add_consumer(1, 2);
        queue.add_consumer(2, 9);
        assert_eq!(queue.take(1, 9).map(|taken| taken.len()), Some(2));
        assert_eq!(queue.take(2, 9).map(|taken| taken.len()), Some(0));
        queue.remove_consumer(1);
        let taken = queue.take(2, 9).unwrap();
        let again: Vec<_> = taken.iter().map(|delivery| delivery.redelivered).collect();
        assert_eq!(again, [true, true, false, false]);
        assert!(taken.is_sorted_by_key(|delivery| delivery.message_id.clone()));
        assert!(queue.take(1, 9).is_none());
    }
}
