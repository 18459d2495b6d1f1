//! Events that others can cause at will: a line now and then, with how many there were.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tasker_core::harmless::beginning;
use tracing::Level;

/// At most one line per reason and sender in this time.
const EVERY: Duration = Duration::from_secs(10);
/// How often what was held back is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Senders (times reasons) that are told apart; all others share a line per reason.
const SENDERS: usize = 64;
/// Who speaks in the line that others share.
const OTHERS: &str = "(others)";

/// One kind of event, told by reason and sender.
#[derive(Debug)]
pub(crate) struct Throttle {
    level: Level,
    what: &'static str,
    held: Mutex<HashMap<(&'static str, String), Held>>,
}

/// What was not told yet.
#[derive(Debug)]
struct Held {
    told_at: Instant,
    times: u64,
    last_error: String,
}

/// A line to write.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    reason: &'static str,
    sender: String,
    error: String,
    /// How many events it stands for.
    times: u64,
}

impl Throttle {
    /// `what` ends the lines. [`Level::ERROR`] or, whatever else is given, WARN.
    pub(crate) fn new(level: Level, what: &'static str) -> Self {
        Self {
            level,
            what,
            held: Mutex::default(),
        }
    }

    /// Tells an event, or keeps it for later. Sender and error may be anybody's text of any origin;
    /// they are cut and escaped.
    pub(crate) fn tell(&self, reason: &'static str, sender: &str, error: &str) {
        if let Some(line) = self.take(
            reason,
            beginning(sender, 256),
            beginning(error, 300),
            Instant::now(),
        ) {
            self.write(&line);
        }
    }

    /// Tells what was held back, when its time has come. Never ends.
    pub(crate) async fn tell_rest(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for line in self.due(Instant::now()) {
                self.write(&line);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<(&'static str, String), Held>> {
        // Counts of log lines; a panic elsewhere leaves them usable.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &Line) {
        let Line {
            reason,
            sender,
            error,
            times,
        } = line;
        let what = self.what;
        if self.level == Level::ERROR {
            tracing::error!(reason, source = %sender, %error, times, "{what}");
        } else {
            tracing::warn!(reason, source = %sender, %error, times, "{what}");
        }
    }

    /// The first event of a reason and sender is a line at once.
    fn take(
        &self,
        reason: &'static str,
        sender: String,
        error: String,
        now: Instant,
    ) -> Option<Line> {
        let mut held = self.held();
        let mut key = (reason, sender);
        if held.len() >= SENDERS && !held.contains_key(&key) {
            key.1 = OTHERS.to_owned();
        }
        if let Some(held) = held.get_mut(&key) {
            held.times += 1;
            held.last_error = error;
            return None;
        }
        let line = Line {
            reason,
            sender: key.1.clone(),
            error,
            times: 1,
        };
        let none = Held {
            told_at: now,
            times: 0,
            last_error: String::new(),
        };
        held.insert(key, none);
        Some(line)
    }

    /// The lines whose time has come. Who was silent since the last one is forgotten.
    fn due(&self, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        self.held().retain(|(reason, sender), held| {
            if now.duration_since(held.told_at) < EVERY {
                return true;
            }
            if held.times == 0 {
                return false;
            }
            lines.push(Line {
                reason,
                sender: sender.clone(),
                error: std::mem::take(&mut held.last_error),
                times: std::mem::take(&mut held.times),
            });
            held.told_at = now;
            true
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sender: &str, error: &str, times: u64) -> Line {
        Line {
            reason: "malformed",
            sender: sender.into(),
            error: error.into(),
            times,
        }
    }

    #[test]
    fn a_flood_is_a_line_now_and_then_and_every_event_is_in_one() {
        let throttle = Throttle::new(Level::WARN, "dead-lettered");
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut lines = Vec::new();
        for i in 0..3000 {
            let error = format!("fault {i}");
            lines.extend(throttle.take("malformed", "worker.a".into(), error, at(i)));
        }
        lines.extend(throttle.due(at(9_999)));
        assert_eq!(lines, [line("worker.a", "fault 0", 1)]);
        // Another sender, or another reason, is told at once.
        assert!(
            throttle
                .take("malformed", "b".into(), String::new(), at(9_999))
                .is_some()
        );
        assert!(
            throttle
                .take("shape", "worker.a".into(), String::new(), at(9_999))
                .is_some()
        );
        assert_eq!(
            throttle.due(at(10_000)),
            [line("worker.a", "fault 2999", 2999)]
        );
        assert_eq!(throttle.due(at(19_999)), []);
        assert_eq!(throttle.due(at(60_000)), []);
        assert!(throttle.held().is_empty(), "who is silent is forgotten");
        assert!(
            throttle
                .take("malformed", "worker.a".into(), String::new(), at(60_001))
                .is_some()
        );
    }

    #[test]
    fn invented_senders_take_no_memory_and_few_lines() {
        let throttle = Throttle::new(Level::WARN, "dead-lettered");
        let now = Instant::now();
        let told = (0..10_000)
            .filter_map(|i| throttle.take("malformed", format!("x.{i}"), String::new(), now))
            .map(|line| line.times)
            .sum::<u64>();
        let rest = throttle.due(now + EVERY);
        assert_eq!(told, SENDERS as u64 + 1);
        assert_eq!(rest, [line(OTHERS, "", 10_000 - told)]);
        assert_eq!(throttle.held().len(), 1);
    }
}
