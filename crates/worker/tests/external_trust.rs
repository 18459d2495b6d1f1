//! Folders that are refused, with the reason; the shipped samples are not.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;

use common::{Folder, TestContext, chmod, run_with, write};
use serde_json::value::RawValue;
use tasker_core::TaskUid;
use tasker_testkit::build;
use tasker_worker::external::load_handlers;

type Break = fn(&Path);

#[test]
fn what_others_could_change_is_refused() {
    let table: &[(&str, Break, &str)] = &[
        (
            "no manifest",
            |p| std::fs::remove_file(p.join("handler.yaml")).unwrap(),
            "handler.yaml: No",
        ),
        (
            "no program",
            |p| std::fs::remove_file(p.join("run")).unwrap(),
            "run: No such file",
        ),
        (
            "not executable",
            |p| chmod(&p.join("run"), 0o644),
            "run: is not executable",
        ),
        (
            "setuid",
            |p| chmod(&p.join("run"), 0o4755),
            "run: is setuid",
        ),
        (
            "setgid",
            |p| chmod(&p.join("run"), 0o2755),
            "run: is setuid or setgid",
        ),
        (
            "world-writable program",
            |p| chmod(&p.join("run"), 0o777),
            "run: can be written by others",
        ),
        (
            "group-writable program",
            |p| chmod(&p.join("run"), 0o775),
            "(mode 0775); chmod go-w",
        ),
        (
            "writable manifest",
            |p| chmod(&p.join("handler.yaml"), 0o666),
            "handler.yaml: can be",
        ),
        (
            "writable folder",
            |p| chmod(p, 0o777),
            "probe: can be written by others",
        ),
        (
            "writable include",
            |p| write(&p.join("lib.sh"), "", 0o666),
            "lib.sh: can be written",
        ),
        (
            "a link inside",
            |p| symlink("/bin/sh", p.join("sh")).unwrap(),
            "sh: is a symbolic link",
        ),
        (
            "the program a link",
            |p| {
                std::fs::remove_file(p.join("run")).unwrap();
                symlink("/bin/sh", p.join("run")).unwrap();
            },
            "run: is a symbolic link",
        ),
        (
            "the folder a link",
            |p| {
                let elsewhere = p.with_file_name(".elsewhere");
                std::fs::rename(p, &elsewhere).unwrap();
                symlink(elsewhere, p).unwrap();
            },
            "probe: is a symbolic link",
        ),
        (
            "a folder as program",
            |p| {
                std::fs::remove_file(p.join("run")).unwrap();
                std::fs::create_dir(p.join("run")).unwrap();
                chmod(&p.join("run"), 0o755);
            },
            "run: is not a file",
        ),
        (
            "a program outside",
            |p| {
                write(
                    &p.join("handler.yaml"),
                    "description: x\ncommand: [../run]\n",
                    0o644,
                );
            },
            "inside the handler's folder",
        ),
        (
            "an unknown key",
            |p| {
                write(
                    &p.join("handler.yaml"),
                    "description: x\ncommand: [run]\nshell: y\n",
                    0o644,
                );
            },
            "unknown field `shell`, expected one of",
        ),
        (
            "nobody to run as",
            |p| {
                let text = "description: x\ncommand: [run]\nrun_as: no-such-user-here\n";
                write(&p.join("handler.yaml"), text, 0o644);
            },
            "run_as: ",
        ),
        (
            "a reserved name",
            |p| std::fs::rename(p, p.with_file_name("runs")).unwrap(),
            "no task type: it \"runs\" is a reserved word",
        ),
    ];
    for (name, spoil, expected) in table {
        let folder = Folder::new("#!/bin/sh\n", "");
        spoil(&folder.probe());
        let fault = folder.fault();
        assert!(fault.contains(expected), "{name}: {fault}");
    }
    let missing = load_handlers(Path::new("/no/such/folder"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("/no/such/folder: No such file"),
        "{missing}"
    );
}

#[test]
fn all_faults_are_told_at_once_and_files_beside_are_ignored() {
    let folder = Folder::new("#!/bin/sh\n", "");
    write(&folder.dir.path().join("README.md"), "not a handler", 0o644);
    let first = load_handlers(folder.dir.path()).unwrap();
    assert_eq!(
        first
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        ["probe"]
    );
    for name in ["one", "two"] {
        let path = folder.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        chmod(&path, 0o755);
    }
    let faults = load_handlers(folder.dir.path()).unwrap_err().faults;
    assert_eq!(faults.len(), 2, "{faults:?}");
}

/// The samples, with modes that do not depend on how the project was checked out.
fn samples() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../handlers");
    for (folder, program) in [("worker", "run"), ("backup", "backup.py")] {
        let to = dir.path().join(folder);
        std::fs::create_dir(&to).unwrap();
        chmod(&to, 0o755);
        for (file, mode) in [("handler.yaml", 0o644), (program, 0o755)] {
            let text = std::fs::read_to_string(source.join(folder).join(file)).unwrap();
            write(&to.join(file), &text, mode);
        }
    }
    dir
}

