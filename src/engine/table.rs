//! The connections of a core, by the name of their socket.

use crate::connection::Connection;
use crate::connection::message::ConnectionId;

/// Connections in the places of their sockets: no second numbering.
#[derive(Default)]
pub(super) struct Table {
    places: Vec<Place>,
    len: usize,
}

#[derive(Default)]
struct Place {
    generation: u32,
    connection: Option<Connection>,
}

impl Table {
    /// Adds the connection of a socket.
    pub(super) fn insert(&mut self, id: ConnectionId, connection: Connection) {
        let index = id.index as usize;
        if index >= self.places.len() {
            self.places.resize_with(index + 1, Place::default);
        }
        self.places[index] = Place { generation: id.generation, connection: Some(connection) };
        self.len += 1;
    }

    /// The connection of a socket, unless it has ended.
    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let place = self.places.get_mut(id.index as usize)?;
        place.connection.as_mut().filter(|_| place.generation == id.generation)
    }

    /// Takes the connection of a socket out.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.get_mut(id)?;
        self.len -= 1;
        self.places[id.index as usize].connection.take()
    }

    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Names of all connections.
    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        let places = (0u32..).zip(&self.places);
        places
            .filter(|(_, place)| place.connection.is_some())
            .map(|(index, place)| ConnectionId { index, generation: place.generation })
            .collect()
    }

    /// Names of the workers' connections.
    pub(super) fn workers(&self) -> Vec<ConnectionId> {
        let places = (0u32..).zip(&self.places);
        places
            .filter(|(_, place)| place.connection.as_ref().is_some_and(Connection::is_worker))
            .map(|(index, place)| ConnectionId { index, generation: place.generation })
            .collect()
    }

    /// Takes all connections out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Connection> {
        self.len = 0;
        std::mem::take(&mut self.places).into_iter().filter_map(|place| place.connection)
    }
}
