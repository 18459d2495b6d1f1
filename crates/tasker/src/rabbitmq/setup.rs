//! What tasker needs on a broker: the same objects, with the same arguments, that the API declares
//! by itself, and what only an administrator can make: users, rights, policies.

use serde_json::{Value, json};
use tasker_broker::Names;
use tasker_core::{EndpointName, TaskType};

use super::api::{ApiError, ManagementApi};
use super::rights::{self, Rights};
use crate::config::{MessageQueue, QueueType, Secret};

/// What an inbox may hold; the oldest messages go first and the ledger sends them again.
const INBOX_BYTES: u64 = 64 << 20;
/// An inbox that nobody consumed from for so long is deleted; the next hello makes it anew.
const INBOX_EXPIRES_MS: u64 = 24 * 3_600_000;
/// Reports that wait for the recorder. With more, workers are told to keep theirs: one account that
/// floods must not fill the broker's disk, which would stop everybody.
const REPORTS_BYTES: u64 = 1 << 30;
/// Heartbeats older than this say nothing any more.
const PRESENCE_TTL_MS: u64 = 60_000;
/// Heartbeats of some 200 bytes each.
const PRESENCE_BYTES: u64 = 64 << 20;
/// How much of what nobody can read is kept for somebody to look at, and for how long.
const DEAD_MESSAGES: u64 = 10_000;
const DEAD_BYTES: u64 = 256 << 20;
const DEAD_TTL_MS: u64 = 7 * 24 * 3_600_000;
/// An endpoint runs one connection to publish and one to consume for all its task types, and may
/// open the new ones before the server has noticed that the old ones are gone.
const ENDPOINT_CONNECTIONS: u32 = 8;
const ENDPOINT_CHANNELS: u32 = 256;

/// The objects of one installation on a broker.
#[derive(Debug)]
pub struct Setup<'a> {
    api: &'a ManagementApi,
    names: Names,
    queue_type: QueueType,
}

impl<'a> Setup<'a> {
    /// The objects under the prefix of a configuration.
    #[must_use]
    pub fn new(api: &'a ManagementApi, queue: &MessageQueue) -> Self {
        Self {
            api,
            names: Names::new(queue.exchange.clone()),
            queue_type: queue.queue_type,
        }
    }

    /// How exchanges and queues are called.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The broker user of an endpoint. The prefix has no dot, so two of them are never equal.
    #[must_use]
    pub fn endpoint_user(&self, endpoint: &EndpointName) -> String {
        format!("{}.{endpoint}", self.names.prefix())
    }

