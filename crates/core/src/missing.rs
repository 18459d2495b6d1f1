//! Why an expected answer is missing: one pure function of a row and the silence of its endpoint.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::name::EndpointName;
use crate::state::ResponseState;

/// Why an expected answer is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// No worker of that name and type has ever said hello.
    NeverSeen,
    /// It does not have it, and was last heard of at `since`.
    OfflineSince,
    /// It is online and does not have it yet.
    NotReceivedYet,
    /// It has it and has not started it.
    ReceivedNotStarted,
    /// It runs it.
    Running,
    /// An attempt failed and another one follows.
    Retrying,
    /// It had it and was last heard of at `since`.
    LostContact,
    /// Nobody took it before it expired.
    Expired,
}

/// One expected response that is not finished, with what is known of its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Whose answer is missing.
    pub endpoint: EndpointName,
    /// The state of its row.
    pub state: ResponseState,
    /// When the row last changed.
    pub last_modified_at: DateTime<Utc>,
    /// When the endpoint was last heard of for this task type.
    pub last_seen_at: Option<DateTime<Utc>>,
}

impl Missing {
    /// The reason, and since when it holds. `offline_after` is the silence after which an endpoint
    /// counts as offline, `lost_after` the silence after which contact counts as lost.
    #[must_use]
    pub fn reason(
        &self,
        now: DateTime<Utc>,
        offline_after: chrono::Duration,
        lost_after: chrono::Duration,
    ) -> (MissingReason, Option<DateTime<Utc>>) {
        let silent_for = self.last_seen_at.map(|seen| now - seen);
        let is_lost = silent_for.is_none_or(|silence| silence > lost_after);
        match self.state {
            ResponseState::Expired => (MissingReason::Expired, Some(self.last_modified_at)),
            ResponseState::Waiting => match (self.last_seen_at, silent_for) {
                (None, _) | (_, None) => (MissingReason::NeverSeen, None),
                (seen, Some(silence)) if silence > offline_after => {
                    (MissingReason::OfflineSince, seen)
                }
                _ => (MissingReason::NotReceivedYet, None),
            },
            ResponseState::Retrying => (MissingReason::Retrying, Some(self.last_modified_at)),
            _ if is_lost => (MissingReason::LostContact, self.last_seen_at),
            ResponseState::Received => (
                MissingReason::ReceivedNotStarted,
                Some(self.last_modified_at),
            ),
            _ => (MissingReason::Running, Some(self.last_modified_at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Duration;

    #[test]
    fn every_missing_answer_has_a_reason() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let row = |state, seen_ago: Option<i64>| Missing {
            endpoint: EndpointName::parse("a").unwrap(),
            state,
            last_modified_at: now,
            last_seen_at: seen_ago.map(|s| now - Duration::seconds(s)),
        };
        for (state, seen, reason) in [
            (ResponseState::Waiting, None, MissingReason::NeverSeen),
            (
                ResponseState::Waiting,
                Some(100),
                MissingReason::OfflineSince,
            ),
            (
                ResponseState::Waiting,
                Some(1),
                MissingReason::NotReceivedYet,
            ),
            (
                ResponseState::Received,
                Some(1),
                MissingReason::ReceivedNotStarted,
            ),
            (
                ResponseState::Received,
                Some(1000),
                MissingReason::LostContact,
            ),
            (ResponseState::Running, Some(1), MissingReason::Running),
            (
                ResponseState::Running,
                Some(1000),
                MissingReason::LostContact,
            ),
            (ResponseState::Retrying, Some(1), MissingReason::Retrying),
            (ResponseState::Expired, None, MissingReason::Expired),
        ] {
            let got = row(state, seen).reason(now, Duration::seconds(45), Duration::seconds(300));
            assert_eq!(got.0, reason, "{state} {seen:?}");
        }
    }
}
