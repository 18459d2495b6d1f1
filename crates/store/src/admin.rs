//! Prepares a database, and looks whether it is prepared. For the commands of an operator and for
//! tests; the ledger itself never changes its schema.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel::result::ConnectionError;
use diesel::sql_types::{Integer, Text};
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncMysqlConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tasker_core::store::Source;
use tasker_tls::Ca;
use tokio::time::timeout;

use crate::options::{Location, OpenError, Place};
use crate::schema::tasks;
use crate::{mysql, sqlite};

const MYSQL: EmbeddedMigrations = embed_migrations!("../../migrations/mysql");
const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

diesel::table! {
    /// The migrations that diesel has run.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

/// Brings the schema up to date; makes the database (MySQL) or the file and its folder (SQLite) if
/// it does not exist. Harmless if nothing is to be done, or if another process does the same.
///
/// # Errors
/// [`OpenError`] if the URL cannot be used, the database cannot be reached, or it refuses.
pub async fn migrate(at: impl Into<Place<'_>>) -> Result<(), OpenError> {
    let at = at.into();
    make(&at).await?;
    on(&at, (), |database| database.migrate()).await
}

/// Drops every table of the database, whatever it holds, and makes the schema anew.
///
/// # Errors
/// As [`migrate`].
pub async fn reset(at: impl Into<Place<'_>>) -> Result<(), OpenError> {
    let at = at.into();
    make(&at).await?;
    on(&at, (), |database| {
        database.drop_all()?;
        database.migrate()
    })
    .await
}

/// Whether the ledger holds no task. A database without a schema holds none.
///
/// # Errors
/// As [`migrate`].
pub async fn is_empty(at: impl Into<Place<'_>>) -> Result<bool, OpenError> {
    on(&at.into(), true, |database| {
        let has_table = database.tables()?.iter().any(|name| name == "tasks");
        Ok(!has_table || database.first_task()?.is_none())
    })
    .await
}

/// Whether [`migrate`] would have nothing to do. A schema of a later release counts as current:
/// releases change it in steps that the one before can live with.
///
/// # Errors
/// As [`migrate`].
pub async fn schema_is_current(at: impl Into<Place<'_>>) -> Result<bool, OpenError> {
    on(&at.into(), false, |database| {
        let tables = database.tables()?;
        if !tables
            .iter()
            .any(|name| name == "__diesel_schema_migrations")
        {
            return Ok(false);
        }
        let applied: HashSet<String> = database.applied()?.into_iter().collect();
        Ok(database
            .known()?
            .iter()
            .all(|version| applied.contains(version)))
    })
    .await
}

/// One database, seen by its administrator. Blocks.
trait Database {
    fn tables(&mut self) -> Result<Vec<String>, Source>;
    fn drop_all(&mut self) -> Result<(), Source>;
    fn migrate(&mut self) -> Result<(), Source>;
    fn known(&self) -> Result<Vec<String>, Source>;
    fn applied(&mut self) -> Result<Vec<String>, Source>;
    fn first_task(&mut self) -> Result<Option<i64>, Source>;
}

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
}

type Mysql = AsyncConnectionWrapper<AsyncMysqlConnection>;

/// What is the same on both.
macro_rules! same_on_both {
    ($migrations:ident, $backend:ty) => {
        fn known(&self) -> Result<Vec<String>, Source> {
            let known: Vec<Box<dyn Migration<$backend>>> = $migrations.migrations()?;
            Ok(known
                .iter()
                .map(|m| m.name().version().to_string())
                .collect())
        }

        fn applied(&mut self) -> Result<Vec<String>, Source> {
            Ok(__diesel_schema_migrations::table
                .select(__diesel_schema_migrations::version)
                .load(self)?)
        }

        fn first_task(&mut self) -> Result<Option<i64>, Source> {
            Ok(tasks::table.select(tasks::id).first(self).optional()?)
        }
    };
}

impl Database for Mysql {
    same_on_both!(MYSQL, diesel::mysql::Mysql);

    fn tables(&mut self) -> Result<Vec<String>, Source> {
        let tables: Vec<Table> = diesel::sql_query(
            "SELECT table_name AS name FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'",
        )
        .load(self)?;
        Ok(tables.into_iter().map(|table| table.name).collect())
    }

    fn drop_all(&mut self) -> Result<(), Source> {
        let tables = self.tables()?;
        SimpleConnection::batch_execute(self, "SET SESSION foreign_key_checks = 0")?;
        for table in tables {
            SimpleConnection::batch_execute(
                self,
                &format!("DROP TABLE `{}`", table.replace('`', "``")),
            )?;
        }
        SimpleConnection::batch_execute(self, "SET SESSION foreign_key_checks = 1")?;
        Ok(())
    }

