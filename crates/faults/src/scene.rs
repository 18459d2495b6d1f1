//! One row on the stage: an installation with relays between its parts, its processes, its load, and
//! what it comes to.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tasker_testkit::drill::{Posts, Runs, Terms, compare};
use tasker_testkit::faultproxy::FaultProxy;
use tasker_testkit::installation::{Api, Installation, Program, host_and_port, wait_for};

use crate::args::Mutation;
use crate::collect::{collect, identifiers};
use crate::load::{Ended, Load, Plan, Targets};
use crate::outcome::{Limits, Outcome};
use crate::stage::Stage;

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long after the end of fault and load every answer must be there.
pub const SETTLE: Duration = Duration::from_secs(60);

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
    /// Its endpoint.
    pub endpoint: String,
    /// Its way to the broker.
    pub broker: FaultProxy,
    kind: Kind,
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

/// A row in progress.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The servers.
    pub stage: &'a mut Stage,
    /// Everything random comes from here.
    pub rng: StdRng,
    /// The row's installation.
    pub installation: Installation,
    /// The way of all API processes to the database.
    pub to_database: FaultProxy,
    /// The way of all API processes to the broker.
    pub to_broker: FaultProxy,
    /// The API processes.
    pub apis: Vec<ApiProcess>,
    /// The workers.
    pub workers: Vec<WorkerProcess>,
    /// What the row comes to.
    pub outcome: Outcome,
    targets: Targets,
    mutation: Option<Mutation>,
    loads: Vec<Ended>,
    prober: Option<JoinHandle<Option<Duration>>>,
}

