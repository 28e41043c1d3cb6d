//! Bodies of the REST API: refused with a field, or taken; what was taken is stored, shown, sent back and compiled
//! without a change.
//!
//! The first byte chooses the resource.

#![no_main]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/source.rs"]
mod source;

use common::{NOW, id};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use source::Model;
use tidegate::model::{Application, Flow, ModelError, Webhook};
use tidegate::registry::{Registry, check_application, check_flow, check_webhook};

const LATER: u64 = NOW.unix_millis + 1;

fuzz_target!(|data: &[u8]| {
    let Some((&which, text)) = data.split_first() else { return };
    let Ok(body) = serde_json::from_slice::<Value>(text) else { return };
    let refused = match which % 3 {
        0 => webhook(&body),
        1 => flow(&body),
        _ => application(&body),
    };
    if let Err(error) = refused {
        assert!(!error.message().is_empty());
    }
});

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
        trigger.key = webhook.id;
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
    check_application(&application)?;
    let text = json!({"name": "w", "basicAuthUsername": "{{globals.a}}{{#each globals}}{{this}}{{/each}}"});
    let webhook = Webhook::create(&text, application.id, NOW.unix_millis).expect("a good webhook");
    compile(Model::new(Some(application), vec![webhook], Vec::new()));
    Ok(())
}

fn compile(model: Model) -> Registry {
    let registry = Registry::new(source::DEFAULTS.clone());
    registry.load(&model, NOW).expect("a model in memory can always be read");
    assert_eq!(registry.len(), 1);
    registry
}
