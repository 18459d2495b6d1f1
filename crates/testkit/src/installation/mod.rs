//! A whole installation for one test or drill: its own database, virtual host, configuration and
//! journals, and the real programs as processes.

mod http;
mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::private_server::PrivateServer;

pub use http::{Api, agent, rows};
pub use program::Program;

/// The real servers.
#[derive(Debug, Clone)]
pub struct Servers {
    /// `mysql://user:password@host:port`; the user may create databases.
    pub mysql: String,
    /// `amqp://user:password@host:port`.
    pub amqp: String,
    /// `http://user:password@host:port`, an administrator.
    pub management: String,
}

impl Servers {
    /// Private ones.
    ///
    /// # Panics
    /// If the folder of one was removed.
    #[must_use]
    pub fn of(database: &PrivateServer, broker: &PrivateServer) -> Self {
        Self {
            mysql: database.url(),
            amqp: broker.url(),
            management: broker.management_url(),
        }
    }
}

/// The programs under test.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `tasker`.
    pub tasker: PathBuf,
    /// `tasker-worker`.
    pub worker: PathBuf,
}

impl Programs {
    /// Those that were built beside this program.
    ///
    /// # Panics
    /// If they were not.
    #[must_use]
    pub fn beside_this_one() -> Self {
        let own = std::env::current_exe().expect("a path of this program");
        let mut dir = own.parent().expect("a folder").to_owned();
        if dir.ends_with("deps") {
            dir.pop();
        }
        Self::of(&dir)
    }

    /// Those in a folder.
    ///
    /// # Panics
    /// If they are not there.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self {
            tasker: program(dir, "tasker"),
            worker: program(dir, "tasker-worker"),
        }
    }
}

/// A program in a folder.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn program(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// Where the servers are, and the accounts on them: the same in every installation.
const SERVERS: &str = r"
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
";

/// An installation. Its folder, virtual host and accounts go with it; its database stays.
#[derive(Debug)]
pub struct Installation {
    programs: Programs,
    servers: Servers,
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
    name: String,
}

impl Installation {
    /// Makes an installation with this configuration by `tasker init`; starts nothing yet.
    ///
    /// The configuration says everything but `manager` and `rabbitmq`. It may refer to
    /// `TASKER_WORKER_USER`, `TASKER_WORKER_PASSWORD` and `T_DIR`, and must take journals from
    /// `T_DIR/journals` and handlers from `T_DIR/handlers`.
    ///
    /// # Panics
    /// If `tasker init` fails.
    #[must_use]
    pub fn make(programs: Programs, servers: Servers, config: &str) -> Self {
        let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("development.config.yaml");
        std::fs::write(file, format!("{config}{SERVERS}")).expect("a configuration");
        std::fs::create_dir(dir.path().join("handlers")).expect("a folder of handlers");
        let (host, port) = host_and_port(&servers.amqp);
        let (api, admin, admin_password) = credentials(&servers.management);
        let env = [
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("TASKER_DB_URI", format!("{}/{name}", servers.mysql)),
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
        let installation = Self {
            programs,
            servers,
            dir,
            env: env.map(|(k, v)| (k.to_owned(), v)).into(),
            name,
        };
        installation.tasker_ok(&["init"]);
        installation
    }

    /// Its folder: configuration, handlers, journals, logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the folder when the installation goes; where it is.
    #[must_use]
    pub fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.dir().to_owned()
    }

    /// Its database, virtual host, prefix and account.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The servers that it uses.
    #[must_use]
    pub const fn servers(&self) -> &Servers {
        &self.servers
    }

