//! Who may do what.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tasker_api::{ApiSettings, Auth, hash_password};
use tasker_core::Client;
use tasker_core::account::{EndpointGlob, Grants, Role};
use tasker_core::accounts::{AuditEntry, AuditFilter, AuditKind, NewToken, NewUser};
use tasker_core::store::{Ports, Timing};
use tasker_core::token::Token;
use tasker_store::StoreOptions;

use crate::app::{App, Reply, settings};

/// An API that asks everybody who they are.
pub(crate) struct Guarded(pub(crate) App);

impl Guarded {
    pub(crate) fn start() -> Self {
        Self(App::with(
            ApiSettings {
                auth: Auth::Required,
                ..settings()
            },
            Timing::default(),
        ))
    }

    fn user(&self, name: &str, role: Role, grants: Grants, password: Option<&str>) {
        let user = NewUser {
            name: Client::parse(name).unwrap(),
            role,
            grants,
            password: password.map(|text| hash_password(text).unwrap()),
        };
        let accounts = Arc::clone(&self.0.accounts);
        assert!(
            self.0
                .rt
                .block_on(async move { accounts.add_user(user).await.unwrap() })
        );
    }

    /// A token of a user, as it is sent.
    fn token(&self, name: &str, grants: Grants, expires_in_s: Option<u32>) -> (Token, String) {
        let (token, text) = Token::mint();
        let new = NewToken {
            key: token.key.clone(),
            hash: token.hash,
            user: Client::parse(name).unwrap(),
            note: String::new(),
            grants,
            expires_in_s,
        };
        let accounts = Arc::clone(&self.0.accounts);
        assert!(
            self.0
                .rt
                .block_on(async move { accounts.add_token(new).await.unwrap() })
        );
        (token, format!("Bearer {text}"))
    }

    /// A user with a token.
    pub(crate) fn holder(&self, name: &str, role: Role, grants: Grants) -> String {
        self.user(name, role, grants, None);
        self.token(name, Grants::default(), None).1
    }

    pub(crate) fn post(&self, path: &str, who: &str, body: &str) -> Reply {
        self.0.ask("POST", path, Some(who), body)
    }

    pub(crate) fn get(&self, path: &str, who: &str) -> Reply {
        self.0.ask("GET", path, Some(who), "")
    }

