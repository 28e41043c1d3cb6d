//! Changes of the model at every point of a WebSocket's life, from a seed: while its upgrade is under way, between its
//! messages, before, during and after the round that brings a change to a core's sessions, and while a change of many
//! webhooks is published one by one.
//!
//! Held at every message: it is taken only from a caller who would be let in at that moment. At the end of the rounds: no
//! session is open whose caller would not be let in, none was closed without a reason, each was closed with 1008, and the
//! webhooks count exactly the sessions that are open.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;
use tidegate::base::clock::Now;
use tidegate::base::id::Id;
use tidegate::base::slots::{Key, Round, Slots};
use tidegate::ingress::session::{Refreshed, Session};
use tidegate::model::{Application, Flow, Webhook};
use tidegate::registry::{Defaults, Hook, Registry};
use tidegate::settings::Settings;
use tidegate::store::{Affected, Source, StoreError};

const SEEDS: u64 = 400;
const STEPS: u32 = 250;
const WEBHOOKS: usize = 3;
/// Passwords that come and go: few, so that one often comes back.
const PASSWORDS: u64 = 3;
/// Places that are visited in one piece of a round.
const PIECE: usize = 2;

#[test]
fn a_change_reaches_every_session_whatever_it_is_busy_with() {
    let (mut closed, mut messages) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        closed += world.closed;
        messages += world.messages;
    }
    // The simulation would prove little if nothing of a kind ever happened.
    assert!(closed > SEEDS && messages > SEEDS, "{closed} closed, {messages} messages");
}

/// A caller's connection.
struct Connection {
    session: Session,
    webhook: usize,
    password: String,
    /// Whether there was a moment since its admission at which its caller would not have been let in.
    was_refused: bool,
}

