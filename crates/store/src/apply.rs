//! What a report does to the row of its endpoint: pure, between reading and writing.

use chrono::{DateTime, NaiveDateTime, Utc};
use tasker_core::errnr;
use tasker_core::fault::{Protection, is_left_out};
use tasker_core::fence::{self, Claim, Verdict};
use tasker_core::retry::{self, Ended};
use tasker_core::settle::{Standing, settle};
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::RecordVerdict;
use tasker_core::task::{Audience, TaskHead};
use tasker_core::wire::Report;

use crate::failure::Failure;
use crate::rows::{ResponseBody, int, stored};

/// Settles a task if its counters or the clock say so; tells the status that it moved to.
pub(crate) fn settle_now(task: &mut TaskHead, now: DateTime<Utc>) -> Option<TaskStatus> {
    let standing = Standing {
        status: task.status,
        audience: task.audience,
        counts: task.counts,
        wait_until: task.wait_until,
    };
    let next = settle(&standing, now)?;
    task.status = next;
    task.settled_at = Some(now);
    Some(next)
}

/// The next deadline of a task that the scheduler acts on. The end of its life stays one until it
/// was acted on, even if it has passed: only the scheduler itself knows that (`is_end_handled`).
pub(crate) fn next_deadline(
    task: &TaskHead,
    now: DateTime<Utc>,
    is_end_handled: bool,
) -> Option<DateTime<Utc>> {
    let is_waiting = matches!(task.status, TaskStatus::Created | TaskStatus::Sent);
    // Once a listed task is DONE it has no open row that could expire; the others may have.
    let may_expire = task.status != TaskStatus::Done || task.audience != Audience::Listed;
    let is_alive = now < task.expires_at;
    let wait = (is_waiting && now < task.wait_until).then_some(task.wait_until);
    let end = (may_expire && (is_alive || !is_end_handled)).then_some(task.expires_at);
    // All who are expected in a task that is DONE were heard of.
    let rows = task.rows_due_at.filter(|_| task.status != TaskStatus::Done);
    [rows, wait, end].into_iter().flatten().min()
}

/// When what a report tells happened: durations of endpoints are trusted, their clocks are not.
/// Never before the task was made.
pub(crate) fn happened_at(report: &Report, task: &TaskHead, now: DateTime<Utc>) -> DateTime<Utc> {
    before(now, report.age_ms).max(task.created_at)
}

fn before(at: DateTime<Utc>, ms: u64) -> DateTime<Utc> {
    i64::try_from(ms)
        .ok()
        .and_then(chrono::Duration::try_milliseconds)
        .and_then(|span| at.checked_sub_signed(span))
        .unwrap_or(DateTime::UNIX_EPOCH)
}

/// Whether an open task still counts an endpoint of which it hears for the first time.
pub(crate) fn is_in_time(task: &TaskHead, at: DateTime<Utc>) -> bool {
    at < task.wait_until && !task.status.is_settled()
}

