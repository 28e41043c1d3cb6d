//! A connection on which nothing has happened for a moment, made small: its peer, its listener and its timer, and what the
//! next message of a WebSocket or the reply to a request needs.

use std::net::IpAddr;

use super::http::WaitingRequest;
use super::machine::{Alarm, Connection, Kind, Phase, Reception};
use super::message::ConnectionId;
use super::session::QuietSession;
use super::timeouts::NEVER;
use super::upgrade::ListenerKind;
use crate::base::id::Id;
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
    /// Returns the small form of an HTTP connection that has nothing else to keep.
    pub(crate) fn of(connection: &Connection) -> Option<IdleConnection> {
        let is_idle = matches!(connection.phase, Phase::Idle) && connection.kind == Kind::Http;
        if is_idle { IdleConnection::beside_phase(connection) } else { None }
    }

    /// State kept beside the phase, if all else is as it is after a quiet moment.
    fn beside_phase(connection: &Connection) -> Option<IdleConnection> {
        let alarm = connection.alarm;
        let is_idle = connection.is_quiet
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
        self.wake_as(Phase::Idle, Kind::Http, id, deadline)
    }

    fn wake_as(&self, phase: Phase, kind: Kind, id: ConnectionId, deadline: Option<u64>) -> Connection {
        Connection {
            phase,
            out: Vec::new(),
            tls: None,
            aside: None,
            id,
            deadline: deadline.unwrap_or(0),
            alarm: Alarm { armed: deadline.unwrap_or(NEVER), timer: deadline.map(|_| self.timer) },
            sending_bytes: 0,
            peer: self.peer,
            listener: self.listener,
            kind,
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

/// A connection that is quiet and keeps more than its peer: a WebSocket, or a request that waits for its reply. Without TLS.
pub(crate) enum QuietConnection {
    WebSocket(Box<QuietWebSocket>),
    Waiting(Box<QuietWait>),
}

/// State kept of a quiet WebSocket.
pub(crate) struct QuietWebSocket {
    connection: IdleConnection,
    session: QuietSession,
}

/// State kept of a connection whose request waits.
pub(crate) struct QuietWait {
    connection: IdleConnection,
    request: Box<WaitingRequest>,
}

// Places of the allocator's that are as large.
const _: () = assert!(size_of::<QuietWebSocket>() <= 128 && size_of::<QuietWait>() <= 40);

impl QuietConnection {
    /// Makes a connection small if it has nothing else to keep; else it is as it was. Returns the small form.
    pub(crate) fn of(connection: &mut Connection) -> Option<QuietConnection> {
        if connection.is_paused {
            return None;
        }
        let kept = IdleConnection::beside_phase(connection)?;
        match std::mem::replace(&mut connection.phase, Phase::Ending) {
            Phase::WebSocket(session) => match session.into_quiet() {
                Ok(session) => {
                    let quiet = QuietWebSocket { connection: kept, session };
                    return Some(QuietConnection::WebSocket(Box::new(quiet)));
                }
                Err(session) => connection.phase = Phase::WebSocket(session),
            },
            Phase::Waiting(request) if connection.kind == Kind::Http => {
                let quiet = QuietWait { connection: kept, request };
                return Some(QuietConnection::Waiting(Box::new(quiet)));
            }
            other => connection.phase = other,
        }
        None
    }

    /// The webhook of a WebSocket, and the name that its records know it by.
    pub(crate) fn websocket_name(&self) -> Option<(Id, Id)> {
        match self {
            QuietConnection::WebSocket(quiet) => Some(quiet.session.name()),
            QuietConnection::Waiting(_) => None,
        }
    }

    /// The timer of its deadline.
    pub(crate) fn timer(&self) -> TimerId {
        match self {
            QuietConnection::WebSocket(quiet) => quiet.connection.timer,
            QuietConnection::Waiting(quiet) => quiet.connection.timer,
        }
    }

    /// Returns the whole connection. `deadline` is that of its timer; `None` if it has fired.
    pub(crate) fn wake(self, id: ConnectionId, deadline: Option<u64>) -> Connection {
        match self {
            QuietConnection::WebSocket(quiet) => {
                let session = Box::new(quiet.session.wake(deadline.unwrap_or(0)));
                quiet.connection.wake_as(Phase::WebSocket(session), Kind::WebSocket, id, deadline)
            }
            QuietConnection::Waiting(quiet) => {
                quiet.connection.wake_as(Phase::Waiting(quiet.request), Kind::Http, id, deadline)
            }
        }
    }
}
