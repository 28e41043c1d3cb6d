//! Messages of a core's mailbox.

use std::sync::Arc;

use super::search::Search;
use crate::base::id::Id;
use crate::connection::message::{CoreMessage, Inside};
use crate::connection::tls::CoreTls;

/// Called by each core once it has handed over what it had recorded.
pub(crate) type Settled = Arc<dyn Fn() + Send + Sync>;

/// A message for a core. `S` is a connected socket of its kernel.
pub(super) enum Message<S> {
    /// From another core, or for one of this core's connections.
    Core(CoreMessage),
    /// A connection that was made inside the process.
    Adopt { stream: S, inside: Inside },
    /// The model was changed, and the registry with it. These flows were deleted.
    ModelChanged { deleted_flows: Arc<[Id]> },
    /// Certificates and keys for the connections that are accepted from now on.
    Tls(CoreTls),
    /// Hand over what was recorded, and when these webhooks were last called.
    Records { webhooks: Arc<[Id]>, done: Settled },
    /// Find a WebSocket.
    Search(Search),
    /// Stop accepting, finish what is in flight.
    Drain,
}
