//! The conformance suite of the Store port: what every backend promises, one function a promise.
//!
//! A backend hands in a [`Ledger`], one fresh database a test, and calls
//! [`store_suite!`](crate::store_suite!).

pub mod asking;
pub mod batching;
pub mod cancelling;
pub mod creating;
pub mod deadlines;
pub mod failing;
pub mod listening;
pub mod model;
pub mod notifying;
pub mod pausing;
mod probe;
pub mod purging;
pub mod reading;
pub mod recording;
pub mod relaying;
pub mod retrying;
pub mod serving;
pub mod strangers;
pub mod unheard;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tasker_core::store::{Ports, Store, Timing};

pub use probe::Probe;

/// A clock that a ledger is told to go by.
pub type TestClock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// One fresh database of a backend.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Opens it as one more process would.
    async fn open(&self, timing: Timing) -> Arc<dyn Store>;
    /// As [`Ledger::open`], with a clock of the test's.
    async fn open_told(&self, timing: Timing, clock: TestClock) -> Arc<dyn Store>;
    /// Opens every port of it.
    async fn ports(&self) -> Ports;
    /// As [`Ledger::ports`], with a clock of the test's.
    async fn ports_told(&self, clock: TestClock) -> Ports;
    /// Removes it.
    async fn remove(self: Box<Self>);
}

/// A span that does not end within a test.
pub const LONG: Duration = Duration::from_secs(3600);

/// Nothing becomes due by the clock: leases, asks and silences last longer than any test.
#[must_use]
pub const fn patient() -> Timing {
    Timing {
        lease: LONG,
        ask_every: LONG,
        offline_after: LONG,
        lost_after: LONG,
        rows_after: Duration::ZERO,
    }
}

