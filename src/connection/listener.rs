//! The listeners that cores serve.

/// The listener of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    Ingress,
    Workers,
}
