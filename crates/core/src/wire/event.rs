//! What API processes tell each other. Only a wake-up: whoever hears it reads the database.

use serde::{Deserialize, Serialize};

use super::{VERSION, WireError, check};
use crate::jobs::{Log, Mark};
use crate::name::{Client, TaskType};

/// The most entries of one event.
pub const MAX_EVENT_MARKS: usize = 1000;
/// The longest event, in bytes: that many entries of the longest names.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Entries that were added to logs of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which.
    pub jobs: Vec<Mark>,
}

#[derive(Serialize, Deserialize)]
struct Frame {
    #[serde(default)]
    v: u32,
    #[serde(default)]
    jobs: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    datasource: TaskType,
    log: LogWord,
    sequence: u64,
    client: Client,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LogWord {
    Requests,
    Changes,
}

impl Event {
    /// The bytes of an event.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let entry = |mark: &Mark| Entry {
            datasource: mark.datasource.clone(),
            log: match mark.log {
                Log::Requests => LogWord::Requests,
                Log::Changes => LogWord::Changes,
            },
            sequence: mark.sequence,
            client: mark.client.clone(),
        };
        let frame = Frame {
            v: VERSION,
            jobs: self.jobs.iter().map(entry).collect(),
        };
        // Expect safety: names and numbers always serialise.
        serde_json::to_vec(&frame).expect("an event serialises")
    }

    /// Reads an event.
    ///
    /// # Errors
    /// [`WireError`] if it cannot be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        check(bytes, MAX_EVENT_BYTES)?;
        let frame: Frame =
            serde_json::from_slice(bytes).map_err(|e| WireError::Shape(e.to_string()))?;
        let mark = |entry: Entry| Mark {
            datasource: entry.datasource,
            log: match entry.log {
                LogWord::Requests => Log::Requests,
                LogWord::Changes => Log::Changes,
            },
            sequence: entry.sequence,
            client: entry.client,
        };
        Ok(Self {
            jobs: frame.jobs.into_iter().map(mark).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(count: u64) -> Event {
        let mark = |sequence| Mark {
            datasource: TaskType::parse(&"d".repeat(63)).unwrap(),
            log: Log::Changes,
            sequence,
            client: Client::parse(&"c".repeat(128)).unwrap(),
        };
        Event {
            jobs: (1..=count).map(mark).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for count in [0, 1, MAX_EVENT_MARKS as u64] {
            let event = event(count);
            assert_eq!(Event::parse(&event.to_bytes()), Ok(event));
        }
        let text = r#"{"v":1,"jobs":[{"datasource":"ds","log":"requests","sequence":7,"client":"one","x":1}],"y":2}"#;
        let event = Event::parse(text.as_bytes()).unwrap();
        assert_eq!(
            (event.jobs[0].log, event.jobs[0].sequence),
            (Log::Requests, 7)
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, reason) in [
            ("", "malformed"),
            ("[]", "shape"),
            ("{}", "shape"),
            (r#"{"v":2,"jobs":[]}"#, "version"),
            (r#"{"v":1,"jobs":[{"datasource":"a.b"}]}"#, "shape"),
        ] {
            let error = Event::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.reason(), reason, "{text}");
        }
    }
}
