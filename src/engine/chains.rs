//! Requests of Alexa's that wait for the certificate chain that signed them. The core asks for a chain once and goes
//! on; each request that needs it waits in a slot here, is woken by the chain or by the wheel, and is decided then.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use super::connection::Connection;
use super::core::{Core, Message, Timer};
use super::exchange::Next;
use super::mailbox::{Full, Sender};
use super::wait::Wait;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::log::bounded_log;
use crate::base::slots::{Key, Slots};
use crate::base::wheel::TimerId;
use crate::registry::Hook;
use crate::verify::alexa::{self, AlexaRefusal, Chain, ChainCache, ChainUrl, FetchError, Lookup};

/// How long a request waits for its chain: the 5 s of a fetch (section 8), and a second for the way there and back.
const WAIT_NANOS: u64 = 6 * NANOS_PER_SECOND;
/// Chains that one core asks for at a time. Amazon signs with one or two; more is somebody who invents URLs.
const ASKED_MAX: usize = 64;

/// Whom the cores ask for a chain.
pub trait ChainSource: Send + Sync {
    /// Fetches the chain, or finds that it is known, and tells `done` what came; on any thread, and at once where
    /// nothing can be fetched. Never blocks.
    fn fetch(&self, url: &ChainUrl, done: Fetched);
}

/// Told once what a fetch brought.
pub type Fetched = Box<dyn FnOnce(Result<Arc<Chain>, FetchError>) + Send>;

type Outcome = Result<Arc<Chain>, FetchError>;

/// The chains of one core, and who waits for one.
pub(super) struct Chains {
    source: Arc<dyn ChainSource>,
    cache: RefCell<ChainCache>,
    /// For each chain that was asked for: until when an answer is hoped for, and who waits.
    asked: RefCell<HashMap<ChainUrl, Asked>>,
    waiters: RefCell<Slots<Waiter>>,
}

struct Asked {
    ends_nanos: u64,
    /// Some may be gone by now; a key fits nobody else.
    waiters: Vec<Key>,
}

/// One request.
#[derive(Default)]
struct Waiter {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    timer: Option<TimerId>,
}

/// A request's place among those that wait; it goes back however the wait ends.
pub(super) struct ChainWait {
    core: Rc<Core>,
    pub(super) hook: Arc<Hook>,
    pending: Box<alexa::Pending>,
    place: Key,
}

impl Drop for ChainWait {
    fn drop(&mut self) {
        let waiter = self.core.chains.waiters.borrow_mut().remove(self.place);
        if let Some(timer) = waiter.and_then(|waiter| waiter.timer) {
            self.core.cancel_timer(timer);
        }
    }
}

/// What is known of a request's chain.
pub(super) enum Known {
    /// Enough: whether the request is Alexa's.
    Verdict(Result<(), AlexaRefusal>),
    /// It waits.
    Later(ChainWait),
}

impl Chains {
    pub(super) fn new(source: Arc<dyn ChainSource>) -> Chains {
        Chains {
            source,
            cache: RefCell::default(),
            asked: RefCell::default(),
            waiters: RefCell::new(Slots::new()),
        }
    }

    /// What a fetch brought: those who wait for it go on.
    pub(super) fn arrived(&self, url: &ChainUrl, outcome: &Outcome, now: Now) {
        self.cache.borrow_mut().insert(url, outcome.clone(), now);
        let Some(asked) = self.asked.borrow_mut().remove(url) else { return };
        for key in asked.waiters {
            self.end(key, outcome.clone());
        }
    }

    /// The wait at `key` is over.
    pub(super) fn time_out(&self, key: Key) {
        if let Some(waiter) = self.waiters.borrow_mut().get_mut(key) {
            waiter.timer = None;
        }
        self.end(key, Err(FetchError::TimedOut));
    }

    fn end(&self, key: Key, outcome: Outcome) {
        let mut waiters = self.waiters.borrow_mut();
        let Some(waiter) = waiters.get_mut(key).filter(|waiter| waiter.outcome.is_none()) else { return };
        waiter.outcome = Some(outcome);
        if let Some(waker) = waiter.waker.take() {
            waker.wake();
        }
    }

