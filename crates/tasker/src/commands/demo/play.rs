//! The demonstration itself: a task over real HTTP, its progress, its answer.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use tasker_core::EndpointName;
use tokio_util::sync::CancellationToken;

use super::progress::Bars;
use crate::client::Client;
use crate::commands::view::{Answer, Row};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Sample runs take 3 seconds; whatever lasts so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The identifier of the original's walk-through.
const ORIGINAL: &str = "e7bd91d0-16ad-11e2-892e-0800200c9a66";

/// One sample task.
pub(super) struct Play {
    client: Client,
    identifier: String,
    endpoints: Vec<EndpointName>,
    stop: CancellationToken,
}

#[derive(Deserialize)]
struct Page {
    responses: Vec<Row>,
}

impl Play {
    pub(super) fn new(
        url: String,
        endpoints: &[EndpointName],
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::new(&url)?,
            // Of its own, so that a second demonstration on the same data is not the same task.
            identifier: format!("demo-{}", uuid::Uuid::new_v4()),
            endpoints: endpoints.to_vec(),
            stop,
        })
    }

    /// Submits, watches, prints.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let body = json!({
            "identifier": self.identifier, "payload": {"foo": "bar"}, "endpoints": self.endpoints,
        });
        let path = format!("/worker/{}", self.identifier);
        self.client.post("/worker", &body.to_string())?;
        terminal::tell(&format!(
            "submitted {path} to {} endpoints",
            self.endpoints.len()
        ));
        let answer = self.watch(&path)?;
        terminal::print(&terminal::pretty(&answer.json))?;
        Ok(answer.read::<Answer>()?.exit())
    }

    fn watch(&self, path: &str) -> Result<crate::client::Answer, Failure> {
        let start = Instant::now();
        let mut bars = Bars::new(&self.endpoints);
        loop {
            let answer = self.client.get(path, Duration::ZERO)?;
            let page = self
                .client
                .get(&format!("{path}/responses"), Duration::ZERO)?;
            bars.update(&page.read::<Page>()?.responses);
            if answer.read::<Answer>()?.task.status.is_settled() {
                bars.end();
                return Ok(answer);
            }
            if self.stop.is_cancelled() || start.elapsed() > PATIENCE {
                bars.end();
                return Ok(answer);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// What to try next, to be copied.
pub(super) fn curl_lines(url: &str, endpoints: &[EndpointName]) -> String {
    let two: Vec<_> = endpoints.iter().take(2).collect();
    // By hand, in the original's order; names need no escaping.
    let body = format!(
        "{{\"identifier\":\"{ORIGINAL}\",\"payload\":{{\"foo\":\"bar\"}},\"endpoints\":{}}}",
        json!(two)
    );
    format!(
        "\nTry it:\n  \
         curl -X POST -H 'content-type: application/json' -d '{body}' {url}/worker\n  \
         curl '{url}/worker/{ORIGINAL}?wait=30'\n  \
         curl {url}/worker\n  \
         curl {url}/endpoints\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_the_originals_walk_through() {
        let names = ["console1", "console2", "console3"].map(|n| EndpointName::parse(n).unwrap());
        let lines = curl_lines("http://127.0.0.1:1", &names);
        assert!(
            lines.contains("\"endpoints\":[\"console1\",\"console2\"]"),
            "{lines}"
        );
        assert!(lines.contains("http://127.0.0.1:1/worker\n"), "{lines}");
    }
}