impl<'a> Scene<'a> {
    /// Makes an installation on the stage. Nothing of it runs yet.
    #[must_use]
    pub fn open(stage: &'a mut Stage, seed: u64, mutation: Option<Mutation>) -> Self {
        let servers = stage.servers();
        let mysql = servers.mysql.replacen("root@", "root:@", 1);
        let (to_database, to_broker) = (relay_to(&mysql), relay_to(&servers.amqp));
        let installation = Installation::make(stage.programs.clone(), servers, CONFIG);
        make_handlers(stage, &installation);
        Self {
            rng: StdRng::seed_from_u64(seed),
            installation,
            to_database,
            to_broker,
            apis: Vec::new(),
            workers: Vec::new(),
            outcome: Outcome::default(),
            targets: Targets::default(),
            mutation,
            loads: Vec::new(),
            prober: None,
            stage,
        }
    }

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
        let process = &mut self.apis[index];
        process.program.kill();
        let mut all = process.env.clone();
        add(&mut all, env);
        process.program = self.installation.start_api(&process.label, &all);
        process.api.wait_ready(PATIENCE);
    }

    /// Starts a worker with more environment and waits until it is online.
    pub fn start_worker(&mut self, kind: Kind, endpoint: &str, env: &[(&'static str, String)]) {
        let broker = relay_to(&self.stage.broker.url());
        let mut all = self.common();
        all.push(("TASKER_MQ_PORT", broker.address().port().to_string()));
        add(&mut all, env);
        let label = format!("worker{}-{endpoint}", self.workers.len() + 1);
        let program = self.launch(kind, endpoint, &label, &all);
        self.workers.push(WorkerProcess {
            program,
            endpoint: endpoint.to_owned(),
            broker,
            kind,
            label,
            env: all,
        });
        for task_type in TYPES {
            self.api().wait_online(endpoint, task_type, PATIENCE);
        }
    }

    /// Starts a worker again that has ended, with other environment in addition.
    pub fn restart_worker(&mut self, index: usize, env: &[(&'static str, String)]) {
        let worker = &mut self.workers[index];
        worker.program.kill();
        let mut all = worker.env.clone();
        add(&mut all, env);
        let (kind, endpoint, label) = (worker.kind, worker.endpoint.clone(), worker.label.clone());
        let program = self.launch(kind, &endpoint, &label, &all);
        self.workers[index].program = program;
    }

    fn launch(
        &self,
        kind: Kind,
        endpoint: &str,
        label: &str,
        env: &[(&'static str, String)],
    ) -> Program {
        let types = TYPES.join(",");
        match kind {
            Kind::Shipped => self.installation.start_worker(label, endpoint, &types, env),
            Kind::Inside => {
                let args = ["--endpoint", endpoint, "--tasktype", &types];
                let program = &self.stage.own.worker;
                self.installation.start(label, program, &args, env)
            }
        }
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

    /// The endpoints of all workers.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let mut all: Vec<_> = self.workers.iter().map(|w| w.endpoint.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The first API.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.apis[0].api
    }

    /// Starts a load on all API processes.
    #[must_use]
    pub fn load(&self, plan: &Plan) -> Load {
        let number = rand::random::<u32>();
        let ledger = self.installation.dir().join(format!("posts-{number:08x}"));
        Load::start(plan, &format!("l{number:08x}"), &self.targets, &ledger)
    }

    /// Ends a load.
    pub fn end(&mut self, load: Load) {
        let ended = load.end();
        self.note(
            "accept p99",
            format!("{} ms", ended.percentile(99).as_millis()),
        );
        self.loads.push(ended);
    }

    /// The fault is over: from now on counts the recovery. A task is sent until it is accepted, and
    /// waited for.
    pub fn cleared(&mut self) {
        let (apis, endpoints) = (Arc::clone(&self.targets), self.endpoints());
        let begun = Instant::now();
        self.prober = Some(std::thread::spawn(move || probe(&apis, &endpoints, begun)));
    }

    /// What was done, how often, and how often it must be for the row to prove anything.
    pub fn injected(&mut self, name: &str, observed: u64, least: u64) {
        self.outcome
            .injections
            .push((name.to_owned(), observed, least));
    }

    /// What was measured.
    pub fn note(&mut self, name: &str, value: impl std::fmt::Display) {
        self.outcome
            .notes
            .push((name.to_owned(), value.to_string()));
    }

    /// A promise of this row.
    pub fn promise(&mut self, what: &str, is_held: bool) {
        if !is_held {
            self.outcome.broken.push(what.to_owned());
        }
    }

    /// What the clients were told so far, of all loads that have ended.
    #[must_use]
    pub fn posts(&self) -> Posts {
        let mut all = Posts::default();
        for load in &self.loads {
            let posts = Posts::read(&load.ledger);
            all.accepted.extend(posts.accepted);
            all.unknown.extend(posts.unknown);
            all.refused.extend(posts.refused);
            for (status, count) in posts.statuses {
                *all.statuses.entry(status).or_default() += count;
            }
        }
        all
    }

    /// What the handlers did so far.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs::read(&self.installation.dir().join("runs"))
    }

    /// Waits until every task is settled and complete, at most [`SETTLE`]; then compares. Everything
    /// must be SUCCEEDED, or INTERRUPTED within the limits.
    pub fn settle(&mut self, task_type: &str, limits: Limits) {
        let begun = Instant::now();
        let api = self.api().clone();
        let open = |status: &str| {
            let (code, page) = api.get(&format!("/{task_type}?limit=1&status={status}"));
            code != 200 || !page["tasks"].as_array().is_some_and(Vec::is_empty)
        };
        while ["CREATED", "SENT", "INCOMPLETE"].into_iter().any(open) && begun.elapsed() < SETTLE {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.outcome.drain = Some(begun.elapsed());
        if let Some(prober) = self.prober.take() {
            self.outcome.recovery = prober.join().expect("the prober");
            self.promise(
                "no task was answered after the fault",
                self.outcome.recovery.is_some(),
            );
        }
        self.compare(task_type, &["SUCCEEDED", "INTERRUPTED"], limits);
    }

    /// Compares the ledgers with what tasker says.
    pub fn compare(&mut self, task_type: &str, answers: &[&str], limits: Limits) {
        let rows = collect(self.api(), &[task_type]);
        let endpoints = self.endpoints();
        let terms = Terms {
            endpoints: &endpoints,
            answers,
            is_once: task_type == "once",
        };
        self.outcome.figures = compare(&self.posts(), &self.runs(), &rows, &terms);
        // A task may be stored twice without a response.
        let mut names = identifiers(self.api(), task_type, "");
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        self.outcome.figures.twins += all - names.len();
        self.outcome.judge(limits);
    }

    /// Keeps the row's folder; where it is.
    #[must_use]
    pub fn keep(&mut self) -> PathBuf {
        self.installation.keep()
    }

    /// Closes the scene.
    #[must_use]
    pub fn close(mut self) -> Outcome {
        std::mem::take(&mut self.outcome)
    }

    fn common(&self) -> Vec<(&'static str, String)> {
        let failpoint = self.mutation.and_then(Mutation::failpoint);
        failpoint
            .map(|text| ("FAILPOINTS", text.to_owned()))
            .into_iter()
            .collect()
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

/// A port that nobody listens on, and that no outgoing connection takes while the API is away.
fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| rand::random_range(20_000..32_000));
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

fn relay_to(url: &str) -> FaultProxy {
    let (host, port) = host_and_port(url);
    FaultProxy::start(format!("{host}:{port}").parse().expect("an address"))
}

/// Sends one task until it is accepted, and waits until it is done.
fn probe(targets: &Targets, endpoints: &[String], begun: Instant) -> Option<Duration> {
    let identifier = format!("probe-{:016x}", rand::random::<u64>());
    let body = json!({"identifier": identifier, "payload": {"ms": 1}, "endpoints": endpoints});
    let urls = targets.lock().expect("the targets").clone();
    for url in urls.iter().cycle() {
        if begun.elapsed() > PATIENCE {
            break;
        }
        let api = Api::at(url);
        if matches!(api.post("/once", &body).0, 200..=202) {
            let (status, answer) = api.get(&format!("/once/{identifier}?wait=1"));
            if status == 200 && answer["task"]["status"] == "DONE" {
                return Some(begun.elapsed());
            }
        } else {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    None
}

/// Waits for something that a row needs.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_for(what, PATIENCE, condition)
}

/// The drills' handler as a program, for every task type.
fn make_handlers(stage: &Stage, installation: &Installation) {
    for task_type in TYPES {
        let dir = installation.dir().join("handlers").join(task_type);
        std::fs::create_dir(&dir).expect("a folder");
        std::fs::copy(&stage.own.handler, dir.join("run")).expect("a handler");
        let manifest = "description: says when it begins and ends\ncommand: [run]\nenv: [T_DIR]\n";
        std::fs::write(dir.join("handler.yaml"), manifest).expect("a manifest");
    }
}

/// The task types: `once` and `again` (idempotent).
pub const TYPES: [&str; 2] = ["once", "again"];

/// Spans short enough for a drill. A row may change those that are variables.
const CONFIG: &str = r"
task_types:
  - name: once
    timeout_s: 120
  - name: again
    run_policy: idempotent
    timeout_s: 120
api:
  port: ${T_PORT:-0}
  wait_for_endpoints_timeout: ${T_WAIT:-10}
  wait_for_sent_ms: 500
  drain_s: 20
manager:
  db:
    uri: ${TASKER_DB_URI}
  message_queue:
    host: ${TASKER_MQ_HOST}
    port: ${TASKER_MQ_PORT}
    username: ${T_NAME}
    password: ${T_NAME}
    virtual_host: ${T_NAME}
    exchange: ${T_NAME}
rabbitmq:
  apiurl: ${TASKER_RABBITMQ_API}
  username: ${TASKER_RABBITMQ_ADMIN}
  password: ${TASKER_RABBITMQ_ADMIN_PASSWORD}
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
  offline_after_s: 6
  lost_after_s: ${T_LOST:-120}
";
