//! An API process as its clients see it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::wait_for;

/// Where an API answers.
#[derive(Debug, Clone)]
pub struct Api {
    /// `http://host:port`
    pub url: String,
    agent: ureq::Agent,
}

impl Api {
    /// The API at this address.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            agent: agent(),
        }
    }

    /// GET: status and JSON (`null` if it is none). Status 0: no answer.
    #[must_use]
    pub fn get(&self, path: &str) -> (u16, Value) {
        read(self.agent.get(format!("{}{path}", self.url)).call())
    }

    /// POST of a JSON body: status and JSON. Status 0: no answer.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.post(format!("{}{path}", self.url));
        read(request.send_json(body))
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// If it is not in time.
    pub fn wait_ready(&self, deadline: Duration) {
        wait_for("the API to be ready", deadline, || {
            (self.get("/readyz").0 == 200).then_some(())
        });
    }

    /// Waits until the answer to a GET fulfils a condition.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn wait_until(
        &self,
        path: &str,
        deadline: Duration,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        let start = Instant::now();
        loop {
            let (_, answer) = self.get(path);
            if condition(&answer) {
                return answer;
            }
            assert!(start.elapsed() < deadline, "{path} stays {answer:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a worker is online.
    ///
    /// # Panics
    /// If it is not in time.
    pub fn wait_online(&self, endpoint: &str, task_type: &str, deadline: Duration) {
        self.wait_until("/endpoints", deadline, |answer| {
            rows(answer, "endpoints").iter().any(|row| {
                row["name"] == endpoint && row["type"] == task_type && row["online"] == true
            })
        });
    }

    /// The sum of all series of a metric whose labels contain `label`; 0 if there is none.
    #[must_use]
    pub fn metric(&self, name: &str, label: &str) -> u64 {
        let answer = self.agent.get(format!("{}/metrics", self.url)).call();
        let text = answer
            .ok()
            .and_then(|mut a| a.body_mut().read_to_string().ok());
        let text = text.unwrap_or_default();
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or("");
            rest.starts_with(['{', ' ']) && rest.contains(label)
        });
        let values = series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum::<f64>() as u64
    }
}

/// The array of that name in an answer.
#[must_use]
pub fn rows<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

/// A client that takes every status as an answer and waits at most 20 s.
#[must_use]
pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(20)))
        .http_status_as_error(false);
    config.build().into()
}

fn read(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    match sent {
        Ok(mut response) => {
            let status = response.status().as_u16();
            (
                status,
                response.body_mut().read_json().unwrap_or(Value::Null),
            )
        }
        Err(_) => (0, Value::Null),
    }
}
