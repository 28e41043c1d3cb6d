//! Requests of one core that wait for something that another thread fetches. A core asks for it once and continues; each
//! request that needs it waits with a ticket, and is told by a message to its connection.

use std::collections::HashMap;
use std::hash::Hash;

use super::message::ConnectionId;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::verify::jwt::FetchedKeys;

/// How long a request waits: the 5 s of a fetch ([verification](crate::guide::verification#who-may-call)), and a second
/// for the way there and back.
pub(crate) const FETCH_WAIT_NANOS: u64 = 6 * NANOS_PER_SECOND;
/// Things that one core asks for at a time.
pub(super) const ASKED_MAX: usize = 64;

/// Called once with what is known of a key set.
pub type KeysFetched = Box<dyn FnOnce(FetchedKeys) + Send>;

/// A request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) connection: ConnectionId,
    pub(crate) ticket: u64,
    ends_nanos: u64,
}

/// Something that was asked for.
struct PendingFetch {
    /// Until when an answer is expected.
    ends_nanos: u64,
    waiters: Vec<Waiter>,
}

/// Fetches in progress, by key, and the connections that wait for each.
pub(super) struct Waiters<K> {
    asked: HashMap<K, PendingFetch>,
    next_ticket: u64,
    asked_max: usize,
    wait_nanos: u64,
}

/// A place among those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueuePlace {
    pub(super) ticket: u64,
    /// Whether nobody has asked yet: this one has to.
    pub(super) is_first: bool,
}

/// Too much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl<K> Default for Waiters<K> {
    fn default() -> Waiters<K> {
        Waiters::new(ASKED_MAX, FETCH_WAIT_NANOS)
    }
}

impl<K> Waiters<K> {
    /// Nothing is asked for. `asked_max` things can be at a time, each for `wait_nanos`.
    pub(super) fn new(asked_max: usize, wait_nanos: u64) -> Waiters<K> {
        Waiters { asked: HashMap::new(), next_ticket: 0, asked_max, wait_nanos }
    }
}

impl<K: Clone + Eq + Hash> Waiters<K> {
    /// Adds a request that waits for the thing; with no connection, nobody waits and it is only to be asked for.
    ///
    /// # Errors
    /// If too much is asked for.
    pub(super) fn join(
        &mut self,
        key: &K,
        connection: Option<ConnectionId>,
        now: Now,
    ) -> Result<QueuePlace, Full> {
        let ends_nanos = now.nanos + self.wait_nanos;
        let ticket = self.next_ticket;
        let waiter = connection.map(|connection| Waiter { connection, ticket, ends_nanos });
        if self.asked.len() >= self.asked_max {
            // An answer that was lost on its way (a full mailbox, a panic) leaves nobody without one for good.
            self.asked.retain(|_, asked| asked.ends_nanos > now.nanos);
        }
        self.next_ticket += 1;
        if let Some(asked) = self.asked.get_mut(key) {
            if asked.ends_nanos > now.nanos {
                asked.waiters.extend(waiter);
                return Ok(QueuePlace { ticket, is_first: false });
            }
            asked.ends_nanos = ends_nanos;
            asked.waiters.retain(|waiter| waiter.ends_nanos > now.nanos);
            asked.waiters.extend(waiter);
        } else if self.asked.len() >= self.asked_max {
            return Err(Full);
        } else {
            self.asked
                .insert(key.clone(), PendingFetch { ends_nanos, waiters: waiter.into_iter().collect() });
        }
        Ok(QueuePlace { ticket, is_first: true })
    }

    /// The thing is there: returns the requests that waited for it.
    pub(super) fn arrived(&mut self, key: &K) -> Vec<Waiter> {
        self.asked.remove(key).map(|asked| asked.waiters).unwrap_or_default()
    }
}
