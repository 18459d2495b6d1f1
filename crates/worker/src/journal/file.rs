//! The file: opened, locked, read, appended, written anew.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tasker_core::fault::{self, Protection};
use tasker_core::{EndpointName, JournalUid, TaskType};

use super::JournalError;
use super::compact;
use super::frame::{Frame, Span, any_frame_after, read_frame, records};
use super::index::Index;
use super::record::{Head, Record, VERSION};
use super::synced::Synced;

/// A file that has grown by this much, and to twice its size, is written anew.
const GROWTH: u64 = 4 << 20;

/// An open journal. Holds the lock until it is dropped.
#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    file: File,
    /// Up to where the file is good; a failed write may have left more.
    len: u64,
    /// The length after it was last written anew.
    base: u64,
    head: Head,
    synced: Synced,
    _lock: File,
}

/// What was found at the start.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: JournalFile,
    pub(super) index: Index,
}

impl JournalFile {
    pub(super) fn open(
        dir: &Path,
        task_type: &TaskType,
        endpoint: &EndpointName,
    ) -> Result<Opened, JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| JournalError::io(dir, e))?;
        let path = dir.join(format!("{task_type}.{endpoint}.journal"));
        let lock = lock(&path.with_extension("journal.lock"))?;
        let is_there = std::fs::metadata(&path).is_ok_and(|meta| meta.len() > 0);
        if !is_there {
            let head = Head {
                v: VERSION,
                journal: JournalUid::mint(),
                task_type: task_type.clone(),
                endpoint: endpoint.clone(),
            };
            let mut frame = Frame::new();
            frame.push(&Record::Head(head).encode());
            compact::replace(&path, |file| file.write_all_at(&frame.seal(), 0))
                .map_err(|e| JournalError::io(&path, e))?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| JournalError::io(&path, e))?;
        let synced = Synced::beside(&path).map_err(|e| JournalError::io(&path, e))?;
        let (head, mut index, len) = read(&path, &file)?;
        if (&head.task_type, &head.endpoint) != (task_type, endpoint) {
            let owner = format!("{}.{}", head.task_type, head.endpoint);
            return Err(JournalError::Foreign { path, owner });
        }
        if let Some(now) = index.ledger_now() {
            index.prune(now);
        }
        let mut file = Self {
            path,
            file,
            len,
            base: len,
            head,
            synced,
            _lock: lock,
        };
        if is_there {
            // A worker that was killed may have left records that it had not synced. From here on
            // they count, so they must be on the disk.
            file.sync()
        } else {
            file.synced.note(len)
        }
        .map_err(|e| JournalError::io(&file.path, e))?;
        if compact::live_bytes(&index) * 2 + 4096 < len {
            file.compact(&mut index)
                .map_err(|e| JournalError::io(&file.path, e))?;
        }
        Ok(Opened { file, index })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// Writes a frame and syncs it. Returns where it begins.
    pub(super) fn append(&mut self, frame: Frame) -> io::Result<u64> {
        let bytes = frame.seal();
        let at = self.len;
        self.len += bytes.len() as u64;
        let written = self
            .file
            .write_all_at(&bytes, at)
            .and_then(|()| self.sync());
        if let Err(error) = written {
            self.len = at;
            // Whatever part of it reached the file must not stand behind the next frame's place. If
            // this fails too, the next frame overwrites it or the next start cuts it off.
            return Err(self.file.set_len(at).err().unwrap_or(error));
        }
        Ok(at)
    }

    /// Everything up to `len` is on the disk when this returns.
    fn sync(&self) -> io::Result<()> {
        if fault::is_left_out(Protection::JournalFsync) {
            return Ok(());
        }
        self.file.sync_data()?;
        self.synced.note(self.len)
    }

    /// The JSON of a record. An error if it is not what was written.
    pub(super) fn read(&self, span: Span) -> io::Result<Vec<u8>> {
        let mut json = vec![0; span.len as usize];
        self.file.read_exact_at(&mut json, span.offset)?;
        if crc32fast::hash(&json) != span.crc {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a record is damaged",
            ));
        }
        Ok(json)
    }

    /// Whether most of the file is probably of no use any more.
    pub(super) const fn has_grown(&self) -> bool {
        self.len > self.base + GROWTH && self.len > self.base * 2
    }

    /// Writes what is still needed into a new file and puts it in the place of the old one.
    pub(super) fn compact(&mut self, index: &mut Index) -> io::Result<()> {
        // Not again before it has grown again, even if this fails.
        self.base = self.len;
        let mut moved = Vec::new();
        let mut len = 0;
        let file = compact::replace(&self.path, |file| {
            (moved, len) = compact::rewrite(self, index, file)?;
            Ok(())
        })?;
        self.file = file;
        self.len = len;
        self.base = len;
        for (uid, claim, end) in moved {
            index.moved(uid, claim, end);
        }
        self.synced.note(len)
    }

    /// For tests of a disk that refuses to be written.
    #[cfg(test)]
    pub(super) fn swap_handle(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

fn lock(path: &Path) -> Result<File, JournalError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| JournalError::io(path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(JournalError::io(path, e)),
    }
}

/// Reads the whole file; cuts a torn tail off.
fn read(path: &Path, file: &File) -> Result<(Head, Index, u64), JournalError> {
    let io = |e| JournalError::io(path, e);
    let file_len = file.metadata().map_err(io)?.len();
    let corrupt = |offset, what: &str| JournalError::Corrupt {
        path: path.to_owned(),
        offset,
        what: what.to_owned(),
    };
    let mut head = None;
    let mut index = Index::default();
    let mut offset = 0;
    while offset < file_len {
        let Some(body) = read_frame(file, offset, file_len).map_err(io)? else {
            if any_frame_after(file, offset, file_len).map_err(io)? {
                return Err(corrupt(offset, "a damaged frame with good ones behind it"));
            }
            break;
        };
        let found = records(&body, offset).ok_or_else(|| corrupt(offset, "lengths disagree"))?;
        for (span, json) in found {
            let record = serde_json::from_slice(json)
                .map_err(|e| corrupt(span.offset, &format!("an unknown record: {e}")))?;
            match (record, &head) {
                (Record::Head(found), None) if found.v == VERSION => head = Some(found),
                (Record::Head(found), None) => {
                    return Err(corrupt(
                        span.offset,
                        &format!("version {} is unknown", found.v),
                    ));
                }
                (_, None) => return Err(corrupt(span.offset, "no head")),
                (record, Some(_)) => index.apply(record, span),
            }
        }
        offset += (body.len() + super::frame::HEADER) as u64;
    }
    let Some(head) = head else {
        return Err(corrupt(0, "no head"));
    };
    if offset < file_len {
        tracing::warn!(
            journal = %path.display(),
            cut_bytes = file_len - offset,
            "cut the torn end off the journal; the ledger asks again for what it held"
        );
        file.set_len(offset)
            .and_then(|()| file.sync_all())
            .map_err(io)?;
    }
    Ok((head, index, offset))
}
