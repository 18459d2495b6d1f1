//! A whole installation for one test: its own database, virtual host, configuration and journals, and
//! the real programs as processes.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tasker_testkit::services;

use crate::sample;

/// How long any condition may take to become true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A worker process; killed when dropped.
pub(crate) struct Worker(Child);

impl Worker {
    /// Kills it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Ends it as its supervisor would, and waits.
    pub(crate) fn stop(mut self) -> Option<i32> {
        terminate(&self.0);
        self.0.wait().unwrap().code()
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

fn terminate(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
}

/// An installation.
pub(crate) struct System {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    apis: VecDeque<Child>,
    starts: u32,
    /// The prefix of its broker objects, also its virtual host and database.
    pub(crate) name: String,
    /// Where its API answers.
    pub(crate) url: String,
    management: String,
}

impl System {
    /// Makes database and virtual host by `tasker init`; starts nothing yet.
    pub(crate) fn init() -> Self {
        Self::init_on(&services::amqp_url(), &services::rabbitmq_api())
    }

    /// The same on another broker.
    pub(crate) fn init_on(amqp: &str, management: &str) -> Self {
        let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("development.config.yaml"), sample::CONFIG).unwrap();
        sample::make_handlers(&dir.path().join("handlers"));
        let (host, port) = host_and_port(amqp);
        let (api, admin, admin_password) = credentials(management);
        let pairs = [
            ("TASKER_DB_URI", format!("{}/{name}", services::mysql_url())),
            ("TASKER_MQ_HOST", host),
            ("TASKER_MQ_PORT", port),
            ("TASKER_WORKER_USER", format!("{name}_worker")),
            ("TASKER_WORKER_PASSWORD", format!("{name}_secret")),
            ("T_NAME", name.clone()),
            ("T_DIR", dir.path().display().to_string()),
            ("TASKER_RABBITMQ_API", api),
            ("TASKER_RABBITMQ_ADMIN", admin),
            ("TASKER_RABBITMQ_ADMIN_PASSWORD", admin_password),
        ];
        let env = pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let management = management.to_owned();
        let system = Self {
            dir,
            env,
            apis: VecDeque::new(),
            starts: 0,
            name,
            url: String::new(),
            management,
        };
        system.tasker_ok(&["init"]);
        system
    }

    /// The folder of the test.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts an API and waits until it is ready; requests go to it from now on.
    pub(crate) fn start_api(&mut self) {
        self.starts += 1;
        let log = self.dir().join(format!("api-{}.log", self.starts));
        let mut command = self.command(env!("CARGO_BIN_EXE_tasker"), &["api"]);
        command.stdout(file(&log)).stderr(file(&log));
        self.apis.push_back(command.spawn().unwrap());
        self.url = wait_for("the API's address", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let at = text.find("http://127.0.0.1:")?;
            Some(
                text[at..]
                    .chars()
                    .take_while(|c| !matches!(c, '"' | ' ' | '\n' | ','))
                    .collect(),
            )
        });
        wait_for("the API to be ready", || {
            (self.get("/readyz").0 == 200).then_some(())
        });
    }

    /// Kills the API that was started first, as a power cut would.
    pub(crate) fn kill_api(&mut self) {
        if let Some(mut api) = self.apis.pop_front() {
            let _ = api.kill();
            let _ = api.wait();
        }
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
        let log = self.dir().join(format!("{endpoint}-{task_type}.log"));
        let args = ["--endpoint", endpoint, "--tasktype", task_type];
        let mut command = self.command(env!("CARGO_BIN_EXE_tasker-worker"), &args);
        command
            .envs(env.iter().copied())
            .stdout(file(&log))
            .stderr(file(&log));
        Worker(command.spawn().unwrap())
    }

    /// The broker as the workers of the development account see it.
    pub(crate) fn worker_amqp_url(&self) -> String {
        self.amqp_url(
            self.env("TASKER_WORKER_USER"),
            self.env("TASKER_WORKER_PASSWORD"),
        )
    }

    /// The broker as the API sees it.
    pub(crate) fn api_amqp_url(&self) -> String {
        self.amqp_url(&self.name, &self.name)
    }

    fn amqp_url(&self, user: &str, password: &str) -> String {
        let (host, port) = (self.env("TASKER_MQ_HOST"), self.env("TASKER_MQ_PORT"));
        format!("amqp://{user}:{password}@{host}:{port}/{}", self.name)
    }

    fn env(&self, name: &str) -> &str {
        &self.env.iter().find(|(key, _)| key == name).unwrap().1
    }

