//! The bond between a WebSocket and the worker that serves it.

use crate::base::slots::Key;

/// The connection whose triggers all go to one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The connection's core and its place there.
    pub key: (u16, Key),
    /// Whether this is the connection's last trigger.
    pub last: bool,
}
