//! The worker's disk is full.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tasker_core::ResponseState::Succeeded;

use super::Row;
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Kind, Scene, until};

pub(super) const ROWS: &[Row] = &[Row {
    name: "F30",
    fault: "disk of a worker full",
    promise: "A worker that cannot write its journal claims and starts nothing, reports what has ended, and goes \
              on by itself when there is room.",
    is_quick: false,
    play: f30,
}];

/// A small disk of its own; gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir(&at).expect("a folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs"])
            .arg(&at)
            .status();
        assert!(mount.expect("mount").success(), "a small disk needs root");
        Self(at)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves no room; how many bytes that took.
    fn fill(&self) -> u64 {
        let mut file = File::create(self.filler()).expect("a file");
        let mut chunk = 1 << 16;
        let mut written = 0;
        while chunk > 0 {
            match file.write(&vec![0; chunk]) {
                Ok(count) => written += count as u64,
                Err(_) => chunk /= 2,
            }
        }
        written
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: its worker may still have files open.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// How many runs an endpoint has begun and ended.
fn counts(scene: &Scene<'_>, endpoint: &str) -> (usize, usize) {
    let runs = scene.runs();
    let begun = runs.starts.iter().filter(|(key, _)| key.1 == endpoint);
    let ended = runs.ends.keys().filter(|key| key.1 == endpoint);
    (begun.map(|(_, starts)| starts.len()).sum(), ended.count())
}

/// How many records START of some 150 bytes fit into a page at most.
const IN_ONE_PAGE: usize = 4096 / 128;

/// How many records START a journal holds.
fn starts_in(journal: &Path) -> usize {
    let bytes = std::fs::read(journal).expect("a journal");
    let word = br#"{"start":"#;
    bytes.windows(word.len()).filter(|w| w == word).count()
}

/// Waits until an endpoint begins nothing any more, and all that it began has ended.
fn wait_quiet(scene: &Scene<'_>, endpoint: &str) -> usize {
    let mut before = (0, 0);
    until("an endpoint to be quiet", || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let now = counts(scene, endpoint);
        let is_quiet = now == before && now.0 == now.1;
        before = now;
        is_quiet.then_some(now.0)
    })
}

fn f30(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    let disk = SmallDisk::mount(scene.installation.dir().join("journals-small"));
    scene.start_worker(Kind::Inside, "e1", &[("T_HOST", "-small".to_owned())]);
    scene.start_worker(Kind::Inside, "e2", &[]);
    let plan = Plan {
        payload: json!({"ms": 50}),
        ..Plan::new("once", &scene.endpoints())
    };
    let load = scene.load(&plan);
    load.wait_accepted(400);
    // Results pile up in its journal before there is no room left.
    scene.workers[0].broker.down();
    let begun = wait_quiet(scene, "e1");
    let kept = begun as u64 - scene.answers("once", "e1", &[Succeeded]);
    let filled = disk.fill();
    scene.workers[0].broker.heal();
    scene.injected("bytes that filled the disk", filled, 1);
    scene.injected("results in the journal", kept, 1);
    let told = until_told(scene, begun as u64);
    scene.promise(
        "a result did not leave while the disk was full",
        told >= begun as u64,
    );
    load.wait_accepted(300);
    let refusal = "nothing is claimed or started until it can";
    let refusals = scene.workers[0].program.printed().matches(refusal).count();
    scene.injected("refusals of the journal", refusals as u64, 1);
    // The last page of the file may still take some records.
    let (while_full, _) = counts(scene, "e1");
    let written = starts_in(&scene.journal_dir(0).join("once.e1.journal"));
    scene.note("runs begun while full", while_full - begun);
    let what = format!("{while_full} runs began, {written} of them are in the journal");
    scene.promise(&what, while_full <= written);
    let what = "tasks were taken although nothing could be written";
    scene.promise(what, while_full - begun <= IN_ONE_PAGE);
    disk.free();
    scene.cleared();
    load.wait_accepted(1000_u64.saturating_sub(load.accepted()).max(100));
    scene.end(load);
    scene.settle("once", Limits::default());
    drop(disk);
}

/// Waits until the ledger knows so many answers of the worker, or patience is over; how many it knows.
fn until_told(scene: &Scene<'_>, results: u64) -> u64 {
    let begun = std::time::Instant::now();
    loop {
        let told = scene.answers("once", "e1", &[Succeeded]);
        if told >= results || begun.elapsed() > std::time::Duration::from_secs(30) {
            return told;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
