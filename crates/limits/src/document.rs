//! What `docs/PERFORMANCE.md` takes from a run, and `docs/performance.svg`.

use std::path::{Path, PathBuf};

use crate::figures::Figures;
use crate::machine::machine;
use crate::peer::Celery;
use crate::{chart, tables};

const BEGIN: &str = "<!-- figures: scripts/bench --write -->";
const END: &str = "<!-- end of figures -->";

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name)
}

/// Puts the figures of a run into the document and draws the chart.
///
/// # Panics
/// If they cannot be written or the document's marks are missing.
pub fn write(figures: &Figures) {
    let text = std::fs::read_to_string(docs("PERFORMANCE.md")).expect("docs/PERFORMANCE.md");
    let text = between(&text, &inside(figures));
    std::fs::write(docs("PERFORMANCE.md"), text).expect("docs/PERFORMANCE.md");
    std::fs::write(docs("performance.svg"), chart::svg(figures)).expect("docs/performance.svg");
}

/// When and on what a run is measured.
#[must_use]
pub fn about(versions: &str) -> String {
    let date = chrono::Utc::now().format("%Y-%m-%d");
    format!("{date}, {}; {versions}, {}", machine(), Celery::versions())
}

fn inside(figures: &Figures) -> String {
    let rounds = match figures.rounds() {
        1 => "one round".to_owned(),
        count => format!("medians of {count} rounds"),
    };
    let tables = tables::markdown(figures);
    format!("{}; {rounds}.\n\n{tables}", figures.about)
}

fn between(text: &str, inside: &str) -> String {
    let (before, rest) = text.split_once(BEGIN).expect("the first mark");
    let (_, after) = rest.split_once(END).expect("the second mark");
    format!("{before}{BEGIN}\n{inside}{END}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let wanted = format!("before\n{BEGIN}\nnew\n{END}\nafter\n");
        assert_eq!(between(&text, "new\n"), wanted);
    }

    #[test]
    fn the_document_has_its_marks_and_its_chart() {
        let text = std::fs::read_to_string(docs("PERFORMANCE.md")).expect("docs/PERFORMANCE.md");
        assert_ne!(between(&text, "new\n"), text);
        assert!(text.contains("](performance.svg)"));
    }

    #[test]
    fn it_says_with_what_it_was_measured() {
        let mut figures = Figures::new(about("MariaDB 1, RabbitMQ 2"));
        figures.begin_round();
        let text = inside(&figures);
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.contains("MariaDB 1, RabbitMQ 2, celery 5."),
            "{first}"
        );
        assert!(first.ends_with("; one round."), "{first}");
    }
}
