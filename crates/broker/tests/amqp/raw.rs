//! A client of AMQP 0-9-1 that writes what no library would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tasker_broker::amqp::AmqpSettings;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;

/// An open channel. Its calls block for 10 s at most, and panic when they fail.
pub(crate) struct Raw(TcpStream);

impl Raw {
    /// Connects with the largest frames that the broker allows.
    pub(crate) fn connect(settings: &AmqpSettings) -> Self {
        let socket = TcpStream::connect((settings.host.as_str(), settings.port));
        let mut raw = Self(socket.expect("RabbitMQ"));
        let limit = Some(Duration::from_secs(10));
        raw.0.set_read_timeout(limit).expect("a limit");
        raw.0.write_all(b"AMQP\0\0\x09\x01").expect("a header");
        raw.expect([0, 10, 0, 10]);
        let response = format!("\0{}\0{}", settings.username, settings.password.reveal());
        let start = [
            &long(b"")[..],
            &short(b"PLAIN"),
            &long(response.as_bytes()),
            &short(b"en_US"),
        ];
        raw.method(0, [0, 10, 0, 11], &start);
        let tune = raw.expect([0, 10, 0, 30]);
        raw.method(0, [0, 10, 0, 31], &[&tune]);
        let host = short(settings.virtual_host.as_bytes());
        raw.method(0, [0, 10, 0, 40], &[&host, b"\0\0"]);
        raw.expect([0, 10, 0, 41]);
        raw.method(1, [0, 20, 0, 10], &[b"\0"]);
        raw.expect([0, 20, 0, 11]);
        raw.method(1, [0, 85, 0, 10], &[b"\0"]);
        raw.expect([0, 85, 0, 11]);
        raw
    }

    /// Publishes with these flags and the properties that they stand for, and waits for the
    /// confirm.
    pub(crate) fn publish(&mut self, exchange: &str, key: &[u8], properties: (u16, &[u8])) {
        let body = b"{}";
        let (exchange, key) = (short(exchange.as_bytes()), short(key));
        self.method(1, [0, 60, 0, 40], &[b"\0\0", &exchange, &key, b"\0"]);
        let (flags, properties) = properties;
        let size = (body.len() as u64).to_be_bytes();
        let flags = flags.to_be_bytes();
        self.frame(HEADER, 1, &[&[0, 60, 0, 0], &size, &flags, properties]);
        self.frame(BODY, 1, &[body]);
        self.expect([0, 60, 0, 80]);
    }

    fn method(&mut self, channel: u16, id: [u8; 4], arguments: &[&[u8]]) {
        self.frame(METHOD, channel, &[&id, &arguments.concat()]);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[&[u8]]) {
        let payload = long(&payload.concat());
        let frame = [&[kind][..], &channel.to_be_bytes(), &payload, &[FRAME_END]];
        self.0.write_all(&frame.concat()).expect("a frame");
    }

    /// The arguments of the next method, which must be this one.
    fn expect(&mut self, id: [u8; 4]) -> Vec<u8> {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).expect("a frame");
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut rest = vec![0; size as usize + 1];
        self.0.read_exact(&mut rest).expect("a whole frame");
        let (method, arguments) = rest.split_at(4);
        assert_eq!((head[0], method), (METHOD, &id[..]), "{arguments:?}");
        arguments[..arguments.len() - 1].to_vec()
    }
}

/// A text of up to 255 bytes, with its length.
pub(crate) fn short(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("a short text");
    [&[length], bytes].concat()
}

/// Bytes with a length of four bytes, as of a table.
pub(crate) fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a length");
    [&length.to_be_bytes()[..], bytes].concat()
}
