//! The line of the log for a call.

use crate::engine::ServedCall;

/// Target of the lines, by which they are told apart from all others.
pub(crate) const TARGET: &str = "tidegate::requests";

/// Writes the line of a call.
pub(super) fn write(call: &ServedCall) {
    let ServedCall { status, bytes, .. } = *call;
    let webhook = call.webhook.map(tracing::field::display);
    let peer = call.peer.map(tracing::field::display);
    let millis = (call.duration_nanos / 1_000) as f64 / 1_000.0;
    tracing::info!(
        target: TARGET,
        id = call.request_id.as_deref(),
        webhook,
        method = &*call.method,
        path = &*call.path,
        status,
        refusal = call.refusal.as_deref(),
        millis,
        bytes,
        peer,
        "call"
    );
}
