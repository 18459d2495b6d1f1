//! One round. What is compared stands side by side.

use crate::args::{Args, Section};
use crate::figures::Figures;
use crate::growth::Growth;
use crate::limits::{self, CROWDS, QUEUES};
use crate::peer::Celery;
use crate::probe::probe;
use crate::runs;
use crate::stage::Stage;
use crate::tasker;

/// What all rounds share; only what is wanted is prepared.
#[derive(Debug)]
pub struct Prepared {
    celery: Option<Celery>,
    growth: Option<Growth>,
}

impl Prepared {
    /// Installs and fills.
    ///
    /// # Panics
    /// If that fails.
    pub async fn prepare(stage: &Stage, args: &Args) -> Self {
        let celery = args.wants(Section::Peer).then(Celery::install);
        let growth = match args.wants(Section::Growth) {
            true => Some(Growth::prepare(stage, args).await),
            false => None,
        };
        Self { celery, growth }
    }

    /// Removes what was filled.
    ///
    /// # Panics
    /// If the database fails.
    pub async fn forget(self, stage: &Stage) {
        if let Some(growth) = self.growth {
            growth.forget(stage).await;
        }
    }
}

/// Plays a round.
///
/// # Panics
/// If servers or programs fail. A run of tasker that does not count is noted, not fatal.
pub async fn play(stage: &Stage, prepared: &Prepared, args: &Args, figures: &mut Figures) {
    figures.begin_round();
    probe(stage, figures, "before").await;
    let wants = |section| args.wants(section);
    if wants(Section::Limits) {
        limits::http(args, figures).await;
        limits::mariadb(stage, args, figures).await;
    }
    if wants(Section::Accept) {
        tasker::accept(stage, args, figures).await;
    }
    for queues in QUEUES {
        if wants(Section::Limits) {
            limits::rabbitmq(stage, queues, args, figures).await;
        }
        if wants(Section::Fanout) && queues < CROWDS[0] {
            tasker::fanout(stage, queues, false, args, figures).await;
        }
        if queues == 10 {
            if let Some(celery) = &prepared.celery {
                celery.measure(stage, args, figures).await;
            }
            if wants(Section::Latency) {
                tasker::latency(stage, args, figures).await;
            }
        }
        if wants(Section::Fanout) && queues < CROWDS[0] {
            tasker::fanout(stage, queues, true, args, figures).await;
        }
    }
    for queues in CROWDS
        .into_iter()
        .filter(|queues| !args.quick || *queues == CROWDS[0])
    {
        if wants(Section::Limits) {
            limits::crowd(stage, queues, figures).await;
        }
        if wants(Section::Fanout) {
            tasker::crowd(stage, queues, figures).await;
        }
    }
    if wants(Section::Runs) {
        runs::compare(stage, args, figures);
    }
    if let Some(growth) = &prepared.growth {
        growth.measure(stage, args, figures).await;
    }
    probe(stage, figures, "after").await;
}
