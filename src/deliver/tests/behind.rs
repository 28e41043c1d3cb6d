//! The nodes behind a delivering node run when its delivery is done, each once.

use std::sync::Arc;

use serde_json::{Value, json};

use super::NOW;
use crate::deliver::{Delivery, Effect, Origin, run, run_behind};
use crate::model::{Application, Flow, Webhook};
use crate::registry::{Defaults, FlowPlan, Registry};
use crate::reply::{CallerKind, Sheet};
use crate::settings::Settings;
use crate::store::Store;
use crate::trigger::{Payload, Peer, UpgradeData, WsEvent, websocket_event};

/// A flow whose trigger leads to `first`.
fn plan(first: &Value, nodes: &Value) -> Arc<FlowPlan> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let application = Application::create(&json!({"name": "a"}), 1).unwrap();
    let owner = application.id;
    store.insert_application(application).unwrap();
    let webhook = Webhook::create(&json!({"name": "w", "waitForReply": true}), owner, 1).unwrap();
    let id = webhook.id;
    store.insert_webhook(webhook).unwrap();
    let body = json!({"name": "f", "nodes": nodes,
        "triggers": [{"type": "webhook", "key": id.to_string(), "outputIds": [first]}]});
    store.insert_flow(Flow::create(&body, owner, 1).unwrap()).unwrap();
    let registry = Registry::new(Defaults::new(1, &Settings::defaults(1).limits));
    registry.load(&store, NOW).unwrap();
    Arc::clone(&registry.by_id(id).unwrap().flows[0])
}

fn payload(plan: &FlowPlan) -> Payload {
    let data = UpgradeData::new(
        b"/",
        None,
        std::iter::empty(),
        Peer::Local,
        false,
        crate::trigger::Hidden::default(),
        None,
    );
    let event = websocket_event(&mut Vec::new(), NOW, &data, WsEvent::Connect, "id");
    Payload { event, tail: Arc::clone(&plan.tail) }
}

/// The effects as words: `reply x`, or the id of a delivering node.
fn words(effects: &[Effect]) -> Vec<String> {
    let word = |effect: &Effect| match effect {
        Effect::Reply { reply, .. } => {
            format!("reply {}", String::from_utf8_lossy(reply.body.as_deref().unwrap_or_default()))
        }
        Effect::Deliver(Delivery { plan, step, .. }) => plan.steps[*step].node_id.to_string(),
        Effect::Failed { error, .. } => error.to_string(),
    };
    effects.iter().map(word).collect()
}

/// Ends the delivery of a node: the effects of what is behind it.
fn done(effects: &[Effect], node: &str) -> Vec<Effect> {
    let deliveries = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver(delivery) if &*delivery.plan.steps[delivery.step].node_id == node => Some(delivery),
        _ => None,
    });
    let mut after = Vec::new();
    for delivery in deliveries {
        let Some(behind) = &delivery.behind else { continue };
        run_behind(behind, &delivery.payload, &mut Sheet::default(), &mut after);
    }
    after
}

const ORIGIN: Origin = Origin { caller: CallerKind::Http, has_reply_id: true };

fn begun(plan: &Arc<FlowPlan>) -> Vec<Effect> {
    let mut effects = Vec::new();
    run(plan, &payload(plan), ORIGIN, &mut Sheet::default(), &mut effects);
    effects
}

fn worker(id: &str, behind: &Value) -> Value {
    json!({"id": id, "type": "WorkerNode", "outputIds": [behind]})
}

fn forward(id: &str, behind: &Value) -> Value {
    json!({"id": id, "type": "HttpForwardNode", "config": {"url": "http://a/"}, "outputIds": [behind]})
}

fn reply(id: &str) -> Value {
    json!({"id": id, "type": "WebhookReplyNode", "config": {"bodyTemplate": id}})
}

#[test]
fn a_node_waits_for_the_delivery_before_it_whichever_kind_that_is() {
    let nodes = json!([forward("f", &json!(["w"])), worker("w", &json!(["r"])), reply("r")]);
    let plan = plan(&json!(["f"]), &nodes);
    let first = begun(&plan);
    assert_eq!(words(&first), ["f"]);
    let second = done(&first, "f");
    assert_eq!(words(&second), ["w"]);
    assert_eq!(words(&done(&second, "w")), ["reply r"]);
    assert!(words(&done(&second, "w")).is_empty(), "it has run");
}

#[test]
fn a_node_behind_several_runs_for_the_first_that_is_done_and_one_that_was_reached_at_once_does_not_again() {
    let nodes = json!([
        worker("a", &json!(["both", "early"])),
        forward("b", &json!(["both"])),
        reply("both"),
        reply("early"),
    ]);
    let plan = plan(&json!(["a", "b", "early"]), &nodes);
    let first = begun(&plan);
    assert_eq!(words(&first), ["a", "b", "reply early"]);
    assert_eq!(words(&done(&first, "b")), ["reply both"]);
    assert!(words(&done(&first, "a")).is_empty());
}

#[test]
fn conditions_behind_a_delivery_decide_and_a_circle_ends() {
    let nodes = json!([
        worker("a", &json!(["if"])),
        {"id": "if", "type": "ConditionalNode", "config": {"expression": "{{data.path}} === '/'"},
            "outputIds": [["no"], ["yes", "a"]]},
        reply("no"),
        reply("yes"),
    ]);
    let first = begun(&plan(&json!(["a"]), &nodes));
    assert_eq!(words(&done(&first, "a")), ["reply yes"]);
}

#[test]
fn nothing_is_kept_of_a_flow_with_nothing_behind_its_deliveries() {
    let nodes = json!([worker("a", &json!([])), reply("r")]);
    let plan = plan(&json!(["a", "r"]), &nodes);
    assert!(plan.branches.is_none());
    let first = begun(&plan);
    assert_eq!(words(&first), ["a", "reply r"]);
    assert!(matches!(&first[0], Effect::Deliver(Delivery { behind: None, .. })));
}
