//! What stands between RabbitMQ and lapin: it takes out of the byte stream what other clients can
//! put there and lapin cannot bear (see [`super::header`] and [`super::deliver`]).
//!
//! It knows of AMQP 0-9-1 that a frame is a type, a channel, a size, a payload of that size and an
//! end byte. Frames with the properties of a message are rewritten, those that announce one are looked
//! at; all others pass as they come, in pieces, but for the end of bodies that are too long (see [`super::clip`]). Tables in methods pass too: RabbitMQ sends one to its clients, in `connection.start`,
//! which is its own, and we trust the broker itself.

use std::io;

use bytes::{Buf, BytesMut};

use super::clip::Clip;
use super::deliver;
use super::header::Header;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// How a server that speaks TLS begins to refuse what does not.
const TLS_ALERT: u8 = 21;
const FRAME_END: u8 = 0xCE;
/// Type, channel, size of the payload.
const HEAD_BYTES: usize = 7;

/// Not AMQP 0-9-1. RabbitMQ never sends it: it checks what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the broker answers in TLS at this port: set manager.message_queue.tls")]
    Tls,
    #[error("the broker sent a frame of the unknown type {0}")]
    Type(u8),
    #[error("the broker sent a frame that ends in byte {0}, not {FRAME_END}")]
    End(u8),
    #[error("the broker sent a message whose properties do not fit into their frame")]
    Short,
    #[error("the broker sent a message with more than its properties in their frame")]
    Long,
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

/// How far one call of [`Guard::filter`] came.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes of the input that are dealt with.
    pub(super) read: usize,
    /// Bytes of the output that were filled.
    pub(super) written: usize,
}

#[derive(Debug)]
enum State {
    /// Between frames, or in the first bytes of one.
    Head,
    /// So much of a payload that passes, before so much that does not.
    Payload(usize, usize),
    /// So much of a payload that does not pass, in a frame that does.
    Cut(usize),
    /// So much of a payload, with its end, of which nothing passes.
    Dropped(usize),
    /// In a method that is collected behind its head.
    Method,
    /// Before the end of a frame that passes.
    End,
    /// In a frame that is rewritten, on this channel.
    Header(u16, Header),
}

/// The filter of one connection, for what comes from the broker.
#[derive(Debug)]
pub(super) struct Guard {
    state: State,
    /// The first bytes of a frame, up to its payload or, of a short method, with it.
    head: BytesMut,
    /// How many of them there must be.
    wanted: usize,
    /// What must leave before anything else.
    leaving: BytesMut,
    clip: Clip,
    broken: Option<Malformed>,
}

impl Guard {
    /// Bodies longer than `longest` bytes are cut to that length.
    pub(super) fn new(longest: u64) -> Self {
        Self {
            clip: Clip::new(longest),
            state: State::Head,
            head: BytesMut::with_capacity(HEAD_BYTES),
            wanted: HEAD_BYTES,
            leaving: BytesMut::new(),
            broken: None,
        }
    }

