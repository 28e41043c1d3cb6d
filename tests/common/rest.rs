//! The REST API as the tests need it.

use serde_json::{Value, json};

use super::server::ACCESS_TOKEN;
use super::{Response, Server, Wire, request};

/// A webhook that was made.
#[derive(Clone, Debug)]
pub struct Hook {
    pub application: String,
    pub id: String,
    pub token: String,
}

impl Hook {
    /// `/webhooks/<token>` and what follows.
    pub fn target(&self, more: &str) -> String {
        format!("/webhooks/{}{more}", self.token)
    }

    /// A request without a body.
    pub fn get(&self) -> Vec<u8> {
        request("GET", &self.target(""), &[], b"")
    }

    /// A POST of these bytes.
    pub fn post(&self, body: &[u8]) -> Vec<u8> {
        request("POST", &self.target(""), &[("Content-Type", "application/octet-stream")], body)
    }

    /// Its path in the REST API, and what follows.
    pub fn resource(&self, more: &str) -> String {
        format!("/applications/{}/webhooks/{}{more}", self.application, self.id)
    }
}

/// A node that replies with this text.
pub fn reply_node(text: &str) -> Value {
    json!({"type": "WebhookReplyNode", "config": {"bodyTemplate": text}})
}

/// The triggers and nodes of a flow that sends a WebSocket's every message back as it came. `beside` run for every
/// trigger.
pub fn echo_fields(hook: &Hook, beside: &[Value]) -> Value {
    let mut first = vec![json!("is-message")];
    let mut nodes = vec![
        json!({"id": "is-message", "type": "ConditionalNode", "outputIds": [[], ["echo"]],
            "config": {"expression": "{{data.type}} === 'message'"}}),
        json!({"id": "echo", "type": "WebhookReplyNode", "config": {
            "isWebsocketMessage": true,
            "bodyTemplateType": "path",
            "bodyTemplate": "data.message.data",
            "encodingTemplate": "{{data.message.encoding}}",
        }}),
    ];
    for (index, node) in beside.iter().enumerate() {
        let id = json!(format!("beside-{index}"));
        let mut node = node.clone();
        node["id"] = id.clone();
        first.push(id);
        nodes.push(node);
    }
    json!({"triggers": [{"type": "webhook", "key": hook.id, "outputIds": [first]}], "nodes": nodes})
}

impl Server {
    /// One call of the REST API, as it was answered.
    pub fn call_raw(&self, method: &str, path: &str, body: &str) -> Response {
        let bearer = format!("Bearer {ACCESS_TOKEN}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Connection", "close"),
        ];
        Wire::connect(self.admin).ask(request(method, path, &headers, body.as_bytes()))
    }

    /// One call of the REST API: status and JSON.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.call_raw(method, path, &body);
        let json = serde_json::from_slice(&response.body);
        (response.status, json.unwrap_or_else(|error| panic!("{error} in {response:?}")))
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!((200..300).contains(&status), "{method} {path} with {body}: {status} {answer}");
        answer
    }

    /// A webhook with these fields, in an application of its own.
    #[track_caller]
    pub fn webhook(&self, mut fields: Value) -> Hook {
        let application = self.done("POST", "/applications", &json!({"name": "An application"}));
        let application = text(&application["id"]);
        fields["name"] = json!("A webhook");
        let webhook = self.done("POST", &format!("/applications/{application}/webhooks"), &fields);
        Hook { application, id: text(&webhook["id"]), token: text(&webhook["token"]) }
    }

    /// Changes a webhook.
    #[track_caller]
    pub fn patch(&self, hook: &Hook, fields: &Value) {
        self.done("PATCH", &hook.resource(""), fields);
    }

    /// A flow of this webhook with these nodes; answers its id.
    #[track_caller]
    pub fn flow(&self, hook: &Hook, nodes: Value) -> String {
        let fields =
            json!({"name": "A flow", "triggers": [{"type": "webhook", "key": hook.id}], "nodes": nodes});
        text(&self.done("POST", &format!("/applications/{}/flows", hook.application), &fields)["id"])
    }

    /// A flow as [`echo_fields`] has it; answers its id.
    #[track_caller]
    pub fn echo_flow(&self, hook: &Hook, beside: &[Value]) -> String {
        let mut fields = echo_fields(hook, beside);
        fields["name"] = json!("An echo");
        text(&self.done("POST", &format!("/applications/{}/flows", hook.application), &fields)["id"])
    }

    /// A test request (section 13).
    #[track_caller]
    pub fn test(&self, hook: &Hook, fields: &Value) -> Value {
        self.done("POST", &hook.resource("/test"), fields)
    }

    /// The sum of a metric's samples, those of one label alone where `label` is not empty.
    pub fn metric(&self, name: &str, label: &str) -> u64 {
        let page = self.call_raw("GET", "/metrics", "");
        assert_eq!(page.status, 200);
        let samples: Vec<u64> = page
            .text()
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
            .filter(|line| line.contains(label))
            .map(|line| line.rsplit(' ').next().expect("a value").parse().expect("a count"))
            .collect();
        assert!(!samples.is_empty(), "{name} with {label} is no metric");
        samples.iter().sum()
    }

    /// A connection whose request to `hook` waits for a reply now; none where it was refused.
    ///
    /// Another request goes before it in the same bytes. When that has its answer, the engine has decided both, and
    /// a refusal came along.
    #[track_caller]
    pub fn hold(&self, hook: &Hook) -> Option<Wire> {
        let mut wire = self.wire();
        let first = wire.ask([request("GET", "/healthz", &[], b""), hook.get()].concat());
        assert_eq!(first.status, 200);
        if wire.is_readable() {
            assert_eq!(wire.response().status, 429, "a request that waits has no answer");
            return None;
        }
        Some(wire)
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
