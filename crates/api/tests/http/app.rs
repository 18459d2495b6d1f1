//! An API process of the test's own: its listener, its database, its broker.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tasker_api::{
    ApiSettings, Auth, Drained, Kind, SchedulerSettings, TaskTypeSettings, Unlisted, serve,
};
use tasker_broker::local::LocalBroker;
use tasker_core::account::ClientScope;
use tasker_core::accounts::Accounts;
use tasker_core::broker::Broker;
use tasker_core::schema::PayloadSchema;
use tasker_core::store::{Ports, Store, TaskFilter, Timing};
use tasker_core::{Client, EndpointName, TaskType};
use tasker_store::StoreOptions;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::faulty::FaultyStore;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running API process.
pub(crate) struct App {
    pub(crate) addr: SocketAddr,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) broker: Arc<LocalBroker>,
    pub(crate) rt: Runtime,
    agent: ureq::Agent,
    stop: CancellationToken,
    serving: Option<JoinHandle<Drained>>,
    _dir: TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Checks that it is a problem, whole and of this kind.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let json = self.json();
        assert_eq!(json["code"], code, "{}", self.text);
        assert_eq!(json["status"], status);
        assert_eq!(json["type"], format!("urn:tasker:problem:{code}"));
        assert!(
            json["title"].is_string() && json["detail"].is_string() && json["errors"].is_array()
        );
        assert_eq!(
            self.header("retry-after").is_some(),
            matches!(status, 429 | 503)
        );
        json
    }
}

/// The task types of the tests: `worker` as it comes, `all` where everybody performs, `strict` with
/// a schema and known endpoints only; the datasources `ds`, `made` whose server is the worker of endpoint
/// `a`, and `typed` with a schema.
pub(crate) fn settings() -> ApiSettings {
    let kind = |name| TaskTypeSettings::new(TaskType::parse(name).unwrap());
    let schema = serde_json::json!({
        "type": "object", "required": ["n"], "additionalProperties": false,
        "properties": {"n": {"type": "integer"}, "s": {"pattern": "^(a+)+$"}}
    });
    ApiSettings {
        auth: Auth::None,
        task_types: vec![
            kind("worker"),
            TaskTypeSettings {
                unlisted: Unlisted::Perform,
                ..kind("all")
            },
            TaskTypeSettings {
                kind: Kind::JOB,
                ..kind("ds")
            },
            TaskTypeSettings {
                kind: Kind::Job {
                    endpoint: Some(EndpointName::parse("a").unwrap()),
                },
                ..kind("made")
            },
            TaskTypeSettings {
                kind: Kind::JOB,
                schema: Some(PayloadSchema::compile(&schema).unwrap()),
                ..kind("typed")
            },
            TaskTypeSettings {
                known_endpoints_only: true,
                max_timeout_s: 7200,
                schema: Some(PayloadSchema::compile(&schema).unwrap()),
                ..kind("strict")
            },
        ],
        wait_for_sent: Duration::from_secs(10),
        scheduler: SchedulerSettings {
            tick: Duration::from_millis(50),
            ..Default::default()
        },
        ..ApiSettings::default()
    }
}

impl App {
    pub(crate) fn start() -> Self {
        Self::with(settings(), Timing::default())
    }

    pub(crate) fn with(settings: ApiSettings, timing: Timing) -> Self {
        Self::behind(settings, timing, |broker| broker)
    }

    /// With something between the process and its broker.
    pub(crate) fn behind<B: Broker>(
        settings: ApiSettings,
        timing: Timing,
        wrap: impl FnOnce(Arc<LocalBroker>) -> Arc<B>,
    ) -> Self {
        Self::over(settings, timing, wrap, |ports| ports)
    }

