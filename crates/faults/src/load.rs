//! The client: POSTs at a steady rate from several threads, and writes down what it was told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasker_testkit::drill::{Ledger, Post};
use tasker_testkit::installation::{agent, wait_for};

/// What is sent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The task type.
    pub task_type: String,
    /// Whom the tasks name; `None`: nobody, they are for whoever is subscribed.
    pub endpoints: Option<Vec<String>>,
    /// The payload of each.
    pub payload: Value,
    /// Tasks a second, all threads together.
    pub rate: u32,
    /// How many are sent at once at most.
    pub threads: u32,
    /// How many tasks are sent at most.
    pub most: usize,
    /// Whether a POST that was not accepted is sent again, with the same identifier, until it is or
    /// the load ends.
    pub insists: bool,
    /// How long after, if no answer says when.
    pub pause: Duration,
    /// Whether every POST goes to two of the APIs at the same time.
    pub is_doubled: bool,
    /// Whether a POST whose connection is refused goes to the next API at once. That nobody listens is no
    /// answer.
    pub fails_over: bool,
    /// How long a POST may take.
    pub patience: Duration,
}

impl Plan {
    /// Tasks of a type for these endpoints, 200 a second from 8 threads, each sent once.
    #[must_use]
    pub fn new(task_type: &str, endpoints: &[String]) -> Self {
        Self {
            task_type: task_type.to_owned(),
            endpoints: Some(endpoints.to_vec()),
            payload: json!({"ms": 1}),
            rate: 200,
            threads: 8,
            most: usize::MAX,
            insists: false,
            pause: Duration::from_millis(100),
            is_doubled: false,
            fails_over: false,
            patience: Duration::from_secs(10),
        }
    }
}

/// How the accepts went so far.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    tried: AtomicU64,
    /// Milliseconds of every accepted POST.
    times: Mutex<Vec<u32>>,
    /// Milliseconds of every POST that was answered 503.
    busy_times: Mutex<Vec<u32>>,
    /// Answers 503 that do not say when to try again.
    unhelpful: AtomicU64,
    /// Answers 5xx by their codes.
    refusals: Mutex<BTreeMap<String, u64>>,
}

/// A load that goes on until it is ended.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
    ledger: PathBuf,
    task_type: String,
    prefix: String,
}

/// Where a load sends to; may be changed while it goes on.
pub type Targets = Arc<Mutex<Vec<String>>>;

impl Load {
    /// Starts it. Identifiers begin with `prefix`.
    ///
    /// # Panics
    /// If the ledger cannot be written.
    #[must_use]
    pub fn start(plan: &Plan, prefix: &str, targets: &Targets, ledger: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let next = Arc::new(AtomicUsize::new(0));
        let file = Arc::new(Ledger::open(ledger).expect("the client's ledger"));
        let begin = Instant::now();
        let threads = (0..plan.threads)
            .map(|_| {
                let client = Client {
                    plan: plan.clone(),
                    prefix: prefix.to_owned(),
                    targets: Arc::clone(targets),
                    ledger: Arc::clone(&file),
                    counts: Arc::clone(&counts),
                    stop: Arc::clone(&stop),
                    agent: agent(),
                };
                let next = Arc::clone(&next);
                std::thread::spawn(move || client.work(&next, begin))
            })
            .collect();
        Self {
            stop,
            counts,
            threads,
            ledger: ledger.to_owned(),
            task_type: plan.task_type.clone(),
            prefix: prefix.to_owned(),
        }
    }

    /// How many tasks were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// How many POSTs were sent so far.
    #[must_use]
    pub fn tried(&self) -> u64 {
        self.counts.tried.load(Ordering::Relaxed)
    }

    /// Waits until so many more tasks are accepted.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub fn wait_accepted(&self, more: u64) {
        let goal = self.accepted() + more;
        wait_for("tasks to be accepted", Duration::from_secs(120), || {
            (self.accepted() >= goal).then_some(())
        });
    }

    /// Ends it and waits for what is under way.
    ///
    /// # Panics
    /// If one of its threads did.
    pub fn end(mut self) -> Ended {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client's thread");
        }
        let sorted = |times: &Mutex<Vec<u32>>| {
            let mut times = std::mem::take(&mut *times.lock().expect("the times"));
            times.sort_unstable();
            times
        };
        Ended {
            times_ms: sorted(&self.counts.times),
            busy_times_ms: sorted(&self.counts.busy_times),
            unhelpful: self.counts.unhelpful.load(Ordering::Relaxed),
            refusals: std::mem::take(&mut *self.counts.refusals.lock().expect("the refusals")),
            ledger: std::mem::take(&mut self.ledger),
            task_type: std::mem::take(&mut self.task_type),
            prefix: std::mem::take(&mut self.prefix),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A load that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How long each accepted POST took, ascending, in milliseconds.
    pub times_ms: Vec<u32>,
    /// The same of each POST that was answered 503.
    pub busy_times_ms: Vec<u32>,
    /// Answers 503 without `Retry-After`.
    pub unhelpful: u64,
    /// Answers 5xx by their codes.
    pub refusals: BTreeMap<String, u64>,
    /// The client's ledger.
    pub ledger: PathBuf,
    /// The task type that was sent.
    pub task_type: String,
    /// How its identifiers begin.
    pub prefix: String,
}

