//! Celery with the same job. The harness is in `peers/celery`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tasker_testkit::installation::host_and_port;

use crate::args::Args;
use crate::figures::Figures;
use crate::measured::Measured;
use crate::stage::Stage;

/// How many subscribers, as many as tasker has endpoints where the two are compared.
const SUBSCRIBERS: &str = "10";

/// Celery, installed.
#[derive(Debug)]
pub struct Celery {
    python: PathBuf,
}

impl Celery {
    /// Installs it into a virtual environment in `target/`, with the versions of `requirements.txt`,
    /// unless that has been done.
    ///
    /// # Panics
    /// If there is no Python or the packages cannot be had.
    #[must_use]
    pub fn install() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let environment = root.join("../../target/peers/celery");
        let python = environment.join("bin/python");
        let wanted = std::fs::read(harness().join("requirements.txt")).expect("the versions");
        let done = environment.join("requirements.txt");
        if std::fs::read(&done).ok().as_ref() != Some(&wanted) {
            let mut make = Command::new("python3");
            run(make.args(["-m", "venv", "--clear"]).arg(&environment));
            let mut install = Command::new(&python);
            install.args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]);
            run(install.arg(harness().join("requirements.txt")));
            std::fs::write(done, wanted).expect("a file");
        }
        Self { python }
    }

    /// Measures it.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn measure(&self, stage: &Stage, args: &Args, figures: &mut Figures) {
        stage.sql(&["CREATE OR REPLACE DATABASE celery"]).await;
        let (_, port) = host_and_port(&stage.database.url());
        let log = File::create(stage.dir().join("celery.log")).expect("a log");
        let seconds = args.seconds(5).as_secs().to_string();
        let steady = args.seconds(30).as_secs().to_string();
        let mut command = Command::new(&self.python);
        command
            .arg("drive.py")
            .args(["--subscribers", SUBSCRIBERS, "--seconds", &seconds])
            .args(["--rate", "10", "--steady-seconds", &steady])
            .current_dir(harness())
            .env("LIMITS_AMQP", format!("{}//", stage.broker.url()))
            .env("LIMITS_MYSQL_PORT", port)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(log);
        let output = command.output().expect("python");
        let printed = String::from_utf8_lossy(&output.stdout);
        figures.take("celery", Measured::read(&printed));
        stage.sql(&["DROP DATABASE celery"]).await;
    }

    /// Names and versions of what is installed that matters.
    #[must_use]
    pub fn versions() -> String {
        let listed = std::fs::read_to_string(harness().join("requirements.txt"));
        let listed = listed.unwrap_or_default();
        let wanted = ["celery==", "kombu==", "PyMySQL=="];
        let lines = listed
            .lines()
            .filter(|line| wanted.iter().any(|name| line.starts_with(name)));
        let versions: Vec<_> = lines.map(|line| line.replace("==", " ")).collect();
        versions.join(", ")
    }
}

fn harness() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/celery")
}

fn run(command: &mut Command) {
    let status = command.status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
