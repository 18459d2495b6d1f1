//! One simulation: processes, a client, and chance that kills and loses; then a time without faults,
//! and the comparison.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tasker_core::account::ClientScope;
use tasker_core::store::{ResponseFilter, Store, TaskFilter};
use tasker_core::task::{TaskHead, TaskResponse};
use tasker_core::{Client, TaskId};
use tasker_store::{Clock, StoreOptions};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::chance::{Arrow, Chance, Draw};
use crate::cut::{Books, Broken};
use crate::office::{Losses, Office};
use crate::performer::Runs;
use crate::process::{AGAIN, Api, ONCE, Worker, task_type};
use crate::verdict::{Verdict, compare};

/// Tasks of a simulation.
const TASKS: u64 = 40;
/// How long the client posts, in seconds.
const POSTING_S: u64 = 450;
/// How long things go wrong, in seconds.
const FAULTS_S: u64 = 600;
/// How many processes or brokers die.
const DEATHS: u64 = 24;
/// How long everything may take once nothing goes wrong any more.
const RECOVERY: Duration = Duration::from_secs(3600);

/// What a simulation is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) losses: Losses,
    pub(crate) broken: Option<Broken>,
}

/// What the client asked for and what it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) task_type: &'static str,
    pub(crate) identifier: String,
    pub(crate) endpoints: Vec<String>,
    pub(crate) is_short_lived: bool,
    pub(crate) is_accepted: bool,
    pub(crate) is_cancelled: bool,
    /// Retries that were sent, whether answered or not.
    pub(crate) retries: u32,
}

/// Everything of one simulation.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) office: Arc<Office>,
    pub(crate) runs: Runs,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) workers: Vec<Arc<Worker>>,
    pub(crate) wanted: Arc<Mutex<Vec<Wanted>>>,
    books: Books,
    api: Arc<Mutex<Option<Arc<Api>>>>,
    began: Instant,
}

/// Runs a simulation from its beginning to its verdict.
pub(crate) fn simulate(plan: Plan) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    // In memory, if there is such a folder: what a simulation writes need not survive the machine.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let dir = dir.unwrap();
    runtime.block_on(async {
        tokio::spawn(brake());
        let world = World::begin(plan, dir.path()).await;
        world.suffer().await;
        let recovered_after = world.recover().await;
        let verdict = compare(&world, recovered_after).await;
        world.end().await;
        verdict
    })
}

/// Lets no half second pass in less real time than this: on a busy machine the threads that write the
/// journals get their turn before hours have passed.
async fn brake() {
    const LEAST: Duration = Duration::from_micros(100);
    loop {
        sleep(Duration::from_millis(500)).await;
        let held = tokio::task::spawn_blocking(|| std::thread::sleep(LEAST));
        held.await.unwrap();
    }
}

impl World {
    async fn begin(plan: Plan, dir: &Path) -> Self {
        let url = format!("sqlite://{}", dir.join("ledger.db").display());
        tasker_store::migrate(&url).await.unwrap();
        let (began, start) = (Instant::now(), Utc::now());
        let clock = move || start + TimeDelta::from_std(began.elapsed()).unwrap();
        let long = Duration::from_secs(86_400);
        let options = StoreOptions {
            clock: Clock::Told(Arc::new(clock)),
            pool_wait: long,
            statement_timeout: long,
            ..StoreOptions::default()
        };
        let ports = tasker_store::open(&url, &options).unwrap();
        let store = ports.store;
        let office = Office::new(plan.seed, plan.losses);
        let runs = Runs::new(plan.seed);
        let places = [1, 2, 3].into_iter();
        let places = places.flat_map(|number| [(ONCE, number), (AGAIN, number)]);
        let workers: Vec<_> = places
            .map(|(of, number)| Worker::new(of, format!("e{number}"), dir.into(), &office, &runs))
            .collect();
        let books = Books {
            store: Arc::clone(&store),
            runs: ports.runs,
            broken: plan.broken,
        };
        let api = Api::start(&office, &books);
        workers.iter().for_each(|worker| worker.start());
        Self {
            plan,
            office,
            runs,
            store,
            workers,
            wanted: Arc::default(),
            books,
            api: Arc::new(Mutex::new(Some(api))),
            began,
        }
    }