    /// The exchanges of the task types, and everything shared.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_shared(&self, types: &[TaskType]) -> Result<(), ApiError> {
        for task_type in types {
            let name = self.names.task_exchange(task_type);
            self.api.put_exchange(&name, "fanout")?;
        }
        self.api
            .put_exchange(&self.names.inbox_exchange(), "topic")?;
        self.api.put_exchange(&self.names.events(), "fanout")?;
        for (name, kind, key, single_active_consumer) in [
            (self.names.reports(), "topic", "#", true),
            (self.names.presence(), "topic", "#", false),
            (self.names.dead(), "fanout", "", false),
        ] {
            self.api.put_exchange(&name, kind)?;
            let arguments = self.arguments(single_active_consumer);
            self.api.put_queue(&name, &arguments)?;
            self.api.bind(&name, &name, key)?;
        }
        Ok(())
    }

    /// An endpoint's inbox with its two bindings. The exchanges must exist.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_inbox(&self, task_type: &TaskType, endpoint: &EndpointName) -> Result<(), ApiError> {
        let queue = self.names.inbox_queue(task_type, endpoint);
        self.api.put_queue(&queue, &self.arguments(true))?;
        self.api
            .bind(&queue, &self.names.task_exchange(task_type), "")?;
        let key = self.names.key(task_type, endpoint);
        self.api.bind(&queue, &self.names.inbox_exchange(), &key)
    }

    fn arguments(&self, single_active_consumer: bool) -> Value {
        let queue_type = match self.queue_type {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        };
        if single_active_consumer {
            json!({"x-queue-type": queue_type, "x-single-active-consumer": true})
        } else {
            json!({"x-queue-type": queue_type})
        }
    }

    /// What the queues may hold and for how long.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_policies(&self) -> Result<(), ApiError> {
        let names = &self.names;
        let dead = names.dead();
        let mut reports = json!({
            "dead-letter-exchange": dead, "overflow": "reject-publish",
            "max-length-bytes": REPORTS_BYTES,
        });
        let mut inboxes = json!({
            "dead-letter-exchange": dead, "overflow": "drop-head",
            "max-length-bytes": INBOX_BYTES, "expires": INBOX_EXPIRES_MS,
        });
        // From version 4 on quorum queues drop what was delivered 20 times, which a report is when
        // the database is away for a while. Earlier versions know no -1 and have no such limit.
        if self.queue_type == QueueType::Quorum && self.api.major_version()? >= 4 {
            reports["delivery-limit"] = json!(-1);
            inboxes["delivery-limit"] = json!(-1);
        }
        let presence = json!({
            "message-ttl": PRESENCE_TTL_MS, "overflow": "drop-head",
            "max-length-bytes": PRESENCE_BYTES,
        });
        let kept = json!({
            "max-length": DEAD_MESSAGES, "max-length-bytes": DEAD_BYTES,
            "message-ttl": DEAD_TTL_MS, "overflow": "drop-head",
        });
        for (name, pattern, rules) in [
            ("inboxes", rights::inboxes(names), inboxes),
            ("reports", rights::exactly(&names.reports()), reports),
            ("presence", rights::exactly(&names.presence()), presence),
            ("dead", rights::exactly(&dead), kept),
        ] {
            let name = format!("{}.{name}", names.prefix());
            self.api.put_policy(&name, &pattern, &rules)?;
        }
        Ok(())
    }

    /// Makes or changes an endpoint: its user with these task types and no others, their inboxes.
    /// Without a password an existing user keeps its own.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_endpoint(
        &self,
        endpoint: &EndpointName,
        types: &[TaskType],
        password: Option<&Secret>,
    ) -> Result<(), ApiError> {
        let user = self.endpoint_user(endpoint);
        for task_type in types {
            self.put_inbox(task_type, endpoint)?;
        }
        if let Some(password) = password {
            self.api.put_user(&user, password)?;
        }
        let keys = rights::endpoint_keys(types, endpoint);
        // The rights by key first: without them the rights by name would allow every key.
        for exchange in [self.names.reports(), self.names.presence()] {
            self.api
                .put_topic_rights(&user, &exchange, &keys, rights::NOTHING)?;
        }
        let rights = Rights::of_endpoint(&self.names, types, endpoint);
        self.api.put_rights(&user, &rights)?;
        self.api
            .put_user_limit(&user, "max-connections", ENDPOINT_CONNECTIONS)?;
        self.api
            .put_user_limit(&user, "max-channels", ENDPOINT_CHANNELS)
    }

    /// Takes an endpoint's user away, which closes its connections, and then its inboxes. Returns
    /// whether there was anything.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn delete_endpoint(&self, endpoint: &EndpointName) -> Result<bool, ApiError> {
        let user = self.endpoint_user(endpoint);
        let mut found = self.api.has_user(&user)?;
        self.api.delete_user(&user)?;
        for queue in self.api.queues()? {
            if self
                .inbox_owner(&queue.name)
                .is_some_and(|(_, owner)| owner == *endpoint)
            {
                self.api.delete_queue(&queue.name)?;
                found = true;
            }
        }
        Ok(found)
    }

    /// Whose inbox a queue is; `None` if it is another queue.
    #[must_use]
    pub fn inbox_owner(&self, queue: &str) -> Option<(TaskType, EndpointName)> {
        let key = queue.strip_prefix(self.names.prefix())?.strip_prefix('.')?;
        let (task_type, endpoint) = key.split_once('.')?;
        let task_type = TaskType::parse(task_type).ok()?;
        Some((task_type, EndpointName::parse(endpoint).ok()?))
    }

    /// Whose user this is; `None` if it is another user.
    #[must_use]
    pub fn user_owner(&self, user: &str) -> Option<EndpointName> {
        let name = user.strip_prefix(self.names.prefix())?.strip_prefix('.')?;
        EndpointName::parse(name).ok()
    }
}
