//! Who may do what on the broker: regular expressions over the names of exchanges and queues.
//!
//! RabbitMQ matches them with PCRE, where `$` also matches before a line break at the end; so they
//! end in `\z`.

use tasker_broker::Names;
use tasker_core::{EndpointName, TaskType};

/// The rights of an account on a virtual host: which names it may declare, write to, read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Declaring and deleting.
    pub configure: String,
    /// Publishing to an exchange, and binding a queue.
    pub write: String,
    /// Consuming from a queue, and binding to an exchange.
    pub read: String,
}

/// Matches no name. (The empty name is the default exchange, which RabbitMQ checks as `amq.default`.)
pub const NOTHING: &str = r"^\z";

impl Rights {
    /// Everything, for the administrator who sets a virtual host up.
    #[must_use]
    pub fn of_administrator() -> Self {
        Self::all(".*".to_owned())
    }

    /// The API: everything under the prefix, nothing else.
    #[must_use]
    pub fn of_api(names: &Names) -> Self {
        Self::all(format!(r"^{}(\..*)?\z", escape(names.prefix())))
    }

    /// One account for all workers of an installation, for development: every inbox, reports and
    /// heartbeats as anybody.
    #[must_use]
    pub fn of_all_workers(names: &Names) -> Self {
        Self {
            read: inboxes(names),
            ..Self::of_reporters(names)
        }
    }

    /// One endpoint: its own inboxes.
    #[must_use]
    pub fn of_endpoint(names: &Names, types: &[TaskType], endpoint: &EndpointName) -> Self {
        Self {
            read: format!(
                r"^{}\.{}\z",
                escape(names.prefix()),
                one_key(types, endpoint)
            ),
            ..Self::of_reporters(names)
        }
    }

    fn of_reporters(names: &Names) -> Self {
        let (reports, presence) = (escape(&names.reports()), escape(&names.presence()));
        Self {
            configure: NOTHING.to_owned(),
            write: format!(r"^({reports}|{presence})\z"),
            read: NOTHING.to_owned(),
        }
    }

    fn all(pattern: String) -> Self {
        Self {
            configure: pattern.clone(),
            write: pattern.clone(),
            read: pattern,
        }
    }
}

/// The routing keys that an endpoint may publish with: its own.
#[must_use]
pub fn endpoint_keys(types: &[TaskType], endpoint: &EndpointName) -> String {
    format!(r"^{}\z", one_key(types, endpoint))
}

/// Every inbox under the prefix: a task type has no dot, so this matches none of the shared queues.
#[must_use]
pub fn inboxes(names: &Names) -> String {
    format!(r"^{}\.[^.]+\..+\z", escape(names.prefix()))
}

/// One name and no other.
#[must_use]
pub fn exactly(name: &str) -> String {
    format!(r"^{}\z", escape(name))
}

fn one_key(types: &[TaskType], endpoint: &EndpointName) -> String {
    let types: Vec<_> = types.iter().map(|t| escape(t.as_str())).collect();
    format!(r"({})\.{}", types.join("|"), escape(endpoint.as_str()))
}

/// A name as a regular expression that matches just it.
fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if !(c.is_ascii_alphanumeric() || c == '_') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn matches(pattern: &str, name: &str) -> bool {
        Regex::new(pattern).unwrap().is_match(name)
    }

    fn types(names: &[&str]) -> Vec<TaskType> {
        names.iter().map(|n| TaskType::parse(n).unwrap()).collect()
    }

    #[test]
    fn a_name_matches_only_itself() {
        let all = [
            "console1",
            "console10",
            "consol",
            "xconsole1",
            "Console1",
            "a.b",
            "aXb",
            "a-b",
            "a_b",
            "a",
            "b",
            "a.b.c",
            "worker.a",
            "1",
        ];
        let names = Names::new("p.q");
        for mine in all {
            let endpoint = EndpointName::parse(mine).unwrap();
            let types = types(&["worker", "os-update"]);
            let read = Regex::new(&Rights::of_endpoint(&names, &types, &endpoint).read).unwrap();
            let keys = Regex::new(&endpoint_keys(&types, &endpoint)).unwrap();
            for other in all {
                for task_type in ["worker", "os-update", "backup", "worke", "osXupdate"] {
                    let is_mine = mine == other && ["worker", "os-update"].contains(&task_type);
                    let key = format!("{task_type}.{other}");
                    assert_eq!(keys.is_match(&key), is_mine, "{mine} {key}");
                    let queue = format!("p.q.{key}");
                    assert_eq!(read.is_match(&queue), is_mine, "{mine} {queue}");
                    assert!(!read.is_match(&format!("pxq.{key}")));
                    assert!(!read.is_match(&format!("{queue}\n")));
                    assert!(!keys.is_match(&format!("{key}\n")));
                }
            }
        }
    }

    #[test]
    fn an_endpoint_writes_to_nothing_but_reports_and_presence() {
        let names = Names::new("tasker");
        let endpoint = EndpointName::parse("reports").unwrap();
        let rights = Rights::of_endpoint(&names, &types(&["worker"]), &endpoint);
        for name in ["tasker.reports", "tasker.presence"] {
            assert!(
                matches(&rights.write, name) && !matches(&rights.read, name),
                "{name}"
            );
        }
        for name in [
            "",
            "amq.default",
            "amq.topic",
            "tasker.inbox",
            "tasker.worker",
            "tasker.dead",
            "tasker.worker.reports",
            "taskerXreports",
            "tasker.reports.x",
            "other.reports",
        ] {
            assert!(!matches(&rights.write, name), "{name}");
        }
        for name in ["amq.gen-x", "tasker.x", "tasker.worker.reports"] {
            assert!(!matches(&rights.configure, name), "{name}");
        }
    }

    #[test]
    fn the_api_has_everything_under_its_prefix_only() {
        let rights = Rights::of_api(&Names::new("tasker"));
        for name in ["tasker.worker", "tasker.worker.a.b", "tasker"] {
            assert!(matches(&rights.read, name), "{name}");
        }
        for name in [
            "tasker2.worker",
            "taskers",
            "amq.default",
            "x.tasker.worker",
            "",
        ] {
            assert!(!matches(&rights.configure, name), "{name}");
        }
    }

    #[test]
    fn inboxes_are_told_from_shared_queues() {
        let names = Names::new("tasker");
        let pattern = inboxes(&names);
        assert!(matches(&pattern, "tasker.worker.a") && matches(&pattern, "tasker.worker.a.b"));
        for name in [names.reports(), names.presence(), names.dead()] {
            assert!(!matches(&pattern, &name), "{name}");
            assert!(matches(&exactly(&name), &name));
        }
    }
}
