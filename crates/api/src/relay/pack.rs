//! Which tasks share a message: those of one type that go the same way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tasker_core::broker::{Address, MAX_INBOXES_BYTES, Message};
use tasker_core::route::{Route, route};
use tasker_core::task::{Audience, Task};
use tasker_core::wire::{Cancel, CancelEntry, EntryRef, Envelope};
use tasker_core::{EndpointName, TaskId, TaskType};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::settings::RelaySettings;

/// A task (or its cancel) to publish, and who waits for its SENT mark.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) task: Task,
    pub(crate) told: Option<oneshot::Sender<()>>,
}

/// A task's number, and whether its cancel is meant.
pub(super) type Key = (TaskId, bool);

/// What has to be equal for two tasks to share a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Group {
    task_type: TaskType,
    is_cancel: bool,
    /// The inboxes; `None`: the fanout exchange.
    inboxes: Option<Vec<EndpointName>>,
}

/// A task in the relay's memory.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Key,
    pub(super) told: Option<oneshot::Sender<()>>,
    wire: Bytes,
    audience: Option<Vec<EndpointName>>,
    /// Whether those who perform it are those of its list.
    is_listed: bool,
    cancel: CancelEntry,
}

impl Item {
    fn entry(&self) -> EntryRef<'_> {
        EntryRef {
            // The relay publishes first attempts only; later ones are asked for.
            attempt: 1,
            audience: self.audience.as_deref(),
            task: &self.wire,
        }
    }

    fn weight(&self) -> usize {
        self.entry().weight()
    }
}

/// Tasks that share a message.
#[derive(Debug)]
pub(super) struct Parcel {
    group: Arc<Group>,
    pub(super) items: Vec<Item>,
}

impl Parcel {
    /// Whether it carries cancels.
    pub(super) fn is_cancel(&self) -> bool {
        self.group.is_cancel
    }

    /// Whether nobody would notice that the broker lost it: endpoints of which the ledger has no row yet
    /// are not asked, and only a task with a list has rows for all who perform it. Cancels come again with
    /// the welcome.
    fn is_persistent(&self) -> bool {
        !self.group.is_cancel && self.items.iter().any(|item| !item.is_listed)
    }

    /// The messages: one, or several with the same body if the names are too many for one.
    pub(super) fn messages(&self) -> Vec<Message> {
        let body: Bytes = if self.group.is_cancel {
            let cancels = self.items.iter().map(|item| item.cancel.clone()).collect();
            Cancel::encode(cancels).into()
        } else {
            let entries: Vec<_> = self.items.iter().map(Item::entry).collect();
            Envelope::encode(&entries).into()
        };
        let task_type = &self.group.task_type;
        let addresses = match &self.group.inboxes {
            None => vec![Address::Everybody(task_type.clone())],
            Some(names) => split(task_type, names)
                .map(|part| Address::Inboxes(task_type.clone(), part.to_vec()))
                .collect(),
        };
        let persistent = self.is_persistent();
        let message = |to| Message {
            to,
            persistent,
            id: Uuid::now_v7(),
            body: body.clone(),
        };
        addresses.into_iter().map(message).collect()
    }
}

