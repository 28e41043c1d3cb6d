//! Connections of the simulated network, and the clients at their other end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use tidegate::base::slots::Key;

use super::state::{Event, State};

/// One direction of a connection.
#[derive(Debug)]
pub struct Pipe {
    segments: VecDeque<(u64, VecDeque<u8>)>,
    queued: usize,
    pub capacity: usize,
    last_arrival: u64,
    pub fin_at: Option<u64>,
    pub reset_at: Option<u64>,
}

impl Pipe {
    fn new(capacity: usize) -> Pipe {
        Pipe { segments: VecDeque::new(), queued: 0, capacity, last_arrival: 0, fin_at: None, reset_at: None }
    }

    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.queued)
    }

    /// Sends `bytes`, which arrive at `at` or after what was sent before. Returns when.
    pub fn push(&mut self, at: u64, bytes: &[u8]) -> u64 {
        self.last_arrival = self.last_arrival.max(at);
        self.queued += bytes.len();
        self.segments.push_back((self.last_arrival, bytes.iter().copied().collect()));
        self.last_arrival
    }

    /// Ends this direction after what was sent. Returns when that arrives.
    pub fn end(&mut self, at: u64) -> u64 {
        let at = self.last_arrival.max(at);
        *self.fin_at.get_or_insert(at)
    }

    /// Whether bytes have arrived by `now`.
    pub fn has_bytes(&self, now: u64) -> bool {
        self.segments.front().is_some_and(|(at, _)| *at <= now)
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether all has been taken, and the end has arrived.
    pub fn is_at_end(&self, now: u64) -> bool {
        self.segments.is_empty() && self.fin_at.is_some_and(|at| at <= now)
    }

    pub fn is_reset(&self, now: u64) -> bool {
        self.reset_at.is_some_and(|at| at <= now)
    }

    /// Takes at most `most` of the bytes that have arrived.
    pub fn take(&mut self, now: u64, most: usize, into: &mut Vec<u8>) {
        let mut left = most;
        while left > 0
            && let Some((at, bytes)) = self.segments.front_mut()
            && *at <= now
        {
            let count = left.min(bytes.len());
            into.extend(bytes.drain(..count));
            left -= count;
            self.queued -= count;
            if bytes.is_empty() {
                self.segments.pop_front();
            }
        }
    }

    /// Drops what has not arrived by `now`.
    fn drop_in_flight(&mut self, now: u64) {
        self.segments.retain(|(at, _)| *at <= now);
        self.queued = self.segments.iter().map(|(_, bytes)| bytes.len()).sum();
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.queued = 0;
    }
}

/// A connection between a client and a socket of a core.
#[derive(Debug)]
pub struct Connection {
    /// From the client to the server.
    pub inbound: Pipe,
    /// From the server to the client.
    pub outbound: Pipe,
    pub peer: Option<IpAddr>,
    /// The core that accepted it, and its socket, until that is closed.
    pub server: Option<(usize, Key)>,
    pub server_closed: bool,
    pub client_closed: bool,
}

impl Connection {
    pub fn new(inbound: usize, outbound: usize) -> Connection {
        Connection {
            inbound: Pipe::new(inbound),
            outbound: Pipe::new(outbound),
            peer: None,
            server: None,
            server_closed: false,
            client_closed: false,
        }
    }

    /// The server's end is gone before it was accepted.
    pub fn refuse(&mut self, now: u64) {
        self.server_closed = true;
        self.outbound.reset_at = Some(now);
    }

    /// The server resets the connection, which arrives at `at`.
    pub fn reset_client(&mut self, now: u64, at: u64) {
        self.outbound.drop_in_flight(now);
        self.outbound.fin_at = None;
        self.outbound.reset_at.get_or_insert(at);
    }
}

/// Outcome of one attempt to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Bytes,
    Nothing,
    End,
    Reset,
}

/// A client's end of a connection. Dropping it closes it.
pub struct SimClient {
    state: Rc<RefCell<State>>,
    connection: usize,
}

impl SimClient {
    pub(super) fn new(state: Rc<RefCell<State>>, connection: usize) -> SimClient {
        SimClient { state, connection }
    }

    /// Sends a part of `bytes` and returns how much, or `None` if the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Option<usize> {
        let state = &mut *self.state.borrow_mut();
        let (now, at) = (state.now, state.arrival());
        let connection = &mut state.connections[self.connection];
        if connection.outbound.is_reset(now) {
            return None;
        }
        assert!(connection.inbound.fin_at.is_none(), "a client sends nothing after its end");
        if connection.server_closed {
            // Answered by a reset.
            connection.reset_client(now, at);
            return Some(bytes.len());
        }
        let mut count = connection.inbound.room().min(bytes.len());
        if state.config.cuts && state.random.one_in(2) {
            count = count.min(1 + state.random.below(count));
        }
        if count > 0 {
            let at = state.connections[self.connection].inbound.push(at, &bytes[..count]);
            state.schedule(at, Event::Server(self.connection));
        }
        Some(count)
    }

    /// Receives what has arrived, or a part of it.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> Heard {
        let state = &mut *self.state.borrow_mut();
        let now = state.now;
        let most =
            if state.config.cuts && state.random.one_in(2) { 1 + state.random.below(64) } else { usize::MAX };
        let connection = &mut state.connections[self.connection];
        if connection.outbound.has_bytes(now) {
            connection.outbound.take(now, most, into);
            let at = state.arrival();
            state.schedule(at, Event::Server(self.connection));
            return Heard::Bytes;
        }
        match connection {
            Connection { outbound, .. } if outbound.is_reset(now) => Heard::Reset,
            Connection { outbound, .. } if outbound.is_at_end(now) => Heard::End,
            _ => Heard::Nothing,
        }
    }

    pub fn shutdown_write(&mut self) {
        let state = &mut *self.state.borrow_mut();
        let at = state.arrival();
        let at = state.connections[self.connection].inbound.end(at);
        state.schedule(at, Event::Server(self.connection));
    }

    /// Resets the connection.
    pub fn reset(self) {
        let state = &mut *self.state.borrow_mut();
        let at = state.arrival();
        let connection = &mut state.connections[self.connection];
        connection.client_closed = true;
        connection.inbound.reset_at = Some(at);
        connection.inbound.drop_in_flight(0);
        connection.outbound.clear();
        state.schedule(at, Event::Server(self.connection));
    }

    /// Limits what is on its way to this client and not received.
    pub fn shrink_receive_buffer(&mut self, bytes: usize) {
        self.state.borrow_mut().connections[self.connection].outbound.capacity = bytes;
    }
}

impl Drop for SimClient {
    fn drop(&mut self) {
        // A panic may have left the state borrowed.
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        let at = state.arrival();
        let connection = &mut state.connections[self.connection];
        if connection.client_closed {
            return;
        }
        connection.client_closed = true;
        let at = connection.inbound.end(at);
        if !connection.outbound.is_empty() {
            // What was not received is answered by a reset.
            connection.outbound.clear();
            connection.inbound.reset_at = Some(at);
        }
        state.schedule(at, Event::Server(self.connection));
    }
}
