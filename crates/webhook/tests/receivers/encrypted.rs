//! Receivers by https: whose certificates are believed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tasker_core::notice::{Answer, Messenger};
use tasker_webhook::{CaError, Sender, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::receiver::{errand, settings};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for a name or address, and its key.
fn certificate(issuer: &Issuer, name: &str, is_expired: bool) -> (Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if is_expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, issuer).unwrap();
    (signed, key)
}

/// A receiver that answers 200 to whoever trusts it.
async fn receiver((certificate, key): (Certificate, KeyPair)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let Ok(mut connection) = acceptor.accept(connection).await else {
                continue;
            };
            let mut request = [0; 4096];
            let _count = connection.read(&mut request).await.unwrap();
            connection
                .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
                .await
                .unwrap();
            connection.shutdown().await.unwrap();
        }
    });
    address
}

fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("ca.pem");
    std::fs::write(&path, text).unwrap();
    path
}

async fn ask(address: SocketAddr, believed: &Issuer) -> Answer {
    let dir = std::env::temp_dir().join(uuid::Uuid::now_v7().to_string());
    std::fs::create_dir(&dir).unwrap();
    let origin = format!("https://{address}");
    let sender = Sender::new(Settings {
        ca: Some(file(&dir, &believed.pem())),
        ..settings(&[&origin])
    });
    std::fs::remove_dir_all(&dir).unwrap();
    sender.unwrap().tell(&errand(&origin)).await
}

#[tokio::test]
async fn a_receiver_of_the_configured_authority_is_believed() {
    let authority = authority();
    let address = receiver(certificate(&authority, "127.0.0.1", false)).await;
    let answer = ask(address, &authority).await;
    assert_eq!((answer.status, answer.error), (Some(200), None));
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let (authority, other) = (authority(), authority());
    for (shown, believed) in [
        (certificate(&authority, "127.0.0.1", false), &other),
        (certificate(&authority, "hooks.test", false), &authority),
        (certificate(&authority, "127.0.0.2", false), &authority),
        (certificate(&authority, "127.0.0.1", true), &authority),
    ] {
        let answer = ask(receiver(shown).await, believed).await;
        assert_eq!(answer.status, None);
        let error = answer.error.unwrap();
        assert!(error.starts_with("no trust: "), "{error}");
    }
}

#[test]
fn without_an_authority_there_is_no_sender() {
    let dir = std::env::temp_dir().join(uuid::Uuid::now_v7().to_string());
    std::fs::create_dir(&dir).unwrap();
    let with = |ca: PathBuf| {
        Sender::new(Settings {
            ca: Some(ca),
            ..settings(&[])
        })
        .unwrap_err()
    };
    let missing = with(dir.join("missing.pem"));
    assert!(matches!(missing, CaError::Unreadable(..)), "{missing}");
    let empty = with(file(&dir, "nothing\n"));
    assert!(matches!(empty, CaError::Empty(_)), "{empty}");
    std::fs::remove_dir_all(&dir).unwrap();
}