    /// Runs `tasker` to its end.
    pub(crate) fn tasker(&self, args: &[&str]) -> Output {
        let mut command = self.command(env!("CARGO_BIN_EXE_tasker"), args);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs `tasker`, which must succeed, and returns what it printed.
    pub(crate) fn tasker_ok(&self, args: &[&str]) -> String {
        let output = self.tasker(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "tasker {args:?}: {}\n{text}{errors}",
            output.status
        );
        text
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        // The plain client commands take no configuration.
        let is_client = matches!(
            args.first(),
            Some(&("submit" | "show" | "list" | "cancel" | "retry"))
        );
        if !is_client {
            command
                .arg("--config")
                .arg(self.dir())
                .args(["--mode", "development"]);
        }
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    /// GET: status and JSON (`null` if it is none).
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.send(agent().get(format!("{}{path}", self.url)).call())
    }

    /// POST of a JSON body: status and JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(agent().post(format!("{}{path}", self.url)).send_json(body))
    }

    fn send(&self, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
        match sent {
            Ok(mut response) => {
                let status = response.status().as_u16();
                (
                    status,
                    response.body_mut().read_json().unwrap_or(Value::Null),
                )
            }
            Err(_) => (0, Value::Null),
        }
    }

    /// Waits until the answer to a GET fulfils a condition.
    pub(crate) fn wait_until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let (_, answer) = self.get(path);
            if condition(&answer) {
                return answer;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{path} stays {answer:#}\n{}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a worker is online.
    pub(crate) fn wait_online(&self, endpoint: &str, task_type: &str) {
        self.wait_until("/endpoints", |answer| {
            rows(answer, "endpoints").iter().any(|row| {
                row["name"] == endpoint && row["type"] == task_type && row["online"] == true
            })
        });
    }

    /// The tails of all logs, for a failing test.
    pub(crate) fn logs(&self) -> String {
        let files = std::fs::read_dir(self.dir())
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let logs = files.filter(|path| path.extension().is_some_and(|e| e == "log"));
        logs.map(|path| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let tail: Vec<_> = text.lines().rev().take(15).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            format!("--- {}\n{tail}\n", path.display())
        })
        .collect()
    }

    /// Calls the broker's management API.
    pub(crate) fn manage(&self, method: &str, path: &str) -> (u16, Value) {
        self.send(agent().run(self.request(method, path).body(()).unwrap()))
    }

    /// The same with a JSON body.
    pub(crate) fn manage_with(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self
            .request(method, path)
            .header("content-type", "application/json");
        self.send(agent().run(request.body(body.to_string()).unwrap()))
    }

    fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let uri = format!("{}/api/{path}", self.management);
        ureq::http::Request::builder().method(method).uri(uri)
    }

    /// Waits until a counter of the API has reached a value.
    pub(crate) fn wait_metric(&self, series: &str, least: u64) {
        wait_for(series, || {
            let url = format!("{}/metrics", self.url);
            let text = agent()
                .get(url)
                .call()
                .ok()?
                .body_mut()
                .read_to_string()
                .ok()?;
            let line = text.lines().find(|line| line.starts_with(series))?;
            (line.rsplit_once(' ')?.1.parse::<u64>().ok()? >= least).then_some(())
        });
    }
}

impl Drop for System {
    fn drop(&mut self) {
        while !self.apis.is_empty() {
            self.kill_api();
        }
        let _ = self.manage("DELETE", &format!("vhosts/{}", self.name));
        for user in [self.name.clone(), format!("{}_worker", self.name)] {
            let _ = self.manage("DELETE", &format!("users/{user}"));
        }
    }
}

/// The array of that name in an answer.
pub(crate) fn rows<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

/// Waits until a condition holds.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(20)))
        .http_status_as_error(false);
    config.build().into()
}

fn file(path: &Path) -> std::fs::File {
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

/// `scheme://user:password@host:port` without its credentials, and these.
pub(crate) fn credentials(url: &str) -> (String, String, String) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (account, address) = rest.rsplit_once('@').unwrap();
    let (user, password) = account.split_once(':').unwrap_or((account, ""));
    (
        format!("{scheme}://{address}"),
        user.to_owned(),
        password.to_owned(),
    )
}

fn host_and_port(url: &str) -> (String, String) {
    let (address, ..) = credentials(url);
    let (_, address) = address.split_once("://").unwrap();
    let (host, port) = address.split_once(':').unwrap();
    (host.to_owned(), port.trim_end_matches('/').to_owned())
}
