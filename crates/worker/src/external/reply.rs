//! What a program's end means: its exit code first, then the file that it may have left.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::value::RawValue;
use tasker_core::errnr;
use tasker_core::handler::{HandlerError, Output};
use tasker_core::strict::{self, MAX_PAYLOAD_DEPTH};
use tasker_core::wire::{MAX_ERRMSG_BYTES, MAX_REPLY_BYTES};

/// The greatest exit code that is the program's own; shells use greater ones for their own ends.
const MOST_EXIT: i32 = 125;

/// What a program that fails may say. Both are optional, nothing else is allowed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    #[serde(default)]
    errmsg: Option<String>,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

/// Judges the end of a program that ended by itself. `owner` is the user that it ran as.
pub(super) fn judge(status: ExitStatus, reply: &Path, owner: u32) -> Result<Output, HandlerError> {
    if let Some(signal) = status.signal() {
        let name = Signal::try_from(signal).map_or("", Signal::as_str);
        let errmsg = format!("the program was ended by signal {signal} {name}");
        return Err(HandlerError::new(errnr::KILLED, errmsg.trim_end()));
    }
    let code = status.code().unwrap_or(MOST_EXIT + 1);
    let reply = read(reply, owner);
    if code == 0 {
        let bad = |fault| HandlerError::new(errnr::BAD_REPLY, fault);
        let payload = reply
            .and_then(|bytes| bytes.map(json).transpose())
            .map_err(bad)?;
        return Ok(Output { payload });
    }
    let errnr = if code <= MOST_EXIT {
        code
    } else {
        errnr::GENERAL
    };
    let said = reply.and_then(|bytes| bytes.map(failure).transpose());
    let plain = format!("the program exited with {code}");
    Err(match said {
        Ok(None) => HandlerError::new(errnr, plain),
        Ok(Some(said)) => HandlerError {
            errnr,
            errmsg: said.errmsg.unwrap_or(plain),
            payload: said.payload,
        },
        // The failure stays what it is.
        Err(fault) => HandlerError::new(errnr, format!("{plain} ({fault})")),
    })
}

/// The bytes of the reply; `None` if there is none or it is empty.
fn read(path: &Path, owner: u32) -> Result<Option<Vec<u8>>, String> {
    let failed = |e: io::Error| format!("the reply cannot be read: {e}");
    // A link could make the worker read a file that the program's user may not; a pipe could make it
    // wait.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err("the reply is not a plain file".to_owned());
    }
    // The folder may have been moved, and a link to somebody else's put in its place.
    if about.uid() != owner {
        return Err("the reply is not a file of the program's user".to_owned());
    }
    // A failure's text and the keys around it come on top of the payload.
    let most = MAX_REPLY_BYTES + 2 * MAX_ERRMSG_BYTES;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > most {
        return Err(format!("the reply is longer than {MAX_REPLY_BYTES} bytes"));
    }
    Ok((!bytes.trim_ascii().is_empty()).then_some(bytes))
}

fn json(bytes: Vec<u8>) -> Result<Box<RawValue>, String> {
    let bad = |fault: String| format!("the reply is not JSON as tasker reads it: {fault}");
    strict::check(&bytes, MAX_PAYLOAD_DEPTH).map_err(|e| bad(e.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|e| bad(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| bad(e.to_string()))
}

fn failure(bytes: Vec<u8>) -> Result<Failure, String> {
    let shape = r#"the reply of a failure must be {"errmsg": text, "payload": any}"#;
    strict::check(&bytes, MAX_PAYLOAD_DEPTH + 1).map_err(|e| format!("{shape}: {e}"))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{shape}: {e}"))
}
