//! The task as a whole, and why answers are missing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tasker_core::ResponseState;
use tasker_core::missing::{Missing, MissingReason};
use tasker_core::store::{Tally, Timing};
use tasker_core::task::TaskHead;
use utoipa::ToSchema;

use super::{CountsJson, DatesJson, time};

/// Missing answers that are explained one by one.
pub(crate) const MAX_REASONS: u32 = 1000;

/// Why an expected answer is missing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReasonJson {
    /// Whose answer is missing.
    endpoint: String,
    /// The reason, for programs.
    #[schema(value_type = String, example = "offline_since")]
    reason: MissingReason,
    /// Since when it holds, UTC.
    since: Option<String>,
    /// The reason, for people.
    text: String,
}

/// The task as a whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Summary {
    #[serde(flatten)]
    counts: CountsJson,
    /// How many expected responses are in each state.
    states: BTreeMap<&'static str, u32>,
    /// How many expected responses wait for their next attempt.
    retrying: u32,
    /// When the first of these may start, UTC.
    next_retry_at: Option<String>,
    /// Why answers are missing, endpoint by endpoint; at most 1,000.
    reasons: Vec<ReasonJson>,
    /// Whether more answers are missing than `reasons` tells.
    reasons_truncated: bool,
    /// Answers that came after the task was settled without them, or that nobody expected.
    late: u32,
    #[serde(flatten)]
    dates: DatesJson,
}

impl Summary {
    pub(crate) fn of(head: &TaskHead, tally: &Tally, timing: &Timing) -> Self {
        let span = |d| chrono::Duration::from_std(d).unwrap_or(chrono::Duration::MAX);
        let (offline, lost) = (span(timing.offline_after), span(timing.lost_after));
        let reason = |missing: &Missing| {
            let (reason, since) = missing.reason(tally.now, offline, lost);
            ReasonJson {
                endpoint: missing.endpoint.to_string(),
                reason,
                since: since.map(time),
                text: reason_text(reason, since),
            }
        };
        let reasons: Vec<_> = tally.missing.iter().map(reason).collect();
        Self {
            counts: CountsJson::of(head),
            states: tally
                .states
                .iter()
                .map(|(state, count)| (state.as_str(), *count))
                .collect(),
            retrying: tally
                .states
                .get(&ResponseState::Retrying)
                .copied()
                .unwrap_or_default(),
            next_retry_at: tally.next_retry_at.map(time),
            reasons_truncated: (head.counts.missing() as usize) > reasons.len()
                && tally.missing.len() >= MAX_REASONS as usize,
            reasons,
            late: tally.late,
            dates: DatesJson::of(head),
        }
    }
}

fn reason_text(reason: MissingReason, since: Option<DateTime<Utc>>) -> String {
    let text = match reason {
        MissingReason::NeverSeen => "no worker of this endpoint has ever said hello",
        MissingReason::OfflineSince => "it has not received the task and was last heard of",
        MissingReason::NotReceivedYet => "it is online and has not received the task yet",
        MissingReason::ReceivedNotStarted => "it has received the task and not started it, since",
        MissingReason::Running => "it runs the task; last change",
        MissingReason::Retrying => "an attempt failed and another one follows, since",
        MissingReason::LostContact => "it has received the task and was last heard of",
        MissingReason::Expired => "nobody took the task before it expired, at",
    };
    match since {
        Some(at) => format!("{text} {} UTC", time(at)),
        None => text.to_owned(),
    }
}
