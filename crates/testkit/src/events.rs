//! A client of server-sent events.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

/// How long anything may take that must happen.
const SOON: Duration = Duration::from_secs(20);
/// The longest life of a stream: longer than any test.
const LONGEST: Duration = Duration::from_secs(300);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number.
    pub id: u64,
    /// Its kind.
    pub event: String,
    /// Its JSON.
    pub data: Value,
}

/// How to ask for a stream.
#[derive(Debug, Clone, Default)]
pub struct Ask<'a> {
    /// Where.
    pub url: String,
    /// By POST, with this body; `None`: by GET.
    pub body: Option<&'a str>,
    /// After this event.
    pub last: Option<u64>,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
}

/// A stream that was begun.
#[derive(Debug)]
pub struct Events {
    events: Receiver<Event>,
    is_dropped: Arc<AtomicBool>,
}

impl Events {
    /// Begins a stream; returns when the server has accepted it.
    ///
    /// # Errors
    /// The status of the refusal, 0 if there was no answer.
    ///
    /// # Panics
    /// If what comes is no stream of events.
    pub fn open(ask: &Ask<'_>) -> Result<Self, u16> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(LONGEST))
            .http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let last = ask.last.map(|id| id.to_string());
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last.as_deref().map(|id| ("last-event-id", id)));
        headers.extend(ask.authorization.as_deref().map(|a| ("authorization", a)));
        let sent = match ask.body {
            None => {
                let get = agent.get(&ask.url);
                headers
                    .iter()
                    .fold(get, |r, (k, v)| r.header(*k, *v))
                    .call()
            }
            Some(body) => {
                let post = agent.post(&ask.url);
                let post = headers.iter().fold(post, |r, (k, v)| r.header(*k, *v));
                if body.is_empty() {
                    post.send_empty()
                } else {
                    post.header("content-type", "application/json").send(body)
                }
            }
        };
        let response = sent.map_err(|_| 0_u16)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(status);
        }
        let kind = response.headers().get("content-type");
        assert_eq!(
            kind.and_then(|k| k.to_str().ok()),
            Some("text/event-stream")
        );
        let (sender, events) = channel();
        let is_dropped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_dropped);
        let mut lines = BufReader::new(response.into_body().into_reader()).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(first.starts_with("retry: "), "{first}");
        std::thread::spawn(move || {
            let (mut id, mut event, mut data) = (0, String::new(), String::new());
            for line in lines.map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Some(value) = line.strip_prefix("id: ") {
                    id = value.parse().expect("a number");
                } else if let Some(value) = line.strip_prefix("event: ") {
                    value.clone_into(&mut event);
                } else if let Some(value) = line.strip_prefix("data: ") {
                    data.push_str(value);
                    data.push('\n');
                } else if line.is_empty() && !data.is_empty() {
                    let data = serde_json::from_str(&std::mem::take(&mut data));
                    let data = data.expect("JSON");
                    let event = std::mem::take(&mut event);
                    if sender.send(Event { id, event, data }).is_err() {
                        return;
                    }
                } else {
                    assert!(line.is_empty() || line.starts_with(':'), "{line}");
                }
            }
        });
        Ok(Self { events, is_dropped })
    }

    /// The next event.
    ///
    /// # Panics
    /// If none comes in time.
    #[must_use]
    pub fn next(&self) -> Event {
        let next = self.events.recv_timeout(SOON);
        next.unwrap_or_else(|error| panic!("no event: {error}"))
    }

    /// The next events.
    ///
    /// # Panics
    /// If so many do not come in time.
    #[must_use]
    pub fn take(&self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Those that come until the stream ends.
    ///
    /// # Panics
    /// If it does not end in time.
    #[must_use]
    pub fn rest(&self) -> Vec<Event> {
        let mut rest = Vec::new();
        loop {
            match self.events.recv_timeout(SOON) {
                Ok(event) => rest.push(event),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("the stream did not end"),
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::SeqCst);
    }
}
