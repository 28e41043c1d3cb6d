//! The connections of a core, by the name of their socket. Idle ones are kept small, and whole again when they are asked
//! for.

use crate::base::id::Id;
use crate::base::wheel::Wheel;
use crate::connection::context::Timer;
use crate::connection::message::ConnectionId;
use crate::connection::{Connection, IdleConnection, QuietConnection};

/// Connections in the places of their sockets: no second numbering.
#[derive(Default)]
pub(super) struct Table {
    places: Vec<TablePlace>,
    len: usize,
}

#[derive(Default)]
struct TablePlace {
    generation: u32,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Idle(IdleConnection),
    Quiet(QuietConnection),
    Open(Box<Connection>),
}

impl TablePlace {
    /// Makes a small connection whole again.
    #[cold]
    fn wake(&mut self, id: ConnectionId, wheel: &Wheel<Timer>) {
        self.state = match std::mem::take(&mut self.state) {
            State::Idle(idle) => State::Open(Box::new(idle.wake(id, wheel.deadline(idle.timer())))),
            State::Quiet(quiet) => {
                let deadline = wheel.deadline(quiet.timer());
                State::Open(Box::new(quiet.wake(id, deadline)))
            }
            other => other,
        };
    }
}

// Beside it an idle connection has an entry of the wheel and one of its kernel.
const _: () = assert!(size_of::<TablePlace>() <= 40);

impl Table {
    /// Adds the connection of a socket.
    pub(super) fn insert(&mut self, id: ConnectionId, connection: Connection) {
        let index = id.index as usize;
        if index >= self.places.len() {
            self.places.resize_with(index + 1, TablePlace::default);
        }
        self.places[index] =
            TablePlace { generation: id.generation, state: State::Open(Box::new(connection)) };
        self.len += 1;
    }

    /// Whether a socket has a connection.
    pub(super) fn has(&self, id: ConnectionId) -> bool {
        let place = self.places.get(id.index as usize);
        place.is_some_and(|place| place.generation == id.generation && !matches!(place.state, State::Empty))
    }

    /// The connection of a socket, unless it has ended. Deadlines of idle ones are those of their timers.
    pub(super) fn get_mut(&mut self, id: ConnectionId, wheel: &Wheel<Timer>) -> Option<&mut Connection> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        if !matches!(place.state, State::Open(_)) {
            place.wake(id, wheel);
        }
        match &mut place.state {
            State::Open(connection) => Some(connection),
            State::Empty | State::Idle(_) | State::Quiet(_) => None,
        }
    }

    /// Makes a connection small, if it is idle. Returns whether it was made so.
    pub(super) fn shrink(&mut self, id: ConnectionId) -> bool {
        let Some(place) = self.places.get_mut(id.index as usize) else { return false };
        let State::Open(connection) = &mut place.state else { return false };
        place.state = if let Some(idle) = IdleConnection::of(connection) {
            State::Idle(idle)
        } else if let Some(quiet) = QuietConnection::of(connection) {
            State::Quiet(quiet)
        } else {
            return false;
        };
        true
    }

    /// Takes the connection of a socket out.
    pub(super) fn remove(&mut self, id: ConnectionId, wheel: &Wheel<Timer>) -> Option<Box<Connection>> {
        self.get_mut(id, wheel)?;
        self.len -= 1;
        match std::mem::take(&mut self.places[id.index as usize].state) {
            State::Open(connection) => Some(connection),
            State::Empty | State::Idle(_) | State::Quiet(_) => None,
        }
    }

    /// Whether a socket's connection is the WebSocket of a webhook that its records know by this name.
    pub(super) fn is_websocket(&self, id: ConnectionId, webhook: Id, name: Id) -> bool {
        let place = self.places.get(id.index as usize).filter(|place| place.generation == id.generation);
        let found = match place.map(|place| &place.state) {
            Some(State::Open(connection)) => connection.websocket_name(),
            Some(State::Quiet(quiet)) => quiet.websocket_name(),
            Some(State::Idle(_) | State::Empty) | None => None,
        };
        found == Some((webhook, name))
    }

    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Names of all connections.
    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.ids_of(|state| !matches!(state, State::Empty))
    }

    /// Names of the workers' connections.
    pub(super) fn workers(&self) -> Vec<ConnectionId> {
        self.ids_of(|state| matches!(state, State::Open(connection) if connection.is_worker()))
    }

    fn ids_of(&self, is_meant: impl Fn(&State) -> bool) -> Vec<ConnectionId> {
        let places = (0u32..).zip(&self.places).filter(|(_, place)| is_meant(&place.state));
        places.map(|(index, place)| ConnectionId { index, generation: place.generation }).collect()
    }
}
