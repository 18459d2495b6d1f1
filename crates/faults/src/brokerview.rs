//! What the broker says of a row's consumers and queues, by its management API. It is some seconds
//! behind, so whoever waits for something waits with [`crate::scene::until`].

use serde_json::Value;
use tasker_testkit::faultproxy::FaultProxy;
use tasker_testkit::management::Management;
use tasker_testkit::private_server::PrivateServer;

use crate::scene::Scene;

/// A row's virtual host.
#[derive(Debug)]
pub struct BrokerView {
    management: Management,
    /// Virtual host and prefix.
    name: String,
}

/// A channel with a consumer.
#[derive(Debug, Clone, Copy)]
pub struct Consuming {
    /// How many deliveries it may have unacknowledged; 0: any number.
    pub prefetch: u64,
    /// How many it has.
    pub unacked: u64,
}

impl BrokerView {
    /// The view of a scene's virtual host.
    #[must_use]
    pub fn of(scene: &Scene<'_>) -> Self {
        Self {
            management: scene.installation.management(),
            name: scene.installation.name().to_owned(),
        }
    }

    /// How many consumers there are: what it is now, since the broker notes their coming and going at once.
    ///
    /// # Panics
    /// If the broker does not answer.
    #[must_use]
    pub fn listening(&self) -> usize {
        self.management_list(&format!("consumers/{}", self.name))
            .len()
    }

    /// All channels with a consumer, as they were some seconds ago.
    ///
    /// # Panics
    /// If the broker does not answer.
    #[must_use]
    pub fn consuming(&self) -> Vec<Consuming> {
        let all = self.vhost("channels");
        let of = |channel: &Value| Consuming {
            prefetch: number(&channel["prefetch_count"]),
            unacked: number(&channel["messages_unacknowledged"]),
        };
        let consuming = all.iter().filter(|c| number(&c["consumer_count"]) > 0);
        consuming.map(of).collect()
    }

