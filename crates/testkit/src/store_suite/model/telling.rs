//! What endpoints say, told to the store and to the model.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use tasker_core::id::{JournalUid, TaskUid};
use tasker_core::store::{Arrived, RecordVerdict, ResponseFilter, WorkerSign};
use tasker_core::wire::Report;
use tasker_core::{BootId, ResponseState};

use super::driver::{Difference, Driver, same, same_settled, told};
use super::hearing::Word;
use super::operation::{Attempt, ENDPOINTS, Said, Speaker, Start};
use crate::build::{endpoint, task_type};
use crate::store_suite::probe::{report, sign};

impl Driver {
    pub(super) async fn report(&mut self, said: &[Said]) -> Result<(), Difference> {
        let words: Vec<Word> = said.iter().map(|said| self.word(said)).collect();
        let now = self.model.now;
        let mut tasks = words.iter().filter_map(|word| word.task);
        if tasks.any(|task| self.model.tasks[task].is_close_to_its_end(now)) {
            return Ok(());
        }
        let batch = words.iter().map(|word| self.arrived(word)).collect();
        let recorded = self.store.record(batch).await.map_err(told)?;
        let verdicts: Vec<_> = words.iter().map(|word| self.model.hear(word)).collect();
        let what = format!("verdicts of {words:?}");
        same(what, &recorded.verdicts, &verdicts)?;
        self.laws.heard(&self.model, &words, &verdicts);
        let mut changed: Vec<usize> = words
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| **verdict == RecordVerdict::Applied)
            .filter_map(|(word, _)| word.task)
            .collect();
        changed.sort_unstable();
        changed.dedup();
        self.learn_pauses(&changed).await?;
        let settled = self.model.settle_these(changed);
        same_settled("record", recorded.settled, settled)
    }

    /// Takes over when rows may start again, which is up to chance, if that is within its bounds.
    async fn learn_pauses(&mut self, tasks: &[usize]) -> Result<(), Difference> {
        let now = self.model.now;
        for at in tasks {
            let task = &mut self.model.tasks[*at];
            let all = ResponseFilter {
                limit: 1000,
                ..ResponseFilter::default()
            };
            let rows = self.store.responses(task.id, all).await.map_err(told)?;
            for (name, row) in &mut task.rows {
                let Some((least, most)) = row.pause.take() else {
                    continue;
                };
                if row.state != ResponseState::Retrying {
                    continue;
                }
                let found = rows.iter().find(|found| found.endpoint.as_str() == name);
                let at = found.and_then(|found| found.retry_at);
                let at = at.ok_or_else(|| format!("{name} is not tried again"))?;
                same(
                    format!("a pause of {}", at - now),
                    &(now + least <= at && at <= now + most),
                    &true,
                )?;
                (row.retry_at, row.ask_at) = (Some(at), at);
            }
        }
        Ok(())
    }

    /// The numbers that a report is sent with: near those of its row, so that most of them count.
    fn word(&self, said: &Said) -> Word {
        let task = said.task.and_then(|number| self.model.choose(number));
        let known = |number| {
            let rows = &self.model.tasks[task?].rows;
            let name = rows.keys().nth(usize::from(number) % rows.len().max(1))?;
            ENDPOINTS.iter().copied().find(|known| known == name)
        };
        let name = match said.endpoint {
            Speaker::OfRow(number) => known(number),
            Speaker::Any(_) => None,
        };
        let name = name.unwrap_or(match said.endpoint {
            Speaker::OfRow(number) | Speaker::Any(number) => ENDPOINTS[usize::from(number)],
        });
        let row = task.and_then(|task| self.model.tasks[task].rows.get(name));
        let (state, attempt) = match said.attempt {
            Attempt::None => (ResponseState::Cancelled, 0),
            Attempt::Near(by) => {
                let attempt = row.map_or(1, |row| row.attempt);
                (said.state, attempt.saturating_add_signed(by.into()).max(1))
            }
        };
        Word {
            task,
            task_type: if said.is_of_other_type {
                "other"
            } else {
                "worker"
            },
            endpoint: name,
            attempt,
            run: said.run,
            state,
            age: TimeDelta::seconds(said.age_s.into()),
        }
    }

    fn arrived(&self, word: &Word) -> Arrived {
        let uid = match word.task {
            Some(task) => self.model.tasks[task].uid,
            None => TaskUid::mint(),
        };
        Arrived {
            task_type: task_type(word.task_type),
            endpoint: endpoint(word.endpoint),
            report: Report {
                age_ms: word.age.num_milliseconds().unsigned_abs(),
                ..report(uid, word.attempt, word.run, word.state)
            },
        }
    }

    pub(super) async fn hello(
        &mut self,
        number: u8,
        start: Start,
        fresh: bool,
    ) -> Result<(), Difference> {
        let name = ENDPOINTS[usize::from(number)];
        let starts = &self.model.worker("worker", name).starts;
        let past = |back: usize| {
            let place = starts.len().checked_sub(1 + back)?;
            starts.get(place).copied()
        };
        let known = match start {
            Start::New(true) => None,
            Start::New(false) => past(0).map(|(_, journal)| (BootId::mint(), journal)),
            Start::Present => past(0),
            Start::Past(back) => past(1 + usize::from(back)),
        };
        let (boot, journal) = known.unwrap_or_else(|| (BootId::mint(), JournalUid::mint()));
        let who = WorkerSign {
            boot,
            ..sign(name, journal)
        };
        let answer = self.store.hello(who, fresh).await.map_err(told)?;
        let (is_lost, settled) = self.model.hello(name, boot, journal);
        same_settled("hello", answer.settled, settled)?;
        same("hello: now", &answer.now, &self.model.now)?;
        let had: BTreeMap<_, _> = answer
            .had
            .iter()
            .map(|had| (had.uid, had.attempt))
            .collect();
        let expected: BTreeMap<_, _> = if is_lost || fresh {
            self.model.had(name).into_iter().collect()
        } else {
            BTreeMap::new()
        };
        same("hello: had", &had, &expected)?;
        let mut cancelled: Vec<_> = answer.cancelled.iter().map(|entry| entry.uid).collect();
        let mut expected = self.model.cancels_for(name);
        cancelled.sort_unstable();
        expected.sort_unstable();
        same("hello: cancelled", &cancelled, &expected)
    }
}