    /// Takes what came, if it came, or remembers who is to be woken.
    fn poll(&self, key: Key, waker: &Waker) -> Option<Outcome> {
        let mut waiters = self.waiters.borrow_mut();
        let Some(waiter) = waiters.get_mut(key) else { return Some(Err(FetchError::Stopped)) };
        if waiter.outcome.is_none() {
            waiter.waker = Some(waker.clone());
        }
        waiter.outcome.take()
    }

    /// Asks for a chain unless it was asked for, and adds one more who waits. The answer comes to `mailbox`.
    fn ask(&self, mailbox: &Sender<Message>, url: &ChainUrl, key: Key, now: Now) -> Result<(), FetchError> {
        let ends_nanos = now.nanos + WAIT_NANOS;
        {
            let mut asked = self.asked.borrow_mut();
            if asked.len() >= ASKED_MAX {
                // An answer that was lost on its way (a full mailbox, a panic) leaves nobody without a chain for good.
                asked.retain(|_, asked| asked.ends_nanos > now.nanos);
            }
            match asked.get_mut(url) {
                Some(asked) if asked.ends_nanos > now.nanos => {
                    asked.waiters.push(key);
                    return Ok(());
                }
                Some(again) => {
                    again.ends_nanos = ends_nanos;
                    let waiters = self.waiters.borrow();
                    again.waiters.retain(|&key| waiters.get(key).is_some());
                    again.waiters.push(key);
                }
                None => {
                    if asked.len() >= ASKED_MAX {
                        return Err(FetchError::Busy);
                    }
                    asked.insert(url.clone(), Asked { ends_nanos, waiters: vec![key] });
                }
            }
        }
        let (about, mailbox) = (url.clone(), mailbox.clone());
        let done: Fetched = Box::new(move |outcome| {
            if let Err(Full(_)) = mailbox.send(Message::Chain { url: about, outcome }) {
                bounded_log!(warn, "a core is too busy to be told of a certificate chain: it will ask again");
            }
        });
        self.source.fetch(url, done);
        Ok(())
    }
}

/// Decides a request whose chain is known, or has it wait for its chain.
pub(super) fn known(
    core: &Rc<Core>,
    hook: &Arc<Hook>,
    pending: Box<alexa::Pending>,
    body: &[u8],
    now: Now,
) -> Known {
    let found = core.chains.cache.borrow_mut().lookup(&pending.url, now);
    match found {
        Lookup::Good(chain) => Known::Verdict(alexa::finish(&pending, &chain, body, now)),
        Lookup::Failed(error) => Known::Verdict(Err(AlexaRefusal::Fetch(error))),
        Lookup::Unknown => {
            let place = core.chains.waiters.borrow_mut().insert(Waiter::default());
            let wait = ChainWait { core: Rc::clone(core), hook: Arc::clone(hook), pending, place };
            let asked = core.mailboxes.get(core.index).map_or(Err(FetchError::Stopped), |mailbox| {
                core.chains.ask(mailbox, &wait.pending.url, place, now)
            });
            if let Err(error) = asked {
                return Known::Verdict(Err(AlexaRefusal::Fetch(error)));
            }
            let timer = core.set_timer(now.nanos + WAIT_NANOS, Timer::Chain(place));
            if let Some(waiter) = core.chains.waiters.borrow_mut().get_mut(place) {
                waiter.timer = Some(timer);
            }
            Known::Later(wait)
        }
    }
}

