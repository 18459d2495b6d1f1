//! The links to MariaDB and RabbitMQ, both with TLS and to nobody without a certificate of ours.

use tasker_testkit::authority::Validity;
use tasker_testkit::installation::{Program, credentials, host_and_port};
use tasker_testkit::private_server::{Kind, PrivateServer};
use tasker_testkit::services;

use crate::site::{PATIENCE, Site};

/// Both servers, for `localhost` only.
struct Scene {
    database: PrivateServer,
    broker: PrivateServer,
    // Last: the servers end by what stands in its folder.
    site: Site,
}

impl Scene {
    fn set() -> Self {
        let mut site = Site::make();
        let dirs = ["my", "mq"].map(|name| site.dir().join(name));
        for dir in &dirs {
            site.issue(Validity::Now).write(&dir.join("tls"));
        }
        let [my, mq] = dirs;
        // RabbitMQ takes the longer of the two.
        let starting = std::thread::spawn(|| PrivateServer::start(Kind::RabbitMq, mq));
        let database = PrivateServer::start(Kind::MariaDb, my);
        let broker = starting.join().unwrap();
        site.set("T_DB", by_name(&format!("{}/tls", database.url())));
        let (_, port) = host_and_port(&broker.tls_url());
        site.set("T_MQ_PORT", port);
        let (management, ..) = credentials(&broker.management_tls_url());
        site.set("T_MANAGEMENT", by_name(&management));
        Self {
            database,
            broker,
            site,
        }
    }

    /// What `tasker init` of one server says, which must fail because the server is not to be had.
    fn init_fails(&self, mode: &str, what: &str, env: &[(&str, &str)]) -> String {
        let (code, told) = self.site.tasker(mode, &["init", what], env);
        assert_eq!(code, 69, "{told}");
        told
    }

    /// What a worker warns of that cannot have the broker: once, and it goes on trying.
    fn worker_warns(&self, mode: &str, env: &[(&str, &str)], part: &str) -> Program {
        let env: Vec<_> = env.iter().map(|&(k, v)| (k, v.to_owned())).collect();
        let mut worker = self.site.start_worker(mode, &env);
        worker.wait_printed(part, PATIENCE);
        worker
    }

    /// What the servers show to new connections from now on.
    fn serve_as(&self, validity: Validity) {
        for (name, server) in [("my", &self.database), ("mq", &self.broker)] {
            let pair = self.site.issue(validity);
            pair.write(&self.site.dir().join(name).join("tls"));
            if name == "my" {
                server.kill();
                server.restart();
            } else {
                // It reads the files again when it has forgotten what was in them.
                server.rabbitmqctl(&["eval", "ssl:clear_pem_cache()."]);
            }
        }
    }
}

