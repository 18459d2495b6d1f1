//! Whether a configuration's values fit together: rules across keys.

use super::Needs;
use super::types::{Auth, Config, Kind};

/// A rule that is broken.
pub(super) struct Broken {
    /// The keys that do not fit together; the message is about the first one.
    pub(super) keys: Vec<String>,
    /// Why.
    pub(super) message: String,
}

/// Every rule that is broken.
pub(super) fn check(config: &Config, needs: Needs) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut rule = |holds: bool, keys: &[&str], message: String| {
        if !holds {
            broken.push(Broken {
                keys: keys.iter().map(|key| (*key).to_owned()).collect(),
                message,
            });
        }
    };
    let (api, timing, worker) = (&config.api, &config.timing, &config.worker);

    rule(
        !needs.api || api.bind.is_loopback() || api.tls.is_some() || api.behind_tls_proxy,
        &["api.bind", "api.behind_tls_proxy"],
        format!(
            "{} can be reached by others, who would read what is said: set api.tls, or \
             api.behind_tls_proxy: true if only a proxy that speaks TLS reaches it",
            api.bind
        ),
    );
    rule(
        !needs.api || api.auth == Auth::Required || api.bind.is_loopback(),
        &["api.auth", "api.bind"],
        format!(
            "none lets everybody in who reaches {}; it is for 127.0.0.1 only",
            api.bind
        ),
    );
    rule(
        api.max_payload_bytes < api.max_body_bytes,
        &["api.max_payload_bytes", "api.max_body_bytes"],
        format!(
            "must be less than api.max_body_bytes ({})",
            api.max_body_bytes
        ),
    );
    rule(
        timing.lease.as_secs() < u64::from(api.wait_for_endpoints_timeout),
        &["timing.lease_s", "api.wait_for_endpoints_timeout"],
        format!(
            "must be less than api.wait_for_endpoints_timeout ({}), or a task whose process died \
             could not be sent in time by another one",
            api.wait_for_endpoints_timeout
        ),
    );
    rule(
        api.wait_for_sent <= timing.lease,
        &["api.wait_for_sent_ms", "timing.lease_s"],
        format!(
            "must not exceed timing.lease_s ({} s)",
            timing.lease.as_secs()
        ),
    );
    rule(
        timing.offline_after >= worker.heartbeat * 2,
        &["timing.offline_after_s", "worker.heartbeat_s"],
        format!(
            "must be at least twice worker.heartbeat_s ({}), or one lost heartbeat makes an \
             endpoint look offline",
            worker.heartbeat.as_secs()
        ),
    );
    rule(
        timing.lost_after >= timing.offline_after,
        &["timing.lost_after_s", "timing.offline_after_s"],
        format!(
            "must not be less than timing.offline_after_s ({})",
            timing.offline_after.as_secs()
        ),
    );
    for (i, task_type) in config.task_types.iter().enumerate() {
        rule(
            task_type.timeout_s <= task_type.max_timeout_s,
            &[
                &format!("task_types[{i}].timeout_s"),
                &format!("task_types[{i}].max_timeout_s"),
            ],
            format!(
                "must not exceed max_timeout_s ({})",
                task_type.max_timeout_s
            ),
        );
        rule(
            task_type.endpoint.is_none() || task_type.kind == Kind::Job,
            &[&format!("task_types[{i}].endpoint")],
            "goes with kind: job only; tasks name their endpoints themselves".to_owned(),
        );
        let retry = &task_type.retry;
        rule(
            retry.backoff_s <= retry.backoff_max_s,
            &[
                &format!("task_types[{i}].retry_backoff_s"),
                &format!("task_types[{i}].retry_backoff_max_s"),
            ],
            format!(
                "must not exceed retry_backoff_max_s ({})",
                retry.backoff_max_s
            ),
        );
    }
    if let Some(db) = &config.db {
        let uri = db.uri.expose();
        let known = ["mysql://", "sqlite://"];
        rule(
            known.iter().any(|scheme| uri.starts_with(scheme)),
            &["manager.db.uri"],
            format!("must start with one of {}", known.join(", ")),
        );
        rule(
            db.tls_ca.is_none() || uri.starts_with("mysql://"),
            &["manager.db.tls", "manager.db.uri"],
            "is of no use: manager.db.uri does not start with mysql://".to_owned(),
        );
    }
    if let Some(queue) = &config.message_queue {
        let name = &queue.exchange;
        // A dot would make `a` + `b.worker` and `a.b` + `worker` the same exchange.
        let is_prefix = (1..=62).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            && !name.starts_with(['-', '_'])
            && name != "amq";
        rule(
            is_prefix,
            &["manager.message_queue.exchange"],
            format!("must be a prefix of letters, digits, _ and -, is {name:?}"),
        );
    }
    if let Some(queue) = &config.message_queue
        && let Some(account) = &queue.account
    {
        rule(
            !account
                .username
                .starts_with(&format!("{}.", queue.exchange)),
            &[
                "manager.message_queue.username",
                "manager.message_queue.exchange",
            ],
            format!(
                "must not start with {}. because endpoints' users are called so",
                queue.exchange
            ),
        );
    }
    if let Some(rabbitmq) = &config.rabbitmq {
        let is_tls = rabbitmq.apiurl.starts_with("https://");
        rule(
            is_tls || rabbitmq.apiurl.starts_with("http://"),
            &["rabbitmq.apiurl"],
            "must start with http:// or https://".to_owned(),
        );
        rule(
            is_tls || rabbitmq.ca.is_none(),
            &["rabbitmq.ca", "rabbitmq.apiurl"],
            "is of no use: rabbitmq.apiurl does not start with https://".to_owned(),
        );
    }
    broken
}
