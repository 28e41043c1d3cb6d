//! Requests of Alexa's that wait for the certificate chain that signed them. A core asks for a chain once and continues;
//! each request that needs it waits with a ticket, and is told about the outcome by a message to its connection.

use std::sync::Arc;

use super::message::{ChainOutcome, ConnectionId, CoreMessage, OwnSender};
use super::waiters::{Full, KeysFetched, Waiter, Waiters};
use crate::base::clock::Now;
use crate::base::log::bounded_log;
use crate::verify::alexa::{Chain, ChainCache, ChainUrl, FetchError, Lookup};

/// Source of what is fetched from other machines: certificate chains and key sets.
pub trait ChainSource: Send + Sync {
    /// Fetches the chain, or finds that it is known, and calls `done` with the outcome; on any thread, and at once where
    /// nothing can be fetched. Never blocks.
    fn fetch(&self, url: &ChainUrl, done: Fetched);

    /// Fetches a key set, or finds that more is known of it than at `known_nanos`, and calls `done`, as above.
    fn fetch_keys(&self, url: &Arc<str>, known_nanos: u64, done: KeysFetched);
}

/// Called once with the outcome of a fetch.
pub type Fetched = Box<dyn FnOnce(Result<Arc<Chain>, FetchError>) + Send>;

/// The chains of one core, and the requests that wait for one.
pub(crate) struct CoreChains {
    source: Arc<dyn ChainSource>,
    cache: ChainCache,
    waiters: Waiters<ChainUrl>,
}

impl CoreChains {
    /// No chains.
    pub(crate) fn new(source: Arc<dyn ChainSource>) -> CoreChains {
        CoreChains { source, cache: ChainCache::default(), waiters: Waiters::default() }
    }

    /// Looks a chain up.
    pub(crate) fn lookup(&mut self, url: &ChainUrl, now: Now) -> Lookup {
        self.cache.lookup(url, now)
    }

    /// Takes the outcome of a fetch; returns the requests that waited for it.
    pub(crate) fn arrived(&mut self, url: &ChainUrl, outcome: &ChainOutcome, now: Now) -> Vec<Waiter> {
        self.cache.insert(url, outcome.clone(), now);
        self.waiters.arrived(url)
    }

    /// Asks for a chain unless it was asked for, and adds a request that waits for it; returns its ticket. The outcome is
    /// sent to `own`, this core's own mailbox.
    ///
    /// # Errors
    /// If too many chains are asked for.
    pub(crate) fn ask(
        &mut self,
        own: impl FnOnce() -> OwnSender,
        url: &ChainUrl,
        connection: ConnectionId,
        now: Now,
    ) -> Result<u64, FetchError> {
        let place = self.waiters.join(url, Some(connection), now).map_err(|Full| FetchError::Busy)?;
        if !place.is_first {
            return Ok(place.ticket);
        }
        let (about, own) = (url.clone(), own());
        let done: Fetched = Box::new(move |outcome| {
            if !own(CoreMessage::Chain { url: about, outcome }) {
                bounded_log!(warn, "a core is too busy to be told of a certificate chain: it will ask again");
            }
        });
        self.source.fetch(url, done);
        Ok(place.ticket)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::waiters::ASKED_MAX;
    use super::*;
    use crate::base::clock::NANOS_PER_SECOND;

    /// Collects what it is asked for, and answers when it is told to.
    #[derive(Default)]
    struct Source {
        asked: Mutex<Vec<Fetched>>,
    }

    impl ChainSource for Source {
        fn fetch(&self, _url: &ChainUrl, done: Fetched) {
            self.asked.lock().unwrap().push(done);
        }

        fn fetch_keys(&self, _url: &Arc<str>, _known_nanos: u64, _done: KeysFetched) {}
    }

    struct Scene {
        source: Arc<Source>,
        chains: CoreChains,
        received: Arc<Mutex<Vec<CoreMessage>>>,
    }

    const CONNECTION: ConnectionId = ConnectionId { index: 1, generation: 0 };

    impl Scene {
        fn new() -> Scene {
            let source = Arc::new(Source::default());
            let chains = CoreChains::new(Arc::clone(&source) as Arc<dyn ChainSource>);
            Scene { source, chains, received: Arc::default() }
        }

        /// One more request that needs the chain with this number.
        fn ask(&mut self, number: usize, seconds: u64) -> Result<u64, FetchError> {
            let received = Arc::clone(&self.received);
            let own = move || -> OwnSender {
                Box::new(move |message| {
                    received.lock().unwrap().push(message);
                    true
                })
            };
            self.chains.ask(own, &url(number), CONNECTION, at(seconds))
        }

        fn fetches(&self) -> usize {
            self.source.asked.lock().unwrap().len()
        }

        /// The oldest fetch fails in this way; returns the tickets of those who are told.
        fn fail(&mut self, error: FetchError, seconds: u64) -> Vec<u64> {
            self.source.asked.lock().unwrap().remove(0)(Err(error));
            let message = self.received.lock().unwrap().pop();
            let Some(CoreMessage::Chain { url, outcome }) = message else { panic!("the core is told") };
            let waiters = self.chains.arrived(&url, &outcome, at(seconds));
            waiters.iter().map(|waiter| waiter.ticket).collect()
        }
    }

    fn url(number: usize) -> ChainUrl {
        ChainUrl::parse(format!("https://s3.amazonaws.com/echo.api/{number}.pem").as_bytes()).unwrap()
    }

    fn at(seconds: u64) -> Now {
        Now { nanos: seconds * NANOS_PER_SECOND, unix_millis: 1_771_521_960_000 + seconds * 1000 }
    }

    #[test]
    fn all_who_need_one_chain_wait_for_one_fetch_and_learn_of_its_end() {
        let mut scene = Scene::new();
        let tickets: Vec<u64> = (0..3).map(|second| scene.ask(1, second).unwrap()).collect();
        let other = scene.ask(2, 2).unwrap();
        assert_eq!(scene.fetches(), 2);
        assert_eq!(scene.fail(FetchError::Status(404), 3), tickets);
        assert!(!tickets.contains(&other));
        let known = scene.chains.lookup(&url(1), at(3));
        assert!(matches!(known, Lookup::Failed(FetchError::Status(404))));
    }

    #[test]
    fn an_answer_that_was_lost_is_asked_for_again_after_a_while() {
        let mut scene = Scene::new();
        let _gone = scene.ask(1, 0).unwrap();
        scene.source.asked.lock().unwrap().clear();
        let waits = scene.ask(1, 5).unwrap();
        assert_eq!(scene.fetches(), 0);
        let again = scene.ask(1, 6).unwrap();
        assert_eq!(scene.fetches(), 1);
        assert_eq!(scene.fail(FetchError::Broken, 7), [waits, again]);
    }

    #[test]
    fn a_core_asks_for_so_many_chains_at_a_time_and_no_more() {
        let mut scene = Scene::new();
        for number in 0..ASKED_MAX {
            assert!(scene.ask(number, 0).is_ok());
        }
        assert_eq!(scene.ask(ASKED_MAX, 5), Err(FetchError::Busy));
        assert!(scene.ask(0, 5).is_ok(), "this one is asked for already");
        assert!(scene.ask(ASKED_MAX, 6).is_ok(), "the others were given up by now");
    }
}
