//! The configuration and the handlers of an installation for a test.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Handlers that answer at once (`worker`), when a file appears (`backup`), or at the third attempt, each
/// time when a file appears (`flaky`, and `saving` of jobs), and say which run it was.
pub(crate) fn make_handlers(dir: &Path) {
    for (name, script) in [
        ("worker", WORKER),
        ("backup", BACKUP),
        ("flaky", FLAKY),
        ("saving", FLAKY),
    ] {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("handler.yaml"), HANDLER).unwrap();
        std::fs::write(folder.join("run"), script).unwrap();
        std::fs::set_permissions(folder.join("run"), PermissionsExt::from_mode(0o755)).unwrap();
    }
}

const HANDLER: &str =
    "protocol: 1\ndescription: a test\ncommand: [run]\ntimeout_s: 120\nenv: [T_DIR]\n";

const WORKER: &str = r#"#!/bin/sh
echo '{"yiya":"yippie","yeah":1234123}' > "$TASKER_REPLY"
"#;

const BACKUP: &str = r#"#!/bin/sh
echo start >> "$T_DIR/backup.runs"
while [ ! -e "$T_DIR/backup.go" ]; do sleep 0.05; done
echo '{"saved":true}' > "$TASKER_REPLY"
"#;

const FLAKY: &str = r#"#!/bin/sh
cat >> "$T_DIR/flaky.runs"
run=$(wc -l < "$T_DIR/flaky.runs")
while [ ! -e "$T_DIR/flaky.go.$run" ]; do sleep 0.05; done
if [ "$run" -lt 3 ]; then
  echo '{"errmsg":"no disk"}' > "$TASKER_REPLY"
  exit 7
fi
echo '{"saved":true}' > "$TASKER_REPLY"
"#;

/// Lets this run of a flaky handler come to its end.
pub(crate) fn let_end(dir: &Path, run: usize) {
    std::fs::write(dir.join(format!("flaky.go.{run}")), "").unwrap();
}

/// Spans short enough for a test; everything else as it is shipped.
pub(crate) const CONFIG: &str = r"
task_types:
  - worker
  - backup
  - name: flaky
    max_attempts: 3
    retry_backoff_s: 1
    retry_backoff_max_s: 2
  - name: ds
    kind: job
  - name: saving
    kind: job
    endpoint: console1
    max_attempts: 3
    retry_backoff_s: 1
    retry_backoff_max_s: 2
api:
  auth: none
  port: 0
  wait_for_endpoints_timeout: 3
  wait_for_sent_ms: 2000
worker:
  username: ${TASKER_WORKER_USER}
  password: ${TASKER_WORKER_PASSWORD}
  journal_dir: ${T_DIR}/journals
  handlers_dir: ${T_DIR}/handlers
  heartbeat_s: 1
timing:
  lease_s: 2
  ask_every_s: 2
  offline_after_s: 3
  lost_after_s: 5
";
