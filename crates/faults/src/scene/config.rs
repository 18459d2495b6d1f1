//! The installation of a drill: its task types, its spans, its handlers.

use tasker_testkit::installation::Installation;

use crate::stage::Stage;

/// The drills' handler as a program, for every task type. Beside it in the folder, as `drill`, for
/// scripts that take its place as `run`.
pub(super) fn make_handlers(stage: &Stage, installation: &Installation) {
    for task_type in TYPES.iter().chain(OTHERS) {
        let dir = installation.dir().join("handlers").join(task_type);
        std::fs::create_dir(&dir).expect("a folder");
        for name in ["run", "drill"] {
            std::fs::copy(&stage.own.handler, dir.join(name)).expect("a handler");
        }
        let manifest = "description: says when it begins and ends\ncommand: [run]\nenv: [T_DIR]\n";
        std::fs::write(dir.join("handler.yaml"), manifest).expect("a manifest");
    }
}

/// The task types: `once` and `again` (idempotent).
pub const TYPES: [&str; 2] = ["once", "again"];

/// Task types that only some rows have performed: `flaky` (once, a failure is tried again), `rough` (once)
/// and `rough-again` (idempotent) for handlers that misbehave, with little time.
const OTHERS: &[&str] = &["flaky", "rough", "rough-again"];

/// Whether a run of the task type is never repeated.
pub(super) fn is_once(task_type: &str) -> bool {
    matches!(task_type, "once" | "flaky" | "rough")
}

/// Spans short enough for a drill. A row may change those that are variables.
pub(super) const CONFIG: &str = r"
task_types:
  - name: once
    timeout_s: 120
  - name: again
    run_policy: idempotent
    timeout_s: 120
  - name: flaky
    max_attempts: 2
    retry_backoff_s: 1
    timeout_s: 120
  - name: rough
    timeout_s: ${T_TIMEOUT:-3}
  - name: rough-again
    run_policy: idempotent
    timeout_s: ${T_TIMEOUT:-3}
api:
  auth: none
  port: ${T_PORT:-0}
  wait_for_endpoints_timeout: ${T_WAIT:-10}
  wait_for_sent_ms: 500
  drain_s: 20
worker:
  username: ${TASKER_WORKER_USER}
  password: ${TASKER_WORKER_PASSWORD}
  journal_dir: ${T_DIR}/journals${T_HOST:-}
  handlers_dir: ${T_DIR}/handlers
  concurrency: ${T_CONCURRENCY:-32}
  heartbeat_s: 2
  drain_s: ${T_DRAIN:-20}
timing:
  lease_s: 3
  ask_every_s: ${T_ASK:-5}
  offline_after_s: ${T_OFFLINE:-6}
  lost_after_s: ${T_LOST:-120}
";
