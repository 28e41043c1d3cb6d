//! The tags by which completions of the ring name their operations.

use crate::base::slots::Key;
use crate::io::interface::{ListenerId, SocketId};
use crate::io::socket::CompletionTag;

/// Kinds of operations, as tags name them.
pub(super) mod kind {
    pub(crate) const ACCEPT: u8 = 1;
    pub(crate) const RECEIVE: u8 = 2;
    pub(crate) const RECEIVE_ONCE: u8 = 3;
    pub(crate) const POLL: u8 = 4;
    pub(crate) const SEND: u8 = 5;
    pub(crate) const CANCEL_ACCEPT: u8 = 6;
    pub(crate) const CANCEL_RECEIVE: u8 = 7;
    pub(crate) const TIMEOUT: u8 = 8;
    pub(crate) const WAKE: u8 = 9;
    /// Reports nothing.
    pub(crate) const SILENT: u8 = 10;
    pub(crate) const HANG_UP: u8 = 11;
    pub(crate) const TRANSFER: u8 = 12;
    pub(crate) const FLUSH: u8 = 13;
}

pub(super) fn key_tag(kind: u8, key: Key) -> CompletionTag {
    CompletionTag { kind, index: key.index, generation: key.generation }
}

pub(super) fn socket_tag(kind: u8, socket: SocketId) -> CompletionTag {
    CompletionTag { kind, index: socket.index, generation: socket.generation }
}

pub(super) fn listener_tag(kind: u8, listener: ListenerId) -> CompletionTag {
    CompletionTag { kind, index: listener.0, generation: 0 }
}

pub(super) fn plain_tag(kind: u8) -> CompletionTag {
    CompletionTag { kind, index: 0, generation: 0 }
}