struct World {
    random: Random,
    model: Model,
    registry: Registry,
    /// Ids whose change is not published yet.
    unpublished: VecDeque<Id>,
    /// Messages about changes that the core has not taken yet.
    mailbox: usize,
    round: Round,
    /// Admitted, and their upgrade not finished.
    upgrading: Vec<Connection>,
    open: Slots<Connection>,
    closed: u64,
    messages: u64,
    now: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let model = Model::new();
        let registry = Registry::new(Defaults::new(1, &Settings::defaults(1).limits));
        registry.load(&model, at(1)).expect("a model in memory");
        World {
            random: Random(seed),
            model,
            registry,
            unpublished: VecDeque::new(),
            mailbox: 0,
            round: Round::default(),
            upgrading: Vec::new(),
            open: Slots::new(),
            closed: 0,
            messages: 0,
            now: 1,
        }
    }

    fn step(&mut self) {
        self.now += 1;
        match self.random.below(10) {
            0 | 1 => self.call(),
            2 => self.finish_upgrade(),
            3 | 4 => self.message(),
            5 => self.change(),
            6 => self.publish(),
            7 => self.take_message(),
            8 => self.visit(),
            _ => self.leave(),
        }
    }

    /// A caller with some password asks for an upgrade.
    fn call(&mut self) {
        let webhook = self.random.below(WEBHOOKS as u64) as usize;
        let password = format!("p{}", self.random.below(PASSWORDS));
        let pin = self.registry.pin();
        let Some(hook) = pin.find(&self.model.tokens[webhook]) else { return };
        if lets_in(hook, &password)
            && let Some(session) = Session::admit(hook)
        {
            self.upgrading.push(Connection { session, webhook, password, was_refused: false });
        }
    }

    fn finish_upgrade(&mut self) {
        if self.upgrading.is_empty() {
            return;
        }
        let index = self.random.below(self.upgrading.len() as u64) as usize;
        let connection = self.upgrading.swap_remove(index);
        if self.random.below(4) > 0 {
            let key = self.open.insert(connection);
            self.refresh(key);
        }
        // Else it broke before the answer left.
    }

    fn message(&mut self) {
        let Some(key) = self.any() else { return };
        if !self.refresh(key) {
            return;
        }
        self.messages += 1;
        let connection = self.open.get(key).expect("it is open");
        let hook = self.current(connection.webhook).expect("the webhook is there");
        assert!(lets_in(&hook, &connection.password), "a message is taken with {}", connection.password);
        assert!(Arc::ptr_eq(&hook, connection.session.hook()), "it is judged by the hook of now");
    }

    /// Somebody changes the model.
    fn change(&mut self) {
        // The store makes one change after another.
        while !self.unpublished.is_empty() {
            self.publish();
        }
        let webhook = self.random.below(WEBHOOKS as u64) as usize;
        let password = format!("p{}", self.random.below(PASSWORDS));
        let ids = self.model.change(self.random.below(6), webhook, &password, self.now);
        self.unpublished.extend(ids);
    }

    /// Publishes the change of one webhook; after the last one the core is told.
    fn publish(&mut self) {
        let Some(id) = self.unpublished.pop_front() else { return };
        let affected = Affected { webhooks: vec![id], flows: Vec::new(), ..Affected::default() };
        self.registry.refresh(&self.model, &affected, at(self.now)).expect("a model in memory");
        let tokens = &self.model.tokens;
        let hooks: Vec<Option<Arc<Hook>>> =
            tokens.iter().map(|token| self.registry.pin().find(token).cloned()).collect();
        let open = self.open.iter_mut().map(|(_, connection)| connection);
        for connection in open.chain(&mut self.upgrading) {
            let hook = hooks[connection.webhook].as_ref();
            let is_same =
                |hook: &Arc<Hook>| Arc::ptr_eq(&hook.concurrency, &connection.session.hook().concurrency);
            connection.was_refused |=
                !hook.is_some_and(|hook| is_same(hook) && lets_in(hook, &connection.password));
        }
        if self.unpublished.is_empty() {
            self.mailbox += 1;
        }
    }

    fn take_message(&mut self) {
        if self.mailbox > 0 {
            self.mailbox -= 1;
            self.round.begin(self.open.places());
        }
    }

    /// One piece of a round.
    fn visit(&mut self) {
        let Some(places) = self.round.piece(PIECE) else { return };
        assert!(places.len() <= PIECE);
        let keys: Vec<Key> = self.open.iter_within(places).map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| _ = self.refresh(key));
    }

    fn leave(&mut self) {
        if self.random.below(3) == 0
            && let Some(key) = self.any()
        {
            self.open.remove(key);
        }
    }

    /// Refreshes a session; returns whether it stays.
    fn refresh(&mut self, key: Key) -> bool {
        let connection = self.open.get_mut(key).expect("it is open");
        let Refreshed::Ended(closing) = connection.session.refresh(&self.registry) else { return true };
        assert_eq!(closing.code(), 1008);
        assert!(connection.was_refused, "closed without a reason: {closing:?}");
        self.closed += 1;
        self.open.remove(key);
        false
    }

    /// Lets all that is under way come to its end.
    fn settle(&mut self) {
        while !self.unpublished.is_empty() {
            self.publish();
        }
        while self.mailbox > 0 {
            self.take_message();
        }
        while !self.upgrading.is_empty() {
            self.finish_upgrade();
        }
        while !self.round.is_over() {
            self.visit();
        }
        let mut counts = [0; WEBHOOKS];
        for (_, connection) in self.open.iter() {
            let hook = self.current(connection.webhook).expect("a session outlives its webhook");
            assert!(lets_in(&hook, &connection.password), "open with {}", connection.password);
            counts[connection.webhook] += 1;
        }
        for (webhook, count) in counts.into_iter().enumerate() {
            let held = self.current(webhook).map_or(0, |hook| hook.concurrency.held());
            assert_eq!(held, count, "sessions of webhook {webhook}");
        }
    }

    fn current(&self, webhook: usize) -> Option<Arc<Hook>> {
        self.registry.pin().find(&self.model.tokens[webhook]).cloned()
    }

    fn any(&mut self) -> Option<Key> {
        let keys: Vec<Key> = self.open.iter().map(|(key, _)| key).collect();
        (!keys.is_empty()).then(|| keys[self.random.below(keys.len() as u64) as usize])
    }
}