    /// The time of faults: clients post, and chance kills.
    async fn suffer(&self) {
        let mut clients = JoinSet::new();
        for number in 0..TASKS {
            let draw = Draw(Chance(self.plan.seed).number(Arrow::Client, number));
            let client = client(
                self.began,
                Arc::clone(&self.api),
                Arc::clone(&self.wanted),
                number,
                draw,
            );
            clients.spawn(client);
        }
        let mut returns = JoinSet::new();
        let chance = Chance(self.plan.seed);
        let mut draws: Vec<_> = (0..DEATHS)
            .map(|number| Draw(chance.number(Arrow::Chaos, number)))
            .map(|mut draw| (draw.seconds(FAULTS_S), draw))
            .collect();
        draws.sort_by_key(|(at, _)| *at);
        for (at, draw) in draws {
            sleep_until(self.began + at).await;
            self.strike(draw, &mut returns).await;
        }
        while returns.join_next().await.transpose().unwrap().is_some() {}
        while clients.join_next().await.transpose().unwrap().is_some() {}
        self.office.behave();
    }

    /// Something dies, and comes back later.
    async fn strike(&self, mut draw: Draw, returns: &mut JoinSet<()>) {
        let away = match draw.below(100) {
            0..60 => draw.seconds(10),
            60..85 => draw.seconds(60),
            // Long enough to count as lost.
            _ => Duration::from_secs(380) + draw.seconds(120),
        };
        let short = away.min(Duration::from_secs(60));
        match draw.below(100) {
            0..55 => {
                let place = draw.below(self.workers.len() as u64) as usize;
                let worker = Arc::clone(&self.workers[place]);
                if worker.kill().await {
                    if self.plan.losses == Losses::Journals && draw.percent(50) {
                        worker.wipe();
                    }
                    returns.spawn(async move {
                        sleep(away).await;
                        worker.start();
                    });
                }
            }
            55..75 => {
                let Some(api) = self.api.lock().unwrap().take() else {
                    return;
                };
                api.kill();
                let (place, office) = (Arc::clone(&self.api), Arc::clone(&self.office));
                let books = self.books.clone();
                returns.spawn(async move {
                    sleep(short).await;
                    *place.lock().unwrap() = Some(Api::start(&office, &books));
                });
            }
            75..90 => {
                self.office.set_up(false);
                let office = Arc::clone(&self.office);
                returns.spawn(async move {
                    sleep(short).await;
                    office.set_up(true);
                });
            }
            _ if self.plan.losses == Losses::Broker => self.office.forget(),
            _ => {}
        }
    }

    /// The time without faults: until everything is settled and answered. Tells how long it took;
    /// `None` if it is not.
    async fn recover(&self) -> Option<Duration> {
        let began = Instant::now();
        // What is lost is lost: a broken rule shows soon.
        let patience = if self.plan.broken.is_some() {
            RECOVERY / 6
        } else {
            RECOVERY
        };
        while began.elapsed() < patience {
            if self.is_all_over().await {
                let took = began.elapsed();
                // Whatever is still on its way arrives.
                sleep(Duration::from_secs(150)).await;
                return Some(took);
            }
            sleep(Duration::from_secs(10)).await;
        }
        None
    }

    async fn is_all_over(&self) -> bool {
        for task in self.tasks().await {
            if !task.status.is_settled() {
                return false;
            }
            // What was concluded from silence is not the last word: everybody is back, and asked as long
            // as the task lives.
            let is_alive = self.store.now().await.unwrap() < task.expires_at;
            let rows = self.responses(task.id).await;
            if rows
                .iter()
                .any(|row| row.state.is_open() || (row.presumed && is_alive))
            {
                return false;
            }
        }
        true
    }

