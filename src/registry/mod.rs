//! Layer 4: from the model to [`Hook`]s, and from a token to its hook.
//!
//! Readers pin once for a piece of work and borrow hooks from the pin; nothing they do writes memory that another
//! core writes. A change is compiled here, by the thread that made it, and published whole: a reader sees the hook
//! before the change or after it, never in between, and from the moment [`Registry::refresh`] returns only after.
//! The model itself is never changed here.

mod aliases;
mod aside;
mod backlog;
mod behind;
mod compile;
mod condition;
mod dry_run;
mod flow_states;
mod forward;
mod hook;
mod nats;
mod options;
mod runs;
mod sender;
mod target;

use std::borrow::Borrow;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use papaya::LocalGuard;

use self::aliases::{Alias, Aliases};
use self::compile::{ApplicationPart, Wiring};
use self::flow_states::FlowStates;
use crate::base::clock::Now;
use crate::base::id::{Id, Token};
use crate::model::{Flow, Webhook};
use crate::store::{Affected, Source, StoreError};

type HashMap<K, V> = std::collections::HashMap<K, V, ahash::RandomState>;
type HashSet<K> = std::collections::HashSet<K, ahash::RandomState>;
type SharedMap<K, V> = papaya::HashMap<K, V, ahash::RandomState>;

pub(crate) use backlog::{Backlog, FLOW_BYTES_MAX};
pub use compile::{Defaults, check_flow, check_webhook};
pub(crate) use condition::Condition;
pub(crate) use dry_run::plan_alone;
pub(crate) use forward::{BodySource, ForwardNode, ForwardRules, Signing};
pub(crate) use hook::{Action, Branches, FlowPlan, Step};
pub use hook::{Hook, Reads};
pub(crate) use nats::NatsNode;
pub(crate) use options::{Deduplicate, HookOptions, TemplateMark};
pub(crate) use runs::FlowRuns;
pub(crate) use sender::{AuthPlace, Sender, tail_of};
pub use target::TargetNode;

/// All the hooks, by token and by id. A hook is its own key in both, so that a webhook costs a few words beside it and
/// its token is compared where the rest of what a request needs lies.
pub struct Registry {
    /// The hooks by token, for requests.
    by_token: SharedMap<ByToken, Arc<Hook>>,
    /// The hooks by id, for the control plane; no request uses it.
    by_id: RwLock<HashSet<ById>>,
    flows: FlowStates,
    defaults: Defaults,
    aside: aside::RetiredRates,
    aliases: Aliases,
    behind: behind::PendingRefreshes,
    /// How many changes were published, and one.
    version: AtomicU64,
}

/// A hook that is found by its token.
struct ByToken(Arc<Hook>);

impl Borrow<Token> for ByToken {
    fn borrow(&self) -> &Token {
        &self.0.token
    }
}

impl PartialEq for ByToken {
    fn eq(&self, other: &ByToken) -> bool {
        self.0.token == other.0.token
    }
}

impl Eq for ByToken {}

impl Hash for ByToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.token.hash(state);
    }
}

/// A hook that is found by its webhook's id.
struct ById(Arc<Hook>);

impl Borrow<Id> for ById {
    fn borrow(&self) -> &Id {
        &self.0.webhook_id
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &ById) -> bool {
        self.0.webhook_id == other.0.webhook_id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.webhook_id.hash(state);
    }
}