fn lets_in(hook: &Hook, password: &str) -> bool {
    let sent = format!("Basic {}", BASE64_STANDARD.encode(format!("u:{password}")));
    hook.enabled && hook.basic().is_none_or(|basic| basic.check(Some(sent.as_bytes())))
}

fn at(nanos: u64) -> Now {
    Now { nanos, unix_millis: 0 }
}

/// One application whose webhooks take their password from its globals, or have one of their own.
struct Model {
    application: Application,
    tokens: Vec<tidegate::base::id::Token>,
    /// As they were created, so that one can come back under its id and token.
    created: Vec<Webhook>,
    webhooks: Vec<Option<Webhook>>,
}

impl Model {
    fn new() -> Model {
        let globals = json!([{"key": "password", "json": "\"p0\""}]);
        let application =
            Application::create(&json!({"name": "a", "globals": globals}), 0).expect("a good application");
        let body = json!({"name": "w", "isWebsocket": true, "basicAuthUsername": "u",
            "basicAuthPassword": "{{globals.password}}"});
        let created: Vec<Webhook> = (0..WEBHOOKS)
            .map(|_| Webhook::create(&body, application.id, 0).expect("a good webhook"))
            .collect();
        let tokens = created.iter().map(|webhook| webhook.token.key()).collect();
        let webhooks = created.iter().cloned().map(Some).collect();
        Model { application, tokens, created, webhooks }
    }

    /// Makes one kind of change; returns the webhooks that it affects.
    fn change(&mut self, kind: u64, index: usize, password: &str, now: u64) -> Vec<Id> {
        let id = self.created[index].id;
        let patch = match kind {
            0 => {
                let globals = json!([{"key": "password", "json": format!("\"{password}\"")}]);
                self.application.patch(&json!({"globals": globals}), now).expect("good globals");
                return self.created.iter().map(|webhook| webhook.id).collect();
            }
            1 => json!({"basicAuthPassword": password}),
            2 => json!({"basicAuthPassword": "{{globals.password}}"}),
            3 => json!({"limits": {"payloadBytes": 1_000 + now, "concurrency": 1 + now % 5}}),
            4 => json!({"enabled": !self.webhooks[index].as_ref().is_some_and(|webhook| webhook.enabled)}),
            _ => {
                // Deleted, or created again under the same id and token.
                let before = self.webhooks[index].take();
                if before.is_none() {
                    self.webhooks[index] = Some(self.created[index].clone());
                }
                return vec![id];
            }
        };
        if let Some(webhook) = &mut self.webhooks[index] {
            webhook.patch(&patch, now).expect("a good change");
        }
        vec![id]
    }
}

impl Source for Model {
    fn application(&self, id: &Id) -> Result<Option<Application>, StoreError> {
        Ok((self.application.id == *id).then(|| self.application.clone()))
    }

    fn webhook(&self, id: &Id) -> Result<Option<Webhook>, StoreError> {
        Ok(self.webhooks.iter().flatten().find(|webhook| webhook.id == *id).cloned())
    }

    fn flow(&self, _id: &Id) -> Result<Option<Flow>, StoreError> {
        Ok(None)
    }

    fn flows_of_webhook(&self, _id: &Id) -> Result<Vec<Flow>, StoreError> {
        Ok(Vec::new())
    }

    fn for_each_application(&self, each: &mut dyn FnMut(Application)) -> Result<(), StoreError> {
        each(self.application.clone());
        Ok(())
    }

    fn for_each_webhook(&self, each: &mut dyn FnMut(Webhook)) -> Result<(), StoreError> {
        self.webhooks.iter().flatten().for_each(|webhook| each(webhook.clone()));
        Ok(())
    }

    fn for_each_flow(&self, _each: &mut dyn FnMut(Flow)) -> Result<(), StoreError> {
        Ok(())
    }
}

/// SplitMix64: the same numbers for the same seed, on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}
