//! The limits: database, broker and HTTP by themselves.

use std::time::Duration;

use crate::args::Args;
use crate::broker::Fanout;
use crate::figures::Figures;
use crate::stage::Stage;
use crate::{database, echo};

/// With how many queues the broker is measured.
pub const QUEUES: [usize; 5] = [1, 2, 10, 100, 1000];

/// To how many queues one message goes.
pub const CROWDS: [usize; 2] = [1000, 10_000];

/// How many messages do so, one after the other, after as many that warm the queues. As many tasks, too.
pub(crate) const CROWD_ROUNDS: u32 = 3;

/// Measures the HTTP echo.
pub async fn http(args: &Args, figures: &mut Figures) {
    let rate = echo::rate(64, args.seconds(5)).await;
    figures.add("echo", rate);
}

/// Measures inserts of one row and of a hundred rows.
pub async fn mariadb(stage: &Stage, args: &Args, figures: &mut Figures) {
    let single = database::inserts(stage, 32, 1, args.seconds(5)).await;
    figures.add("mariadb.single", single);
    let multi = database::inserts(stage, 8, 100, args.seconds(5)).await;
    figures.add("mariadb.multi", multi);
}

/// Measures one message per task to so many queues.
pub async fn rabbitmq(stage: &Stage, queues: usize, args: &Args, figures: &mut Figures) {
    let fanout = Fanout::open(&stage.broker.url(), queues).await;
    figures.add(
        format!("rabbitmq.{queues}"),
        fanout.rate(args.seconds(5)).await,
    );
    fanout.close().await;
}

/// Measures how long one message to so many queues takes, in milliseconds: the mean of some, one after
/// the other, after as many that warmed the queues.
pub async fn crowd(stage: &Stage, queues: usize, figures: &mut Figures) {
    let fanout = Fanout::open(&stage.broker.url(), queues).await;
    let mut took = Duration::ZERO;
    for _ in 0..CROWD_ROUNDS {
        fanout.one().await;
    }
    for _ in 0..CROWD_ROUNDS {
        took += fanout.one().await;
    }
    let each = took.as_secs_f64() * 1e3 / f64::from(CROWD_ROUNDS);
    figures.add(format!("rabbitmq.one_to_{queues}_ms"), each);
    fanout.close().await;
}