/// Cuts a list so that the routing keys of each part fit into one message.
fn split<'a>(
    task_type: &TaskType,
    names: &'a [EndpointName],
) -> impl Iterator<Item = &'a [EndpointName]> {
    let frame = task_type.as_str().len() + 1;
    let mut bytes = 0;
    names.chunk_by(move |before, _| {
        bytes += frame + before.as_str().len();
        // Room for the longest name that may follow.
        let fits = bytes + frame + 128 <= MAX_INBOXES_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

/// Chooses the way of a task.
fn sort(due: Due, known: usize) -> (Group, Item) {
    let Task {
        head,
        endpoints,
        wire,
    } = due.task;
    let is_cancel = head.cancel_requested_at.is_some();
    let (inboxes, audience) = match route(head.audience, endpoints.as_deref(), known) {
        Route::Inbox(_) => (endpoints, None),
        // A cancel leaves a tombstone with whoever reads it, so it goes to those who are named.
        Route::Fanout(Some(_)) if is_cancel => (endpoints, None),
        Route::Fanout(Some(_)) => (None, endpoints),
        Route::Fanout(None) => (None, None),
    };
    let group = Group {
        task_type: head.task_type,
        is_cancel,
        inboxes,
    };
    let item = Item {
        key: (head.id, is_cancel),
        told: due.told,
        wire,
        audience,
        is_listed: head.audience == Audience::Listed,
        cancel: CancelEntry {
            uid: head.uid,
            expires_at: head.expires_at,
        },
    };
    (group, item)
}

/// The relay's memory: what waits, grouped; and the keys of what is not marked yet.
#[derive(Debug, Default)]
pub(super) struct Memory {
    groups: HashMap<Arc<Group>, VecDeque<Item>>,
    order: VecDeque<Arc<Group>>,
    /// Groups of which a message is under way.
    busy: HashSet<Arc<Group>>,
    held: HashSet<Key>,
    waiting: usize,
    bytes: usize,
}

impl Memory {
    /// How many tasks wait to be published.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many tasks are held: waiting, under way, or confirmed and not marked yet.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether another task fits.
    pub(super) fn has_room(&self, settings: &RelaySettings) -> bool {
        self.held.len() < settings.memory && self.bytes < settings.memory_bytes
    }

    /// Takes a task in. One that is held already is dropped: the sweep found it again.
    pub(super) fn push(&mut self, due: Due, known: usize) {
        let (group, item) = sort(due, known);
        if self.held.insert(item.key) {
            self.queue(Arc::new(group), item, false);
        }
    }

    /// Takes back what could not be published.
    pub(super) fn push_back(&mut self, parcel: Parcel) {
        for item in parcel.items.into_iter().rev() {
            self.queue(Arc::clone(&parcel.group), item, true);
        }
    }

    /// Forgets a task that is marked or given up.
    pub(super) fn release(&mut self, key: Key) {
        self.held.remove(&key);
    }

    fn queue(&mut self, group: Arc<Group>, item: Item, in_front: bool) {
        self.waiting += 1;
        self.bytes += item.weight();
        let queue = self.groups.entry(Arc::clone(&group)).or_default();
        if queue.is_empty() {
            self.order.push_back(group);
        }
        if in_front {
            queue.push_front(item);
        } else {
            queue.push_back(item);
        }
    }

    /// The next message's worth of tasks, groups in turn. One message of a group is under way at a time:
    /// an idle relay sends at once, and what comes while the broker is busy with it shares the next one.
    pub(super) fn next(&mut self, settings: &RelaySettings) -> Option<Parcel> {
        let place = self
            .order
            .iter()
            .position(|group| !self.busy.contains(group))?;
        let group = self.order.remove(place)?;
        let queue = self.groups.get_mut(&group)?;
        let mut items: Vec<Item> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = queue.front() {
            let fits =
                items.len() < settings.batch && bytes + next.weight() <= settings.batch_bytes;
            if !items.is_empty() && !fits {
                break;
            }
            bytes += next.weight();
            items.extend(queue.pop_front());
        }
        if queue.is_empty() {
            self.groups.remove(&group);
        } else {
            self.order.push_back(Arc::clone(&group));
        }
        self.waiting -= items.len();
        self.bytes -= bytes;
        self.busy.insert(Arc::clone(&group));
        Some(Parcel { group, items })
    }

    /// Its message is not under way any more.
    pub(super) fn landed(&mut self, parcel: &Parcel) {
        self.busy.remove(&parcel.group);
    }

    /// No message is known to be under way: what was known of one is lost.
    pub(super) fn all_landed(&mut self) {
        self.busy.clear();
    }
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
