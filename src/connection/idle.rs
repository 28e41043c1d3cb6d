//! A connection on which nothing has happened for a moment, made small: its peer, its listener and its timer.

use std::net::IpAddr;

use super::machine::{Alarm, Connection, Kind, Phase, Reception};
use super::message::ConnectionId;
use super::timeouts::NEVER;
use super::upgrade::ListenerKind;
use crate::base::wheel::TimerId;

/// State kept for an idle HTTP connection without TLS.
pub(crate) struct IdleConnection {
    timer: TimerId,
    peer: Option<IpAddr>,
    listener: ListenerKind,
}

// With its generation and the tag of the table's place: 40 bytes.
const _: () = assert!(size_of::<IdleConnection>() <= 28);

impl IdleConnection {
    /// Returns the small form of a connection that has nothing else to keep.
    pub(crate) fn of(connection: &Connection) -> Option<IdleConnection> {
        let alarm = connection.alarm;
        let is_idle = matches!(connection.phase, Phase::Idle)
            && connection.is_quiet
            && connection.kind == Kind::Http
            && connection.reception == Reception::Resting
            && connection.out.capacity() == 0
            && connection.tls.is_none()
            && connection.aside.is_none()
            && alarm.armed == connection.deadline
            && !(connection.is_sending || connection.is_listed);
        let timer = alarm.timer.filter(|_| is_idle)?;
        Some(IdleConnection { timer, peer: connection.peer, listener: connection.listener })
    }

    /// The timer of its deadline.
    pub(crate) fn timer(&self) -> TimerId {
        self.timer
    }

    /// Returns the whole connection. `deadline` is that of its timer; `None` if it has fired.
    pub(crate) fn wake(&self, id: ConnectionId, deadline: Option<u64>) -> Connection {
        Connection {
            phase: Phase::Idle,
            out: Vec::new(),
            tls: None,
            aside: None,
            id,
            deadline: deadline.unwrap_or(0),
            alarm: Alarm { armed: deadline.unwrap_or(NEVER), timer: deadline.map(|_| self.timer) },
            sending_bytes: 0,
            peer: self.peer,
            listener: self.listener,
            kind: Kind::Http,
            reception: Reception::Resting,
            is_sending: false,
            is_send_deferred: false,
            is_quiet: true,
            is_paused: false,
            is_shut_down: false,
            is_close_started: false,
            is_listed: false,
        }
    }
}
