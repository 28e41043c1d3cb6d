//! Bodies of the REST API: refused with a field, or taken; what was taken is stored, shown, sent back and compiled
//! without a change.
//!
//! The first byte chooses the resource. Each input also chooses a body that is right, with white space where it may
//! stand: that one must be taken.

#![no_main]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/source.rs"]
mod source;

use common::{Choices, NOW, id};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use source::Model;
use tidegate::model::{Application, Flow, ModelError, TriggerKind, Webhook};
use tidegate::registry::{Registry, check_flow, check_webhook};

const LATER: u64 = NOW.unix_millis + 1;

/// Bodies that are right, with the resource that they are of.
const GOOD: [(u8, &str); 8] = [
    (0, r#"{"name":"a"}"#),
    (
        0,
        r#"{"name":"a","waitForReply":true,"responseCode":201,"limits":{"requestsPerWindow":5,"concurrency":0}}"#,
    ),
    (0, r#"{"name":"a","description":"b","isWebsocket":true,"limits":{"payloadBytes":100}}"#),
    (1, r#"{"name":"f"}"#),
    (
        1,
        r#"{"name":"f","enabled":false,"nodes":[{"id":"n","type":"WorkerNode","config":{"maxInFlight":3}}]}"#,
    ),
    (
        1,
        r#"{"name":"f","nodes":[{"type":"WebhookReplyNode","config":{"bodyTemplate":"{{data.a}}","headerInfo":[]}}]}"#,
    ),
    (2, r#"{"name":"app"}"#),
    (2, r#"{"name":"app","description":"b"}"#),
];

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let (which, good) = choices.one_of(&GOOD);
    let spaced = common::spaced(good, &mut choices);
    let body = serde_json::from_str(&spaced).expect("JSON with white space");
    if let Err(error) = take(which, &body) {
        panic!("{}: {spaced}", error.message());
    }
    let Some((&which, text)) = data.split_first() else { return };
    let Ok(body) = serde_json::from_slice::<Value>(text) else { return };
    if let Err(error) = take(which, &body) {
        assert!(!error.message().is_empty());
    }
});

fn take(which: u8, body: &Value) -> Result<(), ModelError> {
    match which % 3 {
        0 => webhook(body),
        1 => flow(body),
        _ => application(body),
    }
}

fn webhook(body: &Value) -> Result<(), ModelError> {
    let webhook = Webhook::create(body, id(1), NOW.unix_millis)?;
    assert_eq!(Webhook::from_stored(&webhook.to_stored()).as_ref(), Ok(&webhook));
    let mut again = webhook.clone();
    again.patch(&webhook.to_api(), LATER).expect("what the API showed is taken back");
    again.last_updated = webhook.last_updated;
    assert_eq!(again, webhook);
    check_webhook(&webhook)?;
    compile(Model::new(None, vec![webhook], Vec::new()));
    Ok(())
}

fn flow(body: &Value) -> Result<(), ModelError> {
    let webhook =
        Webhook::create(&json!({"name": "w"}), id(1), NOW.unix_millis).expect("a name is all it needs");
    let mut flow = Flow::create(body, id(1), NOW.unix_millis)?;
    assert_eq!(Flow::from_stored(&flow.to_stored()).as_ref(), Ok(&flow));
    let mut again = flow.clone();
    again.patch(&flow.to_api(), LATER).expect("what the API showed is taken back");
    again.last_updated = flow.last_updated;
    assert_eq!(again, flow);
    check_flow(&flow)?;
    if let Some(trigger) = flow.triggers.first_mut() {
        trigger.kind = TriggerKind::Webhook(webhook.id);
    }
    let ours = flow.nodes_after(webhook.id).len();
    let (is_wired, is_triggered) = (flow.enabled, !flow.triggers.is_empty());
    let webhook_id = webhook.id;
    let registry = compile(Model::new(None, vec![webhook], vec![flow]));
    let hook = registry.by_id(webhook_id).expect("it was loaded");
    assert_eq!(hook.flows.len(), usize::from(is_wired && is_triggered));
    if let Some(plan) = hook.flows.first() {
        assert_eq!(plan.steps.len(), ours, "every node that is reached compiles");
    }
    Ok(())
}

fn application(body: &Value) -> Result<(), ModelError> {
    let application = Application::create(body, NOW.unix_millis)?;
    assert_eq!(Application::from_stored(&application.to_stored()).as_ref(), Ok(&application));
    let mut again = application.clone();
    again.patch(&application.to_api(), LATER).expect("what the API showed is taken back");
    again.last_updated = application.last_updated;
    assert_eq!(again, application);
    let text = json!({"name": "w", "basicAuthUsername": "{{globals.a}}{{#each globals}}{{this}}{{/each}}"});
    let webhook = Webhook::create(&text, application.id, NOW.unix_millis).expect("a good webhook");
    compile(Model::new(Some(application), vec![webhook], Vec::new()));
    Ok(())
}

fn compile(model: Model) -> Registry {
    let registry = Registry::new(source::DEFAULTS.clone());
    registry.load(&model, NOW).expect("a model in memory can always be read");
    assert_eq!(registry.webhooks(), 1);
    registry
}
