//! The processes of a row, each behind relays.

use std::net::TcpListener;
use std::path::PathBuf;

use tasker_testkit::faultproxy::FaultProxy;
use tasker_testkit::installation::{Api, Program, host_and_port, rows};

use super::config::TYPES;
use super::{PATIENCE, Scene};
use crate::args::Mutation;

/// An API process.
#[derive(Debug)]
pub struct ApiProcess {
    /// The process.
    pub program: Program,
    /// Where it answers; the same over restarts.
    pub api: Api,
    label: String,
    env: Vec<(&'static str, String)>,
}

/// A worker process.
#[derive(Debug)]
pub struct WorkerProcess {
    /// The process.
    pub program: Program,
    /// Its endpoint, or how the names of a fleet begin.
    pub endpoint: String,
    /// How many endpoints it is, if it is a fleet: `<endpoint>1` and so on.
    fleet: usize,
    /// Its way to the broker.
    pub broker: FaultProxy,
    kind: Kind,
    task_types: Vec<String>,
    label: String,
    env: Vec<(&'static str, String)>,
}

/// Which worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The worker library with the drills' handler inside: thousands of runs a second.
    Inside,
    /// The shipped `tasker-worker` with the drills' handler as a program.
    Shipped,
}

impl WorkerProcess {
    /// All endpoints that it is.
    pub(super) fn endpoints(&self) -> Vec<String> {
        match self.fleet {
            0 => vec![self.endpoint.clone()],
            size => (1..=size)
                .map(|n| format!("{}{n}", self.endpoint))
                .collect(),
        }
    }
}

impl Scene<'_> {
    /// Starts an API process with more environment and waits until it is ready.
    pub fn start_api(&mut self, env: &[(&'static str, String)]) {
        let label = format!("api{}", self.apis.len() + 1);
        let port = free_port();
        let database = self.to_database.address();
        let uri = format!("mysql://root@{database}/{}", self.installation.name());
        let mut all = self.common();
        all.extend([
            ("T_PORT", port.to_string()),
            ("TASKER_DB_URI", uri),
            (
                "TASKER_MQ_PORT",
                self.to_broker.address().port().to_string(),
            ),
        ]);
        add(&mut all, env);
        let url = format!("http://127.0.0.1:{port}");
        let process = ApiProcess {
            program: self.installation.start_api(&label, &all),
            api: Api::at(&url),
            label,
            env: all,
        };
        process.api.wait_ready(PATIENCE);
        self.targets.lock().expect("the targets").push(url);
        self.apis.push(process);
    }

    /// Starts an API process again that has ended, with other environment in addition, and waits until it
    /// is ready.
    pub fn restart_api(&mut self, index: usize, env: &[(&'static str, String)]) {
        let common = self.common();
        let process = &mut self.apis[index];
        process.program.kill();
        let mut all = process.env.clone();
        add_again(&mut all, env, &common);
        process.program = self.installation.start_api(&process.label, &all);
        process.api.wait_ready(PATIENCE);
    }

    /// Starts a worker of [`TYPES`] with more environment and waits until it is online.
    pub fn start_worker(&mut self, kind: Kind, endpoint: &str, env: &[(&'static str, String)]) {
        self.start_worker_of(kind, endpoint, &TYPES, env);
    }

    /// Starts a worker of these task types with more environment and waits until it is online.
    pub fn start_worker_of(
        &mut self,
        kind: Kind,
        endpoint: &str,
        task_types: &[&str],
        env: &[(&'static str, String)],
    ) {
        let broker = relay_to(&self.stage.broker.url());
        let mut all = self.common();
        all.push(("TASKER_MQ_PORT", broker.address().port().to_string()));
        add(&mut all, env);
        let label = format!("worker{}-{endpoint}", self.workers.len() + 1);
        let program = self.launch(kind, endpoint, &task_types.join(","), &label, &all);
        self.workers.push(WorkerProcess {
            program,
            endpoint: endpoint.to_owned(),
            fleet: 0,
            broker,
            kind,
            task_types: task_types.iter().map(|&name| name.to_owned()).collect(),
            label,
            env: all,
        });
        for task_type in task_types {
            self.api().wait_online(endpoint, task_type, PATIENCE);
        }
    }

    /// Starts one process with a worker of `once` for each of so many endpoints, and waits until all are
    /// online.
    pub fn start_fleet(&mut self, size: usize) {
        let endpoint = "f";
        let broker = relay_to(&self.stage.broker.url());
        let mut all = self.common();
        all.push(("TASKER_MQ_PORT", broker.address().port().to_string()));
        all.push(("T_FLEET", size.to_string()));
        let label = format!("worker{}-{endpoint}", self.workers.len() + 1);
        let program = self.launch(Kind::Inside, endpoint, "once", &label, &all);
        self.workers.push(WorkerProcess {
            program,
            endpoint: endpoint.to_owned(),
            fleet: size,
            broker,
            kind: Kind::Inside,
            task_types: vec!["once".to_owned()],
            label,
            env: all,
        });
        self.api().wait_until("/endpoints", PATIENCE, |answer| {
            let all = rows(answer, "endpoints").iter();
            all.filter(|row| row["online"] == true).count() == size
        });
    }

    /// Starts a worker again that has ended, with other environment in addition.
    pub fn restart_worker(&mut self, index: usize, env: &[(&'static str, String)]) {
        let common = self.common();
        let worker = &mut self.workers[index];
        worker.program.kill();
        let mut all = worker.env.clone();
        add_again(&mut all, env, &common);
        let (endpoint, label) = (worker.endpoint.clone(), worker.label.clone());
        let (kind, task_types) = (worker.kind, worker.task_types.join(","));
        let program = self.launch(kind, &endpoint, &task_types, &label, &all);
        self.workers[index].program = program;
    }

    fn launch(
        &self,
        kind: Kind,
        endpoint: &str,
        types: &str,
        label: &str,
        env: &[(&'static str, String)],
    ) -> Program {
        match kind {
            Kind::Shipped => self.installation.start_worker(label, endpoint, types, env),
            Kind::Inside => {
                let args = ["--endpoint", endpoint, "--tasktype", types];
                let program = &self.stage.own.worker;
                self.installation.start(label, program, &args, env)
            }
        }
    }

    /// The endpoints that perform a task type.
    #[must_use]
    pub fn endpoints_of(&self, task_type: &str) -> Vec<String> {
        let performs = |worker: &&WorkerProcess| worker.task_types.iter().any(|t| t == task_type);
        let workers = self.workers.iter().filter(performs);
        let mut all: Vec<_> = workers.flat_map(WorkerProcess::endpoints).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Kills a worker as a power cut would: what its journals have not synced is gone.
    pub fn kill_worker(&mut self, index: usize) {
        self.workers[index].program.kill();
        self.forget_unsynced(index);
    }

    /// Cuts the journals of a dead worker to what had been synced.
    pub fn forget_unsynced(&self, index: usize) {
        let end = format!(".{}.journal", self.workers[index].endpoint);
        for journal in self.journals(index) {
            let name = journal.file_name().unwrap_or_default().to_string_lossy();
            if !name.ends_with(&end) {
                continue;
            }
            let synced = std::fs::read_to_string(format!("{}.synced", journal.display()));
            let synced = synced.expect("a journal of a build for drills says what is synced");
            let file = std::fs::OpenOptions::new().write(true).open(&journal);
            let file = file.expect("a journal");
            let length = file.metadata().expect("a journal").len();
            let synced = synced.trim().parse::<u64>().expect("a length");
            file.set_len(length.min(synced)).expect("a journal");
        }
    }

    fn journals(&self, index: usize) -> Vec<PathBuf> {
        let dir = self.journal_dir(index);
        let files = std::fs::read_dir(dir).expect("a folder of journals");
        files.flatten().map(|entry| entry.path()).collect()
    }

    /// Where a worker's journals are.
    #[must_use]
    pub fn journal_dir(&self, index: usize) -> PathBuf {
        let worker = &self.workers[index];
        let host = worker.env.iter().rev().find(|(name, _)| *name == "T_HOST");
        let host = host.map_or("", |(_, value)| value.as_str());
        self.installation.dir().join(format!("journals{host}"))
    }

    fn common(&self) -> Vec<(&'static str, String)> {
        let failpoint = self.mutation.and_then(Mutation::failpoint);
        let failpoint = failpoint.map(|text| ("FAILPOINTS", text.to_owned()));
        // Whoever has to understand a row sets the drill's own.
        let log = std::env::var("TASKER_LOG").ok();
        let log = log.map(|level| ("TASKER_LOG", level));
        failpoint.into_iter().chain(log).collect()
    }
}

/// Adds variables; of `FAILPOINTS` both count.
fn add(all: &mut Vec<(&'static str, String)>, more: &[(&'static str, String)]) {
    for (name, value) in more {
        let before = all.iter_mut().find(|(old, _)| old == name);
        match before {
            Some((_, text)) if *name == "FAILPOINTS" && !value.is_empty() => {
                *text = format!("{text};{value}");
            }
            Some((_, text)) => text.clone_from(value),
            None => all.push((name, value.clone())),
        }
    }
}

/// The same for a start that is not the first: empty `FAILPOINTS` leave those that every process has.
fn add_again(
    all: &mut Vec<(&'static str, String)>,
    more: &[(&'static str, String)],
    common: &[(&'static str, String)],
) {
    add(all, more);
    if more
        .iter()
        .any(|(name, value)| *name == "FAILPOINTS" && value.is_empty())
    {
        add(all, common);
    }
}

/// A port that nobody listens on, and that no outgoing connection takes while the API is away.
fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| rand::random_range(20_000..32_000));
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

pub(super) fn relay_to(url: &str) -> FaultProxy {
    let (host, port) = host_and_port(url);
    FaultProxy::start(format!("{host}:{port}").parse().expect("an address"))
}
