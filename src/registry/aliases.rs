//! The earlier tokens of webhooks that still serve: which there are, and which are over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::base::id::{Id, Token};

/// Earlier tokens by webhook. Few webhooks have any, and no request looks here.
#[derive(Debug, Default)]
pub(super) struct Aliases(Mutex<HashMap<Id, Vec<Alias>, ahash::RandomState>>);

/// An earlier token, and when it is over, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alias {
    pub(super) token: Token,
    pub(super) ends_millis: u64,
}

impl Aliases {
    /// Sets those of a webhook; returns those that it had.
    pub(super) fn replace(&self, webhook: Id, aliases: Vec<Alias>) -> Vec<Alias> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if aliases.is_empty() { all.remove(&webhook) } else { all.insert(webhook, aliases) };
        before.unwrap_or_default()
    }

    /// Webhooks with a token that is over.
    pub(super) fn over(&self, unix_millis: u64) -> Vec<Id> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |aliases: &[Alias]| aliases.iter().any(|alias| alias.ends_millis <= unix_millis);
        all.iter().filter(|(_, aliases)| is_over(aliases)).map(|(id, _)| *id).collect()
    }
}
