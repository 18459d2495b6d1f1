//! How a row ended: its figures, and whether the promises held.

use std::time::Duration;

use tasker_testkit::drill::Figures;

/// A row's outcome.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The figures of the comparison.
    pub figures: Figures,
    /// What was done to the installation, and how often: name, observed, demanded at least.
    pub injections: Vec<(String, u64, u64)>,
    /// What else was measured.
    pub notes: Vec<(String, String)>,
    /// From the end of the fault to the first task that was accepted and answered after it.
    pub recovery: Option<Duration>,
    /// From the end of the load to the last answer.
    pub drain: Option<Duration>,
    /// How long it took as a whole.
    pub took: Duration,
    /// Promises that were broken.
    pub broken: Vec<String>,
}

impl Outcome {
    /// Judges the figures.
    pub(crate) fn judge(&mut self, limits: Limits) {
        let figures = &self.figures;
        let zero = [
            ("lost", figures.lost),
            ("lies", figures.lies),
            ("phantoms", figures.phantoms),
            ("duplicated runs", figures.duplicated),
            ("stored twice", figures.twins),
        ];
        for (name, count) in zero {
            if count > 0 {
                self.broken.push(format!("{name}: {count}"));
            }
        }
        if figures.interrupted > limits.interrupted {
            let (found, most) = (figures.interrupted, limits.interrupted);
            self.broken.push(format!("interrupted: {found} > {most}"));
        }
        if figures.accepted < limits.accepted {
            let (found, least) = (figures.accepted, limits.accepted);
            self.broken
                .push(format!("void: {found} of {least} tasks accepted"));
        }
        for (name, observed, least) in &self.injections {
            if observed < least {
                let text = format!("void: {name}: {observed} of {least}");
                self.broken.push(text);
            }
        }
    }

    /// Whether every promise held and the row is not void.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.broken.is_empty()
    }
}

/// The limits of a row.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Accepted tasks below which it proves nothing.
    pub accepted: usize,
    /// Answers INTERRUPTED at most.
    pub interrupted: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            accepted: 1000,
            interrupted: 0,
        }
    }
}
