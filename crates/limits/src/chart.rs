//! The figures that matter most as bars.

use std::fmt::Write;

use crate::figures::Figures;
use crate::tables::show;

/// A title, and its bars: what, and the name of the figure. Those of tasker come first.
type Group = (&'static str, &'static [(&'static str, &'static str)]);

const GROUPS: &[Group] = &[
    (
        "Durable writes a second",
        &[
            ("tasker, POSTs", "accept.per_second"),
            ("MariaDB, single-row INSERTs", "mariadb.single"),
        ],
    ),
    (
        "Tasks a second to 10 subscribers, all answers stored",
        &[
            ("tasker", "fanout.10.listed.tasks_per_second"),
            ("RabbitMQ, messages acked", "rabbitmq.10"),
            ("Celery", "celery.tasks_per_second"),
        ],
    ),
    (
        "Milliseconds from task to last answer, median at 10 tasks a second",
        &[("tasker", "latency.p50_ms"), ("Celery", "celery.p50_ms")],
    ),
];

const WIDTH: u32 = 760;
const LEFT: u32 = 230;
const LONGEST: f64 = 430.0;
const STEP: u32 = 26;

/// A drawing of what was measured.
#[must_use]
pub fn svg(figures: &Figures) -> String {
    let mut drawn = String::new();
    let mut y = 10;
    for (title, bars) in GROUPS {
        y += STEP;
        text(&mut drawn, 16, y, "title", title);
        let values = bars.iter().map(|(_, name)| figures.median(name));
        let most = values.clone().flatten().fold(f64::MIN_POSITIVE, f64::max);
        for (number, ((what, _), value)) in bars.iter().zip(values).enumerate() {
            y += STEP;
            text(&mut drawn, 16, y, "what", what);
            let value = value.unwrap_or(0.0);
            let width = (value / most * LONGEST).max(1.0);
            let class = if number == 0 { "own" } else { "other" };
            let top = y - 14;
            writeln!(
                drawn,
                r#"<rect class="{class}" x="{LEFT}" y="{top}" width="{width:.0}" height="18"/>"#
            )
            .expect("memory");
            text(&mut drawn, LEFT + width as u32 + 8, y, "what", &show(value));
        }
        y += 10;
    }
    let height = y + 12;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"tasker beside its limits \
         and Celery\">\n<style>text{{font:13px sans-serif;fill:#222}}.title{{font-weight:bold}}\
         .own{{fill:#2a6fb0}}.other{{fill:#b8b8b8}}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n{drawn}</svg>\n"
    )
}

fn text(drawn: &mut String, x: u32, y: u32, class: &str, text: &str) {
    writeln!(
        drawn,
        r#"<text class="{class}" x="{x}" y="{y}">{text}</text>"#
    )
    .expect("memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_greatest_value_of_its_group() {
        let mut figures = Figures::default();
        figures.begin_round();
        figures.add("accept.per_second", 500.0);
        figures.add("mariadb.single", 1000.0);
        let drawn = svg(&figures);
        assert!(
            drawn.contains(r#"class="own" x="230" y="48" width="215""#),
            "{drawn}"
        );
        assert!(
            drawn.contains(r#"class="other" x="230" y="74" width="430""#),
            "{drawn}"
        );
        assert!(drawn.contains(">1,000</text>"), "{drawn}");
    }
}
