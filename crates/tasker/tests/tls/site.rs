//! A folder with a configuration, authorities and certificates, and the programs in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tasker_testkit::authority::{Authority, Pair, Validity};
use tasker_testkit::installation::Program;
use tempfile::TempDir;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Every link by TLS in the mode `secure`; `plain` is the same without the lines about TLS.
const CONFIG: &str = "\
task_types: [worker]
api:
  auth: none
  port: 0
  tls:
    cert: ${T_DIR}/api/server.crt
    key: ${T_DIR}/api/server.key
manager:
  db:
    uri: ${T_DB}
    tls:
      ca: ${T_CA}
  message_queue:
    host: ${T_MQ_HOST:-localhost}
    port: ${T_MQ_PORT:-1}
    tls:
      ca: ${T_CA}
    username: tls
    password: ${T_PASSWORD}
    virtual_host: tls
    exchange: tls
rabbitmq:
  apiurl: ${T_MANAGEMENT}
  ca: ${T_CA}
  username: guest
  password: ${T_ADMIN}
worker:
  username: tls_worker
  password: ${T_PASSWORD}
  journal_dir: ${T_DIR}/journals
log:
  format: json
";

/// What one test works with.
pub(crate) struct Site {
    dir: TempDir,
    /// The authority that all links trust.
    pub(crate) ours: Authority,
    /// Its certificate.
    pub(crate) ca: PathBuf,
    /// That of another one of the same name.
    pub(crate) other_ca: PathBuf,
    env: Vec<(&'static str, String)>,
}

impl Site {
    pub(crate) fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ours = Authority::new("tasker CA");
        let ca = ours.write(dir.path(), "ca.crt");
        let other_ca = Authority::new("tasker CA").write(dir.path(), "other.crt");
        let plain: Vec<_> = CONFIG
            .lines()
            .filter(|line| {
                let key = line.trim_start();
                !["tls:", "cert:", "key:", "ca:"]
                    .iter()
                    .any(|k| key.starts_with(k))
            })
            .collect();
        for (mode, text) in [("secure", CONFIG.to_owned()), ("plain", plain.join("\n"))] {
            std::fs::write(dir.path().join(format!("{mode}.config.yaml")), text).unwrap();
        }
        let env = vec![
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("T_DIR", dir.path().display().to_string()),
            ("T_CA", ca.display().to_string()),
            ("T_PASSWORD", "secret".to_owned()),
            ("T_ADMIN", "guest".to_owned()),
        ];
        let site = Self {
            dir,
            ours,
            ca,
            other_ca,
            env,
        };
        site.serve_as(&site.issue(Validity::Now));
        site
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the API shows when it reads its files the next time.
    pub(crate) fn serve_as(&self, pair: &Pair) {
        pair.write(&self.dir().join("api"));
    }

    /// A certificate for `localhost` only: whoever says `127.0.0.1` has the wrong name.
    pub(crate) fn issue(&self, validity: Validity) -> Pair {
        self.ours.issue(&["localhost"], validity)
    }

    /// A variable of all programs.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.env.push((name, value.into()));
    }

    fn command(&self, program: &str, args: &[&str], mode: Option<&str>) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear();
        command.envs(self.env.iter().map(|(k, v)| (*k, v)));
        if let Some(mode) = mode {
            command.arg("--config").arg(self.dir());
            command.args(["--mode", mode]);
        }
        command
    }

    /// Runs `tasker` in a mode to its end: exit code and what it complained about.
    pub(crate) fn tasker(&self, mode: &str, args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
        let mut command = self.command(env!("CARGO_BIN_EXE_tasker"), args, Some(mode));
        ended(command.envs(env.iter().copied()).output().unwrap())
    }

    /// Runs a command of a client of the API.
    pub(crate) fn client(&self, url: &str, ca: Option<&Path>, args: &[&str]) -> (i32, String) {
        let mut command = self.command(env!("CARGO_BIN_EXE_tasker"), args, None);
        command.args(["--url", url]);
        if let Some(ca) = ca {
            command.arg("--ca").arg(ca);
        }
        ended(command.output().unwrap())
    }

    /// Starts an API and waits until it listens; its URL by name.
    pub(crate) fn start_api(&self, mode: &str, env: &[(&str, String)]) -> (Program, String) {
        let command = self.command(env!("CARGO_BIN_EXE_tasker"), &["api"], Some(mode));
        let mut program = Program::start(command, env, &self.dir().join("api.log"));
        let url = program.wait_printed("listening on ", PATIENCE);
        (program, url.replace("127.0.0.1", "localhost"))
    }

    /// Starts a worker of the endpoint `console1` that does what a payload says.
    pub(crate) fn start_worker(&self, mode: &str, env: &[(&str, String)]) -> Program {
        let args = ["--endpoint", "console1", "--tasktype", "worker", "--stub"];
        let program = env!("CARGO_BIN_EXE_tasker-worker");
        let command = self.command(program, &args, Some(mode));
        Program::start(command, env, &self.dir().join("worker.log"))
    }
}

fn ended(output: Output) -> (i32, String) {
    let told = [output.stdout, output.stderr].concat();
    let code = output.status.code().unwrap();
    (code, String::from_utf8_lossy(&told).into_owned())
}
