//! RabbitMQ's management API, as far as tests steer a broker with it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// An administrator of a RabbitMQ server, virtual host `/`. Its calls block and panic when they
/// fail; async tests with a multi-threaded runtime may call them directly.
#[derive(Debug, Clone)]
pub struct Management {
    url: String,
    agent: ureq::Agent,
}

impl Management {
    /// The server at `http://user:password@host:port`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(10)))
            .http_status_as_error(false)
            .build()
            .into();
        Self {
            url: url.into(),
            agent,
        }
    }

    /// The server of [`crate::services::rabbitmq_api`].
    ///
    /// # Panics
    /// If its variable is not set.
    #[must_use]
    pub fn shared() -> Self {
        Self::new(crate::services::rabbitmq_api())
    }

    fn at(&self, path: &str) -> String {
        format!("{}/api/{path}", self.url.trim_end_matches('/'))
    }

    /// GET of a path under `/api/`.
    ///
    /// # Panics
    /// If there is no JSON answer with status 200.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        let mut answer = self.agent.get(self.at(path)).call().expect("an answer");
        assert_eq!(answer.status(), 200, "GET {path}");
        answer.body_mut().read_json().expect("JSON")
    }

    /// PUT of a JSON body.
    ///
    /// # Panics
    /// If it is refused.
    pub fn put(&self, path: &str, body: &Value) {
        let answer = self.agent.put(self.at(path)).send_json(body);
        let status = answer.expect("an answer").status();
        assert!(status.is_success(), "PUT {path}: {status}");
    }

    /// POST of a JSON body; the JSON answer.
    ///
    /// # Panics
    /// If it is refused.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.agent.post(self.at(path)).send_json(body);
        let mut answer = answer.expect("an answer");
        assert!(answer.status().is_success(), "POST {path}");
        answer.body_mut().read_json().expect("JSON")
    }

    /// POST of a JSON body that is answered without one.
    ///
    /// # Panics
    /// If it is refused.
    pub fn order(&self, path: &str, body: &Value) {
        let answer = self.agent.post(self.at(path)).send_json(body);
        let status = answer.expect("an answer").status();
        assert!(status.is_success(), "POST {path}: {status}");
    }

    /// DELETE; what is gone already is as well.
    ///
    /// # Panics
    /// If it is refused.
    pub fn delete(&self, path: &str) {
        let answer = self.agent.delete(self.at(path)).call();
        let status = answer.expect("an answer").status();
        assert!(
            status.is_success() || status == 404,
            "DELETE {path}: {status}"
        );
    }

    /// Any call under `/api/`: status and JSON (`null` if it is none). Status 0: no answer.
    ///
    /// # Panics
    /// If the request cannot be built.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(self.at(path))
            .header("content-type", "application/json");
        let text = body.map(Value::to_string).unwrap_or_default();
        let Ok(mut answer) = self.agent.run(request.body(text).expect("a request")) else {
            return (0, Value::Null);
        };
        let json = answer.body_mut().read_json().unwrap_or(Value::Null);
        (answer.status().as_u16(), json)
    }

    /// Lets rejected messages of this prefix go to its dead-letter exchange, as `tasker init` does.
    pub fn set_dead_letter_policy(&self, prefix: &str) {
        let policy = json!({
            "pattern": format!("^{}\\.(?!dead$).*", prefix.replace('.', "\\.")),
            "apply-to": "queues",
            "definition": {"dead-letter-exchange": format!("{prefix}.dead")},
        });
        self.put(&format!("policies/%2f/{prefix}"), &policy);
    }

    /// Forgets every queue, exchange and policy of this prefix.
    pub fn wipe(&self, prefix: &str) {
        for kind in ["queues", "exchanges"] {
            for name in self.names(kind, prefix) {
                self.delete(&format!("{kind}/%2f/{name}"));
            }
        }
        self.delete(&format!("policies/%2f/{prefix}"));
    }

    fn names(&self, kind: &str, prefix: &str) -> Vec<String> {
        let all = self.get(&format!("{kind}/%2f?columns=name&disable_stats=true"));
        let names = all.as_array().into_iter().flatten();
        names
            .filter_map(|item| item["name"].as_str())
            .filter(|name| {
                name.strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with('.'))
            })
            .map(str::to_owned)
            .collect()
    }

    /// Waits until connections with this `connection_name` are listed, and cuts them all. The list
    /// is some seconds behind.
    ///
    /// # Panics
    /// If none appears within 30 s.
    pub fn cut_connections(&self, connection_name: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let all = self.get("connections");
            let cut: Vec<_> = all
                .as_array()
                .into_iter()
                .flatten()
                .filter(|item| item["client_properties"]["connection_name"] == connection_name)
                .filter_map(|item| item["name"].as_str())
                .collect();
            for name in &cut {
                self.delete(&format!(
                    "connections/{}",
                    name.replace(' ', "%20").replace('>', "%3E")
                ));
            }
            if !cut.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "no connection {connection_name}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
