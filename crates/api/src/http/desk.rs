//! What every request handler shares.

use std::sync::Arc;

use actix_web::HttpRequest;
use tasker_core::callback::CallbackUrl;
use tasker_core::jobs::Jobs;
use tasker_core::notice::{Notices, Subject};
use tasker_core::runs::Runs;
use tasker_core::store::{Store, StoreError};
use tasker_core::task::Task;
use tasker_core::{ClientScope, Identifier, ProcessId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::problem::{Code, Problem};
use crate::accept::Intake;
use crate::auth::Doorkeeper;
use crate::board::Board;
use crate::bridge::Bell;
use crate::courier::Courier;
use crate::fault::Faults;
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::news::News;
use crate::outage::Outage;
use crate::pulls::Pulls;
use crate::relay::RelayDesk;
use crate::settings::{ApiSettings, Kind, TaskTypeSettings};
use crate::show::CallbackJson;
use crate::validate::name;

/// What every request handler shares.
pub(crate) struct Desk {
    pub(crate) settings: Arc<ApiSettings>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) jobs: Arc<dyn Jobs>,
    /// Who finds out who somebody is; `None`: nobody is asked.
    pub(crate) doorkeeper: Option<Doorkeeper>,
    pub(crate) notices: Arc<dyn Notices>,
    pub(crate) ledger: Arc<Outage>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) runs: Arc<dyn Runs>,
    pub(crate) pulls: Pulls,
    pub(crate) intake: Intake,
    pub(crate) relay: RelayDesk,
    pub(crate) board: Arc<Board>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) asks: Arc<Notify>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) owner: ProcessId,
    /// The process stops; long-polls end.
    pub(crate) stopping: CancellationToken,
    /// Wakes who makes tasks of jobs.
    pub(crate) bell: Arc<Bell>,
    /// Who waits for changes of jobs.
    pub(crate) news: Arc<News>,
    pub(crate) subscribers: Arc<Semaphore>,
    /// KiB of request bodies that may be in memory.
    pub(crate) body_memory: Arc<Semaphore>,
    pub(crate) long_polls: Arc<Semaphore>,
    /// The runtime that outlives every request and every HTTP thread.
    pub(crate) main: Handle,
}

impl Desk {
    /// Lets the ledger work outside the request: neither a client that goes away nor an HTTP thread
    /// that ends cuts a transaction, and its connections belong to the main runtime.
    pub(crate) async fn ledger<T, F>(
        &self,
        work: impl FnOnce(Arc<dyn Store>) -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        self.apart(work(Arc::clone(&self.store))).await
    }

    /// As [`Desk::ledger`], for any port of the database.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, Problem> {
        match self.main.spawn(work).await {
            Ok(result) => {
                self.ledger.learn(&result);
                result.map_err(|error| Problem::of_store(&error))
            }
            Err(error) => {
                tracing::error!(%error, "an operation of the ledger ended early");
                Err(Problem::internal())
            }
        }
    }

    /// How the completion of something was told that wants it to be.
    pub(crate) async fn callback(
        &self,
        url: Option<&CallbackUrl>,
        subject: Subject,
    ) -> Result<Option<CallbackJson>, Problem> {
        let Some(url) = url else {
            return Ok(None);
        };
        let notices = Arc::clone(&self.notices);
        let last = self.apart(async move { notices.last(subject).await });
        Ok(Some(CallbackJson::of(url.as_str(), last.await?)))
    }

    /// The settings of the task type in the path. One that the caller may not touch is told like one
    /// that is not configured.
    pub(crate) fn task_type(
        &self,
        req: &HttpRequest,
        caller: &Caller,
    ) -> Result<&TaskTypeSettings, Problem> {
        let text = req.match_info().query("task_type");
        let found = self.settings.task_type(text);
        let granted = found
            .filter(|task_type| task_type.kind == Kind::Task)
            .filter(|task_type| caller.may_touch(&task_type.name));
        granted.ok_or_else(|| {
            // What is not a task type's name is not repeated to the client.
            let known = tasker_core::TaskType::parse(text).is_ok();
            let text = if known { text } else { "of that name" };
            Problem::new(
                Code::UnknownTaskType,
                format!("Task type {text} is not configured."),
            )
        })
    }

    /// The task in the path, of the client of a scope (see `Query::scope`).
    pub(crate) async fn task(
        &self,
        req: &HttpRequest,
        caller: &Caller,
        scope: Option<ClientScope>,
    ) -> Result<Task, Problem> {
        let task_type = self.task_type(req, caller)?.name.clone();
        let mut faults = Faults::default();
        let text = req.match_info().query("identifier");
        let identifier = name(
            &mut faults,
            "identifier".to_owned(),
            text,
            Identifier::parse,
        );
        let identifier = identifier.ok_or(faults)?;
        let scope = scope.ok_or_else(unknown_task)?;
        let found = self
            .ledger(|store| async move { store.task(&scope, &task_type, &identifier).await })
            .await?;
        found.ok_or_else(unknown_task)
    }
}

/// The same words for a task that never was and for one of somebody else.
pub(crate) fn unknown_task() -> Problem {
    Problem::new(Code::UnknownTask, "There is no task of that identifier.")
}