/// Makes one `#[tokio::test]` of every promise. The argument is an async function that makes a
/// fresh [`Ledger`], boxed.
#[macro_export]
macro_rules! store_suite {
    ($make:path) => {
        $crate::store_suite! { @either $make }
        $crate::store_suite! { @tests $make;
            reading: responses_are_paged_and_filtered,
            asking: only_live_endpoints_are_asked,
            asking: a_row_is_asked_again_after_a_while,
            asking: final_rows_are_not_asked,
            asking: schedulers_share_the_asks,
            pausing: an_endpoint_is_asked_when_the_pause_is_over,
            pausing: an_absent_endpoint_is_asked_when_it_comes,
            pausing: what_waits_for_its_next_attempt_may_expire,
            pausing: a_cancel_ends_the_attempts,
            pausing: an_open_task_waits_for_the_last_attempt,
            pausing: who_is_not_expected_is_tried_again_too,
            serving: a_job_of_a_worker_waits_for_its_task,
            serving: only_jobs_of_workers_are_looked_at,
            serving: a_job_follows_its_task_to_its_end,
            serving: skipped_steps_of_a_job_are_made_up_for,
            serving: followers_at_once_make_each_step_once,
            serving: a_cancelled_job_cancels_its_task,
            serving: an_old_job_gets_no_task_any_more,
            serving: the_end_of_a_job_leaves_a_notice,
            notifying: whatever_settles_a_task_leaves_a_notice,
            notifying: a_task_without_a_callback_leaves_none,
            notifying: a_task_that_settles_again_leaves_another,
            notifying: a_notice_belongs_to_who_took_it_until_the_lease_ends,
            notifying: takers_never_take_the_same_notice,
            notifying: what_failed_is_due_after_its_pause,
            notifying: what_is_told_is_not_due_again,
            notifying: tries_of_the_dead_count_too,
            notifying: hosts_are_taken_by_themselves,
            notifying: a_notice_goes_with_its_task,
            unheard: an_answer_makes_the_row_as_it_would_have_been,
            unheard: a_list_without_rows_lets_nobody_else_answer,
            unheard: the_silent_are_asked_as_ever,
            unheard: who_says_hello_meanwhile_is_asked_at_once,
            unheard: who_said_hello_to_another_process_is_asked_in_a_while,
            unheard: a_look_and_a_deadline_make_no_row_twice,
        }
    };
    // Those that hold with rows from the start and without.
    (@either $make:path) => {
        $crate::store_suite! { @tests $make;
            creating: a_task_is_stored_whole,
            creating: the_same_request_again_is_the_same_task,
            creating: another_request_with_the_identifier_is_refused,
            creating: keys_are_compared_within_a_batch_too,
            creating: names_are_compared_byte_by_byte,
            creating: clients_and_types_do_not_share_identifiers,
            creating: a_hundred_identical_requests_make_one_task,
            creating: overlapping_batches_store_every_key_once,
            creating: a_list_may_have_fifty_thousand_names,
            creating: payload_bytes_are_kept,
            creating: another_process_reads_what_was_stored,
            reading: tasks_are_listed_newest_first_in_pages,
            reading: tasks_are_listed_by_status,
            reading: lists_show_only_the_clients_own,
            reading: missing_answers_have_their_reasons,
            reading: what_does_not_exist_is_not_found,
            reading: the_clock_runs_forward,
            relaying: a_new_task_belongs_to_its_process_until_the_lease_ends,
            relaying: a_confirmed_task_is_sent_and_not_taken_again,
            relaying: relays_never_take_the_same_task,
            relaying: an_expired_task_is_not_published,
            relaying: a_confirm_does_not_undo_a_settled_status,
            relaying: a_cancel_outlives_the_confirm_of_its_task,
            recording: a_response_goes_through_its_states,
            recording: reports_may_skip_states,
            batching: reports_of_one_batch_apply_in_order,
            batching: a_batch_changes_the_rows_that_it_names,
            recording: what_is_known_changes_nothing,
            recording: outcomes_keep_their_outputs,
            recording: an_outcome_without_a_number_gets_one,
            recording: progress_is_replaced_by_newer_progress,
            recording: times_come_from_ages,
            recording: reports_that_lie_are_refused,
            recording: the_last_row_settles_once,
            recording: many_recorders_lose_no_count,
            recording: late_answers_complete_an_incomplete_task,
            strangers: nobody_else_answers_for_a_list,
            strangers: a_task_of_another_type_is_not_answered,
            strangers: subscribers_of_an_open_task_are_expected_in_time,
            strangers: a_subscriber_after_the_wait_is_late,
            strangers: everybody_may_perform_without_being_expected,
            strangers: a_reporting_endpoint_is_known,
            listening: a_first_hello_makes_the_worker_known,
            listening: the_same_journal_changes_nothing,
            listening: a_new_journal_interrupts_once_runs,
            listening: a_new_journal_repeats_idempotent_runs,
            listening: a_new_journal_settles_what_it_ends,
            listening: a_fresh_journal_hears_what_it_had,
            listening: a_hello_hears_of_cancels,
            listening: a_hello_of_an_earlier_start_changes_nothing,
            listening: only_the_last_eight_starts_are_remembered,
            listening: hellos_may_collide,
            listening: heartbeats_keep_workers_online,
            asking: who_was_presumed_lost_is_asked_when_it_is_back,
            asking: who_came_back_with_another_journal_is_not_asked,
            asking: expired_tasks_are_not_asked,
            asking: what_was_taken_is_asked_beyond_the_end,
            asking: cancelled_tasks_are_asked_for_their_end,
            cancelling: a_cancel_is_stored_and_due,
            cancelling: cancelling_twice_changes_nothing,
            cancelling: what_is_done_cannot_be_cancelled,
            cancelling: an_incomplete_task_can_be_cancelled,
            cancelling: a_tombstone_confirms_a_cancel,
            cancelling: a_cancelled_task_stays_cancelled,
            cancelling: an_unknown_task_is_gone,
            retrying: only_the_chosen_responses_are_tried_again,
            retrying: endpoints_can_be_chosen,
            retrying: a_task_under_way_is_not_retried,
            retrying: nothing_to_retry_changes_nothing,
            retrying: an_expired_task_gets_a_new_life,
            retrying: a_new_life_is_not_published,
            retrying: a_retry_outdates_the_attempt_before,
            retrying: a_retry_without_time_is_judged_at_the_next_deadline,
            retrying: a_retry_of_an_open_task_is_waited_for,
            failing: a_failure_is_followed_by_another_attempt,
            failing: pauses_grow_up_to_their_limit,
            failing: the_last_failure_stands,
            failing: a_later_success_counts_as_one,
            failing: only_failures_are_tried_again,
            failing: no_attempt_is_ordered_beyond_the_end,
            failing: a_clients_retry_brings_a_fresh_budget,
            failing: a_lost_journal_costs_no_attempt,
            failing: a_task_that_is_done_is_not_reopened,
            deadlines: a_task_that_nobody_received_is_incomplete,
            deadlines: a_task_that_all_received_goes_on,
            deadlines: an_open_task_is_done_after_the_wait,
            deadlines: waiting_rows_expire,
            deadlines: retrying_rows_expire_and_are_missing,
            deadlines: cancelled_rows_expire,
            deadlines: deadlines_are_taken_in_portions,
            deadlines: schedulers_settle_a_task_once,
            deadlines: runs_of_silent_endpoints_are_presumed_lost,
            deadlines: the_time_out_of_a_run_is_waited_for,
            deadlines: a_true_outcome_replaces_a_presumed_one,
            deadlines: lost_runs_are_taken_in_portions,
            purging: only_what_is_over_for_long_enough_is_purged,
            purging: what_is_purged_is_gone_at_once,
            purging: an_identifier_is_free_again_after_the_purge,
            purging: a_retried_task_is_kept,
            purging: what_changed_since_it_was_copied_is_kept,
            purging: portions_are_bounded_and_complete,
            purging: a_sweep_goes_on_where_another_ended,
            purging: what_is_purged_cannot_be_changed,
            purging: purgers_and_writers_do_not_meet,
        }
    };
    (@tests $make:path; $($module:ident: $promise:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let ledger = $make().await;
                $crate::store_suite::$module::$promise(&*ledger).await;
                $crate::store_suite::Ledger::remove(ledger).await;
            }
        )+
    };
}

