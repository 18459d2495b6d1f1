//! The API and its clients. There is no broker: tasks are accepted all the same.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use tasker_testkit::authority::Validity;
use tasker_testkit::installation::Program;

use crate::site::{PATIENCE, Site};

const LIST: &[&str] = &["list", "worker"];

/// A ledger in a file, and an API on it.
fn start(mode: &str) -> (Site, Program, String) {
    let mut site = Site::make();
    let db = format!("sqlite://{}/t.db", site.dir().display());
    site.set("T_DB", db);
    let text = std::fs::read_to_string(site.dir().join("secure.config.yaml")).unwrap();
    let text = text.replace("    tls:\n      ca: ${T_CA}\n", "");
    std::fs::write(site.dir().join("secure.config.yaml"), text).unwrap();
    let (code, told) = site.tasker(mode, &["init", "--database"], &[]);
    assert_eq!(code, 0, "{told}");
    let (api, url) = site.start_api(mode, &[]);
    (site, api, url)
}

#[test]
fn a_client_talks_to_whom_its_ca_knows_and_to_nobody_else() {
    let (site, api, url) = start("secure");
    assert!(url.starts_with("https://"), "{url}");
    let (code, told) = site.client(&url, Some(&site.ca), LIST);
    assert_eq!(code, 0, "{told}");
    let submit = ["submit", "worker", "--endpoints", "console1"];
    let (code, told) = site.client(&url, Some(&site.ca), &submit);
    assert_eq!(code, 0, "{told}");

    let by_address = url.replace("localhost", "127.0.0.1");
    for (url, ca, part) in [
        (&url, Some(&site.other_ca), "wrong CA: "),
        // Those of the system do not know our authority.
        (&url, None, "wrong CA: "),
        (
            &by_address,
            Some(&site.ca),
            "wrong name: its certificate is for localhost, and we asked for 127.0.0.1",
        ),
    ] {
        let started = Instant::now();
        let (code, told) = site.client(url, ca.map(AsRef::as_ref), LIST);
        // A system may have no authorities at all.
        let has_none = ca.is_none() && told.contains("has no certificates of authorities");
        assert!(
            has_none || (code == 69 && told.contains(part)),
            "{code}: {told}"
        );
        assert_eq!(told.trim().lines().count(), 1, "{told}");
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it tried again"
        );
    }
    drop(api);
}

#[test]
fn who_mixes_http_and_https_is_told() {
    let (site, api, url) = start("secure");
    let plain = url.replace("https://", "http://");
    let (code, told) = site.client(&plain, None, LIST);
    assert_eq!(code, 69, "{told}");
    assert!(told.contains("use an https:// URL"), "{told}");
    let (code, told) = site.client(&plain, Some(&site.ca), LIST);
    assert_eq!(code, 64, "{told}");
    assert!(told.contains("is not encrypted"), "{told}");
    drop(api);

    let (api, url) = site.start_api("plain", &[]);
    let secure = url.replace("http://", "https://");
    let (code, told) = site.client(&secure, Some(&site.ca), LIST);
    assert_eq!(code, 69, "{told}");
    assert!(
        told.contains("it does not speak TLS at this port"),
        "{told}"
    );
    let (code, told) = site.client(&url, None, LIST);
    assert_eq!(code, 0, "{told}");
    drop(api);
}

#[test]
fn an_expired_certificate_is_replaced_without_a_restart() {
    let (site, mut api, url) = start("secure");
    site.serve_as(&site.issue(Validity::Over));
    api.signal("HUP");
    api.wait_printed("the certificate was read again", PATIENCE);
    let (code, told) = site.client(&url, Some(&site.ca), LIST);
    assert!(
        code == 69 && told.contains("expired: its certificate ended "),
        "{told}"
    );

    // A slip while it is replaced leaves the API as it is.
    std::fs::write(site.dir().join("api/server.key"), "oops").unwrap();
    api.signal("HUP");
    api.wait_printed("the old certificate stays in use", PATIENCE);
    assert!(api.printed().contains("holds no private key"));
    let (_, told) = site.client(&url, Some(&site.ca), LIST);
    assert!(told.contains("expired: "), "{told}");

    site.serve_as(&site.issue(Validity::Now));
    api.signal("HUP");
    let again = || api.printed().matches("was read again").count() == 2;
    let start = Instant::now();
    while !again() {
        assert!(start.elapsed() < PATIENCE, "{}", api.printed());
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, told) = site.client(&url, Some(&site.ca), LIST);
    assert_eq!(code, 0, "{told}");
}

#[test]
fn certificates_that_cannot_be_used_are_refused_before_anything_starts() {
    let (site, api, _) = start("secure");
    drop(api);
    let refused = |part: &str| {
        let (code, told) = site.tasker("secure", &["api"], &[]);
        assert_eq!(code, 64, "{told}");
        assert!(told.contains(part), "{told}");
    };
    let key = site.dir().join("api/server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused("server.key is open to every user of this machine");
    site.serve_as(&site.issue(Validity::Now));
    std::fs::write(&key, site.issue(Validity::Now).key).unwrap();
    refused("server.key is not the key of ");
    std::fs::remove_file(&key).unwrap();
    refused("api.tls: ");
    // Bound to others without TLS.
    let file = site.dir().join("plain.config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("  port: 0", "  port: 0\n  bind: 0.0.0.0");
    std::fs::write(&file, text).unwrap();
    let (code, told) = site.tasker("plain", &["api"], &[]);
    assert_eq!(code, 64, "{told}");
    assert!(
        told.contains("set api.tls, or api.behind_tls_proxy: true"),
        "{told}"
    );
}

#[test]
fn who_connects_and_says_nothing_is_not_kept() {
    let (_site, _api, url) = start("secure");
    let address = url.strip_prefix("https://").unwrap();
    let mut silent = TcpStream::connect(address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let started = Instant::now();
    // Closed, or reset: not kept open.
    let read = silent.read(&mut [0; 16]);
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
    // What is not TLS is turned away at once.
    let mut plain = TcpStream::connect(address).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[test]
fn every_file_of_the_configuration_is_looked_at_before_anything_starts() {
    let mut site = Site::make();
    site.set("T_DB", "mysql://u@db/t");
    site.set("T_MANAGEMENT", "https://mq");
    let (code, told) = site.tasker("secure", &["check-config"], &[]);
    assert_eq!(code, 0, "{told}");
    for (file, fault) in [
        ("/nothing", "ca: /nothing cannot be read: "),
        ("/dev/null", "ca: /dev/null holds no certificate"),
    ] {
        for command in ["check-config", "api", "init"] {
            let (code, told) = site.tasker("secure", &[command], &[("T_CA", file)]);
            assert!(
                code == 64 && told.contains(fault),
                "{command}: {code}: {told}"
            );
        }
    }
    // A worker has a broker only.
    let mut worker = site.start_worker("secure", &[("T_CA", "/nothing".to_owned())]);
    assert_eq!(worker.wait(PATIENCE), Some(64));
    let told = worker.printed();
    assert!(
        told.contains("manager.message_queue.tls.ca: /nothing"),
        "{told}"
    );
    let name = ("T_DB", "mysql://u@db/t?verify_ca=false");
    let (code, told) = site.tasker("secure", &["init", "--database"], &[name]);
    assert!(
        code == 64 && told.contains("without options about TLS"),
        "{code}: {told}"
    );
}
