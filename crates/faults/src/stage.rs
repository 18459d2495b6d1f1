//! The private servers that a whole run of drills shares. A row that breaks one repairs it.

use std::path::{Path, PathBuf};

use tasker_testkit::installation::{Programs, Servers, program};
use tasker_testkit::private_server::{Kind, PrivateServer};

use crate::session::client;

/// How the broker is when no row changes it.
pub const CALM: [&[&str]; 3] = [
    &["set_vm_memory_high_watermark", "0.6"],
    &["set_disk_free_limit", "200MB"],
    &[
        "eval",
        "application:set_env(rabbit, consumer_timeout, 1800000), \
         application:set_env(rabbit, channel_tick_interval, 60000).",
    ],
];

/// The servers.
#[derive(Debug)]
pub struct Stage {
    /// RabbitMQ.
    pub broker: PrivateServer,
    /// MariaDB.
    pub database: PrivateServer,
    /// The programs under test.
    pub programs: Programs,
    /// This crate's own programs.
    pub own: Own,
    // Last, so that the servers are gone before their folder.
    dir: tempfile::TempDir,
}

/// Programs that take part in drills.
#[derive(Debug, Clone)]
pub struct Own {
    /// A worker with the handler of [`crate::handler`], for any number of endpoints.
    pub worker: PathBuf,
    /// The same handler as a program.
    pub handler: PathBuf,
}

impl Stage {
    /// Starts the servers, for the programs in a folder.
    ///
    /// # Panics
    /// If they do not start, or the programs were not built.
    #[must_use]
    pub fn set(programs: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self {
            broker: PrivateServer::start(Kind::RabbitMq, dir.path().join("rabbitmq")),
            database: PrivateServer::start(Kind::MariaDb, dir.path().join("mariadb")),
            own: Own {
                worker: program(programs, "faults-worker"),
                handler: program(programs, "faults-handler"),
            },
            programs: Programs::of(programs),
            dir,
        }
    }

    /// Sets back what a row that ended in the middle may have left behind in servers that run.
    ///
    /// # Panics
    /// If they do not answer.
    pub fn calm(&self) {
        self.repair();
        for order in CALM {
            self.broker.rabbitmqctl(order);
        }
    }

    /// Starts what a row has left dead.
    ///
    /// # Panics
    /// If it does not start.
    pub fn repair(&self) {
        self.broker.restart();
        self.database.restart();
    }

    /// Where they are.
    #[must_use]
    pub fn servers(&self) -> Servers {
        Servers::of(&self.database, &self.broker)
    }

    /// A folder for whatever a row needs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs SQL as root; what it printed, without headings.
    ///
    /// # Panics
    /// If it fails.
    pub fn sql(&self, statement: &str) -> String {
        sql(&self.database, statement)
    }
}

/// Runs SQL as root on a server; what it printed, without headings.
///
/// # Panics
/// If it fails.
pub fn sql(server: &PrivateServer, statement: &str) -> String {
    let output = client(server)
        .args(["-e", statement])
        .output()
        .expect("the program mariadb");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{statement}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
