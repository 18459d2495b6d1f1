//! Which reports are believed: one pure function over a row and a report.

use crate::state::ResponseState;

/// What the ledger knows of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The attempt that the ledger ordered last.
    pub attempt: u32,
    /// The greatest run that was reported.
    pub run: u32,
    /// The state.
    pub state: ResponseState,
    /// Whether the state was only concluded from silence.
    pub presumed: bool,
    /// Whether the task's client asked to cancel it.
    pub cancel_requested: bool,
}

/// What a worker says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The attempt that it answers.
    pub attempt: u32,
    /// The start of the handler within it.
    pub run: u32,
    /// The state.
    pub state: ResponseState,
}

/// What the recorder does with a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Write it.
    Apply,
    /// It repeats what is known, or was overtaken by a later one. Nothing to write, nothing wrong.
    Known,
    /// It belongs to an older attempt or run: refused and counted.
    Fenced,
    /// It belongs to an attempt that the ledger never ordered, or confirms a cancel that nobody
    /// asked for: refused and counted.
    Unordered,
}

/// Judges a report.
#[must_use]
pub fn judge(row: &Row, claim: &Claim) -> Verdict {
    if claim.attempt == 0 {
        // The tombstone of a task that never came; it knows no attempt.
        return match (claim.state, row.cancel_requested, row.state.is_finished()) {
            (ResponseState::Cancelled, true, false) => Verdict::Apply,
            (ResponseState::Cancelled, true, true) => Verdict::Known,
            _ => Verdict::Unordered,
        };
    }
    if claim.attempt > row.attempt {
        return Verdict::Unordered;
    }
    if claim.attempt < row.attempt {
        return Verdict::Fenced;
    }
    if claim.run < row.run {
        return if claim.state.is_finished() {
            Verdict::Fenced
        } else {
            Verdict::Known
        };
    }
    if row.presumed && row.state.is_finished() {
        // Silence was misread. Whatever the endpoint says of the same attempt is better.
        return if claim.state.is_finished() {
            Verdict::Apply
        } else {
            Verdict::Known
        };
    }
    let is_rerun = claim.run > row.run && row.state.is_open();
    if row.state.may_become(claim.state) || (is_rerun && claim.state == ResponseState::Running) {
        Verdict::Apply
    } else {
        Verdict::Known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResponseState::{
        Cancelled, Expired, Failed, Interrupted, Received, Retrying, Running, Succeeded, Waiting,
    };

    fn row(attempt: u32, run: u32, state: ResponseState) -> Row {
        Row {
            attempt,
            run,
            state,
            presumed: false,
            cancel_requested: false,
        }
    }

    fn claim(attempt: u32, run: u32, state: ResponseState) -> Claim {
        Claim {
            attempt,
            run,
            state,
        }
    }

    #[test]
    fn reports_rise_within_an_attempt() {
        for (before, report, verdict) in [
            (row(1, 0, Waiting), claim(1, 0, Received), Verdict::Apply),
            (row(1, 0, Waiting), claim(1, 1, Succeeded), Verdict::Apply),
            (row(1, 1, Running), claim(1, 0, Received), Verdict::Known),
            (row(1, 1, Running), claim(1, 1, Running), Verdict::Apply),
            (row(1, 1, Succeeded), claim(1, 1, Running), Verdict::Known),
            (row(1, 1, Succeeded), claim(1, 1, Failed), Verdict::Known),
            (row(1, 1, Running), claim(1, 2, Running), Verdict::Apply),
            (row(1, 2, Running), claim(1, 1, Failed), Verdict::Fenced),
            (row(2, 0, Retrying), claim(2, 1, Running), Verdict::Apply),
            (row(2, 0, Retrying), claim(1, 1, Failed), Verdict::Fenced),
            (
                row(1, 0, Waiting),
                claim(2, 1, Succeeded),
                Verdict::Unordered,
            ),
            (row(1, 0, Expired), claim(1, 1, Succeeded), Verdict::Apply),
        ] {
            assert_eq!(judge(&before, &report), verdict, "{before:?} {report:?}");
        }
    }

    #[test]
    fn a_true_outcome_replaces_a_presumed_one() {
        let presumed = Row {
            presumed: true,
            ..row(1, 1, Interrupted)
        };
        assert_eq!(judge(&presumed, &claim(1, 1, Succeeded)), Verdict::Apply);
        assert_eq!(judge(&presumed, &claim(1, 1, Running)), Verdict::Known);
        let sure = row(1, 1, Interrupted);
        assert_eq!(judge(&sure, &claim(1, 1, Succeeded)), Verdict::Known);
    }

    #[test]
    fn a_tombstone_needs_a_cancel() {
        let asked = Row {
            cancel_requested: true,
            ..row(1, 0, Waiting)
        };
        assert_eq!(judge(&asked, &claim(0, 0, Cancelled)), Verdict::Apply);
        assert_eq!(
            judge(&row(1, 0, Waiting), &claim(0, 0, Cancelled)),
            Verdict::Unordered
        );
        assert_eq!(judge(&asked, &claim(0, 0, Failed)), Verdict::Unordered);
    }
}
