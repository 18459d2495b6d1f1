//! `tasker purge`: deletes tasks that were settled long ago, or exports them first.

mod export;
mod record;

use std::sync::Arc;
use std::time::Instant;

use tasker_core::account::ClientScope;
use tasker_core::purge::{LOOK, PurgeOrder, RESPONSES, Retention, TASKS, pause_after};
use tasker_core::store::{ResponseFilter, Store, StoreError};
use tasker_core::task::TaskHead;

use crate::cli::PurgeArgs;
use crate::config::{self, Needs};
use crate::exit::{Exit, Failure};
use crate::{logging, terminal, wiring};
use export::Export;

/// Responses on one line of the export, and so in memory at once.
const RESPONSES_A_LINE: u32 = 100;

/// Purges what is old enough. An API process may do the same meanwhile.
///
/// # Errors
/// [`Failure`]. What was purged until then stays purged; if it was to be exported, it is in the file.
pub fn run(args: &PurgeArgs) -> Result<Exit, Failure> {
    let needs = Needs {
        db: true,
        ..Needs::NOTHING
    };
    let config = config::load(&args.mode.mode, args.mode.config.as_deref(), needs)?;
    logging::start(&config.log)?;
    let Some(days) = args.older_than.or(config.api.retention_days) else {
        let message = "api.retention_days is 0, so everything is kept; to purge all the same, say \
                       how old tasks must be with --older-than DAYS";
        return Err(Failure::Usage(message.to_owned()));
    };
    let db = config
        .db
        .as_ref()
        .ok_or_else(|| Failure::Usage("manager.db is missing".to_owned()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Failed(e.to_string()))?;
    runtime.block_on(async {
        if !wiring::schema_is_current(db).await? {
            let message = format!(
                "{} has not the schema of this release: run `tasker init`",
                db.uri
            );
            return Err(Failure::Failed(message));
        }
        let purge = Purge {
            store: wiring::open_store(db, config.timing)?.store,
            retention: Retention::days(days),
        };
        if args.dry_run {
            let count = purge.count().await?;
            terminal::print(&format!(
                "{count} tasks, settled {days} days ago or earlier, would be purged"
            ))?;
            return Ok(Exit::OK);
        }
        let mut export = args.export.as_deref().map(Export::open).transpose()?;
        let purged = purge.all(export.as_mut()).await;
        let is_to_stdout = export.as_ref().is_some_and(Export::is_stdout);
        if let Some(export) = export {
            export.close();
        }
        let done = purged?;
        let mut told = format!("{} tasks, {} responses purged", done.tasks, done.responses);
        if args.export.is_some() {
            told += &format!("; {} tasks exported", done.exported);
        }
        if done.kept > 0 {
            told += &format!(", {} of them kept: they changed meanwhile", done.kept);
        }
        if is_to_stdout {
            terminal::tell(&told);
        } else {
            terminal::print(&told)?;
        }
        Ok(Exit::OK)
    })
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable(error.to_string()),
            StoreError::Refused {
                operation,
                ref source,
            } => Self::Failed(format!("the database refused {operation}: {source}")),
            StoreError::Corrupt { .. } => Self::Failed(error.to_string()),
        }
    }
}

/// What was done.
#[derive(Debug, Default)]
struct Done {
    tasks: u64,
    responses: u64,
    exported: u64,
    kept: u64,
}

struct Purge {
    store: Arc<dyn Store>,
    retention: Retention,
}

impl Purge {
    async fn count(&self) -> Result<u64, Failure> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.store.purgeable(self.retention, after, LOOK).await?;
            count += page.tasks.len() as u64;
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    async fn all(&self, mut export: Option<&mut Export>) -> Result<Done, Failure> {
        let mut done = Done::default();
        // What an earlier one left that ended in between.
        self.sweep(&mut done).await?;
        let mut after = None;
        loop {
            let page = self.store.purgeable(self.retention, after, LOOK).await?;
            for part in page.tasks.chunks(TASKS) {
                self.some(part, export.as_deref_mut(), &mut done).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(done);
            }
        }
    }

    async fn some(
        &self,
        tasks: &[TaskHead],
        export: Option<&mut Export>,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let mut order = PurgeOrder {
            retention: self.retention,
            tasks: Vec::with_capacity(tasks.len()),
            copied_at: None,
        };
        if let Some(export) = export {
            order.copied_at = Some(self.store.now().await?);
            for task in tasks {
                if self.copy(task, export).await? {
                    order.tasks.push(task.id);
                }
            }
            export.make_durable()?;
            done.exported += order.tasks.len() as u64;
        } else {
            order.tasks.extend(tasks.iter().map(|task| task.id));
        }
        let (began, asked) = (Instant::now(), order.tasks.len() as u64);
        let is_copy = order.copied_at.is_some();
        let purged = self.store.purge(order).await?.len() as u64;
        tokio::time::sleep(pause_after(began.elapsed())).await;
        done.tasks += purged;
        done.kept += if is_copy { asked - purged } else { 0 };
        self.sweep(done).await
    }

    /// Writes a task and its responses to the export. `false`: somebody else purged it meanwhile.
    async fn copy(&self, head: &TaskHead, export: &mut Export) -> Result<bool, Failure> {
        let scope = ClientScope::own(head.client.clone());
        let found = self
            .store
            .task(&scope, &head.task_type, &head.identifier)
            .await?;
        let Some(task) = found.filter(|task| task.head.uid == head.uid) else {
            return Ok(false);
        };
        export.write(&record::task(&task)?)?;
        let mut after = None;
        loop {
            let filter = ResponseFilter {
                after,
                limit: RESPONSES_A_LINE,
                ..ResponseFilter::default()
            };
            let page = self.store.responses(head.id, filter).await?;
            let Some(last) = page.last() else {
                return Ok(true);
            };
            after = Some(last.id);
            export.write(&record::responses(&task, &page)?)?;
        }
    }

    async fn sweep(&self, done: &mut Done) -> Result<(), Failure> {
        loop {
            let began = Instant::now();
            let (count, is_more) = self.store.sweep(RESPONSES).await?;
            done.responses += u64::from(count);
            if !is_more {
                return Ok(());
            }
            tokio::time::sleep(pause_after(began.elapsed())).await;
        }
    }
}
