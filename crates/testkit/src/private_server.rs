//! A MariaDB or RabbitMQ server that belongs to one test, to be stopped and killed at will.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `root` without a password.
    MariaDb,
    /// `guest:guest`, with the management API.
    RabbitMq,
}

/// A server run by `scripts/private-server`. It keeps its ports over restarts. Dropping it kills it.
/// All calls block until they are done (a start takes seconds) and panic if they fail.
#[derive(Debug)]
pub struct PrivateServer {
    kind: Kind,
    dir: PathBuf,
}

impl PrivateServer {
    /// Starts a server with its data in a folder of its own, which need not exist.
    ///
    /// # Panics
    /// If the server's package is not installed or it does not become ready.
    #[must_use]
    pub fn start(kind: Kind, dir: impl Into<PathBuf>) -> Self {
        let server = Self {
            kind,
            dir: dir.into(),
        };
        server.restart();
        server
    }

    /// Starts it again, after [`PrivateServer::stop`] or [`PrivateServer::kill`].
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn restart(&self) {
        let kind = match self.kind {
            Kind::MariaDb => "mariadb",
            Kind::RabbitMq => "rabbitmq",
        };
        script(&["start".as_ref(), kind.as_ref(), &self.dir]);
    }

    /// Stops it in order. Its data stays.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(&self) {
        self.call("stop");
    }

    /// Ends it with SIGKILL.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill(&self) {
        self.call("kill");
    }

    /// Forgets its data while it is stopped.
    ///
    /// # Panics
    /// If it is running.
    pub fn wipe(&self) {
        self.call("wipe");
    }

    /// `mysql://root@127.0.0.1:PORT` or `amqp://guest:guest@127.0.0.1:PORT`.
    ///
    /// # Panics
    /// If its folder was removed.
    #[must_use]
    pub fn url(&self) -> String {
        self.call("url")
    }

    /// The same with TLS, `amqps://…`. Made with `tls/server.crt` and `tls/server.key` in its folder,
    /// RabbitMQ speaks TLS at ports of its own, MariaDB at its only one.
    ///
    /// # Panics
    /// If it is another server.
    #[must_use]
    pub fn tls_url(&self) -> String {
        script(&["url".as_ref(), &self.dir, "tls".as_ref()])
    }

    /// The management API with TLS, `https://guest:guest@127.0.0.1:PORT`.
    ///
    /// # Panics
    /// If it is another server.
    #[must_use]
    pub fn management_tls_url(&self) -> String {
        script(&["url".as_ref(), &self.dir, "management-tls".as_ref()])
    }

    /// RabbitMQ's management API, `http://guest:guest@127.0.0.1:PORT`.
    ///
    /// # Panics
    /// If it is another server.
    #[must_use]
    pub fn management_url(&self) -> String {
        script(&["url".as_ref(), &self.dir, "management".as_ref()])
    }

    /// Runs `rabbitmqctl` on it; its output.
    ///
    /// # Panics
    /// If it fails.
    pub fn rabbitmqctl(&self, arguments: &[&str]) -> String {
        let mut all: Vec<&Path> = vec!["ctl".as_ref(), &self.dir];
        all.extend(arguments.iter().map(Path::new));
        script(&all)
    }

    /// Stops all its processes, or lets them go on, as a machine that hangs: its connections stay
    /// open and nobody answers.
    ///
    /// # Panics
    /// If it is not running.
    pub fn hang(&self, hang: bool) {
        let pid = self.pid().to_string();
        let signal = if hang { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.expect("kill").success(), "kill {signal} {pid}");
    }

    /// The process number of the server itself: another one after every start.
    ///
    /// # Panics
    /// If it was never started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let file = match self.kind {
            Kind::MariaDb => "mariadb.pid",
            Kind::RabbitMq => "node.pid",
        };
        let pid = std::fs::read_to_string(self.dir.join(file)).expect("a pid file");
        pid.trim().parse().expect("a process number")
    }

    fn call(&self, command: &str) -> String {
        script(&[command.as_ref(), &self.dir])
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        // A second panic while unwinding would hide the first one.
        run(&["kill".as_ref(), &self.dir]).ok();
    }
}

/// The script's output, or what it complained about.
fn run(arguments: &[&Path]) -> Result<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/private-server");
    let output = Command::new(script).args(arguments).output();
    let output = output.map_err(|error| format!("{script}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn script(arguments: &[&Path]) -> String {
    run(arguments).unwrap_or_else(|complaint| panic!("{arguments:?}: {complaint}"))
}
