//! The part of a WebSocket's session that follows the model ([websockets](crate::guide::websockets)): the hook that its
//! messages are judged by, its place in the webhook's concurrency, and whether it may stay after a change.
//!
//! **Invariant**: a session only ever replaces its hook by one with the credentials that it was admitted with, of the
//! same webhook. A change that it does not survive is found by comparing with the hook that it has, whoever asks first:
//! a message that arrives before the session is told of the change, or the round that tells it.
//!
//! Not here: the connection that is closed, and its messages.

use std::sync::Arc;

use super::socket::Closing;
use crate::registry::{Hook, Registry};

/// A webhook's WebSocket session as the model sees it. It holds a place in the webhook's concurrency until [`Session::end`]
/// or until it is dropped.
#[derive(Debug)]
pub struct Session {
    hook: Arc<Hook>,
    /// The registry's version at the last refresh; 0 before the first, [`ENDED`] once the place was given back.
    version: u64,
}

/// No version of a registry.
const ENDED: u64 = u64::MAX;

/// Effect of the changes since the last refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Refreshed {
    /// Nothing that concerns the session has changed.
    Unchanged,
    /// The session continues with another hook.
    Changed,
    /// The session may not stay.
    Ended(Closing),
}

impl Session {
    /// Admits a session whose head was accepted by `hook`. Returns `None` if the webhook's concurrency is exhausted.
    #[must_use]
    pub fn admit(hook: &Arc<Hook>) -> Option<Session> {
        let has_place = hook.concurrency.try_acquire(hook.concurrency_limit);
        has_place.then(|| Session { hook: Arc::clone(hook), version: 0 })
    }

    /// The hook that the next message is judged by.
    #[must_use]
    pub fn hook(&self) -> &Arc<Hook> {
        &self.hook
    }

    /// Takes over what has changed in the model since the last call. One atomic load if nothing has. A session that has
    /// ended keeps its hook.
    pub fn refresh(&mut self, registry: &Registry) -> Refreshed {
        // The version is read first: a change that is published after it is found by the next call.
        let version = registry.version();
        if self.version == version || self.version == ENDED {
            return Refreshed::Unchanged;
        }
        self.version = version;
        let pin = registry.pin();
        let Some(hook) = pin.find(&self.hook.token) else {
            let has_other_token = registry
                .by_id(self.hook.webhook_id)
                .is_some_and(|hook| Arc::ptr_eq(&hook.concurrency, &self.hook.concurrency));
            return Refreshed::Ended(if has_other_token {
                Closing::CredentialsChanged
            } else {
                Closing::Deleted
            });
        };
        if Arc::ptr_eq(hook, &self.hook) {
            return Refreshed::Unchanged;
        }
        // Another webhook's, or one that was deleted and created again, with the same token: its count of sessions does
        // not include this one.
        if !Arc::ptr_eq(&hook.concurrency, &self.hook.concurrency) || !hook.is_websocket {
            return Refreshed::Ended(Closing::Deleted);
        }
        if !hook.enabled {
            return Refreshed::Ended(Closing::Disabled);
        }
        if !hook.has_credentials_of(&self.hook) {
            return Refreshed::Ended(Closing::CredentialsChanged);
        }
        self.hook = Arc::clone(hook);
        Refreshed::Changed
    }

    /// Gives the place in the webhook's concurrency back. Later calls do nothing.
    pub fn end(&mut self) {
        if std::mem::replace(&mut self.version, ENDED) != ENDED {
            self.hook.concurrency.release();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}
