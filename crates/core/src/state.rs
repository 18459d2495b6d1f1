//! The states of a task and of a task response, and who moves them next.
//!
//! `docs/state-machine.md` draws the same tables; a test compares the two.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant = $code,)+
        }

        impl $name {
            /// Every state, lowest first.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in JSON, logs and documentation.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The number in SQL.
            #[must_use]
            pub const fn code(self) -> i16 {
                self as i16
            }

            /// The state of a number in SQL; `None` for a number that no release has written.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// The state of a word; `None` if there is no such state.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|state| state.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

states! {
    /// What became of a task as a whole.
    TaskStatus {
        /// Stored. Next: the relay, when the broker confirmed; or settling, if workers or the clock
        /// are faster.
        Created = 0 "CREATED",
        /// The broker confirmed it. Next: the recorder, when the last endpoint finished; or the
        /// scheduler, when the wait is over.
        Sent = 1 "SENT",
        /// Some expected endpoint had not received it in time. Next: the recorder, if all finish
        /// late; or a retry.
        Incomplete = 2 "INCOMPLETE",
        /// Every expected endpoint finished. It says nothing of success. Next: only a retry.
        Done = 3 "DONE",
        /// The client cancelled it. Final; the responses tell which endpoints confirmed.
        Cancelled = 4 "CANCELLED",
    }
}

impl TaskStatus {
    /// Whether the task is settled: nothing more is waited for (a late answer may still come).
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Incomplete | Self::Done | Self::Cancelled)
    }

    /// The one table of legal moves.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use TaskStatus::{Cancelled, Created, Done, Incomplete, Sent};
        matches!(
            (self, next),
            (Created, Sent | Done | Incomplete | Cancelled)
                | (Sent, Done | Incomplete | Cancelled)
                | (Incomplete, Done | Cancelled | Sent)
                | (Done, Sent)
        )
    }
}

states! {
    /// What became of a task on one endpoint.
    ResponseState {
        /// Expected, nothing heard yet. Next: the endpoint, or the scheduler at `expires_at`.
        Waiting = 0 "WAITING",
        /// An attempt failed and the ledger ordered another one. Next: the endpoint, when it is asked
        /// after the back-off; or the scheduler at `expires_at`.
        Retrying = 1 "RETRYING",
        /// The endpoint has it in its journal. Next: the endpoint.
        Received = 2 "RECEIVED",
        /// The handler runs. Next: the endpoint, or the scheduler when contact is lost.
        Running = 3 "RUNNING",
        /// Nobody took it before `expires_at`. Counts as missing. A true late answer replaces it.
        Expired = 4 "EXPIRED",
        /// The handler succeeded. Final.
        Succeeded = 5 "SUCCEEDED",
        /// The handler failed. Next: the recorder, at once, if the task type has attempts left; else
        /// final, until a retry.
        Failed = 6 "FAILED",
        /// The handler was ended after `timeout_s`. Next: as after a failure.
        TimedOut = 7 "TIMED_OUT",
        /// The worker died during the run and it is not repeated. Final, until a retry; if only
        /// presumed, a true outcome of the same attempt replaces it.
        Interrupted = 8 "INTERRUPTED",
        /// The endpoint refused it: no handler, bad input, unknown version, poison. Final, until a
        /// retry.
        Rejected = 9 "REJECTED",
        /// The endpoint confirmed that it was cancelled. Final.
        Cancelled = 10 "CANCELLED",
    }
}

impl ResponseState {
    /// Whether the endpoint is through with it. [`Expired`](Self::Expired) is not finished: it
    /// counts as missing.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        self as i16 >= Self::Succeeded as i16
    }

    /// Whether something is still to come from the endpoint.
    #[must_use]
    pub const fn is_open(self) -> bool {
        (self as i16) < Self::Expired as i16
    }

    /// Whether the endpoint ever had it.
    #[must_use]
    pub const fn is_received(self) -> bool {
        !matches!(self, Self::Waiting | Self::Expired)
    }

    /// Whether an endpoint may report this state. The others are decided by the ledger.
    #[must_use]
    pub const fn is_reportable(self) -> bool {
        !matches!(self, Self::Waiting | Self::Retrying | Self::Expired)
    }

    /// The one table of legal moves within one attempt and one run. States only rise and skips are
    /// legal, so that reports may coalesce to the newest; a finished state stays. What becomes
    /// RETRYING begins its next attempt, which the ledger orders: after a lost journal, or in the
    /// transaction that records a failure.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Waiting => !matches!(next, Self::Waiting | Self::Retrying),
            Self::Retrying => next.is_reportable() || matches!(next, Self::Expired),
            Self::Received | Self::Running => {
                matches!(next, Self::Running | Self::Retrying) || next.is_finished()
            }
            Self::Expired => next.is_reportable(),
            Self::Failed | Self::TimedOut => matches!(next, Self::Retrying),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_lead_back() {
        for &state in ResponseState::ALL {
            assert_eq!(ResponseState::from_code(state.code()), Some(state));
            assert_eq!(ResponseState::from_word(state.as_str()), Some(state));
        }
        for &status in TaskStatus::ALL {
            assert_eq!(TaskStatus::from_code(status.code()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!(ResponseState::from_code(99), None);
    }

    #[test]
    fn finished_stays_and_every_open_state_can_finish() {
        use ResponseState::{Failed, Retrying, TimedOut};
        for &from in ResponseState::ALL {
            for &to in ResponseState::ALL {
                if from.is_finished() {
                    let is_next_attempt = matches!(from, Failed | TimedOut) && to == Retrying;
                    assert_eq!(from.may_become(to), is_next_attempt, "{from} → {to}");
                } else if to.is_finished() {
                    assert!(from.may_become(to), "{from} → {to}");
                }
            }
        }
    }

    #[test]
    fn cancelled_is_final_and_done_only_reopens() {
        for &to in TaskStatus::ALL {
            assert!(!TaskStatus::Cancelled.may_become(to));
            assert_eq!(TaskStatus::Done.may_become(to), to == TaskStatus::Sent);
        }
    }
}