    /// All responses of a task.
    pub(crate) async fn responses(&self, task: TaskId) -> Vec<TaskResponse> {
        let all = ResponseFilter {
            limit: 1000,
            ..ResponseFilter::default()
        };
        self.store.responses(task, all).await.unwrap()
    }

    /// All tasks of the ledger.
    pub(crate) async fn tasks(&self) -> Vec<TaskHead> {
        let mut all = Vec::new();
        for name in [ONCE, AGAIN] {
            let filter = TaskFilter {
                scope: ClientScope::own(Client::local()),
                task_type: task_type(name),
                status: None,
                before: None,
                limit: 1000,
            };
            all.extend(self.store.tasks(filter).await.unwrap());
        }
        all
    }

    async fn end(self) {
        for worker in &self.workers {
            worker.kill().await;
        }
        let api = self.api.lock().unwrap().take();
        if let Some(api) = api {
            api.stop().await;
        }
    }
}

/// A client of one task: posts it until it is accepted; cancels or retries some.
async fn client(
    began: Instant,
    api: Arc<Mutex<Option<Arc<Api>>>>,
    all: Arc<Mutex<Vec<Wanted>>>,
    number: u64,
    mut draw: Draw,
) {
    let of = if draw.percent(50) { ONCE } else { AGAIN };
    let bits = 1 + draw.below(7);
    let endpoints = (0..3).filter(|bit| bits & (1 << bit) != 0);
    let endpoints: Vec<String> = endpoints.map(|bit| format!("e{}", bit + 1)).collect();
    let is_short_lived = draw.percent(20);
    let expires_in_s = if is_short_lived {
        60 + draw.below(300)
    } else {
        86_400
    };
    let wanted = Wanted {
        task_type: of,
        identifier: format!("t{number}"),
        endpoints,
        is_short_lived,
        is_accepted: false,
        is_cancelled: false,
        retries: 0,
    };
    let identifier = wanted.identifier.clone();
    let body = format!(
        r#"{{"identifier":"{identifier}","endpoints":{:?},"expires_in_s":{expires_in_s}}}"#,
        wanted.endpoints
    );
    let path = format!("/{of}");
    sleep_until(began + draw.seconds(POSTING_S)).await;
    let place = {
        let mut all = all.lock().unwrap();
        all.push(wanted);
        all.len() - 1
    };
    until_answered(&api, &path, &body).await;
    all.lock().unwrap()[place].is_accepted = true;
    let path = format!("/{of}/{identifier}");
    match draw.below(100) {
        0..15 => {
            sleep(draw.seconds(60)).await;
            let status = until_answered(&api, &format!("{path}/cancel"), "").await;
            all.lock().unwrap()[place].is_cancelled = status < 300;
        }
        15..35 => {
            sleep(draw.seconds(300)).await;
            all.lock().unwrap()[place].retries += 1;
            let body = r#"{"states":["FAILED","INTERRUPTED","EXPIRED"]}"#;
            let now = api.lock().unwrap().clone();
            if let Some(api) = now {
                api.post(&format!("{path}/retry"), body).await;
            }
        }
        _ => {}
    }
}

/// Posts until somebody answers that it is done, or that it is not legal.
async fn until_answered(api: &Mutex<Option<Arc<Api>>>, path: &str, body: &str) -> u16 {
    loop {
        let now = api.lock().unwrap().clone();
        let answer = match now {
            Some(api) => api.post(path, body).await,
            None => None,
        };
        match answer {
            Some(status @ (200..300 | 409)) => return status,
            Some(status @ 400..500) => panic!("{path} {body}: {status}"),
            _ => sleep(Duration::from_secs(1)).await,
        }
    }
}
