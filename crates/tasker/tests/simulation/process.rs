//! The processes: API and workers, which start, die and start again.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tasker_api::{ApiSettings, SchedulerSettings, TaskTypeSettings};
use tasker_core::broker::Broker;
use tasker_core::handler::Handler;
use tasker_core::retry::RetryPolicy;
use tasker_core::store::{Ports, Store};
use tasker_core::task::RunPolicy;
use tasker_core::{EndpointName, TaskType};
use tasker_worker::{JournalError, WorkerError, WorkerSettings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cut::{Books, Line};
use crate::office::Office;
use crate::performer::Runs;

/// The task type whose runs are never repeated.
pub(crate) const ONCE: &str = "once";
/// The task type whose runs are, after failures too.
pub(crate) const AGAIN: &str = "again";
/// The longest silence of a server that is alive, in real time.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn task_type(name: &str) -> TaskType {
    TaskType::parse(name).unwrap()
}

/// An API process.
pub(crate) struct Api {
    address: SocketAddr,
    cut: CancellationToken,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    /// The connection of the request that waits for an answer.
    asking: Mutex<Vec<TcpStream>>,
}

impl Api {
    pub(crate) fn start(office: &Arc<Office>, books: &Books) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, stop) = (CancellationToken::new(), CancellationToken::new());
        let store: Arc<dyn Store> = Arc::new(Line {
            far: books.clone(),
            cut: cut.clone(),
        });
        let runs = Arc::clone(&books.runs);
        let ports = Ports { store, runs };
        let broker: Arc<dyn Broker> = Arc::new(Line {
            far: Arc::clone(office),
            cut: cut.clone(),
        });
        let serve = tasker_api::serve(listener, settings(), ports, broker, stop.clone());
        let serving = tokio::spawn(async move {
            serve.await.unwrap();
        });
        Arc::new(Self {
            address,
            cut,
            stop,
            serving,
            asking: Mutex::default(),
        })
    }

    /// Dies. Nobody learns anything from it any more.
    pub(crate) fn kill(&self) {
        self.cut.cancel();
        self.stop.cancel();
        for connection in self.asking.lock().unwrap().drain(..) {
            let _closed = connection.shutdown(Shutdown::Both);
        }
    }

    /// Stops in order.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        while !self.serving.is_finished() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Posts and returns the status of the answer; `None` if there was none. Simulated time stands
    /// still meanwhile.
    pub(crate) async fn post(self: &Arc<Self>, path: &str, body: &str) -> Option<u16> {
        let api = Arc::clone(self);
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len(),
        );
        tokio::task::spawn_blocking(move || api.exchange(&request).ok().flatten())
            .await
            .unwrap()
    }

    fn exchange(&self, request: &str) -> std::io::Result<Option<u16>> {
        let mut connection = TcpStream::connect(self.address)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        self.asking.lock().unwrap().push(connection.try_clone()?);
        if self.cut.is_cancelled() {
            return Ok(None);
        }
        connection.write_all(request.as_bytes())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1);
        Ok(status.and_then(|status| status.parse().ok()))
    }
}

fn settings() -> ApiSettings {
    let once = TaskTypeSettings {
        run_policy: RunPolicy::Once,
        timeout_s: 80,
        ..TaskTypeSettings::new(task_type(ONCE))
    };
    let again = TaskTypeSettings {
        run_policy: RunPolicy::Idempotent,
        timeout_s: 80,
        retry: RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::DEFAULT
        },
        ..TaskTypeSettings::new(task_type(AGAIN))
    };
    ApiSettings {
        task_types: vec![once, again],
        // Time stands still while a request waits, and its confirm may be lost.
        wait_for_sent: Duration::ZERO,
        http_workers: 1,
        drain_deadline: Duration::from_secs(1),
        scheduler: SchedulerSettings {
            tick: Duration::from_secs(5),
            ..SchedulerSettings::default()
        },
        ..ApiSettings::default()
    }
}

/// A worker: its journal outlives its processes.
pub(crate) struct Worker {
    pub(crate) task_type: &'static str,
    pub(crate) endpoint: String,
    dir: PathBuf,
    office: Arc<Office>,
    runs: Runs,
    process: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
    /// How often it was killed, and how often its journal was wiped.
    pub(crate) deaths: Mutex<(usize, usize)>,
}

impl Worker {
    pub(crate) fn new(
        task_type: &'static str,
        endpoint: String,
        dir: PathBuf,
        office: &Arc<Office>,
        runs: &Runs,
    ) -> Arc<Self> {
        Arc::new(Self {
            dir: dir.join(format!("{task_type}-{endpoint}")),
            task_type,
            endpoint,
            office: Arc::clone(office),
            runs: runs.clone(),
            process: Mutex::default(),
            deaths: Mutex::default(),
        })
    }

    pub(crate) fn start(&self) {
        let settings = WorkerSettings::new(
            EndpointName::parse(&self.endpoint).unwrap(),
            task_type(self.task_type),
            &self.dir,
        );
        let cut = CancellationToken::new();
        let broker: Arc<dyn Broker> = Arc::new(Line {
            far: Arc::clone(&self.office),
            cut: cut.clone(),
        });
        let handler: Arc<dyn Handler> = Arc::new(self.runs.clone());
        let working = tokio::spawn(async move {
            let never = CancellationToken::new();
            loop {
                let (settings, handler) = (settings.clone(), Arc::clone(&handler));
                let run = tasker_worker::run(settings, handler, Arc::clone(&broker), never.clone());
                match run.await {
                    // The journal's thread of the process before has not ended yet.
                    Err(WorkerError::Journal(JournalError::Locked { .. })) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    ended => panic!("a worker ended: {ended:?}"),
                }
            }
        });
        *self.process.lock().unwrap() = Some((cut, working));
    }

    /// Dies at whatever it does. `false` if it is dead already.
    pub(crate) async fn kill(&self) -> bool {
        let Some((cut, working)) = self.process.lock().unwrap().take() else {
            return false;
        };
        cut.cancel();
        working.abort();
        if let Err(error) = working.await {
            assert!(error.is_cancelled(), "{error}");
        }
        self.deaths.lock().unwrap().0 += 1;
        true
    }

    /// Its disk is lost. It must be dead.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
        self.deaths.lock().unwrap().1 += 1;
    }
}
