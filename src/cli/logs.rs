//! Where the log goes and how it looks: standard error; for people on a terminal, one JSON object a line otherwise.
//!
//! What is logged says which webhook or core and what happened, and never a credential, a token or a body.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

use super::Failure;

/// Starts the log and sends panics there too.
///
/// # Errors
/// Directives that cannot be read; the settings have checked them before.
pub(super) fn start(directives: &str) -> Result<(), Failure> {
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|error| Failure::Usage(format!("log: {directives:?} cannot be read: {error}")))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        // https://no-color.org: set and not empty means none.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        log.with_ansi(!plain).try_init()
    } else {
        log.with_ansi(false)
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

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    // `?` escapes line ends: a panic stays one line of the log.
    tracing::error!(panic = ?message, place, thread, "a thread panicked");
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

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

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        let panicked = std::thread::Builder::new().name("core-7".to_owned()).spawn(move || {
            // The hook runs on the thread that panics, and finds this thread's log.
            tracing::subscriber::with_default(log, || panic!("two\nlines"));
        });
        assert!(panicked.unwrap().join().is_err());
        std::panic::set_hook(before);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        for expected in ["ERROR", "a thread panicked", r"two\nlines", "core-7", "logs.rs:"] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }
}
