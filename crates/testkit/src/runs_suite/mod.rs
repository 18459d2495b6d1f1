//! The conformance suite of the Runs port: what every backend promises, one function a promise.
//!
//! A backend hands in a [`RunLedger`], one fresh database a test, and calls
//! [`runs_suite!`](crate::runs_suite!).

pub mod changing;
pub mod claiming;
pub mod leasing;
pub mod making;
mod probe;
pub mod restarting;

use std::sync::Arc;

use async_trait::async_trait;
use tasker_core::runs::Runs;

use crate::store_suite::TestClock;
pub use probe::Probe;

/// One fresh database of a backend.
#[async_trait]
pub trait RunLedger: Send + Sync {
    /// Opens it as one more process would; with a clock of the test's, if there is one.
    async fn open_runs(&self, clock: Option<TestClock>) -> Arc<dyn Runs>;
    /// Removes it.
    async fn remove_runs(self: Box<Self>);
}

/// Makes one `#[tokio::test]` of every promise. The argument is an async function that makes a
/// fresh [`RunLedger`], boxed.
#[macro_export]
macro_rules! runs_suite {
    ($make:path) => {
        $crate::runs_suite! { @tests $make;
            making: a_run_is_stored_and_shown,
            making: a_huge_run_is_one_row,
            making: runs_are_listed_newest_first,
            making: a_client_sees_its_own_runs_only,
            making: a_worker_is_known_by_its_name,
            making: payloads_reach_their_tasks,
            making: a_deleted_run_is_gone_and_swept,
            making: reads_do_not_write,
            claiming: numbers_are_handed_out_in_order,
            claiming: no_task_is_handed_out_twice,
            claiming: what_was_put_back_comes_first,
            claiming: what_was_touched_before_its_turn_is_passed_over,
            claiming: strangers_get_nothing,
            claiming: a_run_without_tasks_has_no_more,
            changing: a_change_is_kept,
            changing: changes_of_one_batch_apply_in_order,
            changing: only_its_worker_may_change_a_task,
            changing: a_session_stands_for_its_worker,
            changing: what_does_not_exist_is_told,
            changing: progress_counts_every_task,
            restarting: a_restart_takes_back_what_is_incomplete,
            restarting: a_restart_of_everything_forgets,
            restarting: a_restart_touches_no_task,
            restarting: a_restart_outdates_workers,
            restarting: old_partly_done_tasks_come_back,
            leasing: a_silent_worker_loses_its_task_once,
            leasing: who_is_heard_of_keeps_its_task,
            leasing: a_late_worker_is_refused,
            leasing: without_a_lease_a_task_is_kept_for_ever,
        }
    };
    (@tests $make:path; $($module:ident: $promise:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let ledger = $make().await;
                $crate::runs_suite::$module::$promise(&*ledger).await;
                $crate::runs_suite::RunLedger::remove_runs(ledger).await;
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
            ("changing", include_str!("changing.rs")),
            ("claiming", include_str!("claiming.rs")),
            ("leasing", include_str!("leasing.rs")),
            ("making", include_str!("making.rs")),
            ("restarting", include_str!("restarting.rs")),
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
