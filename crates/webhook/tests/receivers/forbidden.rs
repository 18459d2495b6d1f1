//! Whom the sender does not call, whatever the list or the name says.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tasker_core::notice::Messenger;
use tasker_webhook::Sender;

use crate::receiver::{OneName, Receiver, errand, sender, settings};

const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[tokio::test]
async fn what_is_not_listed_any_more_is_not_called() {
    let receiver = Receiver::that_says(OK).await;
    let url = format!("{}/", receiver.origin());
    for allowed in [&[][..], &["hooks.test"], &["http://127.0.0.1:1"]] {
        let answer = sender(allowed).tell(&errand(&url)).await;
        assert_eq!(
            answer.error.as_deref(),
            Some("the URL is not allowed (any more)")
        );
    }
    assert_eq!(receiver.connections(), 0);
}

/// A listed name that leads into the own network: by mistake, by a changed record, or by one that answers
/// differently each time it is asked.
#[tokio::test]
async fn a_name_that_leads_inside_is_not_called() {
    let receiver = Receiver::that_says(OK).await;
    let entry = format!("hooks.test:{}", receiver.address.port());
    let public: IpAddr = "93.184.216.34".parse().unwrap();
    for inside in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "::1",
        "::ffff:127.0.0.1",
        "fd00:ec2::254",
        "64:ff9b::7f00:1",
    ] {
        let inside: IpAddr = inside.parse().unwrap();
        for addresses in [vec![inside], vec![public, inside], vec![inside, public]] {
            let resolver = Arc::new(OneName {
                addresses,
                ..OneName::default()
            });
            let sender = Sender::with_resolver(settings(&[&entry]), resolver.clone()).unwrap();
            let answer = sender.tell(&errand(&format!("https://{entry}/"))).await;
            let expected = "the name leads to an address that is not public";
            assert_eq!(answer.error.as_deref(), Some(expected), "{inside}");
            assert_eq!(
                resolver.asked.load(Ordering::SeqCst),
                1,
                "what is checked is what is called"
            );
        }
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_name_without_addresses_is_told() {
    let resolver = Arc::new(OneName::default());
    let allowed = settings(&["hooks.test", "nowhere.test"]);
    let sender = Sender::with_resolver(allowed, resolver).unwrap();
    for (url, expected) in [
        (
            "https://hooks.test/",
            "the name could not be resolved: it has no address",
        ),
        (
            "https://nowhere.test/",
            "the name could not be resolved: entity not found",
        ),
    ] {
        let answer = sender.tell(&errand(url)).await;
        assert_eq!(answer.error.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn nobody_at_the_port_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let answer = sender(&[&origin]).tell(&errand(&origin)).await;
    assert_eq!(
        answer.error.as_deref(),
        Some("no connection: connection refused")
    );
}
