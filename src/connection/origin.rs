//! The origin of a connection's requests.

use std::net::IpAddr;

use super::listener::ListenerKind;
use super::message::{ConnectionId, PayloadObserver};
use crate::base::id::Id;

/// Origin of a connection's requests.
#[derive(Clone, Copy)]
pub(crate) struct RequestOrigin<'a> {
    pub(crate) id: ConnectionId,
    pub(crate) listener: ListenerKind,
    /// `None` for a Unix socket, which has no address.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) observer: Option<&'a PayloadObserver>,
    /// The record that its requests replay: they are let in as they were before.
    pub(crate) replay_of: Option<Id>,
}
