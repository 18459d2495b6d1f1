//! Writing a journal anew: only what is still needed, in the order of the claims.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use tasker_core::TaskUid;
use tasker_core::wire::Had;

use super::file::JournalFile;
use super::frame::{Frame, HEADER, Span};
use super::index::{Index, Known, Phase};
use super::record::{End, HadBefore, Record, Released, Start, Tombstone, unix_ms};

/// How many bytes of records go into one frame.
const FRAME_BYTES: usize = 1 << 20;

/// A task and where its claim and its end went.
pub(super) type Moved = (TaskUid, Option<Span>, Option<Span>);

/// Makes a new file beside `path`, has it filled, and puts it in its place, durably.
pub(super) fn replace(path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<File> {
    let temporary = path.with_extension("journal.new");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    fill(&file)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    // From here on the new file is the journal, so this is no reason to go on with the old one.
    let dir = path.parent().unwrap_or(Path::new("."));
    if let Err(error) = File::open(dir).and_then(|dir| dir.sync_all()) {
        tracing::error!(folder = %dir.display(), %error, "the journal's folder cannot be synced");
    }
    Ok(file)
}

/// About how long the file would be if it were written anew.
pub(super) fn live_bytes(index: &Index) -> u64 {
    let tasks = index.in_order();
    tasks
        .iter()
        .map(|(_, known)| {
            let spans = [known.claim.filter(|_| known.is_open()), known.end];
            256 + spans
                .iter()
                .flatten()
                .map(|span| u64::from(span.len))
                .sum::<u64>()
        })
        .sum()
}

/// Writes what `index` knows into `file`. Returns where claims and ends went, and the length.
pub(super) fn rewrite(
    old: &JournalFile,
    index: &Index,
    file: &File,
) -> io::Result<(Vec<Moved>, u64)> {
    let mut out = Rewriter {
        file,
        frame: Frame::new(),
        len: 0,
    };
    out.add(&Record::Head(old.head().clone()).encode())?;
    if let Some(now) = index.ledger_now() {
        out.add(&Record::Welcomed { now }.encode())?;
    }
    let mut moved = Vec::new();
    for (uid, known) in index.in_order() {
        let (claim, end) = match known.phase {
            Phase::Claimed | Phase::Started => match known.claim {
                Some(span) => (Some(out.add(&old.read(span)?)?), None),
                None => (None, None),
            },
            Phase::Ended(state) => {
                let json = match known.end.map(|span| old.read(span)) {
                    Some(Ok(json)) => json,
                    // Its loss must not keep all others in a damaged file.
                    damaged => {
                        if let Some(Err(error)) = damaged {
                            tell_unreadable(old.path(), uid, &error);
                        }
                        Record::End(End::unreadable(uid, known, state)).encode()
                    }
                };
                (None, Some(out.add(&json)?))
            }
            Phase::Had | Phase::Tombstone => (None, None),
        };
        moved.push((uid, claim, end));
        for record in rest(uid, known) {
            out.add(&record.encode())?;
        }
    }
    out.flush()?;
    Ok((moved, out.len))
}

/// Says that the answer of a task is lost.
pub(super) fn tell_unreadable(journal: &Path, uid: TaskUid, error: &dyn std::fmt::Display) {
    tracing::error!(
        journal = %journal.display(),
        "task.uid" = %uid,
        %error,
        "the answer of a task cannot be read back from the journal; its state is reported without it"
    );
}

/// What has to be said of a task besides its claim or end.
fn rest(uid: TaskUid, known: &Known) -> Vec<Record> {
    let age = i64::try_from(known.since.elapsed().as_millis()).unwrap_or(0);
    let at = unix_ms() - age;
    let &Known {
        attempt,
        run,
        cut_off,
        expires_at,
        ..
    } = known;
    let mut records = Vec::new();
    match known.phase {
        Phase::Claimed if run > 0 => {
            records.push(Record::Released(Released {
                uid,
                attempt,
                run,
                cut_off,
            }));
        }
        Phase::Started => records.push(Record::Start(Start {
            uid,
            attempt,
            run,
            cut_off,
            at,
        })),
        Phase::Ended(_) if known.is_reported => {
            records.push(Record::Reported { uid, attempt });
        }
        Phase::Had => records.push(Record::Had(HadBefore {
            had: vec![Had { uid, attempt }],
            until: expires_at,
        })),
        _ => {}
    }
    if known.is_cancelled {
        records.push(Record::Tombstone(Tombstone {
            uid,
            expires_at,
            at,
        }));
    }
    records
}

struct Rewriter<'a> {
    file: &'a File,
    frame: Frame,
    len: u64,
}

impl Rewriter<'_> {
    fn add(&mut self, json: &[u8]) -> io::Result<Span> {
        let span = self.frame.push(json);
        let span = Span {
            offset: self.len + span.offset,
            ..span
        };
        if self.frame.len() >= FRAME_BYTES + HEADER {
            self.flush()?;
        }
        Ok(span)
    }

    fn flush(&mut self) -> io::Result<()> {
        let frame = std::mem::take(&mut self.frame);
        if !frame.is_empty() {
            let bytes = frame.seal();
            self.file.write_all_at(&bytes, self.len)?;
            self.len += bytes.len() as u64;
        }
        Ok(())
    }
}
