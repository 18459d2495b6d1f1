//! Rows of `runs` and `run_tasks`.

use bytes::Bytes;
use chrono::NaiveDateTime;
use diesel::prelude::*;
use tasker_core::id::RunUid;
use tasker_core::name::Client;
use tasker_core::runs::{Run, RunTask, RunTaskState};

use super::{corrupt, int, stored, unsigned, uuid};
use crate::failure::Failure;
use crate::schema::{run_payloads, run_tasks, runs};

const RUNS: &str = "runs";
const TASKS: &str = "run_tasks";

/// A run without its payload.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = runs)]
pub(crate) struct RunRow {
    pub id: i64,
    pub uid: Vec<u8>,
    pub client: String,
    pub num_tasks: i32,
    pub next_task: i32,
    pub epoch: i32,
    pub reset_epoch: i32,
    pub payloads: i16,
    pub created_at: NaiveDateTime,
}

impl RunRow {
    pub(crate) fn decode(self) -> Result<Run, Failure> {
        let number = |number: i32| unsigned(RUNS, self.id, number);
        Ok(Run {
            id: self.id,
            uid: RunUid(uuid(RUNS, self.id, &self.uid)?),
            num_tasks: number(self.num_tasks)?,
            next_task: number(self.next_task)?,
            epoch: number(self.epoch)?,
            reset_epoch: number(self.reset_epoch)?,
            created_at: self.created_at.and_utc(),
            client: Client::parse(&self.client).map_err(|e| corrupt(RUNS, self.id, e))?,
        })
    }
}

/// Whose payload a task gets.
pub(crate) mod payloads {
    /// Nobody's.
    pub(crate) const NONE: i16 = 0;
    /// The run's.
    pub(crate) const SAME: i16 = 1;
    /// Its own.
    pub(crate) const EACH: i16 = 2;
}

/// A run that is being stored.
#[derive(Debug, Insertable)]
#[diesel(table_name = runs)]
pub(crate) struct NewRunRow {
    pub uid: Vec<u8>,
    pub client: String,
    pub num_tasks: i32,
    pub next_task: i32,
    pub epoch: i32,
    pub reset_epoch: i32,
    pub payloads: i16,
    pub payload: Option<Vec<u8>>,
    pub created_at: NaiveDateTime,
}

/// The payload of one task.
#[derive(Debug, Insertable)]
#[diesel(table_name = run_payloads)]
pub(crate) struct RunPayloadRow {
    pub run_id: i64,
    pub task: i32,
    pub payload: Vec<u8>,
}

impl RunPayloadRow {
    pub(crate) fn weight(&self) -> usize {
        self.payload.len() + 16
    }
}

/// A task that was touched.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = run_tasks, treat_none_as_null = true)]
pub(crate) struct RunTaskRow {
    pub run_id: i64,
    pub task: i32,
    pub state: i16,
    pub percent: f64,
    pub attempt: i32,
    pub epoch: i32,
    pub worker_id: Option<i64>,
    pub started_at: Option<NaiveDateTime>,
    pub updated_at: Option<NaiveDateTime>,
    pub lease_until: Option<NaiveDateTime>,
    pub result: Option<Vec<u8>>,
}

/// The states as the index of free tasks has them.
pub(crate) mod codes {
    pub(crate) const WAITING: i16 = 0;
    pub(crate) const COMPUTING: i16 = 1;
    pub(crate) const DONE: i16 = 2;
    /// Done without being complete.
    pub(crate) const DONE_PARTLY: i16 = 3;
}

impl RunTaskRow {
    pub(crate) fn new(run: i64, task: &RunTask) -> Self {
        Self {
            run_id: run,
            task: int(task.number),
            state: match task.state {
                RunTaskState::Waiting => codes::WAITING,
                RunTaskState::Computing => codes::COMPUTING,
                RunTaskState::Done if task.percent < 100.0 => codes::DONE_PARTLY,
                RunTaskState::Done => codes::DONE,
            },
            percent: task.percent,
            attempt: int(task.attempt),
            epoch: int(task.epoch),
            worker_id: task.worker,
            started_at: task.started_at.map(stored),
            updated_at: task.updated_at.map(stored),
            lease_until: task.lease_until.map(stored),
            result: task.result.as_ref().map(|result| result.to_vec()),
        }
    }

    pub(crate) fn weight(&self) -> usize {
        self.result.as_ref().map_or(0, Vec::len) + 128
    }

    pub(crate) fn decode(self) -> Result<RunTask, Failure> {
        let number = |number: i32| unsigned(TASKS, self.run_id, number);
        Ok(RunTask {
            number: number(self.task)?,
            state: match self.state {
                codes::WAITING => RunTaskState::Waiting,
                codes::COMPUTING => RunTaskState::Computing,
                codes::DONE | codes::DONE_PARTLY => RunTaskState::Done,
                code => return Err(corrupt(TASKS, self.run_id, format!("state {code}"))),
            },
            percent: self.percent,
            attempt: number(self.attempt)?,
            epoch: number(self.epoch)?,
            worker: self.worker_id,
            started_at: self.started_at.map(|at| at.and_utc()),
            updated_at: self.updated_at.map(|at| at.and_utc()),
            lease_until: self.lease_until.map(|at| at.and_utc()),
            result: self.result.map(Bytes::from),
        })
    }
}
