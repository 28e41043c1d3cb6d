//! Where the log goes and how it looks: standard error; for people on a terminal, one JSON object a line otherwise.
//!
//! Lines of the log name the webhook or core and the event, and never hold a credential, a token or a body, except for
//! what a `DebugNode`'s message asks for.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::{FormatFields, format};

use super::CommandError;
use crate::base::log::{self, LogLimit};
use crate::base::visible::{visible, visible_json};
use crate::control::calls;
use crate::settings::{LogFormat, LogRequests, Settings};

/// Starts the log and sends panics there too.
///
/// # Errors
/// Directives that cannot be read; the settings have checked them before.
pub(super) fn start(settings: &Settings) -> Result<(), CommandError> {
    let directives = &settings.log;
    let cannot = |error: &dyn std::fmt::Display| {
        CommandError::Usage(format!("log: {directives:?} cannot be read: {error}"))
    };
    let mut filter = EnvFilter::builder().parse(directives).map_err(|error| cannot(&error))?;
    if settings.log_requests != LogRequests::Off {
        // Whoever asks for these lines gets them, whatever the level of the others.
        let directive = format!("{}=info", calls::TARGET).parse().map_err(|error| cannot(&error))?;
        filter = filter.add_directive(directive);
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    let is_terminal = io::stderr().is_terminal();
    let is_text = match settings.log_format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let started = if is_text {
        // https://no-color.org: set and not empty means none.
        let plain = !is_terminal || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        log.with_ansi(!plain).fmt_fields(fields()).with_writer(|| Escaped(io::stderr(), text_line)).try_init()
    } else {
        log.with_ansi(false)
            .with_writer(|| Escaped(io::stderr(), visible_json))
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A writer of lines that escapes what callers may have put into them. The subscriber writes each line in one call.
struct Escaped<W>(W, fn(&str) -> Cow<'_, str>);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all((self.1)(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// How fields are written for people. The subscriber's own way would let the colours of a value through.
fn fields() -> impl for<'w> FormatFields<'w> + 'static {
    format::debug_fn(|writer, field, value| {
        let value = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", visible(&value)),
            name if writer.has_ansi_escapes() => {
                write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{}", visible(&value))
            }
            name => write!(writer, "{name}={}", visible(&value)),
        }
    })
    .delimited(" ")
}

/// A line for people: its end and the colours of its parts stay; values have none ([`fields`]).
fn text_line(line: &str) -> Cow<'_, str> {
    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
    let mut shown = String::with_capacity(line.len() + end.len());
    let mut rest = line;
    while let Some(start) = rest.find('\u{1b}') {
        let length = colour_bytes(&rest[start..]);
        shown += &visible(&rest[..start]);
        if length == 0 {
            shown += &visible("\u{1b}");
        }
        shown += &rest[start..start + length];
        rest = &rest[start + length.max(1)..];
    }
    shown += &visible(rest);
    shown += end;
    Cow::Owned(shown)
}

/// The length of the colour (ECMA-48, "select graphic rendition") that a text begins with; 0 where it begins otherwise.
fn colour_bytes(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else { return 0 };
    match parameters.find(|c: char| !c.is_ascii_digit() && c != ';') {
        Some(end) if parameters[end..].starts_with('m') => "\u{1b}[".len() + end + "m".len(),
        _ => 0,
    }
}

/// Limits of the places that have panicked. Places are places in the sources, so their number has an end.
static PANICS: Mutex<Vec<(String, &'static LogLimit)>> = Mutex::new(Vec::new());

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    // A caller that has found what panics can do it again and again.
    let Some(left_out) = log::admit(panic_limit(&place)) else { return };
    let left_out = (left_out > 0).then_some(left_out);
    let message = panic.payload_as_str().unwrap_or("no message");
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    // `?` escapes line ends: a panic stays one line of the log.
    tracing::error!(panic = ?message, place, thread, left_out, "a thread panicked");
}

fn panic_limit(place: &str) -> &'static LogLimit {
    let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, limit)) = panics.iter().find(|(known, _)| known == place) {
        return limit;
    }
    let message: &'static str = format!("a thread panicked at {place}").leak();
    let limit: &'static LogLimit = Box::leak(Box::new(LogLimit::new(message)));
    panics.push((place.to_owned(), limit));
    limit
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Text that a caller may send, with escapes.
    const FOREIGN: &str = "a\u{1b}[31mb\nc\u{9b}d\u{7f}e\u{202e}f\u{2028}g";

    fn logged(log: impl FnOnce(Kept) -> tracing::Dispatch) -> String {
        let kept = Kept::default();
        tracing::dispatcher::with_default(&log(kept.clone()), || {
            tracing::warn!(display = %FOREIGN, debug = ?FOREIGN, text = FOREIGN, "message {FOREIGN}");
            tracing::warn!(error = &io::Error::other(FOREIGN) as &dyn std::error::Error, "{FOREIGN}");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn is_foreign(c: char) -> bool {
        matches!(c, '\u{9b}' | '\u{7f}' | '\u{202e}' | '\u{2028}')
    }

    #[test]
    fn what_callers_send_is_escaped_in_every_form_of_the_log() {
        let json = logged(|kept| {
            let log = tracing_subscriber::fmt().with_writer(move || Escaped(kept.clone(), visible_json));
            log.json().flatten_event(true).finish().into()
        });
        assert_eq!(json.lines().count(), 2, "{json}");
        assert!(!json.contains(is_foreign) && !json.contains('\u{1b}'), "{json:?}");
        for line in json.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["message"].as_str().unwrap().ends_with(FOREIGN), "{line}");
        }
        for ansi in [false, true] {
            let text = logged(|kept| {
                let log = tracing_subscriber::fmt().with_writer(move || Escaped(kept.clone(), text_line));
                log.with_ansi(ansi).fmt_fields(fields()).finish().into()
            });
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(!text.contains(is_foreign) && !text.contains("a\u{1b}"), "{text:?}");
            assert_eq!(text.contains('\u{1b}'), ansi, "{text:?}");
        }
    }

    #[test]
    fn colours_stay_and_nothing_else_that_begins_as_they_do() {
        for (line, shown) in [
            ("\u{1b}[2mtime\u{1b}[0m\n", "\u{1b}[2mtime\u{1b}[0m\n"),
            ("\u{1b}[1;31mx\u{1b}[m", "\u{1b}[1;31mx\u{1b}[m"),
            ("\u{1b}[2Jx\u{1b}]0;t\u{7}", "\\u{1b}[2Jx\\u{1b}]0;t\\u{7}"),
            ("\u{1b}", "\\u{1b}"),
            ("\u{1b}[", "\\u{1b}["),
            ("a\nb\n", "a\\nb\n"),
        ] {
            assert_eq!(text_line(line), shown);
        }
    }

    #[test]
    fn a_panic_is_one_line_of_the_log_and_its_like_are_counted() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        let panicked = std::thread::Builder::new().name("core-7".to_owned()).spawn(move || {
            // The hook runs on the thread that panics, and finds this thread's log.
            tracing::subscriber::with_default(log, || {
                for _ in 0..100 {
                    assert!(std::panic::catch_unwind(|| panic!("two\nlines")).is_err());
                }
            });
        });
        assert!(panicked.unwrap().join().is_ok());
        std::panic::set_hook(before);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        for expected in ["ERROR", "a thread panicked", r"two\nlines", "core-7", "logs.rs:"] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }
}
