//! Messages of a core's mailbox.

use std::sync::Arc;

use crate::base::clock::Now;
use crate::base::id::Id;
use crate::connection::message::{CoreMessage, PayloadObserver};
use crate::connection::recent::Recent;
use crate::connection::tls::CoreTls;

/// A query about a core's last requests.
pub(super) type RecentQuery = Box<dyn FnOnce(&mut Recent, Now) + Send>;

/// A message for a core. `S` is a connected socket of its kernel.
pub(super) enum Message<S> {
    /// From another core, or for one of this core's connections.
    Core(CoreMessage),
    /// A connection that was made inside the process.
    Adopt { stream: S, observer: PayloadObserver },
    /// The model was changed, and the registry with it. These flows were deleted.
    ModelChanged { deleted_flows: Arc<[Id]> },
    /// Certificates and keys for the connections that are accepted from now on.
    Tls(CoreTls),
    /// A query about the last requests.
    Recent { query: RecentQuery },
    /// Stop accepting, finish what is in flight.
    Drain,
}
