//! Everything comes several times, and late.

use std::time::Duration;

use serde_json::json;

use super::Row;
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Kind, Scene, until};
use crate::tap::{Echo, Tap, say_again};

pub(super) const ROWS: &[Row] = &[Row {
    name: "F26",
    fault: "every task delivered 6 times, every report again and late, two workers of one endpoint",
    promise: "However often and however late a task or a report is delivered, each attempt runs once, and what an \
              older attempt says changes nothing.",
    is_quick: true,
    play: f26,
}];

/// How often each task is said again.
const COPIES: usize = 5;

fn f26(scene: &mut Scene<'_>) {
    scene.start_api(&[("T_ASK", "30".to_owned())]);
    let task_type = "flaky";
    scene.start_worker_of(Kind::Inside, "e1", &[task_type], &[]);
    let second = [("T_HOST", "-b".to_owned())];
    scene.start_worker_of(Kind::Inside, "e1", &[task_type], &second);
    let name = scene.installation.name().to_owned();
    let url = scene.installation.amqp_url(&name, &name);
    let key = format!("{task_type}.e1");
    let at = |exchange: &str, key: &str| (format!("{name}.{exchange}"), key.to_owned());
    let tasks = Tap::open(
        &url,
        Echo {
            from: vec![at(task_type, ""), at("inbox", &key)],
            to: at("inbox", &key),
            after: vec![Duration::ZERO; COPIES],
        },
    );
    // A failed attempt is tried again after about a second: its report comes again before that, while
    // the next attempt runs, and after it.
    let reports = Tap::open(
        &url,
        Echo {
            from: vec![at("reports", &key)],
            to: at("reports", &key),
            after: [0, 400, 1200, 3000].map(Duration::from_millis).into(),
        },
    );
    let plan = Plan {
        payload: json!({"ms": 1, "fail": 1}),
        ..Plan::new(task_type, &scene.endpoints())
    };
    let load = scene.load(&plan);
    load.wait_accepted(1000);
    scene.end(load);
    scene.wait_settled(task_type);
    let said = (tasks.said(), reports.said());
    let (messages, _) = (tasks.close(), reports.close());
    scene.injected(
        "tasks said again, messages",
        said.0,
        messages.len() as u64 * 4,
    );
    scene.injected("reports said again, messages", said.1, 1);
    let accepted = scene.posts_of(task_type).accepted.len() as u64;
    let told = |scene: &Scene<'_>, reason: &str| {
        let label = format!("reason=\"{reason}\"");
        scene.api().metric("tasker_worker_refused_total", &label)
    };
    let known = until("refusals to be told", || {
        Some(told(scene, "known")).filter(|count| *count >= 4 * accepted)
    });
    scene.injected("deliveries refused", known, 4 * accepted);
    let late = scene
        .api()
        .metric("tasker_reports_total", "verdict=\"fenced\"");
    scene.injected("late reports refused", late, accepted);

    // The other worker takes over and knows nothing. All tasks come again, before its welcome, which
    // tells what the endpoint has had, and after it.
    let is_task = |(body, _): &(Vec<u8>, String)| body.starts_with(br#"{"v":1,"entries":"#);
    let messages: Vec<_> = messages.into_iter().filter(is_task).collect();
    let journal = |worker: usize| {
        let path = scene.journal_dir(worker).join(format!("{key}.journal"));
        std::fs::metadata(path).map_or(0, |file| file.len())
    };
    // Who was first to consume had them all.
    let active = usize::from(journal(1) > journal(0));
    scene.kill_worker(active);
    let mut again = say_again(&url, &at("inbox", &key), &messages);
    let of_other = scene.journal_dir(1 - active).join(format!("{key}.journal"));
    until("the other worker to be welcomed", || {
        let journal = std::fs::read(&of_other).expect("a journal");
        let word = b"\"welcomed\"";
        journal.windows(word.len()).any(|w| w == word).then_some(())
    });
    again += say_again(&url, &at("inbox", &key), &messages);
    scene.injected("said again to the other worker, messages", again, 2);
    let replayed = until("replays to be refused", || {
        Some(told(scene, "replayed")).filter(|count| *count >= accepted)
    });
    scene.injected("replays refused", replayed, accepted);
    let orders = scene.runs_of(task_type).starts;
    let attempts = orders.values().map(Vec::len).max();
    scene.note("runs of a task at most", attempts.unwrap_or(0));
    scene.compare(task_type, &["SUCCEEDED"], Limits::default());
}
