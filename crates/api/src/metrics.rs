//! What the process counts. One struct, so that no name is written twice.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tasker_core::TaskType;
use tasker_core::wire::{RefusalReason, Refused};

type One = [(&'static str, &'static str); 1];
type ByWord = Family<One, Counter>;
type ByRoute = [(&'static str, String); 3];
type ByTypeAndWord = Family<[(&'static str, String); 2], Counter>;

/// The counters of one API process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Tasks stored for the first time.
    pub(crate) accepted: Counter,
    /// Requests answered with the task that the same request stored before.
    pub(crate) replayed: Counter,
    /// Requests refused, by problem code.
    pub(crate) refused: ByWord,
    /// Entries of the audit that could not be written, by kind.
    pub(crate) audit_dropped: ByWord,
    /// Tasks and cancels that the broker confirmed.
    pub(crate) published: ByWord,
    /// Messages to workers that the broker confirmed.
    pub(crate) messages: Counter,
    /// Publishes that were not confirmed, by reason.
    pub(crate) confirm_failures: ByWord,
    /// Reports, by verdict.
    pub(crate) reports: ByWord,
    /// Messages that went to the dead-letter queue, by reason.
    pub(crate) dead_lettered: ByWord,
    /// Tasks settled, by status.
    pub(crate) settled: ByWord,
    /// Attempts ordered after another one, by who ordered them.
    pub(crate) retries: ByWord,
    /// What workers said that they refused, by task type and reason.
    pub(crate) worker_refused: ByTypeAndWord,
    /// Hellos answered.
    pub(crate) hellos: Counter,
    /// Heartbeats noted.
    pub(crate) heartbeats: Counter,
    /// Asks sent to endpoints.
    pub(crate) asks: Counter,
    /// Tasks purged.
    pub(crate) purged: Counter,
    /// Tries to tell a completion, by how they ended.
    pub(crate) notices: ByWord,
    /// Jobs forgotten.
    pub(crate) jobs_forgotten: Counter,
    /// Subscriptions to jobs.
    pub(crate) subscribers: Gauge<i64, AtomicI64>,
    /// Failures of background loops, by loop.
    pub(crate) loop_failures: ByWord,
    /// Requests that wait for the database.
    pub(crate) accept_depth: Gauge<i64, AtomicI64>,
    /// Tasks in the relay's memory.
    pub(crate) relay_depth: Gauge<i64, AtomicI64>,
    /// Messages of the relay that wait for their confirm.
    pub(crate) relay_in_flight: Gauge<i64, AtomicI64>,
    /// Tasks that long-polls wait for.
    pub(crate) long_polls: Gauge<i64, AtomicI64>,
    /// Request durations in seconds.
    pub(crate) requests: Family<ByRoute, Histogram, fn() -> Histogram>,
}

fn durations() -> Histogram {
    // 1 ms to 65 s: a long-poll may take a minute.
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tasker"),
            accepted: Counter::default(),
            replayed: Counter::default(),
            refused: Family::default(),
            audit_dropped: Family::default(),
            published: Family::default(),
            messages: Counter::default(),
            confirm_failures: Family::default(),
            reports: Family::default(),
            dead_lettered: Family::default(),
            settled: Family::default(),
            retries: Family::default(),
            worker_refused: Family::default(),
            hellos: Counter::default(),
            heartbeats: Counter::default(),
            asks: Counter::default(),
            purged: Counter::default(),
            notices: Family::default(),
            jobs_forgotten: Counter::default(),
            subscribers: Gauge::default(),
            loop_failures: Family::default(),
            accept_depth: Gauge::default(),
            relay_depth: Gauge::default(),
            relay_in_flight: Gauge::default(),
            long_polls: Gauge::default(),
            requests: Family::new_with_constructor(durations),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let counters = [
            ("tasks_accepted", "Tasks stored", &self.accepted),
            (
                "tasks_replayed",
                "Requests answered with a stored task",
                &self.replayed,
            ),
            (
                "messages_published",
                "Messages confirmed by the broker",
                &self.messages,
            ),
            ("hellos", "Hellos answered", &self.hellos),
            ("heartbeats", "Heartbeats noted", &self.heartbeats),
            ("asks", "Asks sent to endpoints", &self.asks),
            ("purged", "Settled tasks forgotten", &self.purged),
            (
                "jobs_forgotten",
                "Jobs forgotten that were over",
                &self.jobs_forgotten,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let families = [
            (
                "requests_refused",
                "Requests refused by problem code",
                &self.refused,
            ),
            (
                "audit_dropped",
                "Entries of the audit that could not be written",
                &self.audit_dropped,
            ),
            (
                "tasks_published",
                "Tasks and cancels confirmed by kind",
                &self.published,
            ),
            (
                "confirm_failures",
                "Publishes not confirmed by reason",
                &self.confirm_failures,
            ),
            ("reports", "Reports by verdict", &self.reports),
            (
                "dead_lettered",
                "Unreadable messages by reason",
                &self.dead_lettered,
            ),
            ("tasks_settled", "Tasks settled by status", &self.settled),
            (
                "retries_ordered",
                "Further attempts by who ordered them",
                &self.retries,
            ),
            (
                "webhook_tries",
                "Tries to tell a completion by how they ended",
                &self.notices,
            ),
            (
                "loop_failures",
                "Failures of background loops",
                &self.loop_failures,
            ),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "worker_refused",
            "What workers did not run, by task type and reason",
            self.worker_refused.clone(),
        );
        let gauges = [
            (
                "accept_queue_depth",
                "Requests that wait for the database",
                &self.accept_depth,
            ),
            (
                "relay_queue_depth",
                "Tasks in the relay's memory",
                &self.relay_depth,
            ),
            (
                "relay_in_flight",
                "Messages that wait for their confirm",
                &self.relay_in_flight,
            ),
            (
                "long_poll_tasks",
                "Tasks that long-polls wait for",
                &self.long_polls,
            ),
            ("subscribers", "Subscriptions to jobs", &self.subscribers),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "http_request_duration_seconds",
            "Request durations by route, method and status",
            self.requests.clone(),
        );
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

impl Metrics {
    /// Adds what a worker says that it refused. A worker is not trusted: words that nobody knows count
    /// as one, so that it cannot make up time series, and no number is great enough to overflow.
    pub(crate) fn add_refused(&self, task_type: &TaskType, refused: &Refused) {
        for (word, count) in refused {
            let reason = RefusalReason::parse(word).map_or("other", RefusalReason::as_str);
            self.worker_refused
                .get_or_create(&[
                    ("type", task_type.to_string()),
                    ("reason", reason.to_owned()),
                ])
                .inc_by((*count).min(u64::from(u32::MAX)));
        }
    }
}

/// Adds to the counter of a word.
pub(crate) fn count(family: &ByWord, label: &'static str, word: &'static str, by: u64) {
    family.get_or_create(&[(label, word)]).inc_by(by);
}