    /// A variable of its programs.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn env(&self, name: &str) -> &str {
        &self.env[name]
    }

    /// The broker with an account of this installation.
    #[must_use]
    pub fn amqp_url(&self, user: &str, password: &str) -> String {
        let (host, port) = (self.env("TASKER_MQ_HOST"), self.env("TASKER_MQ_PORT"));
        format!("amqp://{user}:{password}@{host}:{port}/{}", self.name)
    }

    /// Starts an API process; its log is `<label>.log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_api(&self, label: &str, env: &[(&str, String)]) -> Program {
        self.start(label, &self.programs.tasker, &["api"], env)
    }

    /// Starts a worker process; its log is `<label>.log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_worker(
        &self,
        label: &str,
        endpoint: &str,
        task_types: &str,
        env: &[(&str, String)],
    ) -> Program {
        let args = ["--endpoint", endpoint, "--tasktype", task_types];
        self.start(label, &self.programs.worker, &args, env)
    }

    /// Starts another program with this installation's configuration; its log is `<label>.log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(
        &self,
        label: &str,
        program: &Path,
        args: &[&str],
        env: &[(&str, String)],
    ) -> Program {
        Program::start(self.command(program, args), env, &self.log(label))
    }

    /// The log of a program.
    #[must_use]
    pub fn log(&self, label: &str) -> PathBuf {
        self.dir().join(format!("{label}.log"))
    }

    /// Runs `tasker` to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn tasker(&self, args: &[&str]) -> Output {
        let mut command = self.command(&self.programs.tasker, args);
        command.stdin(Stdio::null()).output().expect("tasker")
    }

    /// `tasker` with these arguments, for a test that starts it itself.
    #[must_use]
    pub fn tasker_command(&self, args: &[&str]) -> Command {
        self.command(&self.programs.tasker, args)
    }

    /// Runs `tasker`, which must succeed, and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn tasker_ok(&self, args: &[&str]) -> String {
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

    /// A program with this installation's environment and configuration.
    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        // The plain client commands take no configuration.
        let is_client = matches!(
            args.first(),
            Some(&("submit" | "show" | "list" | "cancel" | "retry"))
        );
        if !is_client {
            command.arg("--config").arg(self.dir());
            command.args(["--mode", "development"]);
        }
        command.env_clear().envs(&self.env);
        command
    }

    /// The tails of all logs, for a failing test.
    ///
    /// # Panics
    /// If the folder is gone.
    #[must_use]
    pub fn logs(&self) -> String {
        let files = std::fs::read_dir(self.dir()).expect("the folder");
        let paths = files.flatten().map(|entry| entry.path());
        let logs = paths.filter(|path| path.extension().is_some_and(|e| e == "log"));
        logs.map(|path| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let tail: Vec<_> = text.lines().rev().take(15).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            format!("--- {}\n{tail}\n", path.display())
        })
        .collect()
    }

    /// The broker's management API.
    #[must_use]
    pub fn management(&self) -> crate::management::Management {
        crate::management::Management::new(&self.servers.management)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let base = format!("{}/api", self.servers.management);
        let users = [self.name.clone(), format!("{}_worker", self.name)];
        let users = users.map(|user| format!("users/{user}"));
        for what in users.into_iter().chain([format!("vhosts/{}", self.name)]) {
            // The server may have gone with its test.
            agent().delete(format!("{base}/{what}")).call().ok();
        }
    }
}

/// Waits until a condition holds.
///
/// # Panics
/// If it does not within the deadline.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `scheme://user:password@host:port` without its credentials, and these.
///
/// # Panics
/// If it is not of that form.
#[must_use]
pub fn credentials(url: &str) -> (String, String, String) {
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    let (account, address) = rest.rsplit_once('@').expect("an account");
    let (user, password) = account.split_once(':').unwrap_or((account, ""));
    (
        format!("{scheme}://{address}"),
        user.to_owned(),
        password.to_owned(),
    )
}

/// Host and port of such a URL.
///
/// # Panics
/// If it is not of that form.
#[must_use]
pub fn host_and_port(url: &str) -> (String, String) {
    let (address, ..) = credentials(url);
    let (_, address) = address.split_once("://").expect("a scheme");
    let (host, port) = address.split_once(':').expect("a port");
    (host.to_owned(), port.trim_end_matches('/').to_owned())
}