    /// Passes on what it can, until the input or the room in the output is used up. What was before
    /// an error is passed on first; after it there is nothing but the error.
    pub(super) fn filter(
        &mut self,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<Progress, Malformed> {
        if let Some(malformed) = self.broken {
            return Err(malformed);
        }
        let mut progress = Progress::default();
        loop {
            let room = &mut output[progress.written..];
            let length = room.len().min(self.leaving.len());
            self.leaving.copy_to_slice(&mut room[..length]);
            progress.written += length;
            let (input, room) = (&input[progress.read..], &mut room[length..]);
            if input.is_empty() || room.is_empty() {
                return Ok(progress);
            }
            match self.step(input, room) {
                Ok(step) => {
                    progress.read += step.read;
                    progress.written += step.written;
                }
                Err(malformed) => {
                    self.broken = Some(malformed);
                    let nothing = progress.written == 0;
                    return if nothing {
                        Err(malformed)
                    } else {
                        Ok(progress)
                    };
                }
            }
        }
    }

    /// Deals with one part of a frame. There is some input, some room, and nothing leaving.
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Progress, Malformed> {
        let (mut read, mut written) = (1, 0);
        match &mut self.state {
            State::Head => {
                read = self.collect(input);
                self.begin()?;
            }
            State::Method => {
                read = self.collect(input);
                if self.head.len() == self.wanted {
                    deliver::clean(&mut self.head[HEAD_BYTES..]);
                    self.pass_head(State::End);
                }
            }
            State::Payload(left, cut) => {
                read = (*left).min(input.len()).min(room.len());
                room[..read].copy_from_slice(&input[..read]);
                written = read;
                *left -= read;
                if *left == 0 {
                    self.state = match *cut {
                        0 => State::End,
                        cut => State::Cut(cut),
                    };
                }
            }
            State::Cut(left) => {
                read = (*left).min(input.len());
                *left -= read;
                if *left == 0 {
                    self.state = State::End;
                }
            }
            State::Dropped(0) => {
                check_end(input[0])?;
                self.state = State::Head;
            }
            State::Dropped(left) => {
                read = (*left).min(input.len());
                *left -= read;
            }
            State::End => self.end(input[0])?,
            State::Header(channel, header) => match header.finished() {
                None => read = header.feed(input)?,
                Some(payload) => {
                    self.clip.announced(*channel, payload);
                    self.leaving.extend_from_slice(&[HEADER]);
                    self.leaving.extend_from_slice(&channel.to_be_bytes());
                    let size = payload.len() as u32;
                    self.leaving.extend_from_slice(&size.to_be_bytes());
                    self.leaving.extend_from_slice(payload);
                    self.end(input[0])?;
                }
            },
        }
        Ok(Progress { read, written })
    }

    /// Looks at the head of a frame, as far as it is there.
    fn begin(&mut self) -> Result<(), Malformed> {
        // The type is looked at first: what is no frame may be shorter than one.
        if let Some(kind) = self.head.first()
            && ![METHOD, HEADER, BODY, HEARTBEAT].contains(kind)
        {
            return Err(match *kind {
                TLS_ALERT => Malformed::Tls,
                kind => Malformed::Type(kind),
            });
        }
        if self.head.len() < HEAD_BYTES {
            return Ok(());
        }
        let mut head = &self.head[..];
        let (kind, channel, size) = (head.get_u8(), head.get_u16(), head.get_u32());
        match (kind, size as usize) {
            (HEADER, _) => {
                self.state = State::Header(channel, Header::new(size)?);
                self.head.clear();
            }
            (BODY, size) => match self.clip.passing(channel, size) {
                Some(passing) => {
                    self.head[3..HEAD_BYTES].copy_from_slice(&(passing as u32).to_be_bytes());
                    self.pass_payload(passing, size - passing);
                }
                None => {
                    self.head.clear();
                    self.state = State::Dropped(size);
                }
            },
            (METHOD, size @ ..=deliver::LONGEST_BYTES) => {
                self.wanted += size;
                self.state = State::Method;
            }
            (_, size) => self.pass_payload(size, 0),
        }
        Ok(())
    }

    fn collect(&mut self, input: &[u8]) -> usize {
        let read = (self.wanted - self.head.len()).min(input.len());
        self.head.extend_from_slice(&input[..read]);
        read
    }

    fn pass_payload(&mut self, size: usize, cut: usize) {
        self.pass_head(match size {
            0 => State::End,
            size => State::Payload(size, cut),
        });
    }

    fn pass_head(&mut self, then: State) {
        self.leaving.extend_from_slice(&self.head);
        self.head.clear();
        self.wanted = HEAD_BYTES;
        self.state = then;
    }

    fn end(&mut self, byte: u8) -> Result<(), Malformed> {
        check_end(byte)?;
        self.leaving.extend_from_slice(&[FRAME_END]);
        self.state = State::Head;
        Ok(())
    }
}

fn check_end(byte: u8) -> Result<(), Malformed> {
    match byte {
        FRAME_END => Ok(()),
        byte => Err(Malformed::End(byte)),
    }
}

#[cfg(test)]
mod tests;
