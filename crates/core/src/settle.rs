//! When a task is settled: one pure function, called wherever counters or the clock move.

use chrono::{DateTime, Utc};

use crate::state::TaskStatus;
use crate::task::{Audience, Counts};

/// What decides a task's status.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The status now.
    pub status: TaskStatus,
    /// Who is expected.
    pub audience: Audience,
    /// The counters.
    pub counts: Counts,
    /// Until when all expected endpoints should have received it.
    pub wait_until: DateTime<Utc>,
}

/// The status that the task moves to now; `None` if it stays.
///
/// A listed task is DONE as soon as every expected endpoint finished, however late, and INCOMPLETE
/// when the wait is over and some have not received it. An open task is judged after the wait, and
/// whoever received it is expected: INCOMPLETE if nobody received it, else DONE as soon as all that did
/// have finished. One of them may have to receive it again, after a retry or with a new journal; then it
/// is waited for like the endpoints of a list.
#[must_use]
pub fn settle(task: &Standing, now: DateTime<Utc>) -> Option<TaskStatus> {
    use TaskStatus::{Created, Done, Incomplete, Sent};
    let Counts {
        expected,
        received,
        finished,
        ..
    } = task.counts;
    let is_waiting = matches!(task.status, Created | Sent);
    let is_overdue = now >= task.wait_until;
    match task.audience {
        Audience::Subscribed if is_waiting && !is_overdue => None,
        Audience::Subscribed if received == 0 || received < expected => {
            is_waiting.then_some(Incomplete)
        }
        Audience::Subscribed => {
            let is_open = is_waiting || task.status == Incomplete;
            (is_open && finished >= expected).then_some(Done)
        }
        Audience::Listed | Audience::Everybody => {
            let is_open = is_waiting || task.status == Incomplete;
            if is_open && finished >= expected {
                Some(Done)
            } else {
                (is_waiting && is_overdue && received < expected).then_some(Incomplete)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskStatus::{Cancelled, Created, Done, Incomplete, Sent};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn judge(
        audience: Audience,
        status: TaskStatus,
        (expected, received, finished): (u32, u32, u32),
        now: i64,
    ) -> Option<TaskStatus> {
        let counts = Counts {
            expected,
            received,
            finished,
            failed: 0,
        };
        settle(
            &Standing {
                status,
                audience,
                counts,
                wait_until: at(100),
            },
            at(now),
        )
    }

    #[test]
    fn a_listed_task() {
        for (status, counts, now, next) in [
            (Created, (2, 0, 0), 50, None),
            (Created, (2, 2, 2), 50, Some(Done)),
            (Sent, (2, 2, 1), 50, None),
            (Sent, (2, 2, 1), 150, None),
            (Sent, (2, 1, 1), 150, Some(Incomplete)),
            (Created, (2, 0, 0), 100, Some(Incomplete)),
            (Incomplete, (2, 1, 1), 150, None),
            (Incomplete, (2, 2, 2), 150, Some(Done)),
            (Done, (2, 2, 2), 150, None),
            (Cancelled, (2, 2, 2), 150, None),
        ] {
            assert_eq!(
                judge(Audience::Listed, status, counts, now),
                next,
                "{status} {counts:?}"
            );
            assert_eq!(judge(Audience::Everybody, status, counts, now), next);
        }
    }

    #[test]
    fn an_open_task_is_judged_after_the_wait() {
        for (status, counts, now, next) in [
            (Sent, (2, 2, 2), 50, None),
            (Sent, (0, 0, 0), 100, Some(Incomplete)),
            (Sent, (2, 2, 2), 100, Some(Done)),
            (Sent, (2, 2, 1), 150, None),
            (Sent, (2, 2, 2), 500, Some(Done)),
            (Incomplete, (0, 0, 0), 500, None),
            (Done, (3, 3, 3), 500, None),
            // One of two is tried again.
            (Sent, (2, 1, 1), 50, None),
            (Sent, (2, 1, 1), 150, Some(Incomplete)),
            (Incomplete, (2, 1, 1), 500, None),
            (Incomplete, (2, 2, 2), 500, Some(Done)),
        ] {
            let got = judge(Audience::Subscribed, status, counts, now);
            assert_eq!(got, next, "{status} {counts:?} at {now}");
        }
    }

    #[test]
    fn every_move_is_a_legal_one() {
        for &status in TaskStatus::ALL {
            for audience in [Audience::Subscribed, Audience::Listed, Audience::Everybody] {
                for expected in 0..3 {
                    for received in 0..=expected {
                        for finished in 0..=received {
                            for now in [50, 150] {
                                let counts = (expected, received, finished);
                                if let Some(next) = judge(audience, status, counts, now) {
                                    assert!(status.may_become(next), "{status} → {next}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