/// The promises that have to do with rows, on a ledger that writes none before somebody looks at it.
#[macro_export]
macro_rules! unheard_suite {
    ($make:path) => {
        async fn unheard()
        -> Box<$crate::store_suite::unheard::Unheard<impl $crate::store_suite::Ledger>> {
            Box::new($crate::store_suite::unheard::Unheard($make().await))
        }

        $crate::store_suite! { @either unheard }
    };
}

/// The model test, so many cases on a ledger that writes rows with their task and on one that does not.
/// Seeds of cases that failed are kept in the file.
#[macro_export]
macro_rules! model_suite {
    ($make:path, $cases:literal, $seeds:literal) => {
        $crate::model_suite! { @tests $make, $cases, $seeds;
            a_store_with_rows_does_what_the_model_says: Early,
            a_store_without_rows_does_what_the_model_says: Late,
        }
    };
    (@tests $make:path, $cases:literal, $seeds:literal; $($test:ident: $rows:ident,)+) => {
        $(
            #[test]
            fn $test() {
                use $crate::store_suite::model::{self, Rows};
                let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/", $seeds);
                model::the_store_does_what_the_model_says($make, Rows::$rows, $cases, seeds);
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_promise_is_called() {
        let called = include_str!("mod.rs");
        for (module, source) in [
            ("asking", include_str!("asking.rs")),
            ("batching", include_str!("batching.rs")),
            ("cancelling", include_str!("cancelling.rs")),
            ("creating", include_str!("creating.rs")),
            ("deadlines", include_str!("deadlines.rs")),
            ("failing", include_str!("failing.rs")),
            ("listening", include_str!("listening.rs")),
            ("notifying", include_str!("notifying.rs")),
            ("purging", include_str!("purging.rs")),
            ("pausing", include_str!("pausing.rs")),
            ("reading", include_str!("reading.rs")),
            ("recording", include_str!("recording.rs")),
            ("relaying", include_str!("relaying.rs")),
            ("retrying", include_str!("retrying.rs")),
            ("strangers", include_str!("strangers.rs")),
            ("unheard", include_str!("unheard.rs")),
        ] {
            for line in source.lines() {
                if let Some(rest) = line.strip_prefix("pub async fn ") {
                    let name = rest.split('(').next().unwrap_or_default();
                    assert!(
                        called.contains(&format!("{module}: {name},")),
                        "{module}::{name}"
                    );
                }
            }
        }
    }
}
