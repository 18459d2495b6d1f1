//! Tells completions to whoever asked for it: takes notices by lease, has them carried, notes how it went.
//!
//! Any number of processes side by side. A receiver that is slow or dead holds up nobody else: each host
//! has few tries under way, all hosts together a bounded number, and hosts take turns by chance.

use std::collections::HashMap;
use std::sync::Arc;

use rand::seq::SliceRandom;
use tasker_core::ProcessId;
use tasker_core::callback::CallbackUrl;
use tasker_core::notice::{Answer, Errand, Notices, TakeOrder};
use tasker_core::store::StoreError;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::metrics::{Metrics, count};
use crate::outage::Outage;
use crate::pause::{backoff, pause};
use crate::settings::Webhooks;

/// How many hosts one look finds at most.
const HOSTS: u32 = 1000;

/// The notifier of one process.
pub(crate) struct Notifier {
    pub(crate) notices: Arc<dyn Notices>,
    pub(crate) ledger: Arc<Outage>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) webhooks: Webhooks,
    pub(crate) owner: ProcessId,
}

/// The tries under way, by host.
#[derive(Default)]
struct UnderWay {
    tries: JoinSet<String>,
    by_host: HashMap<String, u32>,
}

impl UnderWay {
    fn end(&mut self, host: &str) {
        if let Some(count) = self.by_host.get_mut(host) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_host.remove(host);
            }
        }
    }

    /// Notes those that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tries.try_join_next() {
            self.learn(ended);
        }
    }

    fn learn(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(host) => self.end(&host),
            Err(error) => {
                // Of a try that did not end by itself nobody knows the host: with nothing under way
                // the books are right again.
                tracing::error!(%error, "a try to tell a completion ended early");
                if self.tries.is_empty() {
                    self.by_host.clear();
                }
            }
        }
    }
}

impl Notifier {
    /// Tells what is due until `stop`; then ends what is under way.
    pub(crate) async fn run(self: Arc<Self>, stop: &CancellationToken) {
        let (mut backoff, mut under_way) = (backoff(), UnderWay::default());
        while !stop.is_cancelled() {
            under_way.reap();
            let begun = self.begin(&mut under_way).await;
            self.ledger.learn(&begun);
            match begun {
                Ok(_) => {
                    backoff.reset();
                    // A place that becomes free may be needed; otherwise it is looked now and then.
                    let freed = async {
                        match under_way.tries.join_next().await {
                            Some(ended) => ended,
                            None => std::future::pending().await,
                        }
                    };
                    let rest = timeout(self.webhooks.tick, freed);
                    if let Some(Ok(ended)) = stop.run_until_cancelled(rest).await {
                        under_way.learn(ended);
                    }
                }
                Err(error) => {
                    count(&self.metrics.loop_failures, "loop", "notify", 1);
                    if !matches!(error, StoreError::Unavailable(_)) {
                        tracing::error!(error = %chain(&error), "the ledger refused the notifier");
                    }
                    pause(&mut backoff, stop).await;
                }
            }
        }
        while under_way.tries.join_next().await.is_some() {}
    }

    /// Begins as many tries as there is room for. Returns how many.
    async fn begin(self: &Arc<Self>, under_way: &mut UnderWay) -> Result<usize, StoreError> {
        let room = self
            .webhooks
            .in_flight
            .saturating_sub(under_way.tries.len());
        if room == 0 {
            return Ok(0);
        }
        let mut due = self.notices.due(HOSTS).await?;
        due.shuffle(&mut rand::rng());
        let hosts = share(room, due, self.webhooks.per_host, &under_way.by_host);
        if hosts.is_empty() {
            return Ok(0);
        }
        let order = TakeOrder {
            owner: self.owner,
            lease: self.webhooks.lease,
            hosts,
        };
        let errands = self.notices.take(order).await?;
        let begun = errands.len();
        for errand in errands {
            let host = host(&errand.url);
            *under_way.by_host.entry(host.clone()).or_default() += 1;
            let notifier = Arc::clone(self);
            under_way.tries.spawn(async move {
                notifier.try_once(errand).await;
                host
            });
        }
        Ok(begun)
    }

    async fn try_once(&self, errand: Errand) {
        let answer = self.webhooks.messenger.tell(&errand).await;
        let pause = (self.webhooks.pause_after)(errand.try_no, rand::random());
        let pause = pause.filter(|_| !answer.is_final());
        let result = match (&answer.error, pause) {
            (None, _) => "delivered",
            (Some(_), Some(_)) => "failed",
            (Some(_), None) => "gave_up",
        };
        let Answer { status, error } = &answer;
        let (delivery, tried) = (errand.uid, errand.try_no);
        tracing::debug!(%delivery, tried, result, ?status, ?error, "a completion was told");
        let noted = self.notices.note(&errand, answer, pause).await;
        self.ledger.learn(&noted);
        match noted {
            Ok(true) => count(&self.metrics.notices, "result", result, 1),
            // Somebody else tries it by now, or its task was purged.
            Ok(false) => count(&self.metrics.notices, "result", "overtaken", 1),
            // When the lease ends, it is tried again.
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => {
                tracing::error!(%delivery, error = %chain(&error), "the ledger refused how a try ended");
            }
        }
    }
}

/// The host of a stored URL, as the table names it.
fn host(url: &str) -> String {
    let parsed = CallbackUrl::parse(url);
    parsed.map_or_else(|_| String::new(), |url| url.origin().to_string())
}

/// Shares the room out: one for each host in turn, until each has what it may have.
fn share(
    room: usize,
    due: Vec<String>,
    per_host: u32,
    by_host: &HashMap<String, u32>,
) -> Vec<(String, u32)> {
    let mut shares: Vec<(String, u32, u32)> = due
        .into_iter()
        .map(|host| {
            let used = by_host.get(&host).copied().unwrap_or(0);
            (host, 0, per_host.saturating_sub(used))
        })
        .filter(|(_, _, most)| *most > 0)
        .collect();
    let mut left = room;
    while left > 0 && shares.iter().any(|(_, share, most)| share < most) {
        for (_, share, most) in &mut shares {
            if left > 0 && *share < *most {
                *share += 1;
                left -= 1;
            }
        }
    }
    let shares = shares.into_iter().filter(|(_, share, _)| *share > 0);
    shares.map(|(host, share, _)| (host, share)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_share_what_room_there_is() {
        let hosts = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let busy = HashMap::from([("a".to_owned(), 4), ("b".to_owned(), 1)]);
        for (room, due, expected) in [
            (32, &["a", "b", "c"][..], &[("b", 3), ("c", 4)][..]),
            (3, &["c", "b", "d"], &[("c", 1), ("b", 1), ("d", 1)]),
            (2, &["c", "d", "e"], &[("c", 1), ("d", 1)]),
            (5, &["c", "d"], &[("c", 3), ("d", 2)]),
            (5, &["a"], &[]),
            (5, &[], &[]),
        ] {
            let got = share(room, hosts(due), 4, &busy);
            let got: Vec<_> = got.iter().map(|(h, n)| (h.as_str(), *n)).collect();
            assert_eq!(got, expected, "{room} {due:?}");
        }
    }
}
