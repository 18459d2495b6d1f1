//! Runs, which clients pull, beside the public server of taskfarm. The harness is in `peers/taskfarm`.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::args::Args;
use crate::figures::Figures;
use crate::measured::Measured;
use crate::stage::Stage;

/// Measures both with the public client, on servers of their own.
///
/// # Panics
/// If the harness cannot be started.
pub fn compare(stage: &Stage, args: &Args, figures: &mut Figures) {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/taskfarm/compare");
    let log = File::create(stage.dir().join("taskfarm.log")).expect("a log");
    let tasks = args.size(256, 40).to_string();
    let output = Command::new(harness)
        .arg(stage.programs.join("tasker"))
        .arg(tasks)
        .stderr(log)
        .output()
        .expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout);
    figures.take("runs", Measured::read(&printed));
}