#[tokio::test]
async fn the_sample_worker_answers_as_in_the_walk_through() {
    let samples = samples();
    let registry = load_handlers(samples.path()).unwrap();
    let handler = &registry.get(&build::task_type("worker")).unwrap().handler;
    let (uid, context) = (TaskUid::mint(), TestContext::new());
    let payload = RawValue::from_string(r#"{"foo":"bar"}"#.to_owned()).unwrap();
    let output = run_with(handler.as_ref(), uid, Some(&payload), &context)
        .await
        .unwrap();
    assert_eq!(
        output.payload.unwrap().get(),
        r#"{"yiya": "yippie", "yeah": 1234123}"#
    );
    assert!(
        context
            .progress
            .lock()
            .unwrap()
            .iter()
            .any(|p| p.percent == 50)
    );
}

#[tokio::test]
async fn the_sample_backup_packs_fails_and_drills() {
    let samples = samples();
    let registry = load_handlers(samples.path()).unwrap();
    let handler = &registry.get(&build::task_type("backup")).unwrap().handler;
    let raw = |text: String| RawValue::from_string(text).unwrap();
    let run = async |payload: &RawValue| {
        run_with(
            handler.as_ref(),
            TaskUid::mint(),
            Some(payload),
            &TestContext::new(),
        )
        .await
    };
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("a"), "a").unwrap();
    std::fs::write(source.path().join("skip"), "b").unwrap();
    let order = raw(format!(
        r#"{{"paths":["{}"],"exclude":["skip"]}}"#,
        source.path().display()
    ));
    handler.check(Some(&order)).unwrap();
    let reply = run(&order).await.unwrap().payload.unwrap();
    assert!(reply.get().contains(r#""files": 1"#), "{reply}");

    let error = run(&raw(r#"{"paths":["/no/such/folder"]}"#.to_owned()))
        .await
        .unwrap_err();
    assert_eq!(
        (error.errnr, error.errmsg.as_str()),
        (2, "/no/such/folder is no folder")
    );

    let drill = run(&raw(r#"{"foo":"bar"}"#.to_owned()))
        .await
        .unwrap()
        .payload
        .unwrap();
    assert!(drill.get().contains(r#""drill": true"#), "{drill}");
    assert!(
        handler
            .check(Some(&raw(r#"{"paths":"/etc"}"#.to_owned())))
            .is_err()
    );
}

#[tokio::test]
async fn run_as_is_for_root_and_means_it() {
    let folder = Folder::new(
        "#!/bin/sh\nprintf '\"%s %s\"' \"$(id -un)\" \"$(id -G)\" > \"$TASKER_REPLY\"\n\
         echo 50 > \"$TASKER_PROGRESS\"\n",
        "run_as: nobody\n",
    );
    if !nix::unistd::Uid::effective().is_root() {
        assert!(
            folder
                .fault()
                .contains("only root can run a program as \"nobody\"")
        );
        return;
    }
    // The program must be reachable for that user.
    chmod(folder.dir.path(), 0o755);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let uid = TaskUid::mint();
    let output = run_with(folder.handler().as_ref(), uid, None, &TestContext::new())
        .await
        .unwrap();
    assert_eq!(
        output.payload.unwrap().get(),
        format!("\"nobody {}\"", nobody.gid)
    );
}

/// The program's user owns the folder of the run and may move it. What then stands in its place is
/// not the program's reply, even if the worker could read it.
#[tokio::test]
async fn a_file_of_another_user_is_not_a_reply() {
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("reply"), "\"secret\"").unwrap();
    chmod(secret.path(), 0o755);
    let folder = Folder::new(
        "#!/bin/sh\nrun=$(dirname \"$TASKER_REPLY\")\n\
         echo '\"mine\"' > \"$TASKER_REPLY\"\n\
         cd / && mv \"$run\" \"$run.moved\" && ln -s \"$SECRET\" \"$run\"\n",
        &format!(
            "run_as: nobody\nset:\n  SECRET: {}\n",
            secret.path().display()
        ),
    );
    if !nix::unistd::Uid::effective().is_root() {
        // There is only one user then, and nothing that he may not read.
        assert!(folder.fault().contains("only root"));
        return;
    }
    chmod(folder.dir.path(), 0o755);
    let uid = TaskUid::mint();
    let handler = folder.handler();
    let error = run_with(handler.as_ref(), uid, None, &TestContext::new())
        .await
        .unwrap_err();
    assert!(
        error.errmsg.contains("not a file of the program's user"),
        "{error}"
    );
    assert!(secret.path().join("reply").exists());
    handler.clean_up("console1", uid).await;
}
