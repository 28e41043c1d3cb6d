//! Reports to cores that may be too busy to take them.

use std::time::Duration;

/// Pause before a result is reported again to a core that had no room for it.
const REPORT_PAUSE: Duration = Duration::from_millis(1);
/// How often that is tried: for as long as the core waits for a result that may be lost.
const REPORTS_MAX: usize = 10_000;

/// Reports something, again while the core is too busy to take it; returns whether it was taken.
pub(super) async fn report<T>(news: T, send: impl Fn(T) -> Result<(), T>) -> bool {
    let mut unreported = news;
    for _ in 0..REPORTS_MAX {
        match send(unreported) {
            Ok(()) => return true,
            Err(back) => unreported = back,
        }
        tokio::time::sleep(REPORT_PAUSE).await;
    }
    false
}
