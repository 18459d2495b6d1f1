//! Who waits for entries of the logs of jobs, and how they learn of them.
//!
//! News is a wake-up and nothing else: whoever is woken reads the log from the last number that it
//! saw, so several wake-ups count as one and one too many does no harm.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tasker_core::jobs::{Heads, Log, Mark};
use tasker_core::wire::MAX_EVENT_MARKS;
use tasker_core::{Client, TaskType};
use tokio::sync::{Notify, watch};

/// The most entries that wait to be told to other processes. Beyond it they are left out; the others
/// look for what nobody tells them of.
const MAX_OUTBOX: usize = 10_000;

/// What somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// What clients ask of a datasource's server.
    Requests(TaskType),
    /// How the jobs of a client change.
    Changes(TaskType, Client),
}

impl Topic {
    fn of(mark: &Mark) -> Self {
        let datasource = mark.datasource.clone();
        match mark.log {
            Log::Requests => Self::Requests(datasource),
            Log::Changes => Self::Changes(datasource, mark.client.clone()),
        }
    }

    /// The log that it is found in.
    pub(crate) fn log(&self) -> (&TaskType, Log) {
        match self {
            Self::Requests(datasource) => (datasource, Log::Requests),
            Self::Changes(datasource, _) => (datasource, Log::Changes),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<Topic, (watch::Sender<()>, usize)>,
    /// The greatest number of each log that somebody was woken for.
    known: HashMap<(TaskType, Log), u64>,
    /// What other processes are to be told.
    outbox: Vec<Mark>,
}

impl State {
    fn wake(&self, topic: &Topic) {
        if let Some((sender, _)) = self.waiting.get(topic) {
            sender.send_replace(());
        }
    }

    fn wake_all(&self, datasource: &TaskType, log: Log) {
        for (topic, (sender, _)) in &self.waiting {
            if topic.log() == (datasource, log) {
                sender.send_replace(());
            }
        }
    }

    fn tell(&mut self, mark: &Mark) {
        let log = (mark.datasource.clone(), mark.log);
        match self.known.get_mut(&log) {
            // What came before is known, so it is one client's news.
            Some(known) if mark.sequence <= *known + 1 => {
                *known = mark.sequence.max(*known);
                self.wake(&Topic::of(mark));
            }
            // Something before it was missed, and nobody knows whose news that was.
            _ => {
                self.known.insert(log, mark.sequence);
                self.wake_all(&mark.datasource, mark.log);
            }
        }
    }
}

/// The waiters of this process.
#[derive(Debug, Default)]
pub(crate) struct News {
    state: Mutex<State>,
    is_posted: Notify,
}

impl News {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between two steps cannot leave it broken: every step is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something from now on.
    pub(crate) fn watch(self: &Arc<Self>, topic: Topic) -> Ticket {
        let mut state = self.state();
        let (sender, count) = state
            .waiting
            .entry(topic.clone())
            .or_insert_with(|| (watch::Sender::new(()), 0));
        *count += 1;
        Ticket {
            news: Arc::clone(self),
            woken: sender.subscribe(),
            topic,
        }
    }

    /// This process has added entries to logs: wakes who waits here, and lets others know.
    pub(crate) fn publish(&self, marks: &[Mark]) {
        if marks.is_empty() {
            return;
        }
        let mut state = self.state();
        for mark in marks {
            state.tell(mark);
        }
        let room = MAX_OUTBOX.saturating_sub(state.outbox.len());
        state.outbox.extend(marks.iter().take(room).cloned());
        drop(state);
        self.is_posted.notify_one();
    }

    /// Another process has (or this one; it hears itself too): wakes who waits here.
    pub(crate) fn hear(&self, marks: &[Mark]) {
        let mut state = self.state();
        for mark in marks {
            state.tell(mark);
        }
    }

    /// Ends when there is something to tell to other processes.
    pub(crate) async fn posted(&self) {
        self.is_posted.notified().await;
    }

    /// Takes what is to be told, at most one event of it.
    pub(crate) fn take_posted(&self) -> Vec<Mark> {
        let mut state = self.state();
        let count = state.outbox.len().min(MAX_EVENT_MARKS);
        state.outbox.drain(..count).collect()
    }

    /// The datasources that somebody waits for.
    pub(crate) fn watched(&self) -> Vec<TaskType> {
        let state = self.state();
        let mut all: Vec<_> = state.waiting.keys().map(|t| t.log().0.clone()).collect();
        drop(state);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The logs of a datasource have come so far: wakes everybody if nobody had told.
    pub(crate) fn compare(&self, datasource: &TaskType, heads: &Heads) {
        let mut state = self.state();
        for log in [Log::Requests, Log::Changes] {
            let known = state.known.entry((datasource.clone(), log)).or_default();
            if heads.of(log) > *known {
                *known = heads.of(log);
                state.wake_all(datasource, log);
            }
        }
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.state().waiting.values().map(|(_, count)| count).sum()
    }
}

/// A place among the waiters; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    news: Arc<News>,
    topic: Topic,
    woken: watch::Receiver<()>,
}

impl Ticket {
    /// Ends when there has been news since the last time it ended, or since the watch began.
    pub(crate) async fn woken(&mut self) {
        // The sender lives as long as anybody waits.
        if self.woken.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.news.state();
        if let Some((_, count)) = state.waiting.get_mut(&self.topic) {
            *count -= 1;
            if *count == 0 {
                state.waiting.remove(&self.topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn source() -> TaskType {
        TaskType::parse("ds").unwrap()
    }

    fn client(name: &str) -> Client {
        Client::parse(name).unwrap()
    }

    fn changed(sequence: u64, who: &str) -> Mark {
        Mark {
            datasource: source(),
            log: Log::Changes,
            sequence,
            client: client(who),
        }
    }

    fn watch(news: &Arc<News>, who: &str) -> Ticket {
        news.watch(Topic::Changes(source(), client(who)))
    }

    fn is_woken(ticket: &mut Ticket) -> bool {
        ticket.woken().now_or_never().is_some()
    }

    #[test]
    fn news_in_order_wake_the_client_that_they_are_about() {
        let news = Arc::new(News::default());
        let (mut one, mut two) = (watch(&news, "one"), watch(&news, "two"));
        let mut server = news.watch(Topic::Requests(source()));
        news.publish(&[changed(1, "one")]);
        // The first ones wake everybody: nobody knows what was before.
        assert!(is_woken(&mut one) && is_woken(&mut two) && !is_woken(&mut server));
        news.publish(&[changed(2, "one"), changed(3, "one")]);
        assert!(is_woken(&mut one) && !is_woken(&mut one) && !is_woken(&mut two));
    }

    #[test]
    fn a_gap_wakes_everybody_and_what_comes_late_its_client() {
        let news = Arc::new(News::default());
        news.publish(&[changed(1, "one")]);
        let (mut one, mut two) = (watch(&news, "one"), watch(&news, "two"));
        news.publish(&[changed(3, "one")]);
        assert!(is_woken(&mut one) && is_woken(&mut two));
        news.publish(&[changed(2, "two")]);
        assert!(!is_woken(&mut one) && is_woken(&mut two));
    }

    #[test]
    fn a_look_wakes_only_if_something_was_missed() {
        let news = Arc::new(News::default());
        news.publish(&[changed(1, "one")]);
        let mut two = watch(&news, "two");
        let heads = |changes| Heads {
            requests: 0,
            changes,
        };
        news.compare(&source(), &heads(1));
        assert!(!is_woken(&mut two));
        news.compare(&source(), &heads(2));
        assert!(is_woken(&mut two));
        assert_eq!(news.watched(), [source()]);
    }

    #[test]
    fn nobody_stays_and_the_outbox_is_bounded() {
        let news = Arc::new(News::default());
        let tickets = [watch(&news, "one"), watch(&news, "one")];
        assert_eq!(news.len(), 2);
        drop(tickets);
        assert!(news.len() == 0 && news.watched().is_empty());
        let many: Vec<_> = (1..=MAX_OUTBOX as u64 + 1)
            .map(|n| changed(n, "one"))
            .collect();
        news.publish(&many);
        assert_eq!(news.state().outbox.len(), MAX_OUTBOX);
    }
}
