//! Publication: what is published, what is shared, and what happens to a change that cannot be published.

use serde_json::json;

use super::*;
use crate::base::clock::Clock;
use crate::model::{Application, Webhook};
use crate::settings::Settings;
use crate::store::Store;

/// The reply node of a webhook's one flow.
fn node(registry: &Registry, webhook: Id) -> Arc<crate::reply::ReplyNode> {
    let hook = registry.by_id(webhook).expect("published");
    match &hook.flows[0].steps[0].action {
        Action::Reply(node) => Arc::clone(node),
        _ => panic!("it is another node"),
    }
}

#[test]
fn webhooks_that_trigger_one_flow_share_its_templates() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("opens");
    let application = Application::create(&json!({"name": "a"}), 1).expect("valid");
    let hooks: Vec<Webhook> =
        (0..2).map(|_| Webhook::create(&json!({"name": "w"}), application.id, 1).expect("valid")).collect();
    let keys: Vec<_> =
        hooks.iter().map(|hook| json!({"type": "webhook", "key": hook.id.to_string()})).collect();
    let nodes = json!([{"type": "WebhookReplyNode", "config": {"bodyTemplate": "a template"}}]);
    let body = json!({"name": "f", "triggers": keys, "nodes": nodes});
    let flow = Flow::create(&body, application.id, 1).expect("valid");
    let affected = Affected {
        webhooks: hooks.iter().map(|hook| hook.id).collect(),
        flows: vec![flow.id],
        ..Affected::default()
    };
    store
        .change(move |changes| {
            changes.insert_application(application.clone())?;
            for hook in &hooks {
                changes.insert_webhook(hook.clone())?;
            }
            changes.insert_flow(flow.clone())
        })
        .expect("kept");
    let registry = Registry::new(Defaults::new(1, &Settings::defaults(1).limits));
    let now = Clock::new().now();
    registry.load(&store, now).expect("read");
    let [one, other] = [affected.webhooks[0], affected.webhooks[1]];
    let loaded = node(&registry, one);
    assert!(Arc::ptr_eq(&loaded, &node(&registry, other)));
    registry.refresh(&store, &affected, now).expect("read");
    let refreshed = node(&registry, one);
    assert!(Arc::ptr_eq(&refreshed, &node(&registry, other)) && !Arc::ptr_eq(&refreshed, &loaded));
}

/// A model whose records of some webhooks cannot be read.
struct Damaged<'s> {
    store: &'s Store,
    unreadable: Vec<Id>,
}

impl Source for Damaged<'_> {
    fn application(&self, id: &Id) -> Result<Option<Application>, StoreError> {
        self.store.application(id)
    }

    fn webhook(&self, id: &Id) -> Result<Option<Webhook>, StoreError> {
        if self.unreadable.contains(id) {
            return Err(StoreError::Damaged { path: "model.redb".into(), why: "a bad page".to_owned() });
        }
        self.store.webhook(id)
    }

    fn flow(&self, id: &Id) -> Result<Option<Flow>, StoreError> {
        self.store.flow(id)
    }

    fn flows_of_webhook(&self, id: &Id) -> Result<Vec<Flow>, StoreError> {
        self.store.flows_of_webhook(id)
    }

    fn for_each_application(&self, each: &mut dyn FnMut(Application)) -> Result<(), StoreError> {
        self.store.for_each_application(each)
    }

    fn for_each_webhook(&self, each: &mut dyn FnMut(Webhook)) -> Result<(), StoreError> {
        self.store.for_each_webhook(each)
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(Flow)) -> Result<(), StoreError> {
        self.store.for_each_flow(each)
    }
}

/// A store with webhooks of one application.
fn store_of(folder: &std::path::Path, fields: &serde_json::Value, count: usize) -> (Store, Vec<Webhook>) {
    let store = Store::open(folder).expect("opens");
    let application = Application::create(&json!({"name": "a"}), 1).expect("valid");
    let hooks: Vec<Webhook> =
        (0..count).map(|_| Webhook::create(fields, application.id, 1).expect("valid")).collect();
    store.insert_application(application).expect("kept");
    for hook in &hooks {
        store.insert_webhook(hook.clone()).expect("kept");
    }
    (store, hooks)
}

#[test]
fn what_cannot_be_published_is_tried_again_and_holds_nothing_else_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, hooks) = store_of(folder.path(), &json!({"name": "w"}), 3);
    let registry = Registry::new(Defaults::new(1, &Settings::defaults(1).limits));
    let now = Clock::new().now();
    let affected = Affected {
        webhooks: hooks.iter().map(|hook| hook.id).collect(),
        flows: Vec::new(),
        ..Affected::default()
    };
    let mut source = Damaged { store: &store, unreadable: vec![hooks[1].id] };
    assert!(registry.refresh(&source, &affected, now).is_err() && registry.is_behind());
    let published = |index: usize| registry.by_id(hooks[index].id).is_some();
    assert!(published(0) && !published(1) && published(2));
    // A change of another webhook does not make it forgotten, nor is it told of this one.
    let other = Affected { webhooks: vec![hooks[0].id], flows: Vec::new(), ..Affected::default() };
    assert!(registry.refresh(&source, &other, now).is_ok() && registry.is_behind());
    let (tried, error) = registry.heal(&source, now);
    assert_eq!(tried.webhooks, [hooks[1].id]);
    assert!(error.is_some() && registry.is_behind() && !published(1));
    source.unreadable.clear();
    let (tried, error) = registry.heal(&source, now);
    assert_eq!((tried.webhooks, error), (vec![hooks[1].id], None));
    assert!(published(1) && !registry.is_behind());
    assert_eq!(registry.heal(&source, now), (Affected::default(), None));
}

#[test]
fn what_was_spent_stays_spent_although_the_limit_is_switched_off_and_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = |calls: u32, seconds: u32| json!({"name": "w", "limits": {"requestsPerWindow": calls, "windowSeconds": seconds}});
    let (store, hooks) = store_of(folder.path(), &limits(10, 3_600), 1);
    let (id, application) = (hooks[0].id, hooks[0].application_id);
    let registry = Registry::new(Defaults::new(2, &Settings::defaults(2).limits));
    let now = Clock::new().now();
    registry.load(&store, now).expect("read");
    let take = |core: usize| {
        let hook = registry.by_id(id).expect("published");
        hook.rate.as_ref().is_none_or(|rate| rate.take(core, now).is_ok())
    };
    let change = |calls: u32, seconds: u32| {
        let patch = limits(calls, seconds);
        store.update_webhook(application, id, move |webhook| webhook.patch(&patch, 2)).expect("kept");
        let affected = Affected { webhooks: vec![id], flows: Vec::new(), ..Affected::default() };
        registry.refresh(&store, &affected, now).expect("read");
    };
    assert!((0..7).all(|call| take(call % 2)));
    change(0, 3_600);
    assert!(registry.by_id(id).expect("published").rate.is_none(), "it is not counted where it has no limit");
    assert!((0..100).all(|call| take(call % 2)));
    change(0, 60);
    change(10, 3_600);
    assert_eq!((0..10).filter(|call| take(call % 2)).count(), 3);
    // However often, and with other numbers in between.
    for _ in 0..3 {
        change(0, 3_600);
        change(5, 3_600);
        assert!(!take(0) && !take(1));
    }
    change(0, 3_600);
    change(12, 3_600);
    assert_eq!((0..10).filter(|call| take(call % 2)).count(), 2);
}