/// Applies a report to its row if it is believed, orders the next attempt if it is due one, and moves
/// the task's counters with it. `random`: see [`retry::next_start`].
pub(crate) fn apply(
    task: &mut TaskHead,
    row: &mut ResponseBody,
    report: &Report,
    now: DateTime<Utc>,
    ask_at: DateTime<Utc>,
    random: f64,
) -> Result<RecordVerdict, Failure> {
    let from = row.state()?;
    let known = fence::Row {
        attempt: row.attempt.unsigned_abs(),
        run: row.run.unsigned_abs(),
        state: from,
        presumed: row.presumed,
        cancel_requested: task.cancel_requested_at.is_some(),
    };
    let mut claim = Claim {
        attempt: report.attempt,
        run: report.run,
        state: report.state,
    };
    if is_left_out(Protection::Fence) {
        (claim.attempt, claim.run) = (known.attempt, known.run);
    }
    match fence::judge(&known, &claim) {
        Verdict::Known => return Ok(RecordVerdict::Known),
        Verdict::Fenced => return Ok(RecordVerdict::Fenced),
        Verdict::Unordered => return Ok(RecordVerdict::Unordered),
        Verdict::Apply => {}
    }
    let mut to = report.state;
    let at = happened_at(report, task, now);
    note_times(task, row, report, at);
    let is_new_run = int(report.run) > row.run;
    row.run = row.run.max(int(report.run));
    row.state = to.code();
    row.presumed = false;
    row.last_modified_at = stored(now);
    row.ask_at = (!to.is_finished()).then(|| stored(ask_at));
    row.retry_at = None;
    row.errnr = to
        .is_finished()
        .then(|| report.errnr.unwrap_or_else(|| default_errnr(to)));
    row.errmsg.clone_from(&report.errmsg);
    row.payload = report
        .payload
        .as_ref()
        .map(|json| json.get().as_bytes().to_vec());
    row.elapsed_ms = report
        .elapsed_ms
        .map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    if to == ResponseState::Succeeded {
        // Whatever the handler said last: it is through.
        row.progress_percent = Some(100);
        row.progress_note = None;
    } else if let Some(progress) = &report.progress {
        row.progress_percent = Some(progress.percent.into());
        row.progress_note.clone_from(&progress.note);
    } else if is_new_run && to == ResponseState::Running {
        row.progress_percent = None;
        row.progress_note = None;
    }
    if let Some(start) = next_start(task, row, to, now, random) {
        to = ResponseState::Retrying;
        order_next_attempt(row, start);
    }
    if row.expected {
        task.counts.step(from, to);
    }
    Ok(RecordVerdict::Applied)
}

/// When the attempt after this one may start; `None` if what came of this one stands. What a client
/// has cancelled is not tried again, and neither is what a task was DONE with: only a client reopens
/// it.
fn next_start(
    task: &TaskHead,
    row: &ResponseBody,
    state: ResponseState,
    now: DateTime<Utc>,
    random: f64,
) -> Option<DateTime<Utc>> {
    let is_over = row.expected && task.status == TaskStatus::Done;
    if is_over || task.cancel_requested_at.is_some() {
        return None;
    }
    let ended = Ended {
        state,
        attempt: row.attempt.unsigned_abs(),
        final_attempt: row.final_attempt.unsigned_abs(),
        expires_at: task.expires_at,
    };
    retry::next_start(&task.retry, &ended, now, random)
}

/// Error number, error text and reply of the failed attempt stay until the next one is taken.
fn order_next_attempt(row: &mut ResponseBody, start: DateTime<Utc>) {
    row.state = ResponseState::Retrying.code();
    row.attempt += 1;
    row.run = 0;
    row.finished_at = None;
    row.progress_percent = None;
    row.progress_note = None;
    row.retry_at = Some(stored(start));
    // The ledger asks for it then, whether or not its endpoint says hello before.
    row.ask_at = row.retry_at;
}

/// Reports coalesce to the newest, so the times of skipped states are concluded from it.
fn note_times(task: &TaskHead, row: &mut ResponseBody, report: &Report, at: DateTime<Utc>) {
    let to = report.state;
    let started_at: Option<NaiveDateTime> = match report.elapsed_ms {
        _ if to == ResponseState::Running => Some(stored(at)),
        Some(ms) if to.is_finished() => Some(stored(before(at, ms).max(task.created_at))),
        _ => None,
    };
    let is_new_run = int(report.run) > row.run;
    if row.started_at.is_none() || is_new_run {
        row.started_at = started_at.or(row.started_at);
    }
    if row.received_at.is_none() {
        let received_at = started_at.map_or_else(|| stored(at), |start| start.min(stored(at)));
        row.received_at = Some(received_at);
        row.late |= received_at >= stored(task.wait_until);
    }
    row.finished_at = to.is_finished().then(|| stored(at));
}

/// What a finished state means when the endpoint gave no number.
const fn default_errnr(state: ResponseState) -> i32 {
    match state {
        ResponseState::Succeeded => errnr::OK,
        ResponseState::TimedOut => errnr::TIMED_OUT,
        ResponseState::Interrupted => errnr::INTERRUPTED,
        ResponseState::Cancelled => errnr::CANCELLED,
        _ => errnr::GENERAL,
    }
}
