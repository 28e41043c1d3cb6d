//! Floor 4: from the model to [`Hook`]s, and from a token to its hook.
//!
//! Readers pin once for a piece of work and borrow hooks from the pin; nothing they do writes memory that another
//! core writes. A change is compiled here, by the thread that made it, and published whole: a reader sees the hook
//! before the change or after it, never in between, and from the moment [`Registry::refresh`] returns only after.
//! The model itself is never changed here.

mod compile;
mod hook;

use std::sync::Arc;

use papaya::{Guard, HashMap, LocalGuard};

use crate::base::clock::Now;
use crate::base::id::{Id, Token};
use crate::model::{Application, Flow, Webhook};

pub use compile::{Defaults, check_application, check_flow, check_webhook};
pub use hook::{Action, FlowPlan, Hook, Step, WorkerPlan};

/// Where the model is read from when a hook is compiled.
pub trait Source {
    /// Why the model could not be read.
    type Error;

    /// One webhook.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn webhook(&self, id: Id) -> Result<Option<Webhook>, Self::Error>;

    /// One application.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn application(&self, id: Id) -> Result<Option<Application>, Self::Error>;

    /// The flows that have a trigger on the webhook, enabled or not.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn flows_of_webhook(&self, id: Id) -> Result<Vec<Flow>, Self::Error>;

    /// Every webhook there is, once each.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn for_each_webhook(&self, each: &mut dyn FnMut(Webhook)) -> Result<(), Self::Error>;

    /// Whether any flow exists at all: a start without flows need not ask for each webhook.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn has_flows(&self) -> Result<bool, Self::Error>;
}

/// All the hooks, by token and by id.
pub struct Registry {
    by_token: HashMap<Token, Arc<Hook>, ahash::RandomState>,
    by_id: HashMap<Id, Arc<Hook>, ahash::RandomState>,
    defaults: Defaults,
}

/// A pin: while it lives, hooks borrowed through it stay.
pub struct Pin<'r> {
    registry: &'r Registry,
    guard: LocalGuard<'r>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(defaults: Defaults) -> Registry {
        Registry {
            by_token: HashMap::with_hasher(ahash::RandomState::new()),
            by_id: HashMap::with_hasher(ahash::RandomState::new()),
            defaults,
        }
    }

    /// Pins the registry for one piece of work. Never held across a wait.
    #[must_use]
    pub fn pin(&self) -> Pin<'_> {
        Pin { registry: self, guard: self.by_token.guard() }
    }

    /// The hook of a webhook, by id.
    #[must_use]
    pub fn by_id(&self, id: Id) -> Option<Arc<Hook>> {
        self.by_id.pin().get(&id).cloned()
    }

    /// How many webhooks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.pin().len()
    }

    /// Whether there is no webhook.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Compiles and publishes every webhook of the model, for the start.
    ///
    /// # Errors
    /// If the model cannot be read.
    pub fn load<S: Source>(&self, source: &S, now: Now) -> Result<(), S::Error> {
        let has_flows = source.has_flows()?;
        let mut applications: std::collections::HashMap<Id, Arc<compile::ApplicationPart>, ahash::RandomState> =
            std::collections::HashMap::default();
        let mut failed = None;
        source.for_each_webhook(&mut |webhook| {
            if failed.is_some() {
                return;
            }
            let part = match applications.get(&webhook.application_id) {
                Some(part) => Arc::clone(part),
                None => match source.application(webhook.application_id) {
                    Ok(Some(application)) => {
                        let part = Arc::new(compile::ApplicationPart::new(&application));
                        applications.insert(webhook.application_id, Arc::clone(&part));
                        part
                    }
                    Ok(None) => return,
                    Err(error) => {
                        failed = Some(error);
                        return;
                    }
                },
            };
            let flows = if has_flows { source.flows_of_webhook(webhook.id) } else { Ok(Vec::new()) };
            match flows {
                Ok(flows) => self.publish(Arc::new(compile::hook(&self.defaults, &part, &webhook, &flows, None, now))),
                Err(error) => failed = Some(error),
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Compiles the named webhooks anew and publishes them; those that are gone from the model go from here. When
    /// it returns, every core sees the change.
    ///
    /// # Errors
    /// If the model cannot be read; the hooks that were not yet compiled stay as they were.
    pub fn refresh<S: Source>(&self, source: &S, webhooks: &[Id], now: Now) -> Result<(), S::Error> {
        let mut parts: Vec<(Id, Arc<compile::ApplicationPart>)> = Vec::new();
        for &id in webhooks {
            let before = self.by_id(id);
            let Some(webhook) = source.webhook(id)? else {
                self.withdraw(id);
                continue;
            };
            let known = parts.iter().find(|(application, _)| *application == webhook.application_id);
            let part = match known {
                Some((_, part)) => Arc::clone(part),
                None => {
                    let Some(application) = source.application(webhook.application_id)? else {
                        self.withdraw(id);
                        continue;
                    };
                    let part = Arc::new(compile::ApplicationPart::new(&application));
                    parts.push((webhook.application_id, Arc::clone(&part)));
                    part
                }
            };
            let flows = source.flows_of_webhook(id)?;
            self.publish(Arc::new(compile::hook(&self.defaults, &part, &webhook, &flows, before.as_deref(), now)));
        }
        Ok(())
    }

    fn publish(&self, hook: Arc<Hook>) {
        self.by_token.pin().insert(hook.token, Arc::clone(&hook));
        self.by_id.pin().insert(hook.webhook_id, hook);
    }

    fn withdraw(&self, id: Id) {
        let by_id = self.by_id.pin();
        if let Some(hook) = by_id.remove(&id) {
            self.by_token.pin().remove(&hook.token);
        }
    }
}

impl Pin<'_> {
    /// The hook with this token.
    #[must_use]
    pub fn find(&self, token: &Token) -> Option<&Arc<Hook>> {
        self.registry.by_token.get(token, &self.guard)
    }

    /// Lets memory that was replaced be freed although the pin stays.
    pub fn refresh(&mut self) {
        self.guard.refresh();
    }
}
