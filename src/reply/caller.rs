//! The kinds of callers that a reply may go to.

/// The kind of caller that a `replyId` belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// A request that waits for its response.
    Http,
    /// A WebSocket connection.
    WebSocket,
}

impl CallerKind {
    /// The callers of a webhook, by its `isWebsocket`; those that a node is for, by its `isWebsocketMessage`.
    #[must_use]
    pub fn of(is_websocket: bool) -> CallerKind {
        if is_websocket { CallerKind::WebSocket } else { CallerKind::Http }
    }
}