    fn audit(&self) -> Vec<AuditEntry> {
        let accounts = Arc::clone(&self.0.accounts);
        let filter = AuditFilter {
            limit: 1000,
            ..AuditFilter::default()
        };
        self.0
            .rt
            .block_on(async move { accounts.audit(filter).await.unwrap() })
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Every operation that is described, with a path that leads to something.
fn operations() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let described: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        let path = path
            .replace("{task_type}", "worker")
            .replace("{identifier}", "a")
            // None that would answer without an end.
            .replace("{datasource}", "nowhere")
            .replace("{job}", "a")
            .replace("{time}", "0")
            .replace("{run}", "00000000-0000-4000-8000-000000000000")
            .replace("{task}", "0");
        for method in item.as_object().unwrap().keys() {
            operations.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(operations.len() > 10);
    operations
}

/// Routes that anybody may ask: what runs here, and whether it does.
const OPEN: &[&str] = &["/", "/healthz", "/readyz"];

#[test]
fn strangers_reach_nothing() {
    let app = Guarded::start();
    app.user("ann", Role::Admin, Grants::default(), None);
    let (_, expired) = app.token("ann", Grants::default(), Some(0));
    let (revoked, text) = app.token("ann", Grants::default(), None);
    let accounts = Arc::clone(&app.0.accounts);
    app.0
        .rt
        .block_on(async move { accounts.revoke_token(&revoked.key).await.unwrap() });
    let (_, foreign) = Token::mint();
    let foreign = format!("Bearer {foreign}");
    let mut body = None;
    for (method, path) in operations() {
        if OPEN.contains(&&*path) {
            assert_eq!(app.0.ask(&method, &path, None, "").status, 200, "{path}");
            continue;
        }
        for who in [
            None,
            Some("Bearer x"),
            Some(&*expired),
            Some(&*text),
            Some(&*foreign),
        ] {
            let reply = app.0.ask(&method, &path, who, "");
            reply.is_problem(401, "unauthenticated");
            let challenges = reply
                .headers
                .iter()
                .filter(|(n, _)| n == "www-authenticate");
            assert_eq!(challenges.count(), 2);
            // The same words for everybody.
            assert_eq!(body.get_or_insert_with(|| reply.text.clone()), &reply.text);
        }
    }
    // What is not there, and a token in the query.
    for path in [
        "/nothing/at/all/here",
        &format!("/worker?token={}", &text[7..]),
    ] {
        app.0
            .ask("GET", path, None, "")
            .is_problem(401, "unauthenticated");
    }
    app.0
        .ask("PUT", "/worker", None, "")
        .is_problem(401, "unauthenticated");
}

#[test]
fn roles_reach_what_they_are_for() {
    let app = Guarded::start();
    for role in Role::ALL {
        let who = app.holder(role.as_str(), *role, Grants::default());
        for (method, path) in operations() {
            let reply = app.0.ask(&method, &path, Some(&who), "");
            let is_serving = path.starts_with("/jobs") || path.ends_with("/jobs");
            let is_watching = path == "/sub/nowhere/job";
            let is_run = path.starts_with("/api/");
            let is_pulling = path == "/api/worker"
                || path.ends_with("/task")
                || (path.contains("/runs/") && path.ends_with("/tasks/0"))
                || (path.contains("/runs/") && method == "GET");
            let is_own = is_run
                || path.starts_with("/worker")
                || path.starts_with("/nowhere")
                || is_watching;
            let expected = match (role, &*method) {
                _ if OPEN.contains(&&*path) || path == "/openapi.json" => true,
                // A token makes no tokens.
                _ if path == "/api/token" => false,
                (Role::Admin, _) => true,
                (Role::Server, _) => is_serving,
                _ if is_serving => false,
                (Role::Operator, _) => true,
                (Role::Client, _) => is_own,
                (Role::Viewer, method) => method == "GET" || is_watching,
                (Role::Worker, _) => is_pulling,
            };
            assert_eq!(
                reply.status != 403,
                expected,
                "{role:?} {method} {path}: {}",
                reply.text
            );
        }
    }
}

#[test]
fn clients_see_their_own_tasks_only() {
    let app = Guarded::start();
    let ann = app.holder("ann", Role::Client, Grants::default());
    let bob = app.holder("bob", Role::Client, Grants::default());
    let admin = app.holder("root", Role::Admin, Grants::default());
    let body = r#"{"identifier":"a","endpoints":["e1"],"payload":1}"#;
    assert_eq!(app.post("/worker", &ann, body).status, 201);
    for path in ["/worker/a", "/worker/a/responses"] {
        assert_eq!(app.get(path, &ann).status, 200);
        app.get(path, &bob).is_problem(404, "unknown_task");
    }
    for path in ["/worker/a/cancel", "/worker/a/retry"] {
        app.post(path, &bob, "").is_problem(404, "unknown_task");
    }
    assert_eq!(
        app.get("/worker", &bob).json()["tasks"],
        serde_json::json!([])
    );
    // The same identifier is another task.
    let other = r#"{"identifier":"a","endpoints":["e1"],"payload":2}"#;
    assert_eq!(app.post("/worker", &bob, other).status, 201);
    assert_eq!(app.get("/worker/a", &ann).json()["task"]["payload"], 1);
    assert_eq!(app.get("/worker/a", &bob).json()["task"]["payload"], 2);
    // Who sees everything says whose.
    app.get("/worker/a", &admin).is_problem(404, "unknown_task");
    assert_eq!(
        app.get("/worker/a?client=ann", &admin).json()["task"]["payload"],
        1
    );
    let list = app.get("/worker?client=bob", &admin).json();
    assert_eq!(list["tasks"].as_array().unwrap().len(), 1);
    app.get("/worker/a?client=ann", &bob)
        .is_problem(404, "unknown_task");
    assert_eq!(
        app.get("/worker?client=ann", &bob).json()["tasks"],
        serde_json::json!([])
    );
    assert_eq!(
        app.post("/worker/a/cancel?client=ann", &admin, "").status,
        200
    );
    assert_eq!(
        app.get("/worker/a", &ann).json()["task"]["status"],
        "CANCELLED"
    );
}

#[test]
fn grants_bound_types_and_endpoints() {
    let app = Guarded::start();
    let grants = Grants {
        task_types: Some(vec![tasker_core::TaskType::parse("worker").unwrap()]),
        endpoints: Some(vec![EndpointGlob::parse("web*").unwrap()]),
        read_only: false,
    };
    let operator = app.holder("op", Role::Operator, grants);
    let post = |body| app.post("/worker", &operator, body);
    assert_eq!(
        post(r#"{"identifier":"a","endpoints":["web1","web2"]}"#).status,
        201
    );
    let refused = post(r#"{"identifier":"b","endpoints":["web1","db1"]}"#);
    let problem = refused.is_problem(403, "forbidden");
    assert_eq!(problem["errors"][0]["field"], "endpoints");
    assert!(
        problem["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("db1")
    );
    post(r#"{"identifier":"c"}"#).is_problem(403, "forbidden");
    app.post("/worker/a/retry", &operator, r#"{"endpoints":["db1"]}"#)
        .is_problem(403, "forbidden");
    // Another type looks like one that does not exist.
    let body = r#"{"identifier":"a","endpoints":["web1"]}"#;
    app.post("/all", &operator, body)
        .is_problem(404, "unknown_task_type");
    app.get("/all", &operator)
        .is_problem(404, "unknown_task_type");
    assert_eq!(app.0.stored("worker"), 0, "of nobody else");
    let listed = app.get("/worker", &operator).json();
    assert_eq!(
        listed["tasks"].as_array().unwrap().len(),
        1,
        "nothing half-written"
    );
    // A token narrows its user further.
    let read_only = Grants {
        read_only: true,
        ..Grants::default()
    };
    let (_, reader) = app.token("op", read_only, None);
    assert_eq!(app.get("/worker/a", &reader).status, 200);
    app.post("/worker/a/cancel", &reader, "")
        .is_problem(403, "forbidden");
    let narrow = Grants {
        endpoints: Some(vec![EndpointGlob::parse("web1").unwrap()]),
        ..Grants::default()
    };
    let (_, narrow) = app.token("op", narrow, None);
    app.post(
        "/worker",
        &narrow,
        r#"{"identifier":"d","endpoints":["web2"]}"#,
    )
    .is_problem(403, "forbidden");
}

#[test]
fn a_revoked_token_counts_no_more_at_the_next_request() {
    let app = Guarded::start();
    app.user("ann", Role::Client, Grants::default(), None);
    let (token, who) = app.token("ann", Grants::default(), None);
    assert_eq!(app.get("/worker", &who).status, 200);
    let accounts = Arc::clone(&app.0.accounts);
    app.0
        .rt
        .block_on(async move { accounts.revoke_token(&token.key).await.unwrap() });
    app.get("/worker", &who).is_problem(401, "unauthenticated");
}

#[test]
fn passwords_are_guessed_slowly() {
    let app = Guarded::start();
    app.user(
        "ann",
        Role::Client,
        Grants::default(),
        Some("correct horse"),
    );
    let (_, token) = app.token("ann", Grants::default(), None);
    let right = basic("ann", "correct horse");
    assert_eq!(app.get("/worker", &right).status, 200);
    let long = "x".repeat(4000);
    for n in 0..10 {
        let password = if n == 0 { &*long } else { "wrong" };
        app.get("/worker", &basic("ann", password))
            .is_problem(401, "unauthenticated");
    }
    let refused = app.get("/worker", &right);
    refused.is_problem(429, "too_many_logins");
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Somebody else, who does not exist, is treated alike; a token still counts.
    app.get("/worker", &basic("nobody", "wrong"))
        .is_problem(401, "unauthenticated");
    assert_eq!(app.get("/worker", &token).status, 200);
}

#[test]
fn many_right_passwords_at_once_are_no_guesses() {
    let app = Guarded::start();
    app.user(
        "ann",
        Role::Client,
        Grants::default(),
        Some("correct horse"),
    );
    let right = basic("ann", "correct horse");
    std::thread::scope(|scope| {
        let logins: Vec<_> = (0..32)
            .map(|_| scope.spawn(|| app.get("/api/token", &right)))
            .collect();
        let tokens: std::collections::BTreeSet<_> = logins
            .into_iter()
            .map(|login| {
                let reply = login.join().unwrap();
                assert_eq!(reply.status, 200, "{}", reply.text);
                reply.json()["token"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(tokens.len(), 32);
        // As taskfarm's clients send it.
        let token = tokens.first().unwrap();
        assert_eq!(app.get("/worker", &basic(token, "")).status, 200);
        let again = app.get("/api/token", &basic(token, ""));
        again.is_problem(403, "forbidden");
    });
}

#[test]
fn what_is_done_and_refused_is_written_down() {
    let app = Guarded::start();
    app.user(
        "ann",
        Role::Client,
        Grants::default(),
        Some("correct horse"),
    );
    let (token, who) = app.token("ann", Grants::default(), None);
    app.post("/worker", &who, r#"{"identifier":"a"}"#);
    app.get("/worker/a", &who);
    app.get("/metrics", &who).is_problem(403, "forbidden");
    app.get("/worker", &basic("ann", "wrong wrong"));
    app.get("/worker", &basic("ann", "correct horse"));
    app.post("/worker", &who, r#"{"identifier":"#)
        .is_problem(400, "malformed_json");
    app.0.eventually("it is written", || app.audit().len() == 4);
    let entries = app.audit();
    let told: Vec<_> = entries
        .iter()
        .rev()
        .map(|entry| (entry.event.kind, &*entry.event.what))
        .collect();
    assert_eq!(
        told,
        [
            (AuditKind::Accept, "POST /worker/a 201"),
            (AuditKind::Deny, "GET /metrics 403"),
            (AuditKind::Deny, "GET /worker 401"),
            (AuditKind::Login, "a right password"),
        ]
    );
    let accept = &entries[3].event;
    assert_eq!(accept.who.as_ref().unwrap().as_str(), "ann");
    assert_eq!(accept.token.as_ref(), Some(&token.key));
    assert_eq!(accept.from.unwrap().to_string(), "127.0.0.1");
    assert_eq!(entries[1].event.who, None);
}

#[test]
fn an_absent_ledger_is_no_wrong_token() {
    let away = tasker_store::open("sqlite:///nowhere/at/all", &StoreOptions::default()).unwrap();
    let settings = ApiSettings {
        auth: Auth::Required,
        ..settings()
    };
    let app = App::over(
        settings,
        Timing::default(),
        |broker| broker,
        |ports| Ports {
            accounts: away.accounts,
            ..ports
        },
    );
    let (_, text) = Token::mint();
    for who in [format!("Bearer {text}"), basic("ann", "x")] {
        let refused = app.ask("GET", "/worker", Some(&who), "");
        refused.is_problem(503, "unavailable");
    }
}