/// Runs `refresh` so that a panic in it is an error of one webhook. What it changes is a whole entry or none.
fn guarded(refresh: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(refresh))
        .unwrap_or_else(|_| Err(StoreError::NotApplied { why: "compiling it panicked".to_owned() }))
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
            by_token: SharedMap::with_hasher(ahash::RandomState::new()),
            by_id: RwLock::default(),
            flows: FlowStates::new(defaults.cores),
            defaults,
            aside: aside::RetiredRates::default(),
            aliases: Aliases::default(),
            behind: behind::PendingRefreshes::default(),
            version: AtomicU64::new(1),
        }
    }

    /// Another number after each change that was published, never 0: who has looked at this one need not look again.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Pins the registry for one piece of work. Never held across a wait.
    #[must_use]
    pub fn pin(&self) -> Pin<'_> {
        Pin { registry: self, guard: self.by_token.guard() }
    }

    /// The hook of a webhook, by id.
    #[must_use]
    pub fn by_id(&self, id: Id) -> Option<Arc<Hook>> {
        self.read_by_id().get(&id).map(|hook| Arc::clone(&hook.0))
    }

    /// The triggers that wait for a flow's workers. `None`: no such flow exists.
    #[must_use]
    pub fn flow(&self, id: Id) -> Option<Arc<Backlog>> {
        self.flows.known_backlog(id)
    }

    /// Counts of a flow's recent runs; `None` if no webhook has triggered it since it was made.
    #[must_use]
    pub fn runs(&self, flow: Id) -> Option<Arc<FlowRuns>> {
        self.flows.known_runs(flow)
    }

    /// How many webhooks there are.
    #[must_use]
    pub fn webhooks(&self) -> usize {
        self.read_by_id().len()
    }

    /// Compiles and publishes every webhook of the model, for the start.
    ///
    /// # Errors
    /// If the model cannot be read.
    pub fn load(&self, source: &dyn Source, now: Now) -> Result<(), StoreError> {
        let mut parts: HashMap<Id, ApplicationPart> = HashMap::default();
        source.for_each_application(&mut |application| {
            parts.insert(application.id, ApplicationPart::new(&application));
        })?;
        let mut flows: HashMap<Id, Vec<Arc<Flow>>> = HashMap::default();
        source.for_each_flow(&mut |flow| {
            let flow = Arc::new(flow);
            self.flows.backlog(flow.id);
            for key in flow.webhook_ids() {
                flows.entry(key).or_default().push(Arc::clone(&flow));
            }
        })?;
        let wiring = self.wiring(now);
        let (mut hooks, mut aliases) = (Vec::new(), Vec::new());
        source.for_each_webhook(&mut |webhook| {
            let Some(part) = parts.get(&webhook.application_id) else { return };
            let flows = flows.get(&webhook.id).map_or(&[][..], Vec::as_slice);
            let hook = Arc::new(compile::hook(&wiring, part, &webhook, flows, None));
            aliases.extend(self.aliases_of(&wiring, part, &webhook, flows, &hook));
            hooks.push(hook);
        })?;
        // Once their number is known: a map that grows by doubling moves each of a million several times.
        let (by_token, mut by_id) = (self.by_token.pin(), self.write_by_id());
        by_token.reserve(hooks.len());
        by_id.reserve(hooks.len());
        for hook in hooks {
            by_token.insert(ByToken(Arc::clone(&hook)), Arc::clone(&hook));
            by_id.replace(ById(hook));
        }
        for alias in aliases {
            by_token.insert(ByToken(Arc::clone(&alias)), alias);
        }
        Ok(())
    }

    /// Compiles what is affected anew and publishes it; what is gone from the model goes from here. When it returns,
    /// every core sees the change.
    ///
    /// # Errors
    /// If some of it cannot be read or compiled: the first reason. All the rest is published; that part stays as it was,
    /// and is tried again by [`Self::heal`].
    pub fn refresh(&self, source: &dyn Source, affected: &Affected, now: Now) -> Result<(), StoreError> {
        let mut behind = self.behind.lock();
        let (failed, error) = self.apply(source, affected, now);
        behind.replace(affected, failed);
        error.map_or(Ok(()), Err)
    }

    /// Whether a change could not be published and waits for [`Self::heal`].
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind.is_behind()
    }

    /// Tries again to publish what could not be published; returns what acts differently since, if anything.
    ///
    /// # Errors
    /// As [`Self::refresh`], for what still cannot be published.
    pub fn heal(&self, source: &dyn Source, now: Now) -> (Affected, Option<StoreError>) {
        let mut behind = self.behind.lock();
        let all = behind.affected();
        let (failed, error) = self.apply(source, &all, now);
        behind.replace(&all, failed);
        (all, error)
    }

    /// Compiles and publishes each of what is affected by itself; returns what failed, and the first reason.
    fn apply(&self, source: &dyn Source, affected: &Affected, now: Now) -> (Affected, Option<StoreError>) {
        let (mut failed, mut first) = (Affected::default(), None);
        for &id in &affected.flows {
            if let Err(error) = guarded(|| self.refresh_flow(source, id)) {
                failed.flows.push(id);
                first.get_or_insert(error);
            }
        }
        let wiring = self.wiring(now);
        let mut parts: HashMap<Id, ApplicationPart> = HashMap::default();
        for &id in &affected.webhooks {
            if let Err(error) = guarded(|| self.refresh_webhook(source, id, &wiring, &mut parts)) {
                failed.webhooks.push(id);
                first.get_or_insert(error);
            }
        }
        (failed, first)
    }

    fn refresh_flow(&self, source: &dyn Source, id: Id) -> Result<(), StoreError> {
        if source.flow(&id)?.is_some() {
            self.flows.backlog(id);
        } else {
            self.flows.delete(id);
        }
        Ok(())
    }

    fn refresh_webhook(
        &self,
        source: &dyn Source,
        id: Id,
        wiring: &Wiring<'_>,
        parts: &mut HashMap<Id, ApplicationPart>,
    ) -> Result<(), StoreError> {
        let before = self.by_id(id);
        let Some(webhook) = source.webhook(&id)? else {
            self.withdraw(id);
            return Ok(());
        };
        let part = match parts.entry(webhook.application_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => match source.application(&webhook.application_id)? {
                Some(application) => unknown.insert(ApplicationPart::new(&application)),
                None => {
                    self.withdraw(id);
                    return Ok(());
                }
            },
        };
        let flows = source.flows_of_webhook(&id)?;
        let hook = Arc::new(compile::hook(wiring, part, &webhook, &flows, before.as_deref()));
        let had = self.aliases.replace(id, Vec::new());
        let aliases = self.aliases_of(wiring, part, &webhook, &flows, &hook);
        let kept: Vec<Token> = aliases.iter().chain([&hook]).map(|hook| hook.token).collect();
        for alias in aliases {
            self.by_token.pin().insert(ByToken(Arc::clone(&alias)), alias);
        }
        self.publish(hook);
        let before = before.map(|before| before.token);
        for token in had.into_iter().map(|alias| alias.token).chain(before) {
            if !kept.contains(&token) {
                self.remove(id, &token);
            }
        }
        Ok(())
    }

    /// Compiles a hook for each earlier token of a webhook whose grace has not ended. They share the counts of the
    /// webhook's own hook.
    fn aliases_of(
        &self,
        wiring: &Wiring<'_>,
        application: &ApplicationPart,
        webhook: &Webhook,
        flows: &[impl Borrow<Flow>],
        hook: &Hook,
    ) -> Vec<Arc<Hook>> {
        let mut aliases = Vec::new();
        let mut hooks = Vec::new();
        for previous in &webhook.previous_tokens {
            if previous.ends_millis > wiring.now.unix_millis {
                let alias = compile::alias(wiring, application, webhook, previous, flows, hook);
                aliases.push(Alias { token: alias.token, ends_millis: previous.ends_millis });
                hooks.push(Arc::new(alias));
            }
        }
        self.aliases.replace(webhook.id, aliases);
        hooks
    }

    /// Webhooks with an earlier token whose grace has ended: they are to be refreshed.
    #[must_use]
    pub fn outdated(&self, unix_millis: u64) -> Affected {
        Affected { webhooks: self.aliases.over(unix_millis), ..Affected::default() }
    }

    /// Takes a token away, unless it is another webhook's by now.
    fn remove(&self, webhook: Id, token: &Token) {
        let _ = self.by_token.pin().remove_if(token, |_, hook| hook.webhook_id == webhook);
    }

    fn wiring(&self, now: Now) -> Wiring<'_> {
        Wiring::new(&self.defaults, &self.flows, &self.aside, now)
    }

    fn publish(&self, hook: Arc<Hook>) {
        self.by_token.pin().insert(ByToken(Arc::clone(&hook)), Arc::clone(&hook));
        self.write_by_id().replace(ById(hook));
        self.version.fetch_add(1, Ordering::Release);
    }

    fn withdraw(&self, id: Id) {
        let withdrawn = self.write_by_id().take(&id);
        self.aside.take(id);
        let aliases = self.aliases.replace(id, Vec::new());
        let own = withdrawn.map(|ById(hook)| hook.token);
        for token in aliases.into_iter().map(|alias| alias.token).chain(own) {
            self.remove(id, &token);
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    // Whoever panics with the lock has changed a whole entry or none.
    fn read_by_id(&self) -> RwLockReadGuard<'_, HashSet<ById>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_by_id(&self) -> RwLockWriteGuard<'_, HashSet<ById>> {
        self.by_id.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin<'_> {
    /// The hook with this token.
    #[must_use]
    pub fn find(&self, token: &Token) -> Option<&Arc<Hook>> {
        self.registry.by_token.get(token, &self.guard)
    }
}

#[cfg(test)]
mod tests;
