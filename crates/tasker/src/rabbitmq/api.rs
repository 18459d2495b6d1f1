//! RabbitMQ's management API: the few calls that setting up needs.

use serde_json::{Value, json};
use ureq::http::Method;

use super::call::part;
pub use super::call::{ApiError, ManagementApi};
use super::rights::Rights;
use crate::config::Secret;

impl ManagementApi {
    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// The server's major version; also the check whether it answers and lets us in.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn major_version(&self) -> Result<u32, ApiError> {
        let overview: Value = self.get("the overview", "overview")?;
        overview["rabbitmq_version"]
            .as_str()
            .and_then(|version| version.split('.').next()?.parse().ok())
            .ok_or_else(|| self.strange("its overview names no version"))
    }

    /// Whether the virtual host exists.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn has_vhost(&self) -> Result<bool, ApiError> {
        let found = self.get::<Value>("the virtual host", &format!("vhosts/{}", part(&self.vhost)));
        exists(found)
    }

    /// Makes the virtual host, if it does not exist.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_vhost(&self) -> Result<(), ApiError> {
        self.put(
            "the virtual host",
            &format!("vhosts/{}", part(&self.vhost)),
            &json!({}),
        )
    }

    /// Deletes the virtual host with everything in it. It may be missing.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn delete_vhost(&self) -> Result<(), ApiError> {
        self.delete("the virtual host", &format!("vhosts/{}", part(&self.vhost)))
    }

    /// Whether a user exists.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn has_user(&self, name: &str) -> Result<bool, ApiError> {
        exists(self.get::<Value>("the user", &format!("users/{}", part(name))))
    }

    /// The names of all users of the server.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn users(&self) -> Result<Vec<String>, ApiError> {
        let users: Vec<Value> = self.get("the users", "users?columns=name")?;
        Ok(users
            .iter()
            .filter_map(|user| Some(user["name"].as_str()?.to_owned()))
            .collect())
    }

    /// Makes a user without any tag, or gives it another password.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_user(&self, name: &str, password: &Secret) -> Result<(), ApiError> {
        let body = json!({"password": password.expose(), "tags": ""});
        self.put(
            &format!("the user {name:?}"),
            &format!("users/{}", part(name)),
            &body,
        )
    }

    /// Deletes a user; the server closes its connections. It may be missing.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn delete_user(&self, name: &str) -> Result<(), ApiError> {
        self.delete(
            &format!("the user {name:?}"),
            &format!("users/{}", part(name)),
        )
    }

    /// Bounds a user: `max-connections` or `max-channels`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_user_limit(&self, name: &str, limit: &str, value: u32) -> Result<(), ApiError> {
        self.put(
            &format!("the limit {limit} of {name:?}"),
            &format!("user-limits/{}/{limit}", part(name)),
            &json!({"value": value}),
        )
    }

    /// Sets a user's rights on the virtual host.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_rights(&self, name: &str, rights: &Rights) -> Result<(), ApiError> {
        self.put(
            &format!("the rights of {name:?}"),
            &format!("permissions/{}/{}", part(&self.vhost), part(name)),
            &json!({"configure": rights.configure, "write": rights.write, "read": rights.read}),
        )
    }

    /// Sets which routing keys a user may publish with to a topic exchange, and bind to it with.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_topic_rights(
        &self,
        name: &str,
        exchange: &str,
        write: &str,
        read: &str,
    ) -> Result<(), ApiError> {
        self.put(
            &format!("the topic rights of {name:?}"),
            &format!("topic-permissions/{}/{}", part(&self.vhost), part(name)),
            &json!({"exchange": exchange, "write": write, "read": read}),
        )
    }

    /// Makes a durable exchange, if it does not exist.
    ///
    /// # Errors
    /// [`ApiError`]; refused if it exists as something else.
    pub fn put_exchange(&self, name: &str, kind: &str) -> Result<(), ApiError> {
        self.put(
            &format!("the exchange {name:?}"),
            &format!("exchanges/{}/{}", part(&self.vhost), part(name)),
            &json!({"type": kind, "durable": true, "auto_delete": false, "internal": false,
                    "arguments": {}}),
        )
    }

    /// Makes a durable queue, if it does not exist.
    ///
    /// # Errors
    /// [`ApiError`]; refused if it exists as something else.
    pub fn put_queue(&self, name: &str, arguments: &Value) -> Result<(), ApiError> {
        self.put(
            &format!("the queue {name:?}"),
            &format!("queues/{}/{}", part(&self.vhost), part(name)),
            &json!({"durable": true, "auto_delete": false, "arguments": arguments}),
        )
        .map_err(|error| match error {
            ApiError::Refused { what, reason } if reason.contains("inequivalent arg") => {
                ApiError::Refused {
                    what,
                    reason: format!(
                        "it exists with other arguments; delete it, or make everything anew with \
                         --reset ({reason})"
                    ),
                }
            }
            error => error,
        })
    }

    /// Deletes a queue with what is in it. It may be missing.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn delete_queue(&self, name: &str) -> Result<(), ApiError> {
        let path = format!("queues/{}/{}", part(&self.vhost), part(name));
        self.delete(&format!("the queue {name:?}"), &path)
    }

    /// The queues of the virtual host: name, consumers, messages.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn queues(&self) -> Result<Vec<QueueInfo>, ApiError> {
        // Without statistics: they are slow with many queues, and these columns do not need them.
        let path = format!(
            "queues/{}?columns=name,consumers,messages",
            part(&self.vhost)
        );
        self.get("the queues", &path)
    }

    /// Binds a queue to an exchange.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn bind(&self, queue: &str, exchange: &str, key: &str) -> Result<(), ApiError> {
        let path = format!(
            "bindings/{}/e/{}/q/{}",
            part(&self.vhost),
            part(exchange),
            part(queue)
        );
        let body = json!({"routing_key": key, "arguments": {}});
        let what = format!("the binding of {queue:?} to {exchange:?}");
        self.call(&what, Method::POST, &path, Some(&body)).map(drop)
    }

    /// Sets a policy for the queues that match a pattern.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn put_policy(&self, name: &str, pattern: &str, rules: &Value) -> Result<(), ApiError> {
        self.put(
            &format!("the policy {name:?}"),
            &format!("policies/{}/{}", part(&self.vhost), part(name)),
            &json!({"pattern": pattern, "definition": rules, "priority": 0, "apply-to": "queues"}),
        )
    }
}

/// A queue as the management API lists it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// How many consume from it; 0 also for a queue that was only just made.
    #[serde(default)]
    pub consumers: u64,
    /// How many messages are in it.
    #[serde(default)]
    pub messages: u64,
}

fn exists(found: Result<Value, ApiError>) -> Result<bool, ApiError> {
    match found {
        Ok(_) => Ok(true),
        Err(ApiError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
