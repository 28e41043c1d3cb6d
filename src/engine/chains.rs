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
use super::mailbox::Full;
use crate::base::clock::{NANOS_PER_SECOND, Now};
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

    /// Asks for a chain unless it was asked for, and adds one more who waits.
    fn ask(core: &Rc<Core>, url: &ChainUrl, key: Key, now: Now) -> Result<(), FetchError> {
        let chains = &core.chains;
        let ends_nanos = now.nanos + WAIT_NANOS;
        {
            let mut asked = chains.asked.borrow_mut();
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
                    let waiters = chains.waiters.borrow();
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
        let Some(mailbox) = core.mailboxes.get(core.index).cloned() else { return Err(FetchError::Stopped) };
        let about = url.clone();
        let done: Fetched = Box::new(move |outcome| {
            if let Err(Full(_)) = mailbox.send(Message::Chain { url: about, outcome }) {
                tracing::warn!("a core is too busy to be told of a certificate chain: it will ask again");
            }
        });
        chains.source.fetch(url, done);
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
            if let Err(error) = Chains::ask(core, &wait.pending.url, place, now) {
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
        let outcome = self.wait(|waker| core.chains.poll(wait.place, waker)).await?;
        let verdict = match outcome {
            Ok(chain) => alexa::finish(&wait.pending, &chain, self.body(), core.now()),
            Err(error) => Err(AlexaRefusal::Fetch(error)),
        };
        Some(self.verified(&wait.hook, verdict))
    }
}