fn by_name(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

/// The warnings and errors of a program's log.
fn complaints(program: &Program) -> Vec<String> {
    let log = program.printed();
    let loud = |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
    log.lines().filter(loud).map(str::to_owned).collect()
}

/// One scene for all, in turn: two servers take some seconds to start.
#[test]
fn every_link_is_encrypted_and_checked() {
    let scene = Scene::set();
    a_task_goes_all_the_way(&scene);
    the_database_must_be_the_one(&scene);
    the_broker_must_be_the_one(&scene);
    the_management_api_must_be_the_one(&scene);
    what_expired_comes_back_by_itself(&scene);
}

fn a_task_goes_all_the_way(scene: &Scene) {
    let site = &scene.site;
    let (code, told) = site.tasker("secure", &["init"], &[]);
    assert_eq!(code, 0, "{told}");
    let (mut api, url) = site.start_api("secure", &[]);
    let mut worker = site.start_worker("secure", &[]);
    let submit = [
        "submit",
        "worker",
        "--endpoints",
        "console1",
        "--wait",
        "60",
    ];
    let (code, told) = site.client(&url, Some(&site.ca), &submit);
    assert_eq!(code, 0, "{told}\n{}\n{}", api.printed(), worker.printed());
    // MariaDB takes nobody without TLS, see below; of RabbitMQ's connections it is to be seen.
    let connections = scene
        .broker
        .rabbitmqctl(&["list_connections", "ssl", "ssl_protocol"]);
    let encrypted = |line: &str| line.starts_with("true\ttlsv1.3");
    let lines: Vec<_> = connections
        .lines()
        .filter(|l| !l.contains("ssl_protocol"))
        .collect();
    assert!(
        lines.len() >= 4 && lines.iter().all(|l| encrypted(l)),
        "{connections}"
    );
    assert_eq!(worker.stop(PATIENCE), Some(0), "{}", worker.printed());
    assert_eq!(api.stop(PATIENCE), Some(0), "{}", api.printed());
    for program in [&api, &worker] {
        assert_eq!(complaints(program), [""; 0]);
    }
}

fn the_database_must_be_the_one(scene: &Scene) {
    let site = &scene.site;
    let other_ca = site.other_ca.to_str().unwrap();
    let by_address = format!("{}/tls", scene.database.url());
    let plain = format!("{}/tls", services::mysql_url());
    for (mode, env, part) in [
        (
            "secure",
            ("T_CA", other_ca),
            "TLS with localhost: wrong CA: ",
        ),
        (
            "secure",
            ("T_DB", &*by_address),
            "TLS with 127.0.0.1: wrong name: its certificate is for localhost",
        ),
        (
            "secure",
            ("T_DB", &*plain),
            "it offers none, and manager.db.tls asks for it",
        ),
        (
            "plain",
            ("", ""),
            "lets nobody in without TLS, see manager.db.tls",
        ),
    ] {
        let env = if env.0.is_empty() { vec![] } else { vec![env] };
        let told = scene.init_fails(mode, "--database", &env);
        assert!(told.contains(part), "{told}");
        assert_eq!(told.trim().lines().count(), 1, "{told}");
    }
    // An API goes on without its database, and says once why.
    let text = std::fs::read_to_string(site.dir().join("secure.config.yaml")).unwrap();
    let text = text.replacen("      ca: ${T_CA}", "      ca: ${T_DB_CA}", 1);
    std::fs::write(site.dir().join("other-db.config.yaml"), text).unwrap();
    let env = [("T_DB_CA", other_ca.to_owned())];
    let (mut api, _) = site.start_api("other-db", &env);
    api.wait_printed("the ledger does not answer", PATIENCE);
    api.signal("TERM");
    api.wait(PATIENCE);
    let complaints = complaints(&api);
    let about = complaints.iter().filter(|line| line.contains("wrong CA: "));
    assert_eq!(about.count(), complaints.len(), "{complaints:#?}");
    assert!((1..=2).contains(&complaints.len()), "{complaints:#?}");
}

fn the_broker_must_be_the_one(scene: &Scene) {
    let other_ca = scene.site.other_ca.to_str().unwrap();
    let (_, plain_port) = host_and_port(&scene.broker.url());
    for (mode, env, part) in [
        (
            "secure",
            ("T_CA", other_ca),
            "TLS with localhost: wrong CA: ",
        ),
        (
            "secure",
            ("T_MQ_HOST", "127.0.0.1"),
            "TLS with 127.0.0.1: wrong name: its certificate is for localhost",
        ),
        (
            "secure",
            ("T_MQ_PORT", &*plain_port),
            "TLS with localhost: it does not speak TLS at this port",
        ),
        (
            "plain",
            ("T_MQ_HOST", "localhost"),
            "set manager.message_queue.tls",
        ),
    ] {
        let worker = scene.worker_warns(mode, &[env], part);
        // One line for what comes in, and one for what goes out.
        let complaints = complaints(&worker);
        assert!((1..=2).contains(&complaints.len()), "{complaints:#?}");
        assert!(
            complaints.iter().all(|line| line.contains(part)),
            "{complaints:#?}"
        );
    }
}

fn the_management_api_must_be_the_one(scene: &Scene) {
    let other_ca = scene.site.other_ca.to_str().unwrap();
    let (by_address, ..) = credentials(&scene.broker.management_tls_url());
    let (plain, ..) = credentials(&scene.broker.management_url());
    let not_tls = plain.replace("http://", "https://");
    let not_plain = by_address.replace("https://", "http://");
    for (mode, env, part) in [
        ("secure", ("T_CA", other_ca), "wrong CA: "),
        (
            "secure",
            ("T_MANAGEMENT", &*by_address),
            "wrong name: its certificate is for localhost",
        ),
        (
            "secure",
            ("T_MANAGEMENT", &*not_tls),
            "it does not speak TLS at this port",
        ),
        (
            "plain",
            ("T_MANAGEMENT", &*not_plain),
            "use an https:// URL",
        ),
    ] {
        let told = scene.init_fails(mode, "--rabbitmq", &[env]);
        assert!(told.contains(part), "{told}");
        assert_eq!(told.trim().lines().count(), 1, "{told}");
    }
}

fn what_expired_comes_back_by_itself(scene: &Scene) {
    let site = &scene.site;
    scene.serve_as(Validity::Over);
    let expired = "expired: its certificate ended ";
    for what in ["--database", "--rabbitmq"] {
        let told = scene.init_fails("secure", what, &[]);
        assert!(told.contains(expired), "{told}");
    }
    let mut worker = scene.worker_warns("secure", &[], expired);
    let (mut api, url) = site.start_api("secure", &[]);
    // One line for the database, one for the broker.
    for _ in 0..2 {
        api.wait_printed(expired, PATIENCE);
    }
    scene.serve_as(Validity::Now);
    let submit = [
        "submit",
        "worker",
        "--endpoints",
        "console1",
        "--wait",
        "60",
    ];
    let (code, told) = site.client(&url, Some(&site.ca), &submit);
    assert_eq!(code, 0, "{told}\n{}\n{}", api.printed(), worker.printed());
    assert_eq!(worker.stop(PATIENCE), Some(0), "{}", worker.printed());
    api.stop(PATIENCE);
}
