//! What tasker wants to reach, as ratios within a run.

use crate::figures::Figures;

/// One target.
#[derive(Debug)]
pub struct Target {
    /// In words.
    pub what: &'static str,
    /// The figure.
    of: &'static str,
    /// To which it is compared; `None`: it stands for itself.
    to: Option<&'static str>,
    bound: Bound,
    /// Better than demanded.
    aim: Option<f64>,
    /// Whether the bound itself is no demand but an aim.
    is_aim: bool,
    unit: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    /// What was measured; `None` if it was not.
    #[must_use]
    pub fn measured(&self, figures: &Figures) -> Option<f64> {
        match self.to {
            Some(to) => figures.ratio(self.of, to),
            None => figures.median(self.of),
        }
    }

    /// Whether a measured value is good enough.
    #[must_use]
    pub fn is_met(&self, measured: f64) -> bool {
        match self.bound {
            Bound::AtLeast(least) => measured >= least,
            Bound::AtMost(most) => measured <= most,
        }
    }

    /// What is demanded, and the aim.
    #[must_use]
    pub fn demanded(&self) -> (String, String) {
        let (sign, bound) = match self.bound {
            Bound::AtLeast(least) => ('≥', least),
            Bound::AtMost(most) => ('≤', most),
        };
        let show = |value| format!("{sign} {value}{}", self.unit);
        if self.is_aim {
            return (String::new(), show(bound));
        }
        (show(bound), self.aim.map(show).unwrap_or_default())
    }

    /// The unit of what was measured, with a space before it.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        self.unit
    }
}

const fn ratio(what: &'static str, of: &'static str, to: &'static str, bound: Bound) -> Target {
    Target {
        what,
        of,
        to: Some(to),
        bound,
        aim: None,
        is_aim: false,
        unit: "",
    }
}

const fn value(what: &'static str, of: &'static str, most: f64, unit: &'static str) -> Target {
    Target {
        what,
        of,
        to: None,
        bound: Bound::AtMost(most),
        aim: None,
        is_aim: false,
        unit,
    }
}

const fn aiming(target: Target, aim: f64) -> Target {
    Target {
        aim: Some(aim),
        ..target
    }
}

/// A bound that nobody demands.
const fn only_aim(target: Target) -> Target {
    Target {
        is_aim: true,
        ..target
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    aiming(
        ratio(
            "durable POSTs : single-row INSERTs of MariaDB",
            "accept.per_second",
            "mariadb.single",
            Bound::AtLeast(0.5),
        ),
        1.0,
    ),
    aiming(
        ratio(
            "tasks to 10 endpoints : messages of RabbitMQ to 10 consumers",
            "fanout.10.listed.tasks_per_second",
            "rabbitmq.10",
            Bound::AtLeast(1.0),
        ),
        2.0,
    ),
    ratio(
        "tasks to 10 endpoints : Celery's broadcasts to 10 subscribers",
        "fanout.10.listed.tasks_per_second",
        "celery.tasks_per_second",
        Bound::AtLeast(20.0),
    ),
    aiming(
        ratio(
            "time of a task, median : Celery's",
            "latency.p50_ms",
            "celery.p50_ms",
            Bound::AtMost(0.5),
        ),
        0.33,
    ),
    only_aim(ratio(
        "tasks of a run pulled by 32 clients : of taskfarm's server",
        "runs.tasker.32.tasks_per_second",
        "runs.taskfarm.32.tasks_per_second",
        Bound::AtLeast(10.0),
    )),
    ratio(
        "one task to 1,000 endpoints, recorded : one message to 1,000 consumers, acked",
        "crowd.1000.ms",
        "rabbitmq.one_to_1000_ms",
        Bound::AtMost(3.0),
    ),
    ratio(
        "cost of an endpoint among 10,000 : among 1,000",
        "crowd.10000.us_each",
        "crowd.1000.us_each",
        Bound::AtMost(1.5),
    ),
    ratio(
        "POST beside 1,000,000 tasks : beside 1,000, median",
        "growth.1000000.post_p50_ms",
        "growth.1000.post_p50_ms",
        Bound::AtMost(1.3),
    ),
    ratio(
        "GET of a recent task, the same",
        "growth.1000000.recent_get_p50_ms",
        "growth.1000.recent_get_p50_ms",
        Bound::AtMost(1.3),
    ),
    ratio(
        "GET of any task, the same",
        "growth.1000000.uniform_get_p50_ms",
        "growth.1000.uniform_get_p50_ms",
        Bound::AtMost(1.3),
    ),
    value(
        "summary of a task with 50,000 responses, median",
        "largest.summary_p50_ms",
        100.0,
        " ms",
    ),
    value(
        "memory of an idle worker",
        "growth.1000000.worker_idle_mib",
        12.0,
        " MiB",
    ),
    value(
        "memory of the API under POSTs, peak",
        "accept.api_mib",
        96.0,
        " MiB",
    ),
    value("the same over ten minutes", "soak.api_mib", 96.0, " MiB"),
    value(
        "its peak in the last quarter of them : in the second",
        "soak.api_growth",
        1.1,
        "",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_from_its_side() {
        let mut figures = Figures::default();
        figures.begin_round();
        figures.add("accept.per_second", 60.0);
        figures.add("mariadb.single", 100.0);
        figures.add("latency.p50_ms", 6.0);
        figures.add("celery.p50_ms", 10.0);
        let judge = |target: &Target| {
            let measured = target.measured(&figures)?;
            Some((measured, target.is_met(measured)))
        };
        assert_eq!(judge(&TARGETS[0]), Some((0.6, true)));
        assert_eq!(judge(&TARGETS[3]), Some((0.6, false)));
        assert_eq!(judge(&TARGETS[1]), None);
        let shown = TARGETS[3].demanded();
        assert_eq!(shown, ("≤ 0.5".to_owned(), "≤ 0.33".to_owned()));
        let shown = TARGETS[4].demanded();
        assert_eq!(shown, (String::new(), "≥ 10".to_owned()));
    }
}
