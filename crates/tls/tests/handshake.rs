//! Handshakes between our two sides, in memory: who is taken, who is refused, and what is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use tasker_testkit::authority::{Authority, Validity};
use tasker_tls::{Ca, Identity, reason};
use tempfile::TempDir;

/// Who signed the certificate of whom.
struct Scene {
    dir: TempDir,
    ours: Authority,
    ca: Ca,
}

impl Scene {
    fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ours = Authority::new("ours");
        let ca = Ca::read(&ours.write(dir.path(), "ca.crt")).unwrap();
        Self { dir, ours, ca }
    }

    fn identity(&self, by: &Authority, names: &[&str], validity: Validity) -> Identity {
        let (cert, key) = by.issue(names, validity).write(self.dir.path());
        Identity::read(cert, key).unwrap()
    }

    /// What the client finds wrong.
    fn refusal(&self, by: &Authority, names: &[&str], validity: Validity) -> String {
        let identity = self.identity(by, names, validity);
        let error = shake(&self.ca, &identity, "db.example").unwrap_err();
        // As it arrives through a stream.
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        let reason = reason(&error).unwrap();
        assert!(reason.is_lasting(), "{reason}");
        reason.to_string()
    }
}

/// A handshake; the client's error.
fn shake(ca: &Ca, identity: &Identity, host: &str) -> Result<ClientConnection, rustls::Error> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(ca.client_config(), name)?;
    let mut server = ServerConnection::new(Arc::new(identity.server_config()))?;
    while client.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(client)
}

#[test]
fn who_proves_its_name_is_taken() {
    let scene = Scene::set();
    let identity = scene.identity(&scene.ours, &["db.example", "10.0.0.1"], Validity::Now);
    for host in ["db.example", "10.0.0.1"] {
        let client = shake(&scene.ca, &identity, host).unwrap();
        assert_eq!(
            client.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_3)
        );
    }
}

#[test]
fn a_refusal_says_which_of_the_three_it_is() {
    let scene = Scene::set();
    let told = scene.refusal(&Authority::new("theirs"), &["db.example"], Validity::Now);
    assert!(told.starts_with("wrong CA: "), "{told}");
    // The same name with another key: a CA that was made anew.
    let told = scene.refusal(&Authority::new("ours"), &["db.example"], Validity::Now);
    assert!(told.starts_with("wrong CA: "), "{told}");
    let told = scene.refusal(&scene.ours, &["mq.example", "10.0.0.1"], Validity::Now);
    assert_eq!(
        told,
        "wrong name: its certificate is for mq.example, 10.0.0.1, and we asked for db.example"
    );
    let told = scene.refusal(&scene.ours, &[], Validity::Now);
    assert!(told.contains("for no host at all"), "{told}");
    let told = scene.refusal(&scene.ours, &["db.example"], Validity::Over);
    assert!(
        told.starts_with("expired: its certificate ended ") && told.ends_with(" days ago"),
        "{told}"
    );
    let told = scene.refusal(&scene.ours, &["db.example"], Validity::Ahead);
    assert!(told.starts_with("not valid yet: "), "{told}");
}

#[test]
fn a_name_of_an_address_is_not_an_address() {
    let scene = Scene::set();
    let identity = scene.identity(&scene.ours, &["localhost"], Validity::Now);
    let error = shake(&scene.ca, &identity, "127.0.0.1").unwrap_err();
    let told = reason(&error).unwrap().to_string();
    assert!(
        told.contains("for localhost, and we asked for 127.0.0.1"),
        "{told}"
    );
}

#[test]
fn what_is_no_tls_is_told() {
    let scene = Scene::set();
    let name = ServerName::try_from("db.example").unwrap();
    let mut client = ClientConnection::new(scene.ca.client_config(), name).unwrap();
    client
        .read_tls(&mut &b"HTTP/1.1 400 Bad Request\r\n"[..])
        .unwrap();
    let error = client.process_new_packets().unwrap_err();
    let told = reason(&error).unwrap();
    assert_eq!(told.to_string(), "it does not speak TLS at this port");
    assert!(!told.is_lasting());
    let other: &(dyn Error + 'static) = &io::Error::from(io::ErrorKind::ConnectionRefused);
    assert_eq!(reason(other), None);
}

#[test]
fn a_certificate_is_read_again_and_a_bad_one_is_not_taken() {
    let scene = Scene::set();
    let identity = scene.identity(&scene.ours, &["db.example"], Validity::Over);
    assert!(shake(&scene.ca, &identity, "db.example").is_err());
    let fresh = scene.ours.issue(&["db.example"], Validity::Now);
    let (cert, key) = fresh.write(scene.dir.path());
    identity.read_again().unwrap();
    shake(&scene.ca, &identity, "db.example").unwrap();

    std::fs::write(&key, scene.ours.issue(&[], Validity::Now).key).unwrap();
    let told = identity.read_again().unwrap_err().to_string();
    assert_eq!(
        told,
        format!("{} is not the key of {}", key.display(), cert.display())
    );
    shake(&scene.ca, &identity, "db.example").unwrap();
}

#[test]
fn files_that_cannot_be_used_are_told_without_the_key() {
    let scene = Scene::set();
    let pair = scene.ours.issue(&["db.example"], Validity::Now);
    let (cert, key) = pair.write(scene.dir.path());
    let told = |cert: &Path, key: &Path| Identity::read(cert, key).unwrap_err().to_string();
    assert!(
        told(&key, &key)
            .ends_with("holds no certificate: PEM with -----BEGIN CERTIFICATE----- is wanted")
    );
    assert!(told(&cert, Path::new("/nothing")).starts_with("/nothing cannot be read: "));

    let broken = scene.dir.path().join("broken");
    std::fs::write(&broken, &pair.cert).unwrap();
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(told(&cert, &broken).contains("holds no private key"));
    std::fs::write(&broken, pair.key.replace("END PRIVATE", "END")).unwrap();
    let message = told(&cert, &broken);
    let secret = pair.key.lines().nth(1).unwrap();
    assert!(message.contains("holds no private key"), "{message}");
    assert!(!message.contains(secret), "{message}");

    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    assert!(told(&broken, &key).contains("holds as its first certificate what is none"));
    let message = Ca::read(&broken).unwrap_err().to_string();
    assert!(
        message.contains("holds as certificate 1 what is none"),
        "{message}"
    );

    for mode in [0o604, 0o644, 0o602] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let message = told(&cert, &key);
        assert!(
            message.contains("is open to every user"),
            "{mode:o}: {message}"
        );
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    Identity::read(&cert, &key).unwrap();
}
