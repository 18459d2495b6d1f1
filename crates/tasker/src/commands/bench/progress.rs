//! How far a run is: one bar on a terminal, a line for each part of it otherwise.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use tasker_bench::Progress;

use crate::terminal::tell;

/// Shows the progress on stderr.
pub(super) enum Shown {
    Drawn(Mutex<ProgressBar>),
    Lines,
}

impl Shown {
    pub(super) fn new() -> Self {
        match std::io::stderr().is_terminal() {
            true => Self::Drawn(Mutex::new(ProgressBar::hidden())),
            false => Self::Lines,
        }
    }

    /// Takes the bar away, so that what is told next has the line.
    pub(super) fn end(&self) {
        if let Self::Drawn(bar) = self {
            bar.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .finish_and_clear();
        }
    }
}

impl Progress for Shown {
    fn begin(&self, what: &str, steps: u64) {
        match self {
            Self::Drawn(bar) => {
                let template = "{prefix:10} [{bar:40}] {pos}/{len} {elapsed}";
                let style = ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> ");
                let next = ProgressBar::new(steps).with_style(style);
                next.set_prefix(what.to_owned());
                let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
                bar.finish_and_clear();
                *bar = next;
            }
            Self::Lines if steps == 0 => tell(what),
            Self::Lines => tell(&format!("{steps} {what}")),
        }
    }

    fn at(&self, steps: u64) {
        if let Self::Drawn(bar) = self {
            let bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
            bar.set_position(steps);
        }
    }
}