impl Connection {
    /// Waits for the chain, then decides the request. None: the caller is gone.
    pub(super) async fn verify_later(&mut self, wait: ChainWait) -> Option<Next> {
        let core = Rc::clone(&self.core);
        let found = self.wait(|waker| core.chains.poll(wait.place, waker), false).await;
        let Wait::Found(outcome) = found else { return None };
        let verdict = match outcome {
            Ok(chain) => alexa::finish(&wait.pending, &chain, self.body(), core.now()),
            Err(error) => Err(AlexaRefusal::Fetch(error)),
        };
        Some(self.verified(&wait.hook, verdict))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::mailbox::{Receiver, mailbox};
    use super::*;

    /// Collects what it is asked for, and answers when it is told to.
    #[derive(Default)]
    struct Source {
        asked: Mutex<Vec<Fetched>>,
    }

    impl ChainSource for Source {
        fn fetch(&self, _url: &ChainUrl, done: Fetched) {
            self.asked.lock().unwrap().push(done);
        }
    }

    struct Scene {
        source: Arc<Source>,
        chains: Chains,
        sender: Sender<Message>,
        receiver: Receiver<Message>,
    }

    impl Scene {
        fn new() -> Scene {
            let source = Arc::new(Source::default());
            let (sender, receiver) = mailbox(8).unwrap();
            let chains = Chains::new(Arc::clone(&source) as Arc<dyn ChainSource>);
            Scene { source, chains, sender, receiver }
        }

        /// One more request that needs the chain with this number.
        fn ask(&self, number: usize, seconds: u64) -> Result<Key, FetchError> {
            let key = self.chains.waiters.borrow_mut().insert(Waiter::default());
            self.chains.ask(&self.sender, &url(number), key, at(seconds)).map(|()| key)
        }

        fn fetches(&self) -> usize {
            self.source.asked.lock().unwrap().len()
        }

        /// The oldest fetch fails in this way, and the core is told.
        fn fail(&self, error: FetchError, seconds: u64) {
            self.source.asked.lock().unwrap().remove(0)(Err(error));
            match self.receiver.receive() {
                Some(Message::Chain { url, outcome }) => self.chains.arrived(&url, &outcome, at(seconds)),
                _ => panic!("the core is told"),
            }
        }

        fn found(&self, key: Key) -> Option<FetchError> {
            self.chains.poll(key, Waker::noop()).map(|outcome| outcome.expect_err("no chain here"))
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
        let scene = Scene::new();
        let keys: Vec<Key> = (0..3).map(|second| scene.ask(1, second).unwrap()).collect();
        let other = scene.ask(2, 2).unwrap();
        assert_eq!(scene.fetches(), 2);
        assert!(keys.iter().all(|&key| scene.found(key).is_none()));
        scene.fail(FetchError::Status(404), 3);
        for key in keys {
            assert_eq!(scene.found(key), Some(FetchError::Status(404)));
        }
        assert_eq!(scene.found(other), None);
        let known = scene.chains.cache.borrow_mut().lookup(&url(1), at(3));
        assert!(matches!(known, Lookup::Failed(FetchError::Status(404))));
    }

    #[test]
    fn a_wait_ends_by_the_wheel_where_no_answer_comes_and_the_first_end_counts() {
        let scene = Scene::new();
        let (first, second) = (scene.ask(1, 0).unwrap(), scene.ask(1, 5).unwrap());
        scene.chains.time_out(first);
        assert_eq!(scene.found(first), Some(FetchError::TimedOut));
        assert_eq!(scene.found(second), None);
        scene.fail(FetchError::Broken, 7);
        assert_eq!(scene.found(second), Some(FetchError::Broken));
        scene.chains.time_out(second);
        let late = scene.ask(2, 8).unwrap();
        scene.chains.time_out(late);
        scene.fail(FetchError::Broken, 9);
        assert_eq!(scene.found(late), Some(FetchError::TimedOut));
    }

    #[test]
    fn an_answer_that_was_lost_is_asked_for_again_after_a_while() {
        let scene = Scene::new();
        let gone = scene.ask(1, 0).unwrap();
        scene.source.asked.lock().unwrap().clear();
        scene.chains.waiters.borrow_mut().remove(gone);
        let waits = scene.ask(1, 5).unwrap();
        assert_eq!(scene.fetches(), 0);
        let again = scene.ask(1, 6).unwrap();
        assert_eq!(scene.fetches(), 1);
        scene.fail(FetchError::Broken, 7);
        assert_eq!(
            [scene.found(waits), scene.found(again)],
            [Some(FetchError::Broken), Some(FetchError::Broken)]
        );
    }

    #[test]
    fn a_core_asks_for_so_many_chains_at_a_time_and_no_more() {
        let scene = Scene::new();
        for number in 0..ASKED_MAX {
            assert!(scene.ask(number, 0).is_ok());
        }
        assert_eq!(scene.ask(ASKED_MAX, 5), Err(FetchError::Busy));
        assert!(scene.ask(0, 5).is_ok(), "this one is asked for already");
        assert!(scene.ask(ASKED_MAX, 6).is_ok(), "the others were given up by now");
    }
}