    /// As [`App::behind`], and with other ports of its database.
    pub(crate) fn over<B: Broker>(
        settings: ApiSettings,
        timing: Timing,
        wrap: impl FnOnce(Arc<LocalBroker>) -> Arc<B>,
        change: impl FnOnce(Ports) -> Ports,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/ledger.sqlite", dir.path().display());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let rt = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(thread_name(addr))
            .enable_all()
            .build()
            .unwrap();
        rt.block_on(tasker_store::migrate(&url)).unwrap();
        let options = StoreOptions {
            timing,
            ..StoreOptions::default()
        };
        let ports = rt.block_on(async { change(tasker_store::open(&url, &options).unwrap()) });
        let store = Arc::new(FaultyStore::new(ports.store.clone()));
        let accounts = Arc::clone(&ports.accounts);
        let broker = LocalBroker::new();
        let stop = CancellationToken::new();
        let settings = ApiSettings { timing, ..settings };
        let serving = {
            let (store, broker, stop) = (store.clone(), wrap(broker.clone()), stop.clone());
            let ports = Ports { store, ..ports };
            rt.spawn(async move {
                serve(listener, settings, ports, broker, stop)
                    .await
                    .unwrap()
            })
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE * 2))
            .build()
            .new_agent();
        let app = Self {
            addr,
            store,
            accounts,
            broker,
            rt,
            agent,
            stop,
            serving: Some(serving),
            _dir: dir,
        };
        app.eventually("it is ready", || app.get("/readyz").status == 200);
        app
    }

    /// The name of the threads of its loops.
    pub(crate) fn thread_name(&self) -> String {
        thread_name(self.addr)
    }

    /// Stops the process as SIGTERM does.
    pub(crate) fn drain(&mut self) -> Drained {
        self.stop.cancel();
        let serving = self.serving.take().unwrap();
        self.rt.block_on(async {
            tokio::time::timeout(PATIENCE, serving)
                .await
                .unwrap()
                .unwrap()
        })
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        let url = format!("http://{}{path}", self.addr);
        self.read("get", path, self.agent.get(url).call().unwrap())
    }

    pub(crate) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post_as("application/json", path, body)
    }

    pub(crate) fn post_as(&self, content_type: &str, path: &str, body: impl AsRef<[u8]>) -> Reply {
        let url = format!("http://{}{path}", self.addr);
        let request = self.agent.post(url).header("content-type", content_type);
        self.read("post", path, request.send(body.as_ref()).unwrap())
    }

    pub(crate) fn put(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        let url = format!("http://{}{path}", self.addr);
        let request = self
            .agent
            .put(url)
            .header("content-type", "application/json");
        self.read("put", path, request.send(body.as_ref()).unwrap())
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        let url = format!("http://{}{path}", self.addr);
        self.read("delete", path, self.agent.delete(url).call().unwrap())
    }

    /// A request with the user name and password of HTTP Basic.
    pub(crate) fn as_user(&self, user: &str, method: &str, path: &str, body: &str) -> Reply {
        use base64::Engine;
        let credentials = base64::prelude::BASE64_STANDARD.encode(user);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.addr))
            .header("authorization", format!("Basic {credentials}"))
            .header("content-type", "application/json")
            .body(body.to_owned());
        let reply = self.agent.run(request.unwrap()).unwrap();
        self.read(&method.to_lowercase(), path, reply)
    }

    pub(crate) fn post_nothing(&self, path: &str) -> Reply {
        let url = format!("http://{}{path}", self.addr);
        self.read("post", path, self.agent.post(url).send_empty().unwrap())
    }

    /// A request of somebody who says who they are.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
        body: &str,
    ) -> Reply {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.addr));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let response = if body.is_empty() {
            self.agent.run(request.body(()).unwrap())
        } else {
            let request = request.header("content-type", "application/json");
            self.agent.run(request.body(body).unwrap())
        };
        self.read(&method.to_lowercase(), path, response.unwrap())
    }

    fn read(
        &self,
        method: &str,
        path: &str,
        mut response: ureq::http::Response<ureq::Body>,
    ) -> Reply {
        let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let headers = response.headers().iter().map(header).collect();
        let status = response.status().as_u16();
        check_described(method, path, status);
        let text = response
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()
            .unwrap();
        Reply {
            status,
            headers,
            text,
        }
    }

    /// Sends bytes as they are and reads until the server closes. The request should ask for that.
    pub(crate) fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect();
        // The server may refuse and close before it has read everything.
        drop(stream.write_all(request));
        read_raw(&mut stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Waits until it is so.
    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How many tasks of a type are stored.
    pub(crate) fn stored(&self, task_type: &str) -> usize {
        let filter = TaskFilter {
            scope: ClientScope::own(Client::local()),
            task_type: TaskType::parse(task_type).unwrap(),
            status: None,
            before: None,
            limit: 1000,
        };
        self.rt.block_on(self.store.tasks(filter)).unwrap().len()
    }

    /// The value of a counter, as the metrics page shows it; 0 if it is not there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").text;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }
}

fn thread_name(addr: SocketAddr) -> String {
    format!("app-{}", addr.port())
}

impl Drop for App {
    fn drop(&mut self) {
        if self.serving.is_some() && !std::thread::panicking() {
            assert!(self.drain().in_time, "the process did not stop in time");
        }
    }
}

/// Reads a raw answer until the server closes.
pub(crate) fn read_raw(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // A reset after the answer is a close too; a time-out is a connection that is kept for ever.
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "it was not closed"
        );
    }
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        (name.to_owned(), value.to_owned())
    };
    Reply {
        status: status.unwrap_or_else(|| panic!("no answer: {text:?}")),
        headers: lines.map(header).collect(),
        text: body.to_owned(),
    }
}

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

/// Every status that a test ever sees is described.
fn check_described(method: &str, path: &str, status: u16) {
    let path = path.split('?').next().unwrap();
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    let fits = |pattern: &str| {
        let (mut a, mut b) = (pattern.split('/'), path.split('/'));
        loop {
            match (a.next(), b.next()) {
                (None, None) => return true,
                (Some(p), Some(t)) if p == t || (p.starts_with('{') && !t.is_empty()) => {}
                _ => return false,
            }
        }
    };
    let fixed = paths.iter().find(|(pattern, _)| *pattern == path);
    let found = fixed.or_else(|| paths.iter().find(|(pattern, _)| fits(pattern)));
    match found.and_then(|(_, item)| item.get(method)) {
        Some(operation) => assert!(
            operation["responses"].get(status.to_string()).is_some(),
            "{method} {path} answered {status}, which is not described"
        ),
        None => assert!(
            matches!(status, 401 | 404 | 405),
            "{method} {path} answered {status}"
        ),
    }
}
