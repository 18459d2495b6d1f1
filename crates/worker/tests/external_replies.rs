//! Programs as handlers: what they get, what they answer, and what comes of bad answers.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod common;

use common::{Folder, TestContext, run, run_with};
use serde_json::value::RawValue;
use tasker_core::TaskUid;
use tasker_core::handler::Output;

fn reply(output: &Output) -> &str {
    output.payload.as_ref().map_or("", |payload| payload.get())
}

#[tokio::test]
async fn the_request_comes_on_stdin_and_the_reply_goes_back_byte_for_byte() {
    let folder = Folder::new("#!/bin/sh\ncat > \"$TASKER_REPLY\"\n", "");
    let payload = RawValue::from_string(r#"{"a": [1,  2.0], "ä": "\u0000"}"#.to_owned()).unwrap();
    let uid = TaskUid::mint();
    let handler = folder.handler();
    let output = run_with(handler.as_ref(), uid, Some(&payload), &TestContext::new())
        .await
        .unwrap();
    let expected = format!(
        r#"{{"protocol":1,"uid":"{uid}","identifier":"nightly-17","type":"probe","client":"local","endpoint":"console1","attempt":2,"run":1,"timeout_s":60,"payload":{}}}"#,
        payload.get()
    );
    assert_eq!(reply(&output).trim_end(), expected);
}

#[tokio::test]
async fn exit_codes_decide() {
    for (script, errnr, errmsg) in [
        ("exit 3", 3, "the program exited with 3"),
        ("exit 125", 125, "the program exited with 125"),
        ("exit 126", 1, "the program exited with 126"),
        ("exit 137", 1, "the program exited with 137"),
        (
            r#"echo '{"errmsg":"no disk","payload":[1]}' > $TASKER_REPLY; exit 7"#,
            7,
            "no disk",
        ),
        (
            r#"echo '{}' > $TASKER_REPLY; exit 7"#,
            7,
            "the program exited with 7",
        ),
        (
            r#"echo '{"error":1}' > $TASKER_REPLY; exit 7"#,
            7,
            "exited with 7 (the reply of a fail",
        ),
        (
            r#"echo 'oops' > $TASKER_REPLY; exit 7"#,
            7,
            "exited with 7 (the reply of a failure must",
        ),
        ("kill -9 $$", 1012, "ended by signal 9 SIGKILL"),
        ("kill -SEGV $$", 1012, "ended by signal 11 SIGSEGV"),
    ] {
        let error = run(&format!("#!/bin/sh\n{script}\n")).await.unwrap_err();
        assert_eq!(error.errnr, errnr, "{script}");
        assert!(error.errmsg.contains(errmsg), "{script}: {}", error.errmsg);
        assert_eq!(
            error.payload.is_some(),
            script.contains("payload"),
            "{script}"
        );
    }
}

#[tokio::test]
async fn a_reply_is_json_or_nothing() {
    for script in ["true", ": > $TASKER_REPLY", "echo > $TASKER_REPLY"] {
        let output = run(&format!("#!/bin/sh\n{script}\n")).await.unwrap();
        assert!(output.payload.is_none(), "{script}");
    }
    for (script, fault) in [
        (
            "echo '<script>' > $TASKER_REPLY",
            "expected value at line 1",
        ),
        (r"printf '\377\376' > $TASKER_REPLY", "line 1"),
        (r"printf '\033[31m' > $TASKER_REPLY", "line 1"),
        (r"printf '\000' > $TASKER_REPLY", "line 1"),
        (r#"printf '"\\ud800"' > $TASKER_REPLY"#, "line 1"),
        (r#"echo '{"a":1,"a":2}' > $TASKER_REPLY"#, "duplicate key"),
        ("echo '{} {}' > $TASKER_REPLY", "line 1"),
        (
            "head -c 40 /dev/zero | tr '\\0' '[' > $TASKER_REPLY; head -c 40 /dev/zero | tr '\\0' ']' >> $TASKER_REPLY",
            "nests deeper than 32",
        ),
        (
            "head -c 300000 /dev/zero | tr '\\0' 1 > $TASKER_REPLY",
            "longer than 262144",
        ),
        ("truncate -s 1G $TASKER_REPLY", "longer than 262144"),
        ("ln -s /etc/passwd $TASKER_REPLY", "cannot be read"),
        ("mkfifo $TASKER_REPLY", "not a plain file"),
        ("mkdir $TASKER_REPLY", "not a plain file"),
    ] {
        let error = run(&format!("#!/bin/sh\n{script}\n")).await.unwrap_err();
        assert_eq!(error.errnr, 1010, "{script}: {}", error.errmsg);
        assert!(error.errmsg.contains(fault), "{script}: {}", error.errmsg);
    }
}

#[tokio::test]
async fn progress_lines_are_passed_on_in_order() {
    let script = "#!/bin/sh\necho 10 a > $TASKER_PROGRESS\necho nonsense > $TASKER_PROGRESS\n\
                  printf '50 b\\n90\\n' > $TASKER_PROGRESS\nread _ < $TASKER_GO\n";
    let go = tempfile::tempdir().unwrap();
    let gate = go.path().join("go");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = script.replace("$TASKER_GO", gate.to_str().unwrap());
    let folder = Folder::new(&script, "");
    let (handler, context) = (folder.handler(), TestContext::new());
    let running = tokio::spawn({
        let context = context.clone();
        async move { run_with(handler.as_ref(), TaskUid::mint(), None, &context).await }
    });
    common::until("three lines", || {
        context.progress.lock().unwrap().len() == 3
    })
    .await;
    tokio::task::spawn_blocking(move || std::fs::write(gate, "\n"))
        .await
        .unwrap()
        .unwrap();
    running.await.unwrap().unwrap();
    let lines: Vec<_> = context.progress.lock().unwrap().drain(..).collect();
    let lines: Vec<_> = lines
        .iter()
        .map(|p| (p.percent, p.note.as_deref()))
        .collect();
    assert_eq!(lines, [(10, Some("a")), (50, Some("b")), (90, None)]);
}

#[tokio::test]
async fn the_environment_is_clean_and_the_folder_is_the_runs_own() {
    let script = r#"#!/bin/sh
stat -c '%a' . > seen
pwd >> seen
env | cut -d= -f1 | sort | tr '\n' ' ' >> seen
echo "$COLOUR $HOME" >> seen
python3 -c 'import json,os; json.dump(open("seen").read().split("\n"), open(os.environ["TASKER_REPLY"],"w"))'
"#;
    let folder = Folder::new(
        script,
        "env: [CARGO_PKG_NAME, NOT_THERE]\nset: {COLOUR: red}\n",
    );
    let handler = folder.handler();
    let output = run_with(handler.as_ref(), TaskUid::mint(), None, &TestContext::new())
        .await
        .unwrap();
    let seen: Vec<String> = serde_json::from_str(reply(&output)).unwrap();
    assert_eq!(seen[0], "700");
    // The shell itself adds PWD.
    let expected = "CARGO_PKG_NAME COLOUR HOME LANG PATH PWD TASKER_HANDLER_DIR TASKER_PROGRESS \
                    TASKER_REPLY TASKER_RUN TMPDIR ";
    let variables: Vec<_> = seen[2]
        .split_inclusive(' ')
        .filter(|name| !["OLDPWD ", "_ "].contains(name))
        .collect();
    assert!(
        variables.concat().starts_with(expected.trim_end()),
        "{:?}",
        variables.concat()
    );
    assert!(seen[2].ends_with(&format!("red {}", seen[1])), "{seen:?}");
    assert!(
        !std::path::Path::new(&seen[1]).exists(),
        "the folder of the run was left behind"
    );
}

#[tokio::test]
async fn a_schema_judges_before_anything_starts() {
    let schema = "schema:\n  type: object\n  required: [n]\n  properties: {n: {type: integer}}\n";
    let handler = Folder::new("#!/bin/sh\n", schema).handler();
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    handler.check(Some(&raw(r#"{"n":1}"#))).unwrap();
    let fault = handler.check(Some(&raw(r#"{"n":"x"}"#))).unwrap_err();
    assert!(fault.contains("/n"), "{fault}");
    assert!(handler.check(None).is_err());
}

#[tokio::test]
async fn what_cannot_be_started_says_so() {
    let folder = Folder::new("#!/no/such/interpreter\n", "");
    let handler = folder.handler();
    let error = run_with(handler.as_ref(), TaskUid::mint(), None, &TestContext::new())
        .await
        .unwrap_err();
    assert_eq!(error.errnr, 1011);
    assert!(error.errmsg.contains("No such file"), "{}", error.errmsg);
}
