//! The Store port, operation by operation.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tasker_core::account::ClientScope;
use tasker_core::id::{ProcessId, TaskId};
use tasker_core::name::{Identifier, TaskType};
use tasker_core::purge::{PurgeOrder, Purgeable, Retention};
use tasker_core::store::{
    Arrived, Ask, Changed, Created, Endpoint, HelloAnswer, Recorded, ResponseFilter, RetryOrder,
    Standing, Store, StoreError, TaskFilter, WorkerSign,
};
use tasker_core::task::{NewTask, Task, TaskHead, TaskResponse};

use super::door::Access::{Look, Read, Write};
use super::locked::Settled;
use super::unheard::may_lack_rows;
use super::{
    Ledger, asks, cancel, deadlines, hello, lost, presence, purge, read, record, relay, retry,
    unheard,
};

impl Ledger {
    /// Writes down the missing rows of a task.
    async fn write_down(&self, task: TaskId) -> Result<(), StoreError> {
        let input = (task, self.timing.ask_every);
        self.run("write_down", Write, input, |conn, input| {
            Box::pin(unheard::write_down_one(conn, input))
        })
        .await
    }

    /// Writes down the missing rows of all tasks of the types of which a worker came back. If this fails,
    /// they are written at their deadline.
    async fn write_down_of_returned(&self, limit: u32) -> Result<(), StoreError> {
        let types = self.returned.take();
        let mut is_more = !types.is_empty();
        while is_more {
            let input = (types.clone(), limit, self.timing);
            is_more = self
                .run("write_down_of", Write, input, |conn, input| {
                    Box::pin(unheard::write_down_of(conn, input))
                })
                .await?;
        }
        Ok(())
    }

    /// How a task stands by the rows that are there.
    async fn look_at(
        &self,
        input: (TaskId, ResponseFilter, u32),
    ) -> Result<Option<Standing>, StoreError> {
        self.run("standing", Read, input, |conn, input| {
            Box::pin(read::standing(conn, input))
        })
        .await
    }
}

#[async_trait]
impl Store for Ledger {
    async fn create(
        &self,
        batch: Vec<NewTask>,
        owner: ProcessId,
    ) -> Result<Vec<Created>, StoreError> {
        let created = self.create_batch(batch, owner).await?;
        self.numbers.note(&created);
        Ok(created)
    }

    async fn task(
        &self,
        scope: &ClientScope,
        task_type: &TaskType,
        identifier: &Identifier,
    ) -> Result<Option<Task>, StoreError> {
        let key = (scope.clone(), task_type.clone(), identifier.clone());
        self.run("task", Look, key, |conn, key| {
            Box::pin(read::task(conn, key))
        })
        .await
    }

    async fn head(&self, task: TaskId) -> Result<Option<TaskHead>, StoreError> {
        self.run("head", Look, task, |conn, task| {
            Box::pin(read::head(conn, *task))
        })
        .await
    }

    async fn tasks(&self, filter: TaskFilter) -> Result<Vec<TaskHead>, StoreError> {
        self.run("tasks", Read, filter, |conn, filter| {
            Box::pin(read::tasks(conn, filter))
        })
        .await
    }

    async fn responses(
        &self,
        task: TaskId,
        filter: ResponseFilter,
    ) -> Result<Vec<TaskResponse>, StoreError> {
        if self.head(task).await?.as_ref().is_some_and(may_lack_rows) {
            self.write_down(task).await?;
        }
        self.run("responses", Read, (task, filter), |conn, input| {
            Box::pin(read::responses(conn, input))
        })
        .await
    }

    async fn standing(
        &self,
        task: TaskId,
        page: ResponseFilter,
        missing: u32,
    ) -> Result<Option<Standing>, StoreError> {
        let input = (task, page, missing);
        let standing = self.look_at(input).await?;
        let is_whole = |standing: &Standing| !may_lack_rows(&standing.head);
        if standing.as_ref().is_none_or(is_whole) {
            return Ok(standing);
        }
        self.write_down(task).await?;
        self.look_at(input).await
    }

    async fn cancel(&self, task: TaskId, owner: ProcessId) -> Result<Changed, StoreError> {
        let input = (task, owner, self.timing.lease, self.timing.ask_every);
        self.run("cancel", Write, input, |conn, input| {
            Box::pin(cancel::cancel(conn, input))
        })
        .await
    }

