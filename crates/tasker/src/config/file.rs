//! A configuration file as it is written: every key optional, nothing looked up, nothing judged.
//!
//! None of these types has a `Debug`: they may hold a password that somebody wrote into a file.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use tasker_core::TaskType;

use super::written::Written;

type Text = Option<Written<String>>;
type Number = Option<Written<u64>>;
type Switch = Option<Written<bool>>;
type Texts = Option<Vec<Written<String>>>;

/// A group of keys: how it is read, and how a second file is laid over it.
macro_rules! group {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $kind:tt,)+ }) => {
        $(#[$doc])*
        #[derive(Deserialize, Default, Clone)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $(pub(super) $key: group!(@type $kind),)+
        }

        impl $name {
            /// Takes over every key that the other one has.
            pub(super) fn overlay(&mut self, over: Self) {
                $(group!(@overlay $kind, self.$key, over.$key);)+
            }

            /// Every key, with the keys of the groups in it.
            #[cfg(test)]
            pub(super) fn keys(above: &str, out: &mut Vec<String>) {
                $(group!(@keys $kind, format!("{above}{}", stringify!($key)), out);)+
            }
        }
    };
    (@type [$group:ident]) => { Option<$group> };
    (@type $kind:ident) => { $kind };
    (@overlay [$group:ident], $mine:expr, $over:expr) => {
        if let Some(over) = $over {
            $mine.get_or_insert_default().overlay(over);
        }
    };
    (@overlay $kind:ident, $mine:expr, $over:expr) => {
        if $over.is_some() {
            $mine = $over;
        }
    };
    (@keys [$group:ident], $path:expr, $out:expr) => { $group::keys(&format!("{}.", $path), $out); };
    (@keys $kind:ident, $path:expr, $out:expr) => { $out.push($path) };
}

group! {
    /// A whole file.
    File {
        task_types: TaskTypes,
        api: [Api],
        manager: [Manager],
        rabbitmq: [Rabbitmq],
        worker: [Worker],
        runs: [RunsKeys],
        timing: [TimingKeys],
        webhooks: [WebhookKeys],
        log: [Log],
    }
}

group! {
    /// `api`.
    Api {
        bind: Text,
        port: Number,
        auth: Text,
        tls: [ApiTls],
        behind_tls_proxy: Switch,
        wait_for_endpoints_timeout: Number,
        wait_for_sent_ms: Number,
        max_body_bytes: Number,
        max_payload_bytes: Number,
        max_endpoints: Number,
        threads: Number,
        drain_s: Number,
        retention_days: Number,
    }
}

group! {
    /// `api.tls`.
    ApiTls {
        cert: Text,
        key: Text,
    }
}

group! {
    /// `runs`.
    RunsKeys {
        lease_s: Number,
    }
}

group! {
    /// `manager`.
    Manager {
        db: [Db],
        message_queue: [MessageQueueKeys],
    }
}

group! {
    /// `manager.db.tls` and `manager.message_queue.tls`.
    ClientTls {
        ca: Text,
    }
}

group! {
    /// `manager.db`.
    Db {
        uri: Text,
        tls: [ClientTls],
        verbose: Switch,
        pool: Number,
    }
}

group! {
    /// `manager.message_queue`.
    MessageQueueKeys {
        host: Text,
        port: Number,
        tls: [ClientTls],
        username: Text,
        password: Text,
        virtual_host: Text,
        exchange: Text,
        queue_type: Text,
    }
}

group! {
    /// `rabbitmq`.
    Rabbitmq {
        apiurl: Text,
        ca: Text,
        username: Text,
        password: Text,
    }
}

group! {
    /// `worker`.
    Worker {
        username: Text,
        password: Text,
        journal_dir: Text,
        handlers_dir: Text,
        concurrency: Number,
        window_tasks: Number,
        window_bytes: Number,
        heartbeat_s: Number,
        drain_s: Number,
    }
}

group! {
    /// `timing`.
    TimingKeys {
        lease_s: Number,
        ask_every_s: Number,
        offline_after_s: Number,
        lost_after_s: Number,
    }
}

group! {
    /// `webhooks`.
    WebhookKeys {
        allow: Texts,
        secret: Text,
        ca: Text,
    }
}

group! {
    /// `log`.
    Log {
        format: Text,
        level: Text,
    }
}

/// `task_types`, in the order of the file.
pub(super) type TaskTypes = Option<TaskTypeList>;

/// The list of task types; no name twice, no reserved word.
#[derive(Clone)]
pub(super) struct TaskTypeList(pub(super) Vec<TaskTypeEntry>);

/// One task type: a name, or a name with options.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskTypeEntry {
    pub(super) name: TaskType,
    pub(super) kind: Text,
    pub(super) endpoint: Text,
    pub(super) run_policy: Text,
    pub(super) max_attempts: Number,
    pub(super) retry_backoff_s: Number,
    pub(super) retry_backoff_max_s: Number,
    pub(super) timeout_s: Number,
    pub(super) max_timeout_s: Number,
    pub(super) unlisted: Text,
    pub(super) known_endpoints_only: Switch,
    pub(super) schema: Option<serde_yaml::Value>,
}

impl<'de> Deserialize<'de> for TaskTypeList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;
        impl<'de> Visitor<'de> for ListVisitor {
            type Value = TaskTypeList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of task types")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<TaskTypeList, A::Error> {
                let mut seen = HashSet::new();
                let mut list = Vec::new();
                while let Some(entry) = seq.next_element_seed(Item(&mut seen))? {
                    list.push(entry);
                }
                Ok(TaskTypeList(list))
            }
        }
        deserializer.deserialize_seq(ListVisitor)
    }
}

/// One item of the list. The names before it are known, so that a name that stands twice is told
/// with the line of the second one.
struct Item<'a>(&'a mut HashSet<TaskType>);

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = TaskTypeEntry;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = TaskTypeEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a task type, or a map with its name and options")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TaskTypeEntry, E> {
        let name =
            TaskType::parse(text).map_err(|e| E::custom(format_args!("task type {text:?} {e}")))?;
        self.first(TaskTypeEntry {
            name,
            kind: None,
            endpoint: None,
            run_policy: None,
            max_attempts: None,
            retry_backoff_s: None,
            retry_backoff_max_s: None,
            timeout_s: None,
            max_timeout_s: None,
            unlisted: None,
            known_endpoints_only: None,
            schema: None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TaskTypeEntry, A::Error> {
        let entry = TaskTypeEntry::deserialize(MapAccessDeserializer::new(map))?;
        self.first(entry)
    }
}

impl Item<'_> {
    fn first<E: Error>(self, entry: TaskTypeEntry) -> Result<TaskTypeEntry, E> {
        if self.0.insert(entry.name.clone()) {
            Ok(entry)
        } else {
            Err(E::custom(format_args!(
                "task type {:?} is listed twice",
                entry.name.as_str()
            )))
        }
    }
}
