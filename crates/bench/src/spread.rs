//! Percentiles of many durations, all of them kept: exact, 4 bytes each.

use std::time::Duration;

use serde::Serialize;

/// Durations in whole microseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spread(Vec<u32>);

/// Half, nearly all, and the slowest; milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Spread {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0
            .push(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) const fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Zeros if there are no durations.
    pub(crate) fn percentiles(mut self) -> Percentiles {
        self.0.sort_unstable();
        let at = |percent: usize| {
            // Nearest rank: the least duration that so many per cent do not exceed.
            let rank = (self.0.len() * percent).div_ceil(100).max(1);
            f64::from(self.0.get(rank - 1).copied().unwrap_or_default()) / 1000.0
        };
        Percentiles {
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
        }
    }
}

/// Rounded to three places: more digits would only pretend.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// So many in that time, a second.
pub(crate) fn per_second(count: u64, span: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 of anything")]
    let count = count as f64;
    match span.as_secs_f64() {
        0.0 => 0.0,
        seconds => rounded(count / seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Percentiles {
        let mut spread = Spread::default();
        for one in micros {
            spread.add(Duration::from_micros(one));
        }
        spread.percentiles()
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred = of((1..=100).rev().map(|ms| ms * 1000));
        assert_eq!(
            (hundred.p50_ms, hundred.p99_ms, hundred.max_ms),
            (50.0, 99.0, 100.0)
        );
        let two = of([3_000, 1_500]);
        assert_eq!((two.p50_ms, two.p99_ms, two.max_ms), (1.5, 3.0, 3.0));
        let one = of([7]);
        assert_eq!((one.p50_ms, one.p99_ms, one.max_ms), (0.007, 0.007, 0.007));
        assert_eq!(of([]), Percentiles::default());
    }

    #[test]
    fn spreads_add_up() {
        let mut all = Spread::default();
        for one in [1, 9] {
            let mut part = Spread::default();
            part.add(Duration::from_millis(one));
            all.append(part);
        }
        assert_eq!(all.percentiles().max_ms, 9.0);
    }

    #[test]
    fn rates_have_three_places() {
        assert_eq!(per_second(10, Duration::from_secs(3)), 3.333);
        assert_eq!(per_second(10, Duration::ZERO), 0.0);
    }
}