    fn migrate(&mut self) -> Result<(), Source> {
        // MySQL commits after each change of the schema, so a lock keeps other processes out.
        let got: i32 = diesel::select(sql::<Integer>(
            "GET_LOCK(CONCAT('tasker-migrate-', LEFT(MD5(DATABASE()), 16)), 60)",
        ))
        .get_result(self)?;
        if got != 1 {
            return Err("another process has been migrating the database for 60 s".into());
        }
        // The lock goes with the connection.
        self.run_pending_migrations(MYSQL).map(|_| ())
    }
}

impl Database for SqliteConnection {
    same_on_both!(SQLITE, diesel::sqlite::Sqlite);

    fn tables(&mut self) -> Result<Vec<String>, Source> {
        let tables: Vec<Table> = diesel::sql_query(
            "SELECT name FROM sqlite_master \
             WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        )
        .load(self)?;
        Ok(tables.into_iter().map(|table| table.name).collect())
    }

    fn drop_all(&mut self) -> Result<(), Source> {
        let tables = self.tables()?;
        self.batch_execute("PRAGMA foreign_keys = OFF")?;
        for table in tables {
            self.batch_execute(&format!("DROP TABLE \"{}\"", table.replace('"', "\"\"")))?;
        }
        self.batch_execute("PRAGMA foreign_keys = ON")?;
        Ok(())
    }

    fn migrate(&mut self) -> Result<(), Source> {
        // One transaction around all: other processes wait for it and then find nothing to do.
        self.immediate_transaction(|conn| {
            conn.run_pending_migrations(SQLITE)
                .map(|_| ())
                .map_err(Rolled::Back)
        })
        .map_err(|rolled| match rolled {
            Rolled::Back(source) => source,
            Rolled::Failed(error) => error.into(),
        })
    }
}

/// Why a migration was rolled back.
enum Rolled {
    Back(Source),
    Failed(diesel::result::Error),
}

impl From<diesel::result::Error> for Rolled {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes the database or the folder of the file, if it does not exist.
async fn make(at: &Place<'_>) -> Result<(), OpenError> {
    match Location::parse(at.url)? {
        Location::Mysql {
            url,
            server,
            database,
        } => {
            if connect(&url, at.tls).await?.is_none() {
                let mut conn = establish(&server, at.tls).await?.map_err(unreachable)?;
                // Names with other characters than letters, digits, `_` and `-` do not get here.
                conn.batch_execute(&format!(
                    "CREATE DATABASE IF NOT EXISTS `{database}` CHARACTER SET utf8mb4"
                ))
                .await
                .map_err(|e| OpenError::Refused(e.into()))?;
            }
        }
        Location::Sqlite(path) => {
            if let Some(folder) = path.parent() {
                tokio::fs::create_dir_all(folder)
                    .await
                    .map_err(unreachable)?;
            }
            blocking(move || open_file(&path).map(|_| ())).await?;
        }
    }
    Ok(())
}

/// Does something with a database; `absent` is the answer if there is none.
async fn on<T, F>(at: &Place<'_>, absent: T, job: F) -> Result<T, OpenError>
where
    T: Send + 'static,
    F: FnOnce(&mut dyn Database) -> Result<T, Source> + Send + 'static,
{
    match Location::parse(at.url)? {
        Location::Mysql { url, .. } => match connect(&url, at.tls).await? {
            None => Ok(absent),
            Some(conn) => blocking(move || job(&mut Mysql::from(conn))).await,
        },
        Location::Sqlite(path) if !is_file(&path).await => Ok(absent),
        Location::Sqlite(path) => blocking(move || job(&mut open_file(&path)?)).await,
    }
}

async fn is_file(path: &Path) -> bool {
    tokio::fs::try_exists(path).await.unwrap_or(false)
}

fn open_file(path: &Path) -> Result<SqliteConnection, Source> {
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    let mut conn = SqliteConnection::establish(path)?;
    conn.batch_execute(&sqlite::settings(false))?;
    sqlite::keep_wal(&mut conn)?;
    Ok(conn)
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Source> + Send + 'static,
) -> Result<T, OpenError> {
    tokio::task::spawn_blocking(job)
        .await
        .map_err(unreachable)?
        .map_err(OpenError::Refused)
}

/// Connects to a database; `None` if the server does not have it.
async fn connect(url: &str, tls: Option<&Ca>) -> Result<Option<AsyncMysqlConnection>, OpenError> {
    match establish(url, tls).await? {
        Ok(conn) => Ok(Some(conn)),
        Err(error) if error.to_string().contains("Unknown database") => Ok(None),
        Err(error) => Err(unreachable(error)),
    }
}

async fn establish(
    url: &str,
    tls: Option<&Ca>,
) -> Result<Result<AsyncMysqlConnection, ConnectionError>, OpenError> {
    timeout(CONNECT_TIMEOUT, mysql::establish(url, tls))
        .await
        .map_err(unreachable)
}

fn unreachable(error: impl Into<Source>) -> OpenError {
    OpenError::Unreachable(error.into())
}
