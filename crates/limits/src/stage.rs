//! The private servers of a run.

use std::path::{Path, PathBuf};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tasker_testkit::installation::Servers;
use tasker_testkit::private_server::{Kind, PrivateServer};

/// The buffer pool of MariaDB.
const BUFFER_POOL: u64 = 1 << 30;

/// The servers.
#[derive(Debug)]
pub struct Stage {
    /// RabbitMQ.
    pub broker: PrivateServer,
    /// MariaDB.
    pub database: PrivateServer,
    /// The folder of the programs under test.
    pub programs: PathBuf,
    /// Names and versions of the servers.
    pub versions: String,
    // Last, so that the servers are gone before their folder.
    dir: tempfile::TempDir,
}

impl Stage {
    /// Starts the servers, for the programs in a folder.
    ///
    /// # Panics
    /// If they do not start, or MariaDB does not make commits durable: then no figure would count.
    pub async fn set(programs: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let database = PrivateServer::start(Kind::MariaDb, dir.path().join("mariadb"));
        let broker = PrivateServer::start(Kind::RabbitMq, dir.path().join("rabbitmq"));
        let mut root = connect(&database.url()).await;
        let pool = format!("SET GLOBAL innodb_buffer_pool_size = {BUFFER_POOL}");
        root.query_drop(pool).await.expect("a buffer pool");
        let settings = "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, VERSION()";
        let told: Option<(String, String, String)> =
            root.query_first(settings).await.expect("its settings");
        let (flush, doublewrite, mariadb) = told.expect("its settings");
        assert_eq!(flush, "1", "commits are not durable");
        assert!(["1", "ON"].contains(&&*doublewrite), "pages may be torn");
        root.disconnect().await.expect("a session");
        let rabbitmq = broker.rabbitmqctl(&["version"]);
        let mariadb = mariadb.split('-').next().unwrap_or_default();
        let versions = format!("MariaDB {mariadb}, RabbitMQ {}", rabbitmq.trim());
        Self {
            broker,
            database,
            programs: programs.to_owned(),
            versions,
            dir,
        }
    }

    /// Where they are.
    #[must_use]
    pub fn servers(&self) -> Servers {
        Servers::of(&self.database, &self.broker)
    }

    /// A folder for whatever is measured, on the disk of the servers.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs one statement after the other as root.
    ///
    /// # Panics
    /// If one fails.
    pub async fn sql(&self, statements: &[&str]) {
        let mut root = connect(&self.database.url()).await;
        for statement in statements {
            let done = root.query_drop(*statement).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        root.disconnect().await.expect("a session");
    }

    /// Runs a query as root; its first column.
    ///
    /// # Panics
    /// If it fails.
    pub async fn query(&self, query: &str) -> Vec<String> {
        let mut root = connect(&self.database.url()).await;
        let rows = root.query(query).await;
        rows.unwrap_or_else(|error| panic!("{query}: {error}"))
    }
}

/// A session.
///
/// # Panics
/// If the database refuses it.
pub async fn connect(url: &str) -> Conn {
    let opts = Opts::from_url(url).expect("an address");
    Conn::new(opts).await.expect("a session")
}
