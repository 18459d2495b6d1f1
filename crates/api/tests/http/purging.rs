//! Tasks that were settled long ago are forgotten.

use std::time::Duration;

use tasker_api::ApiSettings;
use tasker_core::purge::Retention;
use tasker_core::store::Timing;

use crate::app::{App, settings};

/// Looks ten times a second; everybody's wait is over after a second.
fn forgetful(retention: Option<Retention>) -> App {
    let mut settings = ApiSettings {
        wait_for_endpoints_timeout_s: 1,
        retention,
        ..settings()
    };
    settings.scheduler.purge_every = Duration::from_millis(100);
    App::with(settings, Timing::default())
}

const BRIEF: &str = r#"{"identifier":"brief","endpoints":["a","b"],"expires_in_s":1}"#;
const LONG: &str = r#"{"identifier":"long","endpoints":["a"],"expires_in_s":3600}"#;

#[test]
fn what_is_over_is_purged_and_its_identifier_is_free_again() {
    let app = forgetful(Some(Retention {
        settled_for: Duration::ZERO,
        expired_for: Duration::ZERO,
    }));
    assert_eq!(app.post("/worker", LONG).status, 201);
    assert_eq!(app.post("/worker", BRIEF).status, 201);
    app.eventually("it is purged", || app.metric("tasker_purged_total") == 1);
    app.get("/worker/brief").is_problem(404, "unknown_task");
    app.eventually("the other one is settled", || {
        app.get("/worker/long").json()["task"]["status"] == "INCOMPLETE"
    });
    // The same again is not a replay.
    let again = app.post("/worker", BRIEF);
    assert_eq!(again.status, 201, "{}", again.text);
    app.eventually("it is purged too", || {
        app.metric("tasker_purged_total") == 2
    });
    assert_eq!(app.stored("worker"), 1, "what may still start is kept");
    app.get("/worker/long/responses").json();
}

#[test]
fn a_database_that_was_away_is_purged_later() {
    let app = forgetful(Some(Retention {
        settled_for: Duration::ZERO,
        expired_for: Duration::ZERO,
    }));
    assert_eq!(app.post("/worker", BRIEF).status, 201);
    app.store.set_away(true);
    app.eventually("it is noticed", || {
        app.metric("tasker_loop_failures_total{loop=\"purge\"}") > 0
    });
    app.store.set_away(false);
    app.eventually("it is purged", || app.metric("tasker_purged_total") == 1);
}