impl Ended {
    /// The time within which so many of a hundred accepted POSTs were answered.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.times_ms, percent)
    }

    /// The same of those that were answered 503.
    #[must_use]
    pub fn busy_percentile(&self, percent: usize) -> Duration {
        percentile(&self.busy_times_ms, percent)
    }
}

fn percentile(times_ms: &[u32], percent: usize) -> Duration {
    let last = times_ms.len().saturating_sub(1);
    let at = (times_ms.len() * percent / 100).min(last);
    Duration::from_millis(times_ms.get(at).copied().unwrap_or(0).into())
}

/// One thread of a load.
struct Client {
    plan: Plan,
    prefix: String,
    targets: Targets,
    ledger: Arc<Ledger>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    agent: ureq::Agent,
}

impl Client {
    fn work(&self, next: &AtomicUsize, begin: Instant) {
        let pause = Duration::from_secs(1) / self.plan.rate;
        while !self.stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.plan.most {
                return;
            }
            let due = begin + pause * u32::try_from(number).unwrap_or(u32::MAX);
            // The rate is the load's, not a wait for something.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.send(number);
        }
    }

    fn send(&self, number: usize) {
        let identifier = format!("{}-{number}", self.prefix);
        for round in 0.. {
            let sent = if self.plan.is_doubled {
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| self.post(&identifier, number + round + 1));
                    let first = self.post(&identifier, number + round);
                    let second = other.join().expect("a thread");
                    first.or(second)
                })
            } else {
                self.post(&identifier, number + round)
            };
            let Err(pause) = sent else {
                self.counts.accepted.fetch_add(1, Ordering::Relaxed);
                return;
            };
            if !self.plan.insists || self.stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// Sends one POST.
    ///
    /// # Errors
    /// When to try again, if the task is not accepted.
    fn post(&self, identifier: &str, target: usize) -> Result<(), Duration> {
        let mut body = json!({"identifier": identifier, "payload": self.plan.payload});
        if let Some(endpoints) = &self.plan.endpoints {
            body["endpoints"] = json!(endpoints);
        }
        let mut urls = self.targets.lock().expect("the targets").clone();
        let first = target % urls.len();
        urls.rotate_left(first);
        self.note(&Post::Try(identifier.to_owned()));
        self.counts.tried.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let mut answered = None;
        for url in urls {
            let url = format!("{url}/{}", self.plan.task_type);
            let request = self.agent.post(url).config();
            let request = request.timeout_global(Some(self.plan.patience)).build();
            match request.send_json(&body) {
                Err(error) if self.plan.fails_over && nobody_listens(&error) => {}
                sent => {
                    answered = sent.ok();
                    break;
                }
            }
        }
        let Some(mut answer) = answered else {
            return Err(self.plan.pause);
        };
        let status = answer.status().as_u16();
        self.note(&Post::Told(identifier.to_owned(), status));
        let took = u32::try_from(begin.elapsed().as_millis()).unwrap_or(u32::MAX);
        if matches!(status, 200..=202) {
            self.counts.times.lock().expect("the times").push(took);
            return Ok(());
        }
        let later = answer.headers().get("retry-after");
        let later = later.and_then(|text| text.to_str().ok()?.parse().ok());
        if status == 503 {
            let mut times = self.counts.busy_times.lock().expect("the times");
            times.push(took);
            if later.is_none() {
                self.counts.unhelpful.fetch_add(1, Ordering::Relaxed);
            }
        }
        if status >= 500 {
            let problem = answer.body_mut().read_json::<Value>().unwrap_or_default();
            let code = problem["code"].as_str().unwrap_or("nameless").to_owned();
            let mut refusals = self.counts.refusals.lock().expect("the refusals");
            *refusals.entry(code).or_default() += 1;
        }
        Err(later.map_or(self.plan.pause, Duration::from_secs))
    }

    fn note(&self, post: &Post) {
        self.ledger
            .write(&[post.line()])
            .expect("the client's ledger");
    }
}

fn nobody_listens(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}
