//! Programs whose processes shake off group, session, environment and parent: a run that is ended by
//! force leaves none of them, and takes none of another run.
//!
//! Adopted processes are told apart by the runs that are under way in the same process, so these tests
//! have a process of their own and run one at a time.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Folder, TestContext, is_alive, pid_in, run, run_with, until};
use nix::sys::signal::{SIGKILL, kill};
use nix::unistd::Pid;
use tasker_core::TaskUid;
use tasker_core::handler::{HandlerError, Output, Stop};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What TERM may take, and a little for a busy machine.
const BOUND: Duration = Duration::from_secs(5 + 4);

/// A line that leaves a process behind that nothing connects with its run, deaf to TERM like the rest,
/// and its number in a file.
fn escape(name: &str) -> String {
    format!(
        "(env -i setsid sh -c 'echo $$ > {name}.new; mv {name}.new {name}; exec sleep 999' &)\n"
    )
}

fn script(place: &Path, lines: &str) -> String {
    format!("#!/bin/sh\ncd {}\ntrap '' TERM\n{lines}", place.display())
}

/// A run of its own handler.
struct Going {
    context: Arc<TestContext>,
    ended: JoinHandle<Result<Output, HandlerError>>,
    _folder: Folder,
}

impl Going {
    fn start(script: &str) -> Self {
        let folder = Folder::new(script, "");
        let (handler, context) = (folder.handler(), TestContext::new());
        let ended = tokio::spawn({
            let context = context.clone();
            async move { run_with(handler.as_ref(), TaskUid::mint(), None, &context).await }
        });
        Self {
            context,
            ended,
            _folder: folder,
        }
    }

    /// Ends it by force. Returns how long that took.
    async fn stop(self, reason: Stop) -> Duration {
        let began = Instant::now();
        self.context.stop.send_replace(Some(reason));
        assert_eq!(self.ended.await.unwrap().unwrap_err().errnr, 1012);
        began.elapsed()
    }
}

fn fields(pid: i32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = text.rsplit_once(')')?.1;
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Waits for a process that is nobody's any more but this process's.
async fn adopted(place: &Path, name: &str) -> i32 {
    let own = std::process::id().to_string();
    let file = place.join(name);
    until(&format!("{name} is adopted"), || {
        pid_in(&file)
            .and_then(fields)
            .is_some_and(|fields| fields[1] == own)
    })
    .await;
    pid_in(&file).unwrap()
}

/// Waits until a process that starts now is younger than this one by the kernel's clock.
async fn a_tick_after(pid: i32) {
    let started: f64 = fields(pid).unwrap()[19].parse().unwrap();
    until("a tick has passed", || {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        seconds * 100.0 > started + 1.0
    })
    .await;
}

#[tokio::test]
async fn it_survives_neither_time_out_nor_cancel() {
    let _turn = ONE_AT_A_TIME.lock().await;
    for reason in [Stop::TimedOut, Stop::Cancelled] {
        let place = tempfile::tempdir().unwrap();
        let lines = format!("{}wait\nsleep 999\n", escape("gone"));
        let going = Going::start(&script(place.path(), &lines));
        let gone = adopted(place.path(), "gone").await;
        let environment = std::fs::read(format!("/proc/{gone}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("TASKER_RUN"));
        let took = going.stop(reason).await;
        assert!(!is_alive(gone), "{reason:?} left it");
        assert!(took >= Duration::from_secs(5) && took < BOUND, "{took:?}");
    }
}

#[tokio::test]
async fn a_run_takes_its_own_and_what_may_be_of_two_goes_with_the_last() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let wait = "while [ ! -e go ]; do sleep 0.02; done\n";
    let lines = format!("{}{wait}{}sleep 999\n", escape("early"), escape("late"));
    let first = Going::start(&script(a.path(), &lines));
    let early = adopted(a.path(), "early").await;
    a_tick_after(early).await;
    let lines = format!("{}{wait}exit 0\n", escape("other"));
    let second = Going::start(&script(b.path(), &lines));
    let other = adopted(b.path(), "other").await;
    std::fs::write(a.path().join("go"), "").unwrap();
    let late = adopted(a.path(), "late").await;

    first.stop(Stop::Cancelled).await;
    assert!(!is_alive(early), "only the first can have started it");
    assert!(is_alive(other), "it is of a run that is under way");
    assert!(is_alive(late), "it may be of a run that is under way");

    // It ends of its own accord; what may be of the first does not profit.
    std::fs::write(b.path().join("go"), "").unwrap();
    second.ended.await.unwrap().unwrap();
    assert!(!is_alive(late) && !is_alive(other));
}

#[tokio::test]
async fn a_daemon_of_a_run_that_ended_well_stays_and_is_reaped() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let place = tempfile::tempdir().unwrap();
    let lines = format!(
        "{}while [ ! -e daemon ]; do sleep 0.02; done\n",
        escape("daemon")
    );
    run(&script(place.path(), &lines)).await.unwrap();
    let daemon = adopted(place.path(), "daemon").await;
    a_tick_after(daemon).await;
    // It is older than what is ended by force here.
    let going = Going::start("#!/bin/sh\nexec sleep 999\n");
    going.stop(Stop::TimedOut).await;
    assert!(is_alive(daemon));
    kill(Pid::from_raw(daemon), SIGKILL).unwrap();
    until("it has ended", || !is_alive(daemon)).await;
    run("#!/bin/sh\n").await.unwrap();
    assert!(fields(daemon).is_none(), "nobody waited for it");
}

#[tokio::test]
async fn what_ends_during_a_long_run_is_reaped() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let place = tempfile::tempdir().unwrap();
    let lines = "for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'echo $$ > '$i &); done\nsleep 999\n";
    let going = Going::start(&script(place.path(), lines));
    for name in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        until("it has run", || pid_in(&place.path().join(name)).is_some()).await;
        let pid = pid_in(&place.path().join(name)).unwrap();
        until("it is forgotten", || fields(pid).is_none()).await;
    }
    assert!(!going.ended.is_finished());
    going.stop(Stop::Shutdown).await;
}
