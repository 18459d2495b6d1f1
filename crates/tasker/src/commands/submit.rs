//! `tasker submit`: hands a task to endpoints.

use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;
use tasker_core::{EndpointName, Identifier};

use super::show::show;
use super::view::Task;
use crate::cli::SubmitArgs;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::terminal::{self, harmless};

/// A payload or list beyond this is refused by every API anyway.
const MAX_INPUT_BYTES: u64 = 64 << 20;

#[derive(Serialize)]
struct Body<'a> {
    identifier: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<Vec<EndpointName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<&'a str>,
}

/// Submits a task. The same identifier is used when the request is repeated, so that it is never
/// accepted twice.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &SubmitArgs) -> Result<Exit, Failure> {
    let client = Client::of(&args.api)?;
    let identifier = match &args.identifier {
        Some(identifier) => identifier.clone(),
        None => Identifier::parse(&uuid::Uuid::new_v4().to_string())
            .map_err(|e| Failure::Failed(e.to_string()))?,
    };
    let body = Body {
        identifier: identifier.as_str(),
        payload: args.payload.as_deref().map(payload).transpose()?,
        endpoints: endpoints(args)?,
        timeout_s: args.timeout_s,
        expires_in_s: args.expires_in_s,
        callback_url: args.callback_url.as_deref(),
    };
    let body = serde_json::to_string(&body).map_err(|e| Failure::Failed(e.to_string()))?;
    let path = format!("/{}", args.task_type);
    let created = client.post(&path, &body).map_err(|failure| match failure {
        // It may have been stored although the answer got lost.
        Failure::Unavailable(why) => Failure::Unavailable(format!(
            "{why}\nthe task may be stored or not; submit it again with --identifier {identifier}"
        )),
        other => other,
    })?;
    if args.wait.wait.is_some() {
        if !args.api.json {
            terminal::tell(&format!("waiting for {}/{identifier}", args.task_type));
        }
        return show(
            &client,
            &format!("{path}/{identifier}?"),
            &args.wait,
            args.api.json,
        );
    }
    if args.api.json {
        terminal::print(&terminal::pretty(&created.json))?;
    } else {
        let task: Task = created.read()?;
        let again = if created.status == 200 {
            " (submitted before)"
        } else {
            ""
        };
        terminal::print(&format!(
            "{}/{}  {}{again}",
            args.task_type,
            harmless(&task.identifier),
            task.status
        ))?;
    }
    Ok(Exit::OK)
}

pub(super) fn payload(text: &str) -> Result<Box<RawValue>, Failure> {
    let (name, json) = match text {
        "-" => ("stdin".to_owned(), read("-".as_ref())?),
        _ => match text.strip_prefix('@') {
            Some(path) => (path.to_owned(), read(path.as_ref())?),
            None => ("--payload".to_owned(), text.to_owned()),
        },
    };
    RawValue::from_string(json.trim().to_owned())
        .map_err(|e| Failure::Usage(format!("{name} is not JSON: {e}")))
}

fn endpoints(args: &SubmitArgs) -> Result<Option<Vec<EndpointName>>, Failure> {
    let mut list = args.endpoints.clone();
    if let Some(path) = &args.endpoints_file {
        list.extend(parse_list(&path.display().to_string(), &read(path)?)?);
    } else if list.is_empty() {
        return Ok(None);
    }
    Ok(Some(list))
}

/// One name a line. A file without a name is a mistake, not a task for everybody.
fn parse_list(file: &str, text: &str) -> Result<Vec<EndpointName>, Failure> {
    let mut list = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let name = line.split('#').next().unwrap_or_default().trim();
        if !name.is_empty() {
            let bad = |e| Failure::Usage(format!("{file}:{}: {:?} {e}", number + 1, name));
            list.push(EndpointName::parse(name).map_err(bad)?);
        }
    }
    if list.is_empty() {
        return Err(Failure::Usage(format!("{file} names no endpoint")));
    }
    Ok(list)
}

pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let bad = |e: std::io::Error| Failure::Usage(format!("{}: {e}", path.display()));
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin()
            .take(MAX_INPUT_BYTES)
            .read_to_string(&mut text)
            .map_err(bad)?;
    } else {
        let file = std::fs::File::open(path).map_err(bad)?;
        file.take(MAX_INPUT_BYTES)
            .read_to_string(&mut text)
            .map_err(bad)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_keep_their_bytes() {
        assert_eq!(
            payload(" {\"n\": 1.50, \"n2\":12345678901234567890123}")
                .unwrap()
                .get(),
            "{\"n\": 1.50, \"n2\":12345678901234567890123}"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.json");
        std::fs::write(&file, "[1]\n").unwrap();
        assert_eq!(
            payload(&format!("@{}", file.display())).unwrap().get(),
            "[1]"
        );
        for (text, part) in [
            ("{", "--payload is not JSON: EOF"),
            ("", "not JSON"),
            ("@/no/file", "/no/file: "),
        ] {
            let failure = payload(text).unwrap_err();
            assert!(failure.to_string().contains(part), "{failure}");
            assert_eq!(failure.exit(), Exit::USAGE);
        }
    }

    #[test]
    fn lists_have_comments_and_line_numbers() {
        let list = parse_list("f", "# all\nconsole1\n\n  console2 # the old one\r\n").unwrap();
        assert_eq!(
            list.iter().map(EndpointName::as_str).collect::<Vec<_>>(),
            ["console1", "console2"]
        );
        let failure = parse_list("f", "a\nb c\n").unwrap_err().to_string();
        assert!(failure.starts_with("f:2: \"b c\" must match"), "{failure}");
        assert_eq!(
            parse_list("f", "# none\n").unwrap_err().to_string(),
            "f names no endpoint"
        );
    }
}
