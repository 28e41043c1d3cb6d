//! Where the log goes and how it looks: standard error; for people on a terminal, one JSON object a line otherwise.
//!
//! What is logged says which webhook or core and what happened, and never a credential, a token or a body.

use std::io::IsTerminal;

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
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        // `?` escapes line ends: a panic stays one line of the log.
        tracing::error!(panic = ?message, place, thread, "a thread panicked");
    }));
    Ok(())
}
