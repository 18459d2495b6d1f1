//! Log lines: for people on a terminal, JSON otherwise; one line an event.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogConfig, LogFormat};
use crate::exit::Failure;
use crate::terminal::harmless;

/// The environment variable that replaces `log.level`; it also takes filters, see
/// `config/default.config.yaml`.
pub const VARIABLE: &str = "TASKER_LOG";

/// Starts writing log lines to stderr.
///
/// # Errors
/// [`Failure::Usage`] if `TASKER_LOG` is not a level or filter, [`Failure::Failed`] if logging was
/// started before.
pub fn start(config: &LogConfig) -> Result<(), Failure> {
    let written = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let filter = match &written {
        Some(text) => EnvFilter::try_new(text)
            .map_err(|e| Failure::Usage(format!("{VARIABLE} cannot be used: {e}")))?,
        None => EnvFilter::try_new(format!("{},mysql_async=warn", config.level))
            .map_err(|e| Failure::Usage(format!("log.level cannot be used: {e}")))?,
    };
    // The AMQP client logs returned messages with their bodies, and every failure once more that
    // `tasker_broker` tells. No payload may reach a log, whatever TASKER_LOG says.
    let silent = "lapin=off".parse();
    let filter = filter
        .add_directive(silent.map_err(|e| Failure::Failed(format!("cannot start logging: {e}")))?);
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = match config.format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !is_terminal,
    };
    let builder = tracing_subscriber::fmt()
        // They would be printed to the stream that cannot be written, with a panic.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if is_json {
        builder.json().flatten_event(true).try_init()
    } else {
        let builder = builder.with_ansi(false);
        builder.event_format(human(is_terminal)).try_init()
    };
    started.map_err(|e| Failure::Failed(format!("cannot start logging: {e}")))?;
    if tasker_core::fault::is_armed() {
        tracing::warn!("built for fault drills: never use this where it matters");
    }
    Ok(())
}

fn human(is_coloured: bool) -> OneLine<Format> {
    OneLine {
        inner: tracing_subscriber::fmt::format()
            .with_target(false)
            .with_ansi(false),
        is_coloured,
    }
}

/// Keeps an event on one line, without what could steer the terminal: a text of others must not
/// look like another event.
struct OneLine<F> {
    inner: F,
    is_coloured: bool,
}

impl<S, N, F> FormatEvent<S, N> for OneLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner
            .format_event(context, Writer::new(&mut line), event)?;
        let line = harmless(line.trim_end());
        // The library colours while it writes, and does not escape every field; so the only colour
        // is added here, after escaping.
        let level = event.metadata().level();
        let coloured = self
            .is_coloured
            .then(|| line.split_once(level.as_str()))
            .flatten();
        match coloured {
            Some((time, rest)) => {
                writeln!(
                    writer,
                    "{time}\u{1b}[{}m{level}\u{1b}[0m{rest}",
                    colour(*level)
                )
            }
            None => writeln!(writer, "{line}"),
        }
    }
}

const fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing::subscriber::with_default;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const EVIL: &str = "a\r\n2025 ERROR forged\u{1b}[2J\u{9b}31m\"}";

    fn logged(is_json: bool) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = || tracing::warn!(identifier = %EVIL, other = ?EVIL, "refused {EVIL}");
        let builder = tracing_subscriber::fmt().with_writer(move || writer.clone());
        if is_json {
            with_default(builder.json().flatten_event(true).finish(), log);
        } else {
            let builder = builder.with_ansi(false).event_format(human(false));
            with_default(builder.finish(), log);
        }
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        for is_json in [false, true] {
            let text = logged(is_json);
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.ends_with('\n') && text.contains("refused"), "{text:?}");
            assert!(!text.contains(['\r', '\u{1b}']), "{text:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&logged(true)).unwrap();
        assert_eq!(json["identifier"], EVIL);
    }
}
