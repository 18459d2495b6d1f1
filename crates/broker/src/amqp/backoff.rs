//! When to try the next connection: at most twelve times a minute, never more than five seconds from
//! now, for ever.

use std::time::Duration;

use tokio::time::Instant;

/// Between two attempts. Longer ones would make the return of the broker wait, shorter ones would be
/// more than twelve a minute.
const PERIOD: Duration = Duration::from_secs(5);
/// A connection that had lasted is tried again within this time: soon, but not by all at once that
/// lost the same broker.
const SPREAD: Duration = Duration::from_secs(1);
/// How much later the second one of two connections that are lost together starts, so that they look for
/// the broker in turns. Whichever finds it calls the other one.
pub(super) const LAG: Duration = Duration::from_millis(2_500);

/// The attempts of one connection. Their distance is kept, whether they fail or come up and break at
/// once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<Instant>,
}

impl Backoff {
    /// When the next attempt is to be made; it counts as made. `lag` is [`LAG`] or nothing, `jitter` in
    /// 0..1 is drawn by the caller.
    pub(super) fn next(&mut self, now: Instant, lag: Duration, jitter: f64) -> Instant {
        let at = match self.last.map(|last| last + PERIOD) {
            None => now,
            Some(due) if due <= now => now + lag + SPREAD.mul_f64(jitter.clamp(0.0, 1.0)),
            Some(due) => due,
        };
        self.last = Some(at);
        at
    }

    /// An attempt is made now, out of turn.
    pub(super) fn made(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const MOST_A_MINUTE: usize = 12;

    /// Attempts that each fail, or hold, for `lasted`, over an hour.
    fn attempts(lasted: Duration, lag: Duration, jitter: f64) -> Vec<Instant> {
        let start = Instant::now();
        let (mut now, mut backoff, mut all) = (start, Backoff::default(), Vec::new());
        while now < start + 60 * MINUTE {
            let at = backoff.next(now, lag, jitter);
            assert!(at >= now && at <= now + PERIOD, "waits {:?}", at - now);
            all.push(at);
            now = at + lasted;
        }
        all
    }

    #[test]
    fn never_more_than_twelve_attempts_a_minute_and_never_more_than_five_seconds_to_the_next() {
        for lasted in [0, 1, 50, 2_000, 4_999, 5_000, 10_000] {
            for lag in [Duration::ZERO, LAG] {
                for jitter in [0.0, 0.3, 1.0] {
                    let all = attempts(Duration::from_millis(lasted), lag, jitter);
                    for few in all.windows(MOST_A_MINUTE + 1) {
                        let took = few[MOST_A_MINUTE] - few[0];
                        assert!(took >= MINUTE, "{lasted} {lag:?} {jitter}: {took:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_attempt_is_made_at_once_and_one_after_a_long_time_soon() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(now, LAG, 0.9), now);
        let lost = now + MINUTE;
        for (jitter, lag, wait) in [
            (0.0, 0, 0),
            (0.5, 0, 500),
            (1.0, 0, 1_000),
            (1.0, 2_500, 3_500),
        ] {
            let lag = Duration::from_millis(lag);
            let at = Backoff { ..backoff }.next(lost, lag, jitter);
            assert_eq!(at, lost + Duration::from_millis(wait));
        }
    }

    #[test]
    fn two_that_lost_the_broker_together_look_for_it_in_turns() {
        for jitters in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)] {
            let lost = Instant::now() + MINUTE;
            let lose = |lag, jitter| {
                let mut backoff = Backoff::default();
                backoff.made(lost - MINUTE);
                let first = backoff.next(lost, lag, jitter);
                [first, backoff.next(first, lag, jitter)]
            };
            let (one, other) = (lose(Duration::ZERO, jitters.0), lose(LAG, jitters.1));
            let longest = [other[0] - one[0], one[1] - other[0]];
            assert!(
                longest
                    .iter()
                    .all(|gap| *gap <= Duration::from_millis(3_500)),
                "{longest:?}"
            );
        }
    }

    #[test]
    fn an_attempt_out_of_turn_counts() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        backoff.made(now);
        assert_eq!(backoff.next(now, Duration::ZERO, 0.0), now + PERIOD);
    }
}
