//! The states of a job, and the one table of its legal moves.

use std::fmt;

use super::Outcome;

/// What a server has said of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobStatus {
    /// Stored; the server has not said anything. Next: the server.
    Submitted = 0,
    /// The server works on it. Next: the server.
    Accepted = 1,
    /// The server tries it again later. Next: the server.
    Retrying = 2,
    /// Done; there may be a response. Final.
    Complete = 3,
    /// Given up. Final.
    Cancelled = 4,
    /// The server does not do this for this client. Final.
    Forbidden = 5,
    /// It went wrong. Final.
    Failed = 6,
}

impl JobStatus {
    /// Every status.
    pub const ALL: &'static [Self] = &[
        Self::Submitted,
        Self::Accepted,
        Self::Retrying,
        Self::Complete,
        Self::Cancelled,
        Self::Forbidden,
        Self::Failed,
    ];

    /// The word in JSON, logs and documentation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Accepted => "accepted",
            Self::Retrying => "retrying",
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
        }
    }

    /// The status of a word; `None` if there is no such status.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.as_str() == word)
    }

    /// The number in SQL.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The status of a number in SQL; `None` for a number that no release has written.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.code() == code)
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Complete | Self::Cancelled | Self::Forbidden | Self::Failed
        )
    }

    /// Whether it may come with a response.
    #[must_use]
    pub const fn has_response(self) -> bool {
        matches!(self, Self::Complete)
    }

    /// Whether it may come with an error.
    #[must_use]
    pub const fn has_error(self) -> bool {
        matches!(
            self,
            Self::Retrying | Self::Cancelled | Self::Forbidden | Self::Failed
        )
    }

    /// The one table of legal moves.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use JobStatus::{Accepted, Cancelled, Complete, Failed, Forbidden, Retrying, Submitted};
        matches!(
            (self, next),
            (Submitted, Accepted | Cancelled | Forbidden)
                | (Accepted, Complete | Failed | Retrying | Cancelled)
                | (Retrying, Accepted | Failed | Cancelled)
        )
    }

    /// The statuses that lead to another one, in order, that one included: none if it is the same, or
    /// if no legal moves lead there. At most three.
    #[must_use]
    pub fn way_to(self, goal: Self) -> Vec<Self> {
        if self.may_become(goal) {
            return vec![goal];
        }
        // Every way of more than one step goes through accepted.
        if self.may_become(Self::Accepted) && Self::Accepted.may_become(goal) && self != goal {
            return vec![Self::Accepted, goal];
        }
        Vec::new()
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an update does to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It moves.
    Legal,
    /// It stands so already.
    Same,
    /// It may not move there.
    Illegal,
}

/// Whether a job may come to stand differently.
#[must_use]
pub fn judge(now: &Outcome, next: &Outcome) -> Move {
    if now == next {
        Move::Same
    } else if now.status.may_become(next.status) {
        Move::Legal
    } else {
        Move::Illegal
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Rows: from, columns: to, in the order of `ALL`: `x` legal, `=` the same, `.` illegal.
    const TABLE: [&str; 7] = [
        // submitted, accepted, retrying, complete, cancelled, forbidden, failed
        "=x..xx.", // submitted
        ".=xxx.x", // accepted
        ".x=.x.x", // retrying
        "...=...", // complete
        "....=..", // cancelled
        ".....=.", // forbidden
        "......=", // failed
    ];

    #[test]
    fn every_pair_is_judged_by_the_table() {
        for (from, row) in JobStatus::ALL.iter().zip(TABLE) {
            for (to, cell) in JobStatus::ALL.iter().zip(row.chars()) {
                let expected = match cell {
                    'x' => Move::Legal,
                    '=' => Move::Same,
                    _ => Move::Illegal,
                };
                let got = judge(&Outcome::of(*from), &Outcome::of(*to));
                assert_eq!(got, expected, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn nothing_follows_a_final_status_and_something_every_other() {
        for from in JobStatus::ALL {
            let follows = JobStatus::ALL.iter().any(|to| from.may_become(*to));
            assert_eq!(follows, !from.is_final(), "{from}");
        }
    }

    #[test]
    fn the_same_status_with_other_content_is_illegal() {
        let complete = |response: &'static str| Outcome {
            response: Some(Bytes::from_static(response.as_bytes())),
            ..Outcome::of(JobStatus::Complete)
        };
        assert_eq!(judge(&complete("1"), &complete("1")), Move::Same);
        assert_eq!(judge(&complete("1"), &complete("2")), Move::Illegal);
        let bare = Outcome::of(JobStatus::Complete);
        assert_eq!(judge(&complete("1"), &bare), Move::Illegal);
    }

    #[test]
    fn ways_have_legal_steps_only_and_end_where_they_should() {
        use JobStatus::{Accepted, Complete, Failed, Retrying, Submitted};
        for from in JobStatus::ALL {
            for to in JobStatus::ALL {
                let way = from.way_to(*to);
                let mut at = *from;
                for step in &way {
                    assert!(at.may_become(*step), "{from} -> {to}: {way:?}");
                    at = *step;
                }
                assert!(way.is_empty() || at == *to, "{from} -> {to}: {way:?}");
            }
        }
        assert_eq!(Submitted.way_to(Complete), [Accepted, Complete]);
        assert_eq!(Submitted.way_to(Failed), [Accepted, Failed]);
        assert_eq!(Retrying.way_to(Complete), [Accepted, Complete]);
        assert_eq!(Submitted.way_to(Retrying), [Accepted, Retrying]);
        assert!(Complete.way_to(Failed).is_empty());
        assert!(Accepted.way_to(Accepted).is_empty());
        assert!(Retrying.way_to(Retrying).is_empty());
    }

    #[test]
    fn words_and_numbers_lead_back() {
        for status in JobStatus::ALL {
            assert_eq!(JobStatus::from_word(status.as_str()), Some(*status));
            assert_eq!(JobStatus::from_code(status.code()), Some(*status));
        }
        assert_eq!(JobStatus::from_word("Complete"), None);
        assert_eq!(JobStatus::from_code(7), None);
    }
}
