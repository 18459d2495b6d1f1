use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;

/// A server that sends back what it gets, and a relay in front of it.
fn echo() -> FaultProxy {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut from = &stream;
                std::io::copy(&mut from, &mut &stream).ok();
            });
        }
    });
    FaultProxy::start(address)
}

fn connect(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a time-out");
    stream
}

fn say(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text)?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[test]
fn it_carries_both_ways_and_counts() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    assert_eq!(say(&mut stream, b"hello").expect("an answer"), b"hello");
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    assert_eq!(proxy.bytes(Direction::ToServer), 5);
    assert_eq!(proxy.bytes(Direction::ToClient), 5);
}

#[test]
fn latency_and_bandwidth_delay_and_slices_lose_nothing() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    let slow = Toxics {
        latency: Duration::from_millis(100),
        jitter: Duration::from_millis(20),
        ..Toxics::default()
    };
    proxy.poison(Direction::ToServer, slow);
    let start = Instant::now();
    say(&mut stream, b"hello").expect("an answer");
    assert!(start.elapsed() >= Duration::from_millis(100));
    let choked = Toxics {
        bandwidth: Some(10_000),
        slice: Some(7),
        ..Toxics::default()
    };
    proxy.poison(Direction::ToServer, choked);
    let text: Vec<u8> = (0..2_000_u32).map(|i| (i % 251) as u8).collect();
    let start = Instant::now();
    assert_eq!(say(&mut stream, &text).expect("an answer"), text);
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[test]
fn a_black_hole_holds_back_and_gives_back() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    say(&mut stream, b"x").expect("an answer");
    let hole = Toxics {
        is_blackhole: true,
        ..Toxics::default()
    };
    proxy.poison(Direction::ToClient, hole);
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a time-out");
    let error = say(&mut stream, b"hello").expect_err("silence");
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    proxy.heal();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a time-out");
    let mut late = [0; 5];
    stream.read_exact(&mut late).expect("what was held back");
    assert_eq!(&late, b"hello");
}

#[test]
fn connections_are_cut_reset_and_refused() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    say(&mut stream, b"x").expect("an answer");
    proxy.cut();
    assert_eq!(stream.read(&mut [0; 8]).expect("the end"), 0);

    let mut stream = connect(&proxy);
    say(&mut stream, b"x").expect("an answer");
    proxy.down();
    let error = stream.read(&mut [0; 8]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut turned_away = connect(&proxy);
    assert!(say(&mut turned_away, b"x").is_err());
    assert_eq!((proxy.ended(), proxy.refused()), (2, 1));
    proxy.heal();
    say(&mut connect(&proxy), b"x").expect("an answer");
}

#[test]
fn a_limit_resets_in_the_middle() {
    let proxy = echo();
    let limited = Toxics {
        limit: Some(10),
        ..Toxics::default()
    };
    proxy.poison(Direction::ToClient, limited);
    let mut stream = connect(&proxy);
    say(&mut stream, b"12345").expect("an answer");
    assert!(say(&mut stream, b"1234567890").is_err());
}

#[test]
fn the_answer_to_a_word_is_swallowed() {
    let proxy = echo();
    let swallowing = Toxics {
        swallow_answer_to: Some(b"COMMIT"),
        swallow_every: 2,
        ..Toxics::default()
    };
    proxy.poison(Direction::ToServer, swallowing);
    let mut stream = connect(&proxy);
    say(&mut stream, b"a COMMIT").expect("the first one is spared");
    say(&mut stream, b"other").expect("an answer");
    let sent = proxy.bytes(Direction::ToServer);
    assert!(say(&mut stream, b"COMMIT").is_err());
    assert_eq!(proxy.bytes(Direction::ToServer), sent + 6, "it did arrive");
}

#[test]
fn whoever_comes_while_the_server_is_away_is_turned_away_and_counted() {
    let nobody = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.local_addr().expect("its address")
    };
    let proxy = FaultProxy::start(nobody);
    let mut stream = connect(&proxy);
    assert!(!matches!(stream.read(&mut [0; 1]), Ok(1..)));
    assert_eq!((proxy.accepted(), proxy.refused()), (0, 1));
}
