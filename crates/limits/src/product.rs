//! tasker itself: a fresh installation, its API, and `tasker bench` against it.

use std::time::Duration;

use tasker_testkit::installation::{Api, Installation, Program, Programs};

use crate::measured::Measured;
use crate::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(60);
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// As shipped, but for the port, the time that open tasks wait for more endpoints, and the run policy:
/// that of Celery's late acks.
const CONFIG: &str = r"
task_types:
  - name: bench
    run_policy: idempotent
api:
  auth: none
  port: 0
  wait_for_endpoints_timeout: ${T_WAIT:-60}
worker:
  username: ${TASKER_WORKER_USER}
  password: ${TASKER_WORKER_PASSWORD}
  journal_dir: ${T_DIR}/journals
  handlers_dir: ${T_DIR}/handlers
";

/// An installation on the servers of the run. Its folder and virtual host go with it; see
/// [`Product::forget`] for its database.
#[derive(Debug)]
pub struct Product {
    installation: Installation,
    tasker: std::path::PathBuf,
    journal: std::path::PathBuf,
}

/// Its API, running.
#[derive(Debug)]
pub struct Running<'a> {
    product: &'a Product,
    /// The process.
    pub program: Program,
    /// How to ask it.
    pub api: Api,
}

impl Product {
    /// Makes an installation.
    ///
    /// # Panics
    /// If `tasker init` fails.
    #[must_use]
    pub fn make(stage: &Stage) -> Self {
        let programs = Programs::of(&stage.programs);
        let tasker = programs.tasker.clone();
        let installation = Installation::make(programs, stage.servers(), CONFIG);
        let handler = installation.dir().join("handlers/bench");
        std::fs::create_dir(&handler).expect("a folder");
        let manifest = "description: never called\ncommand: [run]\n";
        std::fs::write(handler.join("handler.yaml"), manifest).expect("a handler");
        std::fs::copy("/bin/true", handler.join("run")).expect("a handler");
        Self {
            installation,
            tasker,
            journal: stage.dir().to_owned(),
        }
    }

    /// The name of its database.
    #[must_use]
    pub fn database(&self) -> &str {
        self.installation.name()
    }

    /// Starts its API. `wait_s`: how long an open task waits for more endpoints.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn start(&self, wait_s: u32) -> Running<'_> {
        let env = [("T_WAIT", wait_s.to_string())];
        let mut program = self.installation.start_api("api", &env);
        let address = program.wait_printed("listening on ", PATIENCE);
        let api = Api::at(address);
        api.wait_ready(PATIENCE);
        Running {
            product: self,
            program,
            api,
        }
    }

    /// Starts a worker that nobody has work for, and waits until it is online.
    ///
    /// # Panics
    /// If it is not in time.
    #[must_use]
    pub fn start_idle_worker(&self, api: &Api) -> Program {
        let worker = self
            .installation
            .start_worker("worker", "idle", "bench", &[]);
        api.wait_online("idle", "bench", PATIENCE);
        worker
    }

    /// Ends it with its database.
    ///
    /// # Panics
    /// If the database fails.
    pub async fn forget(self, stage: &Stage) {
        let drop = format!("DROP DATABASE {}", self.database());
        stage.sql(&[&drop]).await;
    }
}

/// What `tasker bench` measured, and the memory of the API meanwhile, in MiB.
#[derive(Debug)]
pub struct Watched {
    /// The run.
    pub run: Result<Measured, String>,
    resident: Vec<f64>,
}

impl Watched {
    /// The most that the API held.
    #[must_use]
    pub fn peak_mib(&self) -> f64 {
        most(&self.resident)
    }

    /// The peak of the last quarter as a multiple of that of the second: 1 if memory is flat.
    #[must_use]
    pub fn growth(&self) -> f64 {
        let quarter = self.resident.len() / 4;
        if quarter == 0 {
            // Too short to grow.
            return 1.0;
        }
        let early = most(&self.resident[quarter..2 * quarter]);
        most(&self.resident[3 * quarter..]) / early
    }
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

impl Running<'_> {
    /// Runs `tasker bench` to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn bench(&mut self, args: &[&str]) -> Watched {
        let journal = self.product.journal.display().to_string();
        let mut all = vec!["bench"];
        all.extend(args);
        all.extend(["--json", "--url", &self.api.url, "--journal", &journal]);
        let installation = &self.product.installation;
        let mut bench = installation.start("bench", &self.product.tasker, &all, &[]);
        let mut resident = Vec::new();
        while bench.is_running() {
            resident.push(self.resident_mib());
            std::thread::sleep(LOOK_EVERY);
        }
        Watched {
            run: Measured::read(&bench.printed()),
            resident,
        }
    }

    /// The memory of the API.
    #[must_use]
    pub fn resident_mib(&self) -> f64 {
        mib(&self.program)
    }
}

/// The resident memory of a program, in MiB.
#[must_use]
pub fn mib(program: &Program) -> f64 {
    program.resident_kib() as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_compares_the_last_quarter_with_the_second() {
        let watched = |resident: &[f64]| Watched {
            run: Err(String::new()),
            resident: resident.to_vec(),
        };
        let flat = watched(&[1.0, 5.0, 20.0, 20.0, 18.0, 20.0, 20.0, 19.0]);
        assert!((flat.growth() - 1.0).abs() < 1e-9);
        assert!((flat.peak_mib() - 20.0).abs() < 1e-9);
        let leaking = watched(&[1.0, 5.0, 20.0, 20.0, 25.0, 28.0, 29.0, 30.0]);
        assert!((leaking.growth() - 1.5).abs() < 1e-9);
        assert!((watched(&[1.0, 9.0]).growth() - 1.0).abs() < 1e-9);
    }
}
