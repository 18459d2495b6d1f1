//! One row on the stage: an installation with relays between its parts, its processes, its load, and
//! what it comes to.

mod config;
mod probe;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tasker_core::ResponseState;
use tasker_testkit::drill::{Posts, Runs, Terms, compare};
use tasker_testkit::faultproxy::FaultProxy;
use tasker_testkit::installation::{Api, Installation, wait_for};
use tasker_testkit::private_server::PrivateServer;

use crate::args::Mutation;
use crate::collect::{collect, identifiers};
use crate::load::{Ended, Load, Plan, Targets};
use crate::outcome::{Limits, Outcome};
use crate::stage::Stage;

use config::{CONFIG, is_once, make_handlers};
use probe::probe;
use process::relay_to;

pub use config::TYPES;
pub use process::{ApiProcess, Kind, WorkerProcess};

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long after the end of fault and load every answer must be there.
pub const SETTLE: Duration = Duration::from_secs(60);

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
    /// Whether this run is one of many that must not take long: a fault that repeats does so less often.
    pub is_quick: bool,
    /// The protection that is left out.
    pub mutation: Option<Mutation>,
    /// The loads that have ended.
    pub loads: Vec<Ended>,
    prober: Option<JoinHandle<Option<Duration>>>,
}

impl<'a> Scene<'a> {
    /// Makes an installation on the stage. Nothing of it runs yet.
    #[must_use]
    pub fn open(
        stage: &'a mut Stage,
        seed: u64,
        is_quick: bool,
        mutation: Option<Mutation>,
    ) -> Self {
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
            is_quick,
            mutation,
            loads: Vec::new(),
            prober: None,
            stage,
        }
    }

    /// Takes another database, before anything was started. It must outlive the row's load.
    pub fn use_database(&mut self, database: &PrivateServer) {
        let mut servers = self.stage.servers();
        servers.mysql = database.url();
        self.to_database = relay_to(&servers.mysql.replacen("root@", "root:@", 1));
        self.installation = Installation::make(self.stage.programs.clone(), servers, CONFIG);
        make_handlers(self.stage, &self.installation);
    }

    /// The endpoints of all workers.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let workers = self.workers.iter();
        let mut all: Vec<_> = workers.flat_map(WorkerProcess::endpoints).collect();
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
        for (code, count) in &ended.refusals {
            self.note(&format!("answers {code}"), count);
        }
        self.loads.push(ended);
    }

    /// The fault is over: from now on counts the recovery. A task is sent until it is accepted, and
    /// waited for.
    pub fn cleared(&mut self) {
        let (apis, endpoints) = (
            Arc::clone(&self.targets),
            self.endpoints_of(probe::TASK_TYPE),
        );
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
        posts(&self.loads, |_| true)
    }

    /// What the clients were told so far about tasks of a type.
    #[must_use]
    pub fn posts_of(&self, task_type: &str) -> Posts {
        posts(&self.loads, |load| load.task_type == task_type)
    }

    /// What the handlers did so far.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs::read(&self.installation.dir().join("runs"))
    }

    /// What the handlers did so far, without tasks of loads of other types.
    #[must_use]
    pub fn runs_of(&self, task_type: &str) -> Runs {
        let others = self.loads.iter().filter(|load| load.task_type != task_type);
        let mut others: Vec<&str> = others.map(|load| load.prefix.as_str()).collect();
        if task_type != probe::TASK_TYPE {
            others.push(probe::PREFIX);
        }
        let mut runs = self.runs();
        runs.retain(|identifier| !others.iter().any(|prefix| identifier.starts_with(prefix)));
        runs
    }

    /// How many answers of an endpoint to tasks of a type are in one of these states, says the database.
    #[must_use]
    pub fn answers(&self, task_type: &str, endpoint: &str, states: &[ResponseState]) -> u64 {
        let codes: Vec<String> = states.iter().map(|s| s.code().to_string()).collect();
        let statement = format!(
            "SELECT COUNT(*) FROM {}.responses WHERE task_type = '{task_type}' AND endpoint = '{endpoint}' \
             AND state IN ({})",
            self.installation.name(),
            codes.join(",")
        );
        self.stage.sql(&statement).parse().expect("a count")
    }

    /// Waits until every task of a type is settled and complete, at most [`SETTLE`].
    pub fn wait_settled(&mut self, task_type: &str) {
        let begun = Instant::now();
        let api = self.api().clone();
        let open = |status: &str| {
            let (code, page) = api.get(&format!("/{task_type}?limit=1&status={status}"));
            code != 200 || !page["tasks"].as_array().is_some_and(Vec::is_empty)
        };
        while ["CREATED", "SENT", "INCOMPLETE"].into_iter().any(open) && begun.elapsed() < SETTLE {
            std::thread::sleep(Duration::from_millis(50));
        }
        *self.outcome.drain.get_or_insert_default() += begun.elapsed();
    }

    /// Waits until every task is settled and complete, at most [`SETTLE`]; then compares. Everything
    /// must be SUCCEEDED, or INTERRUPTED within the limits.
    pub fn settle(&mut self, task_type: &str, limits: Limits) {
        self.wait_settled(task_type);
        if let Some(prober) = self.prober.take() {
            self.outcome.recovery = prober.join().expect("the prober");
            self.promise(
                "no task was answered after the fault",
                self.outcome.recovery.is_some(),
            );
        }
        self.compare(task_type, &["SUCCEEDED", "INTERRUPTED"], limits);
    }

    /// Compares the ledgers with what tasker says of a task type. Figures of several types add up.
    pub fn compare(&mut self, task_type: &str, answers: &[&str], limits: Limits) {
        let rows = collect(self.api(), &[task_type]);
        let endpoints = self.endpoints_of(task_type);
        let terms = Terms {
            endpoints: &endpoints,
            answers,
            is_once: is_once(task_type),
        };
        let runs = self.runs_of(task_type);
        let figures = compare(&self.posts_of(task_type), &runs, &rows, &terms);
        self.outcome.figures.add(figures);
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
}

fn posts(loads: &[Ended], is_meant: impl Fn(&Ended) -> bool) -> Posts {
    let mut all = Posts::default();
    for load in loads.iter().filter(|load| is_meant(load)) {
        let posts = Posts::read(&load.ledger);
        all.accepted.extend(posts.accepted);
        all.unknown.extend(posts.unknown);
        all.refused.extend(posts.refused);
        all.recovered.extend(posts.recovered);
        for (status, count) in posts.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
    }
    all
}

/// Waits for something that a row needs.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_for(what, PATIENCE, condition)
}