    async fn retry(&self, task: TaskId, order: RetryOrder) -> Result<Changed, StoreError> {
        let input = (task, order, self.timing.ask_every);
        self.run("retry", Write, input, |conn, input| {
            Box::pin(retry::retry(conn, input))
        })
        .await
    }

    async fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        let offline_after = self.timing.offline_after;
        self.run("endpoints", Look, offline_after, |conn, offline_after| {
            Box::pin(read::all_endpoints(conn, *offline_after))
        })
        .await
    }

    async fn take_unsent(&self, owner: ProcessId, limit: u32) -> Result<Vec<Task>, StoreError> {
        let input = (owner, limit, self.timing.lease);
        self.run("take_unsent", Write, input, |conn, input| {
            Box::pin(relay::take_unsent(conn, input))
        })
        .await
    }

    async fn mark_sent(&self, sent: Vec<(TaskId, bool)>) -> Result<(), StoreError> {
        if sent.is_empty() {
            return Ok(());
        }
        self.run("mark_sent", Write, sent, |conn, sent| {
            Box::pin(relay::mark_sent(conn, sent))
        })
        .await
    }

    async fn record(&self, batch: Vec<Arrived>) -> Result<Recorded, StoreError> {
        if batch.is_empty() {
            return Ok(Recorded::default());
        }
        let strangers = self.acquaintances.strangers(&batch);
        let known = self.numbers.of(&batch);
        let input = (batch, known, strangers.clone(), self.timing.ask_every);
        let recorded = self.run("record", Write, input, |conn, input| {
            Box::pin(record::record(conn, input))
        });
        let recorded = recorded.await?;
        self.acquaintances.met(strangers);
        Ok(recorded)
    }

    async fn hello(&self, sign: WorkerSign, fresh: bool) -> Result<HelloAnswer, StoreError> {
        let task_type = sign.task_type.clone();
        let answer = self.run("hello", Write, (sign, fresh), |conn, input| {
            Box::pin(hello::hello(conn, input))
        });
        let answer = answer.await?;
        self.returned.note(task_type);
        Ok(answer)
    }

    async fn heartbeats(&self, signs: Vec<WorkerSign>) -> Result<(), StoreError> {
        if signs.is_empty() {
            return Ok(());
        }
        self.run("heartbeats", Write, signs, |conn, signs| {
            Box::pin(presence::heartbeats(conn, signs))
        })
        .await
    }

    async fn settle_due(&self, limit: u32) -> Result<(Settled, bool), StoreError> {
        let input = (limit, self.timing.ask_every);
        self.run("settle_due", Write, input, |conn, input| {
            Box::pin(deadlines::settle_due(conn, input))
        })
        .await
    }

    async fn presume_lost(&self, limit: u32) -> Result<(Settled, bool), StoreError> {
        let input = (limit, self.timing.lost_after);
        self.run("presume_lost", Write, input, |conn, input| {
            Box::pin(lost::presume_lost(conn, input))
        })
        .await
    }

    async fn take_asks(&self, limit: u32) -> Result<Vec<Ask>, StoreError> {
        self.write_down_of_returned(limit).await?;
        let input = (limit, self.timing.offline_after, self.timing.ask_every);
        self.run("take_asks", Write, input, |conn, input| {
            Box::pin(asks::take_asks(conn, input))
        })
        .await
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        self.run("now", Look, (), |conn, ()| Box::pin(read::clock(conn)))
            .await
    }

    async fn purgeable(
        &self,
        retention: Retention,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Purgeable, StoreError> {
        let input = (retention, after, limit);
        self.run("purgeable", Read, input, |conn, input| {
            Box::pin(purge::purgeable(conn, input))
        })
        .await
    }

    async fn purge(&self, order: PurgeOrder) -> Result<Vec<TaskId>, StoreError> {
        self.run("purge", Write, order, |conn, order| {
            Box::pin(purge::purge(conn, order))
        })
        .await
    }

    async fn sweep(&self, limit: u32) -> Result<(u32, bool), StoreError> {
        self.run("sweep", Write, limit, |conn, limit| {
            Box::pin(purge::sweep(conn, limit))
        })
        .await
    }
}
