//! What is done to one direction of a connection.

use std::time::Duration;

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer = 0,
    /// From the server to the client.
    ToClient = 1,
}

/// What is done to one direction. The default: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toxics {
    /// Everything arrives so much later.
    pub latency: Duration,
    /// And up to so much later still, at random; order is kept.
    pub jitter: Duration,
    /// Bytes a second at most.
    pub bandwidth: Option<u64>,
    /// Pieces of so many bytes at most, each written on its own.
    pub slice: Option<usize>,
    /// Nothing arrives any more, and the connection stays open; what was sent meanwhile arrives when
    /// this ends. As a network that drops packets.
    pub is_blackhole: bool,
    /// After so many bytes of a connection it is reset, in both directions.
    pub limit: Option<u64>,
    /// The end of this direction arrives so much later.
    pub slow_close: Duration,
    /// What is sent with these bytes in it arrives, but its answer does not: the connection is reset
    /// when the other direction wants to say something.
    pub swallow_answer_to: Option<&'static [u8]>,
    /// Only every so manieth of them (0 and 1: each).
    pub swallow_every: u64,
}
