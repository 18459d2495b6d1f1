//! Automatic retries: whether a failed attempt is followed by another one, and when. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::state::ResponseState;

/// The most attempts that a task type may order by itself.
pub const MAX_ATTEMPTS: u32 = 100;
/// The longest pause that a task type may ask for, in seconds: one day.
pub const MAX_BACKOFF_S: u32 = 86_400;

/// How often a task type tries again by itself, and after which pauses. Copied to the task when it is
/// stored, so that a change of the configuration does not change what was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many attempts a response gets until its failure stands, 1 to [`MAX_ATTEMPTS`]. 1: a
    /// failure stands at once.
    pub max_attempts: u32,
    /// The pause after the first failure, in seconds, 1 to [`MAX_BACKOFF_S`]; doubled by each further
    /// one.
    pub backoff_s: u32,
    /// Where the doubling ends, in seconds, `backoff_s` to [`MAX_BACKOFF_S`].
    pub backoff_max_s: u32,
}

impl RetryPolicy {
    /// No automatic retry; the pauses that a task type has if it only says how often.
    pub const DEFAULT: Self = Self {
        max_attempts: 1,
        backoff_s: 10,
        backoff_max_s: 3_600,
    };

    /// The pause after so many failures in a row (at least one): doubled each time up to the limit,
    /// then made longer or shorter by up to a fifth, so that endpoints that failed together do not
    /// come back together. `random` is uniform in `0.0..1.0`.
    #[must_use]
    pub fn pause(&self, failures: u32, random: f64) -> TimeDelta {
        let doublings = failures.saturating_sub(1).min(31);
        let seconds = (u64::from(self.backoff_s) << doublings).min(self.backoff_max_s.into());
        let factor = 0.8 + 0.4 * random.clamp(0.0, 1.0);
        // A pause has at most 86,400 s: neither the product nor the span can overflow.
        #[expect(clippy::cast_possible_truncation, reason = "far below 2^53")]
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let ms = (seconds as f64 * 1_000.0 * factor).round() as i64;
        TimeDelta::milliseconds(ms)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An attempt that ended without success.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// How.
    pub state: ResponseState,
    /// Which attempt.
    pub attempt: u32,
    /// The attempt whose failure stands until a client orders a retry.
    pub final_attempt: u32,
    /// When the task can no longer start.
    pub expires_at: DateTime<Utc>,
}

/// When the next attempt may start; `None` if there is none. Only what the handler did wrong is tried
/// again: not what was refused, interrupted or cancelled. `random` is uniform in `0.0..1.0`.
#[must_use]
pub fn next_start(
    policy: &RetryPolicy,
    ended: &Ended,
    now: DateTime<Utc>,
    random: f64,
) -> Option<DateTime<Utc>> {
    let has_failed = matches!(ended.state, ResponseState::Failed | ResponseState::TimedOut);
    if !has_failed || ended.attempt >= ended.final_attempt {
        return None;
    }
    let left = ended.final_attempt - ended.attempt;
    let failures = policy.max_attempts.saturating_sub(left).max(1);
    let start = now + policy.pause(failures, random);
    (start < ended.expires_at).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResponseState::{Cancelled, Failed, Interrupted, Rejected, Succeeded, TimedOut};

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 4,
        backoff_s: 10,
        backoff_max_s: 60,
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn pauses_double_up_to_their_limit() {
        for (failures, seconds) in [
            (0, 10),
            (1, 10),
            (2, 20),
            (3, 40),
            (4, 60),
            (5, 60),
            (100, 60),
        ] {
            assert_eq!(
                POLICY.pause(failures, 0.5),
                TimeDelta::seconds(seconds),
                "{failures}"
            );
        }
        let longest = RetryPolicy {
            backoff_s: MAX_BACKOFF_S,
            backoff_max_s: MAX_BACKOFF_S,
            ..POLICY
        };
        assert_eq!(longest.pause(u32::MAX, 0.5), TimeDelta::days(1));
    }

    #[test]
    fn chance_moves_a_pause_by_a_fifth_and_uses_all_of_it() {
        for (random, ms) in [
            (-1.0, 8_000),
            (0.0, 8_000),
            (0.25, 9_000),
            (0.5, 10_000),
            (1.0, 12_000),
            (7.0, 12_000),
        ] {
            assert_eq!(
                POLICY.pause(1, random),
                TimeDelta::milliseconds(ms),
                "{random}"
            );
        }
        assert_eq!(POLICY.pause(9, 1.0), TimeDelta::seconds(72));
    }

    #[test]
    fn only_failures_within_the_budget_and_the_life_are_tried_again() {
        for (state, attempt, final_attempt, expires_at, start) in [
            (Failed, 1, 4, 1_000, Some(110)),
            (TimedOut, 2, 4, 1_000, Some(120)),
            (Failed, 3, 4, 1_000, Some(140)),
            (Failed, 4, 4, 1_000, None),
            (Failed, 5, 4, 1_000, None),
            // A fresh budget, and an attempt that was ordered on the way without using it.
            (Failed, 5, 8, 1_000, Some(110)),
            (Failed, 2, 5, 1_000, Some(110)),
            (Failed, 1, 4, 111, Some(110)),
            (Failed, 1, 4, 110, None),
            (Rejected, 1, 4, 1_000, None),
            (Interrupted, 1, 4, 1_000, None),
            (Cancelled, 1, 4, 1_000, None),
            (Succeeded, 1, 4, 1_000, None),
        ] {
            let ended = Ended {
                state,
                attempt,
                final_attempt,
                expires_at: at(expires_at),
            };
            let got = next_start(&POLICY, &ended, at(100), 0.5);
            assert_eq!(got, start.map(at), "{ended:?}");
        }
        let once = Ended {
            state: Failed,
            attempt: 1,
            final_attempt: 1,
            expires_at: at(1_000),
        };
        assert_eq!(next_start(&RetryPolicy::DEFAULT, &once, at(0), 0.5), None);
    }
}
