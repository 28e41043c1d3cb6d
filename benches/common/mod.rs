//! What the benchmarks share: the allocator of the program, a model in memory, an ordinary request, and the path of a
//! request without sockets ([`path`]).
#![allow(dead_code, reason = "no benchmark uses all of it")]

pub mod hostile;
pub mod path;

use serde_json::{Value, json};
use tidegate::base::clock::{Clock, Now};
use tidegate::base::id::{Id, TokenText};
use tidegate::model::{Application, Flow, Webhook};
use tidegate::registry::{Defaults, Registry};
use tidegate::settings::Settings;
use tidegate::store::{Source, StoreError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A rate that is counted and never reached.
pub const RATE_HIGH: u32 = 1_000_000_000;

/// A model of webhooks that differ in nothing, or of one with a flow.
pub struct Model {
    application: Application,
    pub webhooks: Vec<Webhook>,
    flow: Option<Flow>,
}

impl Model {
    pub fn of(count: usize, now: Now) -> Model {
        let application =
            Application::create(&json!({"name": "bench"}), now.unix_millis).expect("a name is all it needs");
        let body =
            json!({"name": "one of many", "limits": {"requestsPerWindow": RATE_HIGH, "concurrency": 0}});
        let first = Webhook::create(&body, application.id, now.unix_millis).expect("a good webhook");
        let one =
            || Webhook { id: Id::generate(now.unix_millis), token: TokenText::generate(), ..first.clone() };
        let webhooks = (0..count).map(|_| one()).collect();
        Model { application, webhooks, flow: None }
    }

    /// One webhook with these fields beside its limits, and a flow of this node.
    pub fn with_flow(fields: Value, node: Value, now: Now) -> Model {
        let mut model = Model::of(1, now);
        let webhook = &mut model.webhooks[0];
        // Fixed when a webhook is made, and so not for a patch to change.
        webhook.is_websocket = fields["isWebsocket"] == true;
        webhook.patch(&fields, now.unix_millis).expect("good fields");
        let flow = json!({"name": "bench", "nodes": [node],
            "triggers": [{"type": "webhook", "key": webhook.id.to_string()}]});
        let flow = Flow::create(&flow, model.application.id, now.unix_millis).expect("a good flow");
        model.flow = Some(flow);
        model
    }

    pub fn registry(&self, now: Now) -> Registry {
        let registry = Registry::new(Defaults::new(1, &Settings::defaults(1).limits));
        registry.load(self, now).expect("a model in memory can always be read");
        registry
    }
}

impl Source for Model {
    fn application(&self, _: &Id) -> Result<Option<Application>, StoreError> {
        Ok(Some(self.application.clone()))
    }

    fn webhook(&self, id: &Id) -> Result<Option<Webhook>, StoreError> {
        Ok(self.webhooks.iter().find(|webhook| webhook.id == *id).cloned())
    }

    fn flow(&self, id: &Id) -> Result<Option<Flow>, StoreError> {
        Ok(self.flow.clone().filter(|flow| flow.id == *id))
    }

    fn flows_of_webhook(&self, _: &Id) -> Result<Vec<Flow>, StoreError> {
        Ok(self.flow.iter().cloned().collect())
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
        self.flow.iter().for_each(|flow| each(flow.clone()));
        Ok(())
    }
}

/// The present moment.
pub fn now() -> Now {
    Clock::new().now()
}

/// A JSON body of about 200 bytes, as devices send them.
pub const BODY: &str = r#"{"device":"boiler-17","time":1771521960123,"value":30.25,"unit":"°C","ok":true,"tags":["north","cellar"],"note":"sensor \"B\" replaced","readings":[30.1,30.2,30.25,30.3,30.28],"pad":"xxxxxxx"}"#;

/// A POST of [`BODY`] to this token with the header fields of an ordinary client.
pub fn request(token: &str) -> Vec<u8> {
    format!(
        "POST /webhooks/{token}/readings?location=52&floor=1 HTTP/1.1\r\nhost: hooks.example.org\r\nuser-agent: device/2.1\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-request-id: 4f3e2d1c-0b0a-4998-8776-655443322110\r\n\r\n{BODY}",
        BODY.len()
    )
    .into_bytes()
}

/// A request's token where no webhook is looked up.
pub const TOKEN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN";
