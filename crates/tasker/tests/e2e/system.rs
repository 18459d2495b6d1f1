//! A whole installation for one test: its own database, virtual host, configuration and journals, and
//! the real programs as processes.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tasker_testkit::installation::{Api, Installation, Program, Programs, Servers};
use tasker_testkit::{installation, services};

use crate::sample;

pub(crate) use tasker_testkit::installation::rows;

/// How long any condition may take to become true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A worker process; killed when dropped.
pub(crate) struct Worker(Program);

impl Worker {
    /// Kills it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.0.kill();
    }

    /// Ends it as its supervisor would, and waits.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.0.stop(PATIENCE)
    }
}

/// An installation.
pub(crate) struct System {
    installation: Installation,
    apis: VecDeque<Program>,
    starts: u32,
    /// The prefix of its broker objects, also its virtual host and database.
    pub(crate) name: String,
    /// Where its API answers.
    pub(crate) url: String,
}

impl System {
    /// Makes database and virtual host by `tasker init`; starts nothing yet.
    pub(crate) fn init() -> Self {
        Self::init_on(&services::amqp_url(), &services::rabbitmq_api())
    }

    /// The same on another broker.
    pub(crate) fn init_on(amqp: &str, management: &str) -> Self {
        Self::init_as(amqp, management, sample::CONFIG)
    }

    /// The same with something more in its configuration.
    pub(crate) fn init_with(more: &str) -> Self {
        let config = format!("{}{more}", sample::CONFIG);
        Self::init_as(&services::amqp_url(), &services::rabbitmq_api(), &config)
    }

    fn init_as(amqp: &str, management: &str, config: &str) -> Self {
        let servers = Servers {
            mysql: services::mysql_url(),
            amqp: amqp.to_owned(),
            management: management.to_owned(),
        };
        let programs = Programs {
            tasker: env!("CARGO_BIN_EXE_tasker").into(),
            worker: env!("CARGO_BIN_EXE_tasker-worker").into(),
        };
        let installation = Installation::make(programs, servers, config);
        sample::make_handlers(&installation.dir().join("handlers"));
        Self {
            name: installation.name().to_owned(),
            installation,
            apis: VecDeque::new(),
            starts: 0,
            url: String::new(),
        }
    }

    /// The folder of the test.
    pub(crate) fn dir(&self) -> &Path {
        self.installation.dir()
    }

    /// Starts an API and waits until it is ready; requests go to it from now on.
    pub(crate) fn start_api(&mut self) {
        self.starts += 1;
        let label = format!("api-{}", self.starts);
        let mut program = self.installation.start_api(&label, &[]);
        let address = program.wait_printed("listening on ", PATIENCE);
        self.apis.push_back(program);
        self.url = address;
        self.api().wait_ready(PATIENCE);
    }

    /// Kills the API that was started first, as a power cut would.
    pub(crate) fn kill_api(&mut self) {
        // Dropping it kills it.
        self.apis.pop_front();
    }

    /// Ends the API that was started first as its supervisor would; its exit code.
    pub(crate) fn stop_api(&mut self) -> Option<i32> {
        let mut program = self.apis.pop_front().unwrap();
        program.stop(PATIENCE)
    }

    /// Starts a worker of the development account.
    pub(crate) fn start_worker(&self, endpoint: &str, task_type: &str) -> Worker {
        self.start_worker_with(endpoint, task_type, &[])
    }

    /// Starts a worker with further environment variables.
    pub(crate) fn start_worker_with(
        &self,
        endpoint: &str,
        task_type: &str,
        env: &[(&str, &str)],
    ) -> Worker {
        let label = format!("{endpoint}-{task_type}");
        let env: Vec<_> = env.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        let program = self
            .installation
            .start_worker(&label, endpoint, task_type, &env);
        Worker(program)
    }

    /// The broker as the workers of the development account see it.
    pub(crate) fn worker_amqp_url(&self) -> String {
        let account = ["TASKER_WORKER_USER", "TASKER_WORKER_PASSWORD"];
        let [user, password] = account.map(|name| self.installation.env(name));
        self.installation.amqp_url(user, password)
    }

    /// The broker as the API sees it.
    pub(crate) fn api_amqp_url(&self) -> String {
        self.installation.amqp_url(&self.name, &self.name)
    }

    /// Runs `tasker` to its end.
    pub(crate) fn tasker(&self, args: &[&str]) -> Output {
        self.installation.tasker(args)
    }

    /// Runs `tasker`, which must succeed, and returns what it printed.
    pub(crate) fn tasker_ok(&self, args: &[&str]) -> String {
        self.installation.tasker_ok(args)
    }

    fn api(&self) -> Api {
        Api::at(&self.url)
    }

    /// GET: status and JSON (`null` if it is none).
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.api().get(path)
    }

    /// POST of a JSON body: status and JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.api().post(path, body)
    }

    /// Waits until the answer to a GET fulfils a condition.
    pub(crate) fn wait_until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.api().wait_until(path, PATIENCE, condition)
    }

    /// Waits until a worker is online.
    pub(crate) fn wait_online(&self, endpoint: &str, task_type: &str) {
        self.api().wait_online(endpoint, task_type, PATIENCE);
    }

    /// The tails of all logs, for a failing test.
    pub(crate) fn logs(&self) -> String {
        self.installation.logs()
    }

    /// Calls the broker's management API.
    pub(crate) fn manage(&self, method: &str, path: &str) -> (u16, Value) {
        let management = self.installation.management();
        management.call(method, path, None)
    }

    /// The same with a JSON body.
    pub(crate) fn manage_with(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let management = self.installation.management();
        management.call(method, path, Some(body))
    }

    /// Waits until a counter of the API has reached a value. `series` is `name` or `name{label="…"`.
    pub(crate) fn wait_metric(&self, series: &str, least: u64) {
        let (name, label) = series.split_once('{').unwrap_or((series, ""));
        let api = self.api();
        installation::wait_for(series, PATIENCE, || {
            (api.metric(name, label.trim_end_matches('}')) >= least).then_some(())
        });
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// Waits until a condition holds.
pub(crate) fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    installation::wait_for(what, PATIENCE, condition)
}
