//! How a batch of records lies in the file: one frame, written and synced as a whole.
//!
//! `magic (4) | length (4, little endian) | CRC-32 of length and body (4) | body`; the body is a
//! sequence of `length (4) | JSON`. A batch is one frame so that a torn write can only ever leave one
//! bad frame, the last one: the next frame is not written before this one is synced.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Starts every frame. 0xF7 cannot occur in UTF-8, so no record contains it.
pub(super) const MAGIC: [u8; 4] = [0xF7, b'T', b'J', b'1'];
/// Magic, length, checksum.
pub(super) const HEADER: usize = 12;
/// The greatest body that is read. Writers stay far below: a record holds one task or one reply.
const MAX_BODY: usize = 64 << 20;
/// How much is searched at once for a frame behind a bad one.
const WINDOW: usize = 1 << 20;

/// Where the JSON of a record lies in the file, and what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(super) offset: u64,
    pub(super) len: u32,
    /// The CRC-32 of the JSON, kept in memory: a record is read again long after its frame was checked.
    pub(super) crc: u32,
}

/// A frame that is being filled.
#[derive(Debug, Default)]
pub(super) struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record; the span is relative to the start of the frame.
    pub(super) fn push(&mut self, json: &[u8]) -> Span {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; HEADER]);
        }
        // Expect safety: a record holds one task (8 MiB) or one reply (256 KiB).
        let len = u32::try_from(json.len()).expect("records are small");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(json);
        let crc = crc32fast::hash(json);
        Span { offset, len, crc }
    }

    /// The bytes to write.
    pub(super) fn seal(mut self) -> Vec<u8> {
        // Expect safety: frames are cut at a few MiB.
        let len = u32::try_from(self.bytes.len() - HEADER).expect("frames are small");
        self.bytes[..4].copy_from_slice(&MAGIC);
        self.bytes[4..8].copy_from_slice(&len.to_le_bytes());
        let crc = checksum(len, &self.bytes[HEADER..]);
        self.bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}

fn checksum(len: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// The body of the frame at `offset`; `None` if there is no whole and unharmed frame.
pub(super) fn read_frame(file: &File, offset: u64, file_len: u64) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; HEADER];
    if file_len.saturating_sub(offset) < HEADER as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut header, offset)?;
    let word = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    let (len, crc) = (word(4), word(8));
    let is_plausible = header[..4] == MAGIC
        && (1..=MAX_BODY).contains(&(len as usize))
        && u64::from(len) <= file_len - offset - HEADER as u64;
    if !is_plausible {
        return Ok(None);
    }
    let mut body = vec![0; len as usize];
    file.read_exact_at(&mut body, offset + HEADER as u64)?;
    Ok((checksum(len, &body) == crc).then_some(body))
}

/// The records of a body with their places; `offset` is that of the frame. `None` if the lengths
/// inside do not add up, which a matching checksum rules out for frames that tasker wrote.
pub(super) fn records(body: &[u8], offset: u64) -> Option<Vec<(Span, &[u8])>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let prefix: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
        let len = u32::from_le_bytes(prefix);
        at += 4;
        let json = body.get(at..at + len as usize)?;
        let span = Span {
            offset: offset + (HEADER + at) as u64,
            len,
            crc: crc32fast::hash(json),
        };
        found.push((span, json));
        at += len as usize;
    }
    Some(found)
}

/// Whether a good frame follows somewhere behind `offset`: then what is bad there is not a torn
/// tail.
pub(super) fn any_frame_after(file: &File, offset: u64, file_len: u64) -> io::Result<bool> {
    let mut window = vec![0; WINDOW];
    let mut start = offset + 1;
    while start < file_len {
        let size = usize::try_from(file_len - start).map_or(WINDOW, |left| left.min(WINDOW));
        file.read_exact_at(&mut window[..size], start)?;
        for (i, four) in window[..size].windows(MAGIC.len()).enumerate() {
            if four == MAGIC && read_frame(file, start + i as u64, file_len)?.is_some() {
                return Ok(true);
            }
        }
        // Windows overlap, so that a magic across their border is seen.
        start += (size.max(MAGIC.len()) - MAGIC.len() + 1) as u64;
    }
    Ok(false)
}
