//! Webhooks and flows with limits that change.

use serde_json::{Value, json};
use tidegate::base::id::Id;
use tidegate::model::{Application, Flow, Webhook};
use tidegate::store::{Source, StoreError};

use crate::kernel::Random;

/// One application with the webhooks that a simulation calls.
pub struct Model {
    pub application: Application,
    pub webhooks: Vec<Webhook>,
    pub flows: Vec<Flow>,
}

/// The index of a webhook and of its flow: what becomes of its callers.
pub const TEMPLATED: usize = 0;
pub const WORKED: usize = 1;
pub const UNAWAITED: usize = 2;
pub const GUARDED: usize = 3;
pub const WEBHOOKS: usize = 4;

impl Model {
    /// Webhooks that a template answers, that workers answer, that nobody waits for, and that asks for a password.
    pub fn new(random: &mut Random) -> Model {
        let application = Application::create(&json!({"name": "a"}), 0).expect("a name is all it needs");
        let reply = json!({"id": "r", "type": "WebhookReplyNode", "config": {
            "responseCodeTemplate": "201", "bodyTemplate": "{{{data.path}}}"}});
        let worker = json!({"id": "w", "type": "WorkerNode", "config": {
            "ackTimeoutSeconds": 1 + random.below(3), "maxInFlight": 1 + random.below(6)}});
        let mut model = Model { application, webhooks: Vec::new(), flows: Vec::new() };
        for index in 0..WEBHOOKS {
            let nodes = match index {
                TEMPLATED => json!([reply]),
                // The template's reply may come before or after a worker's.
                WORKED if random.one_in(4) => json!([worker, reply]),
                _ => json!([worker]),
            };
            let mut body = json!({"name": "w", "waitForReply": index != UNAWAITED, "limits": limits(random)});
            if index == GUARDED {
                body["basicAuthUsername"] = Value::from("u");
                body["basicAuthPassword"] = Value::from("p");
            }
            let mut webhook = Webhook::create(&body, model.application.id, 0).expect("a good webhook");
            // The same in each run, so that a seed replays: they say which core owns a flow.
            webhook.id = Id::from_raw([1 + index as u8; 12]);
            let flow = json!({"name": "f", "nodes": nodes,
                "triggers": [{"type": "webhook", "key": webhook.id.to_string()}]});
            let mut flow = Flow::create(&flow, model.application.id, 0).expect("a good flow");
            flow.id = Id::from_raw([WEBHOOKS as u8 + 1 + index as u8; 12]);
            model.flows.push(flow);
            model.webhooks.push(webhook);
        }
        model
    }

    /// Other limits for a webhook.
    pub fn change(&mut self, index: usize, random: &mut Random) {
        let body = json!({"limits": limits(random)});
        self.webhooks[index].patch(&body, 0).expect("good limits");
    }
}

fn limits(random: &mut Random) -> Value {
    json!({
        "requestsPerWindow": 1 + random.below(12),
        "windowSeconds": 1 + random.below(4),
        "concurrency": 1 + random.below(4),
        "payloadBytes": 200,
        "replyTimeoutSeconds": 1 + random.below(4),
    })
}

impl Source for Model {
    fn application(&self, id: &Id) -> Result<Option<Application>, StoreError> {
        Ok((self.application.id == *id).then(|| self.application.clone()))
    }

    fn webhook(&self, id: &Id) -> Result<Option<Webhook>, StoreError> {
        Ok(self.webhooks.iter().find(|webhook| webhook.id == *id).cloned())
    }

    fn flow(&self, id: &Id) -> Result<Option<Flow>, StoreError> {
        Ok(self.flows.iter().find(|flow| flow.id == *id).cloned())
    }

    fn flows_of_webhook(&self, id: &Id) -> Result<Vec<Flow>, StoreError> {
        Ok(self.flows.iter().filter(|flow| flow.webhook_ids().contains(id)).cloned().collect())
    }

    fn for_each_application(&self, each: &mut dyn FnMut(Application)) -> Result<(), StoreError> {
        each(self.application.clone());
        Ok(())
    }

    fn for_each_webhook(&self, each: &mut dyn FnMut(Webhook)) -> Result<(), StoreError> {
        self.webhooks.iter().for_each(|webhook| each(webhook.clone()));
        Ok(())
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(Flow)) -> Result<(), StoreError> {
        self.flows.iter().for_each(|flow| each(flow.clone()));
        Ok(())
    }
}
