//! The key sets that JSON Web Tokens are verified with, as one core knows them, and the requests that wait for one.

use std::sync::Arc;

use super::chains::ChainSource;
use super::message::{ConnectionId, CoreMessage, OwnSender};
use super::waiters::{Full, KeysFetched, Waiter, Waiters};
use crate::base::clock::Now;
use crate::base::log::bounded_log;
use crate::verify::jwt::{FetchedKeys, KeySetCache};

/// A request that waits for a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeysWait {
    pub(crate) ticket: u64,
    pub(crate) deadline: u64,
}

/// The key sets of one core.
pub(crate) struct CoreKeySets {
    source: Arc<dyn ChainSource>,
    pub(crate) cache: KeySetCache,
    waiters: Waiters<Arc<str>>,
}

impl CoreKeySets {
    /// No key sets.
    pub(crate) fn new(source: Arc<dyn ChainSource>) -> CoreKeySets {
        CoreKeySets { source, cache: KeySetCache::default(), waiters: Waiters::default() }
    }

    /// Takes what the fetcher knows of a URL; returns the requests that waited for it.
    pub(crate) fn arrived(&mut self, url: &Arc<str>, fetched: FetchedKeys) -> Vec<Waiter> {
        self.cache.insert(url, fetched);
        self.waiters.arrived(url)
    }

    /// Asks for the key set of a URL unless it was asked for, and adds a request that waits for it; returns its ticket.
    /// The outcome is sent to `own`, this core's own mailbox.
    ///
    /// # Errors
    /// If too many are asked for.
    pub(crate) fn ask(
        &mut self,
        own: impl FnOnce() -> OwnSender,
        url: &Arc<str>,
        connection: Option<ConnectionId>,
        now: Now,
    ) -> Result<u64, Full> {
        let place = self.waiters.join(url, connection, now)?;
        if place.is_first {
            let (about, own) = (Arc::clone(url), own());
            let done: KeysFetched = Box::new(move |fetched| {
                if !own(CoreMessage::Keys { url: about, fetched }) {
                    bounded_log!(warn, "a core is too busy to be told of a key set: it will ask again");
                }
            });
            self.source.fetch_keys(url, self.cache.known(url, now).attempted_nanos, done);
        }
        Ok(place.ticket)
    }
}