    /// How many connections there are.
    ///
    /// # Panics
    /// If the broker does not answer.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.vhost("connections").len()
    }

    /// Figures of a queue, by its name without prefix: `messages_ready`, `messages_unacknowledged`,
    /// `consumers`, or (by `message_stats.…`) what has happened in it.
    ///
    /// # Panics
    /// If the broker does not answer or there is no such queue.
    #[must_use]
    pub fn queue(&self, queue: &str, figure: &str) -> u64 {
        let name = &self.name;
        let about = self
            .management
            .get(&format!("queues/{name}/{name}.{queue}"));
        number(figure.split('.').fold(&about, |value, key| &value[key]))
    }

    /// How many connections that publish are blocked now.
    ///
    /// # Panics
    /// If the broker does not answer.
    #[must_use]
    pub fn blocked_publishers(&self) -> u64 {
        let is_blocked = |connection: &&Value| {
            let name = connection["client_properties"]["connection_name"].as_str();
            connection["state"] == "blocked" && name.is_some_and(|name| name.ends_with(" publish"))
        };
        self.vhost("connections").iter().filter(is_blocked).count() as u64
    }

    /// How many messages are in a queue, delivered or not, by its name without prefix: what it is now, at
    /// the price of a `rabbitmqctl`; 0 if there is no such queue.
    ///
    /// # Panics
    /// If the broker does not answer.
    #[must_use]
    pub fn depth(&self, broker: &PrivateServer, queue: &str) -> u64 {
        self.now(broker, queue, "messages").unwrap_or(0)
    }

    /// How many consumers a queue has; `None` if there is no such queue. The same price.
    ///
    /// # Panics
    /// If the broker does not answer.
    #[must_use]
    pub fn consumers(&self, broker: &PrivateServer, queue: &str) -> Option<u64> {
        self.now(broker, queue, "consumers")
    }

    fn now(&self, broker: &PrivateServer, queue: &str, figure: &str) -> Option<u64> {
        let all = broker.rabbitmqctl(&["list_queues", "-s", "-p", &self.name, "name", figure]);
        let name = format!("{}.{queue}", self.name);
        let lines = all.lines().filter_map(|line| line.split_once('\t'));
        let mut found = lines.filter(|(found, _)| *found == name);
        found.next()?.1.parse().ok()
    }

    /// Deletes a queue with what is in it.
    ///
    /// # Panics
    /// If the broker refuses.
    pub fn delete_queue(&self, queue: &str) {
        let name = &self.name;
        let path = format!("queues/{name}/{name}.{queue}");
        self.management.delete(&path);
    }

    /// Takes all bindings of queues away; what they were.
    ///
    /// # Panics
    /// If the broker refuses.
    #[must_use]
    pub fn unbind(&self, queues: &[&str]) -> Vec<Value> {
        let name = &self.name;
        let names: Vec<_> = queues
            .iter()
            .map(|queue| format!("{name}.{queue}"))
            .collect();
        let mut all = self.management_list(&format!("bindings/{name}"));
        all.retain(|binding| {
            // Every queue is bound to the nameless exchange, for ever.
            let is_theirs = names
                .iter()
                .any(|name| binding["destination"] == name.as_str());
            is_theirs && binding["source"] != ""
        });
        for binding in &all {
            let key = binding["properties_key"].as_str().unwrap_or_default();
            self.management
                .delete(&format!("{}/{key}", path_of(name, binding)));
        }
        all
    }

    /// Makes bindings again.
    ///
    /// # Panics
    /// If the broker refuses.
    pub fn bind(&self, bindings: &[Value]) {
        for binding in bindings {
            let body = serde_json::json!({"routing_key": binding["routing_key"]});
            self.management.order(&path_of(&self.name, binding), &body);
        }
    }

    /// Lets a queue hold one message that waits, and refuse more.
    ///
    /// # Panics
    /// If the broker refuses.
    pub fn refuse(&self, queue: &str) {
        let name = &self.name;
        let policy = serde_json::json!({
            "pattern": format!("^{name}\\.{}$", queue.replace('.', "\\.")),
            "apply-to": "queues",
            "priority": 100,
            "definition": {"max-length": 1, "overflow": "reject-publish"},
        });
        self.management
            .put(&format!("policies/{name}/refuse"), &policy);
    }

    /// Ends [`BrokerView::refuse`].
    ///
    /// # Panics
    /// If the broker refuses.
    pub fn take_again(&self) {
        self.management
            .delete(&format!("policies/{}/refuse", self.name));
    }

    /// Makes a queue that gets a copy of all that is published to everybody of a task type.
    ///
    /// # Panics
    /// If the broker refuses it.
    pub fn tap(&self, task_type: &str) {
        let name = &self.name;
        let queue = serde_json::json!({"durable": true});
        self.management.put(&format!("queues/{name}/tap"), &queue);
        let binding = serde_json::json!({"routing_key": ""});
        let path = format!("bindings/{name}/e/{name}.{task_type}/q/tap");
        self.management.order(&path, &binding);
    }

    /// The identities of all messages that the tap has, in the order of their arrival; takes them.
    ///
    /// # Panics
    /// If the broker does not answer.
    #[must_use]
    pub fn tapped(&self) -> Vec<String> {
        let name = &self.name;
        let get = serde_json::json!({
            "count": 100_000, "ackmode": "ack_requeue_false", "encoding": "auto", "truncate": 1,
        });
        let all = self
            .management
            .post(&format!("queues/{name}/tap/get"), &get);
        let all = all.as_array().into_iter().flatten();
        let id = |message: &Value| {
            message["properties"]["message_id"]
                .as_str()
                .map(str::to_owned)
        };
        all.filter_map(id).collect()
    }

    fn vhost(&self, what: &str) -> Vec<Value> {
        self.management_list(&format!("vhosts/{}/{what}", self.name))
    }

    fn management_list(&self, path: &str) -> Vec<Value> {
        let all = self.management.get(path);
        all.as_array().cloned().unwrap_or_default()
    }
}

/// Where the management API has a queue's binding.
fn path_of(vhost: &str, binding: &Value) -> String {
    let word = |key: &str| binding[key].as_str().unwrap_or_default().to_owned();
    let (source, destination) = (word("source"), word("destination"));
    format!("bindings/{vhost}/e/{source}/q/{destination}")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// All ways to the broker: that of the API processes, then those of the workers.
pub fn ways<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = &'a FaultProxy> {
    let workers = scene.workers.iter().map(|worker| &worker.broker);
    std::iter::once(&scene.to_broker).chain(workers)
}

/// The sum of a figure of all ways to the broker.
#[must_use]
pub fn all_ways(scene: &Scene<'_>, figure: impl Fn(&FaultProxy) -> u64) -> u64 {
    ways(scene).map(figure).sum()
}
