//! The values that each resource accepts, refuses and shows.

mod forward;
mod platform;
mod signatures;
mod tables;

use serde_json::{Value, json};

use super::*;
use crate::base::id::Id;

const NOW: u64 = 1_771_522_000_123;
const LATER: u64 = NOW + 5_000;

fn owner() -> Id {
    "65a1b2c3d4e5f60718293a4b".parse().expect("an id")
}

fn key() -> String {
    "0123456789abcdef01234567".to_owned()
}

fn webhook(body: &Value) -> Result<Webhook, ModelError> {
    Webhook::create(body, owner(), NOW)
}

fn flow(body: &Value) -> Result<Flow, ModelError> {
    Flow::create(body, owner(), NOW)
}

/// Sets `field` of `body`, refuses it, and says why.
#[track_caller]
fn check_refusals(
    create: impl Fn(&Value) -> Result<(), ModelError>,
    base: &Value,
    refusals: &[(&str, Value, &str, &str)],
) {
    create(base).expect("the base is valid");
    for (field, value, path, must) in refusals {
        let mut body = base.clone();
        body[*field] = value.clone();
        let error = create(&body).expect_err(&format!("{field}: {value} should be refused"));
        assert_eq!(error.field(), *path, "{field}: {value}: {error}");
        assert!(error.message().contains(must), "{field}: {value}: {error}");
    }
}

#[test]
fn each_bad_field_of_a_webhook_is_named_with_what_it_must_be() {
    let long = "x".repeat(256);
    let endless = "x".repeat(32_768);
    let integer = "an integer from 200 to 599";
    let name = "a string of 1 to 255 characters";
    let refusals = [
        ("name", json!(""), "name", name),
        ("name", json!(long), "name", name),
        ("name", json!(null), "name", name),
        ("name", json!(7), "name", name),
        ("description", json!(endless), "description", "at most 32767"),
        ("responseCode", json!(199), "responseCode", integer),
        ("responseCode", json!(600), "responseCode", integer),
        ("responseCode", json!(200.0), "responseCode", integer),
        ("responseCode", json!("200"), "responseCode", integer),
        ("responseCode", json!(-1), "responseCode", integer),
        ("responseCode", json!(4_294_967_496_u64), "responseCode", integer),
        ("verificationType", json!("github"), "verificationType", "none, facebook, fitbit, twilio, alexa"),
        ("verificationType", json!(null), "verificationType", "one of"),
        ("verificationCode", json!(endless), "verificationCode", "at most 32767"),
        ("waitForReply", json!("true"), "waitForReply", "true or false"),
        ("basicAuthUsername", json!(long), "basicAuthUsername", "at most 255"),
        ("basicAuthPassword", json!(["x"]), "basicAuthPassword", "at most 255"),
        ("isWebsocket", json!(1), "isWebsocket", "true or false"),
        ("castBuffersAs", json!("buffer"), "castBuffersAs", "array, binary, utf8, base64, hex"),
        ("annotateMultipart", json!(0), "annotateMultipart", "true or false"),
        ("enabled", json!(null), "enabled", "true or false"),
        ("limits", json!([]), "limits", "an object"),
        ("limits", json!({"requestsPerWindow": -1}), "limits.requestsPerWindow", "from 0 to"),
        ("limits", json!({"windowSeconds": 0}), "limits.windowSeconds", "from 1 to 86400"),
        ("limits", json!({"concurrency": 1.5}), "limits.concurrency", "from 0 to"),
        ("limits", json!({"payloadBytes": 0}), "limits.payloadBytes", "from 1 to 67108864"),
        ("limits", json!({"replyTimeoutSeconds": 3601}), "limits.replyTimeoutSeconds", "from 1 to 3600"),
        ("limits", json!({"rate": 1}), "limits.rate", "is not a field"),
        ("signature", json!("github"), "signature", "an object"),
        ("signature", json!({}), "signature.scheme", "standard-webhooks, github"),
        ("signature", json!({"scheme": "md5", "secret": "s"}), "signature.scheme", "hmac"),
        ("signature", json!({"scheme": "github"}), "signature.secret", "is required"),
        ("signature", json!({"scheme": "github", "secret": ""}), "signature.secret", "1 to 32767"),
        ("signature", json!({"scheme": "github", "secret": []}), "signature.secret", "1 to 16"),
        ("signature", json!({"scheme": "github", "secret": ["a", 1]}), "signature.secret", "a string"),
        ("signature", json!({"scheme": "github", "secret": "***"}), "signature.secret", "there is none"),
        (
            "signature",
            json!({"scheme": "github", "secret": "s", "header": "X"}),
            "signature.header",
            "github",
        ),
        ("signature", json!({"scheme": "hmac", "secret": "s"}), "signature.header", "is required"),
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X Y"}),
            "signature.header",
            "HTTP header",
        ),
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X", "algorithm": "md5"}),
            "signature.algorithm",
            "sha1, sha256, sha512",
        ),
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X", "encoding": "b64"}),
            "signature.encoding",
            "hex, base64",
        ),
        ("colour", json!("red"), "colour", "is not a field of a webhook"),
        ("flowClass", json!("cloud"), "flowClass", "is not a field of a webhook"),
    ];
    check_refusals(|body| webhook(body).map(drop), &json!({"name": "x"}), &refusals);
    assert_eq!(
        webhook(&json!({})).expect_err("no name").to_string(),
        "`name` is required: a string of 1 to 255 characters"
    );
    for body in [json!(null), json!([]), json!("x")] {
        assert_eq!(webhook(&body).expect_err("no object").field(), "body");
    }
}

#[test]
fn lengths_count_characters() {
    assert!(webhook(&json!({"name": "ä".repeat(255)})).is_ok());
    assert!(webhook(&json!({"name": "😀".repeat(255), "verificationCode": "é".repeat(32_767)})).is_ok());
    assert!(webhook(&json!({"name": "ä".repeat(256)})).is_err());
}

#[test]
fn a_webhook_goes_through_the_store_unchanged() {
    let full = json!({
        "name": "n", "description": "d", "responseCode": 599, "verificationType": "alexa",
        "verificationCode": "{{c}}", "waitForReply": true, "basicAuthUsername": "u",
        "basicAuthPassword": "p\"\u{1}", "isWebsocket": true, "castBuffersAs": "hex",
        "annotateMultipart": true, "enabled": false,
        "limits": {"requestsPerWindow": 0, "windowSeconds": 1, "concurrency": 2, "payloadBytes": 3, "replyTimeoutSeconds": 4},
        "signature": {"scheme": "hmac", "secret": ["a", "b"], "header": "X-Sig", "algorithm": "sha512",
            "encoding": "base64", "prefix": "v1="},
    });
    for body in [json!({"name": "n"}), full.clone()] {
        let webhook = webhook(&body).expect("valid");
        assert_eq!(Webhook::from_stored(&webhook.to_stored()), Ok(webhook));
    }
    let shown = webhook(&full).expect("valid").to_api();
    for (field, value) in full.as_object().expect("an object") {
        if field != "signature" {
            assert_eq!(shown[field], *value, "{field}");
        }
    }
    assert_eq!(shown["creationDate"], "2026-02-19T17:26:40.123Z");
    assert!(Webhook::from_stored(b"{}").is_err());
    assert!(Webhook::from_stored(b"").is_err());
}

#[test]
fn a_patch_of_a_webhook_replaces_what_it_names() {
    let mut hook = webhook(&json!({"name": "n", "limits": {"concurrency": 5}})).expect("valid");
    let before = hook.clone();
    hook.patch(&json!({"responseCode": 204, "limits": {"windowSeconds": 3}}), LATER).expect("valid");
    assert_eq!((hook.response_code, hook.last_updated), (204, LATER));
    assert_eq!(hook.limits, HookLimits { window_seconds: Some(3), ..HookLimits::default() });
    assert_eq!((hook.name.as_str(), &hook.token, hook.creation_date), ("n", &before.token, NOW));

    let unchanged = hook.clone();
    assert!(hook.patch(&json!({"name": "other", "responseCode": 1}), LATER).is_err());
    assert_eq!(hook, unchanged);
    hook.patch(&json!({"isWebsocket": false}), LATER).expect("no change");
    assert_eq!(hook.patch(&json!({"isWebsocket": true}), LATER).expect_err("fixed").field(), "isWebsocket");
    hook.patch(&json!({"limits": null}), LATER).expect("valid");
    assert_eq!(hook.limits, HookLimits::default());
    hook.patch(&json!({"limits": {"concurrency": null}}), LATER).expect("valid");
    assert_eq!(hook.limits, HookLimits::default());
}

#[test]
fn a_masked_secret_is_kept() {
    let secret = |hook: &Webhook| hook.signature.clone().expect("signed").secret.as_slice().to_vec();
    let mut hook =
        webhook(&json!({"name": "n", "signature": {"scheme": "github", "secret": "one"}})).expect("valid");
    hook.patch(&json!({"signature": {"scheme": "slack", "secret": "***"}}), LATER).expect("kept");
    assert_eq!(secret(&hook), ["one"]);
    hook.patch(&json!({"signature": {"scheme": "slack", "secret": ["***", "two"]}}), LATER).expect("kept");
    assert_eq!(secret(&hook), ["one", "two"]);
    hook.patch(&json!({"signature": {"scheme": "slack", "secret": "***"}}), LATER).expect("kept");
    assert_eq!(secret(&hook), ["one", "two"]);
    let more = json!({"signature": {"scheme": "slack", "secret": ["***", "***", "***"]}});
    assert_eq!(hook.patch(&more, LATER).expect_err("no third").field(), "signature.secret");
    hook.patch(&json!({"signature": null}), LATER).expect("none");
    assert_eq!(hook.signature, None);
    assert!(
        !format!(
            "{:?}",
            webhook(&json!({"name": "n", "signature": {"scheme": "github", "secret": "s3cret"}}))
        )
        .contains("s3cret")
    );
}

#[test]
fn each_bad_field_of_an_application_is_named_with_what_it_must_be() {
    let deep = "[".repeat(129) + &"]".repeat(129);
    let refusals = [
        ("name", json!(""), "name", "1 to 255"),
        ("description", json!(1), "description", "a string"),
        ("globals", json!({}), "globals", "a list"),
        ("globals", json!(vec![json!({"key": "k", "json": "1"}); 1001]), "globals", "at most 1000"),
        ("globals", json!([1]), "globals[0]", "an object"),
        ("globals", json!([{"json": "1"}]), "globals[0].key", "is required"),
        ("globals", json!([{"key": "", "json": "1"}]), "globals[0].key", "1 to 255"),
        ("globals", json!([{"key": "k"}]), "globals[0].json", "is required"),
        ("globals", json!([{"key": "k", "json": 1}]), "globals[0].json", "a string"),
        ("globals", json!([{"key": "k", "json": "{a:1}"}]), "globals[0].json", "valid JSON"),
        ("globals", json!([{"key": "k", "json": "01"}]), "globals[0].json", "valid JSON"),
        ("globals", json!([{"key": "k", "json": "\"\\ud800\""}]), "globals[0].json", "valid JSON"),
        ("globals", json!([{"key": "k", "json": deep}]), "globals[0].json", "valid JSON"),
        (
            "globals",
            json!([{"key": "k", "json": "1"}, {"key": "k", "json": "2"}]),
            "globals[1].key",
            "unique",
        ),
        ("globals", json!([{"key": "k", "json": "1", "x": 1}]), "globals[0].x", "is not a field of a global"),
        ("token", json!("x"), "token", "is not a field of an application"),
    ];
    check_refusals(|body| Application::create(body, NOW).map(drop), &json!({"name": "x"}), &refusals);
}

#[test]
fn fields_of_the_platform_are_kept_and_read_only_ones_ignored() {
    let body = json!({
        "name": "n", "endpointSlug": "slug", "archiveConfig": {"mode": "all"}, "ftueTracking": [],
        "id": "ignored", "ownerId": 1, "_links": {},
        "globals": [{"key": "k", "json": "1e400", "cloudOnly": true, "description": "d"}],
    });
    let application = Application::create(&body, NOW).expect("valid");
    let stored = Application::from_stored(&application.to_stored()).expect("reads");
    assert_eq!(stored, application);
    let shown = stored.to_api();
    for field in ["endpointSlug", "archiveConfig", "ftueTracking", "globals"] {
        assert_eq!(shown[field], body[field]);
    }
    assert!(shown.get("ownerId").is_none() && shown["id"] != "ignored");

    let body = json!({
        "name": "n", "flowClass": "cloud", "iconData": "data:", "globals": [{"key": "k", "json": "1"}],
        "minimumAgentVersion": "1.0.0", "stats": {}, "shortDescription": "s", "docsUrl": "u", "category": "c",
    });
    let kept = flow(&body).expect("valid");
    let shown = Flow::from_stored(&kept.to_stored()).expect("reads").to_api();
    for field in
        ["flowClass", "iconData", "globals", "minimumAgentVersion", "shortDescription", "docsUrl", "category"]
    {
        assert_eq!(shown[field], body[field]);
    }
    assert!(shown.get("stats").is_none());
}

#[test]
fn each_bad_field_of_a_flow_is_named_with_what_it_must_be() {
    let trigger = |more: Value| {
        let mut trigger = json!({"type": "webhook", "key": key()});
        trigger.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!([trigger])
    };
    let reply = |config: Value| json!([{"id": "a", "type": "WebhookReplyNode", "config": config}]);
    let forward = |config: Value| json!([{"id": "a", "type": "HttpForwardNode", "config": config}]);
    let worker = |config: Value| json!([{"id": "a", "type": "WorkerNode", "config": config}]);
    let nats = |config: Value| json!([{"id": "a", "type": "NatsNode", "config": config}]);
    let url = |more: &str, value: Value| forward(json!({"url": "https://x.example", more: value}));
    let refusals = [
        ("enabled", json!("yes"), "enabled", "true or false"),
        ("triggers", json!({}), "triggers", "a list"),
        ("triggers", json!(["x"]), "triggers[0]", "an object"),
        ("triggers", json!([{"key": key()}]), "triggers[0].type", "is required"),
        ("triggers", trigger(json!({"type": ""})), "triggers[0].type", "1 to 255"),
        ("triggers", json!([{"type": "webhook"}]), "triggers[0].key", "24 hex digits"),
        ("triggers", trigger(json!({"key": "x"})), "triggers[0].key", "24 hex digits"),
        ("triggers", trigger(json!({"config": []})), "triggers[0].config", "an object"),
        ("triggers", trigger(json!({"meta": 1})), "triggers[0].meta", "an object"),
        ("triggers", trigger(json!({"outputIds": ["b"]})), "triggers[0].outputIds", "`b`"),
        ("triggers", trigger(json!({"outputIds": [["b"]]})), "triggers[0].outputIds", "`b`"),
        ("triggers", trigger(json!({"outputIds": [1]})), "triggers[0].outputIds", "list of lists"),
        ("triggers", trigger(json!({"outputIds": "b"})), "triggers[0].outputIds", "a list"),
        ("triggers", trigger(json!({"colour": 1})), "triggers[0].colour", "is not a field of a trigger"),
        (
            "nodes",
            json!([{"id": "a"}]),
            "nodes[0].type",
            "WebhookReplyNode, ConditionalNode, DebugNode, AnnotationNode, HttpForwardNode, WorkerNode, NatsNode",
        ),
        ("nodes", json!([{"id": "a", "type": "LatchNode"}]), "nodes[0].type", "`LatchNode`"),
        (
            "nodes",
            json!([{"id": "a", "type": "ConditionalNode"}]),
            "nodes[0].config.expression",
            "is required",
        ),
        (
            "nodes",
            json!([{"id": "a", "type": "ConditionalNode", "config": {"expression": ""}}]),
            "nodes[0].config.expression",
            "1 to",
        ),
        (
            "nodes",
            json!([{"id": "a", "type": "ConditionalNode", "config": {"expression": "1", "x": 1}}]),
            "nodes[0].config.x",
            "is not a field",
        ),
        (
            "nodes",
            json!([{"id": "a", "type": "ConditionalNode", "config": {"expression": "1"}, "outputIds": [[], [], []]}]),
            "nodes[0].outputIds",
            "at most two lists",
        ),
        (
            "nodes",
            json!([{"id": "a", "type": "DebugNode", "config": {"message": 1}}]),
            "nodes[0].config.message",
            "a string",
        ),
        (
            "nodes",
            json!([{"id": "a", "type": "DebugNode", "outputIds": [["a"]]}]),
            "nodes[0].outputIds",
            "the node itself",
        ),
        ("nodes", json!([{"id": 1, "type": "WorkerNode"}]), "nodes[0].id", "a string"),
        (
            "nodes",
            json!([{"id": "a", "type": "WorkerNode"}, {"id": "a", "type": "WorkerNode"}]),
            "nodes[1].id",
            "unique",
        ),
        (
            "nodes",
            json!([{"id": "a", "type": "WorkerNode", "outputIds": [["c"]]}]),
            "nodes[0].outputIds",
            "`c`",
        ),
        ("nodes", json!([{"id": "a", "type": "WorkerNode", "config": 1}]), "nodes[0].config", "an object"),
        (
            "nodes",
            json!([{"id": "a", "type": "WorkerNode", "x": 1}]),
            "nodes[0].x",
            "is not a field of a node",
        ),
        ("nodes", reply(json!({"bodyTemplate": 1})), "nodes[0].config.bodyTemplate", "a string"),
        (
            "nodes",
            reply(json!({"responseCodeTemplate": 200})),
            "nodes[0].config.responseCodeTemplate",
            "a string",
        ),
        (
            "nodes",
            reply(json!({"bodyTemplateType": "json"})),
            "nodes[0].config.bodyTemplateType",
            "string, path",
        ),
        ("nodes", reply(json!({"headerInfo": {}})), "nodes[0].config.headerInfo", "a list"),
        (
            "nodes",
            reply(json!({"headerInfo": [{"keyTemplate": "a"}]})),
            "nodes[0].config.headerInfo[0].valueTemplate",
            "is required",
        ),
        (
            "nodes",
            reply(json!({"isWebsocketMessage": "no"})),
            "nodes[0].config.isWebsocketMessage",
            "true or false",
        ),
        ("nodes", reply(json!({"colour": 1})), "nodes[0].config.colour", "WebhookReplyNode"),
        ("nodes", forward(json!({})), "nodes[0].config.url", "is required"),
        ("nodes", forward(json!({"url": "ftp://x"})), "nodes[0].config.url", "http://"),
        ("nodes", forward(json!({"url": "https://"})), "nodes[0].config.url", "host"),
        ("nodes", forward(json!({"url": "http://x/\r\n"})), "nodes[0].config.url", "http://"),
        ("nodes", url("timeoutSeconds", json!(0)), "nodes[0].config.timeoutSeconds", "from 1"),
        ("nodes", url("headers", json!({"a b": "c"})), "nodes[0].config.headers.a b", "HTTP header"),
        ("nodes", url("headers", json!({"a": "b\n"})), "nodes[0].config.headers.a", "control"),
        ("nodes", url("retry", json!({"attempts": 0})), "nodes[0].config.retry.attempts", "from 1 to 1000"),
        (
            "nodes",
            url("retry", json!({"backoffSeconds": 301})),
            "nodes[0].config.retry.backoffSeconds",
            "300",
        ),
        (
            "nodes",
            url("retry", json!({"backoffSeconds": 0})),
            "nodes[0].config.retry.backoffSeconds",
            "0.001",
        ),
        ("nodes", url("secret", json!("***")), "nodes[0].config.secret", "there is none"),
        ("nodes", url("verb", json!("PUT")), "nodes[0].config.verb", "HttpForwardNode"),
        ("nodes", url("url", json!("https://{{x}}.example/")), "nodes[0].config.url", "in the text"),
        ("nodes", url("url", json!("https://x.example{{x}}")), "nodes[0].config.url", "in the text"),
        ("nodes", url("url", json!("https://x.example:{{x}}/")), "nodes[0].config.url", "in the text"),
        ("nodes", url("url", json!("https://a:b@x.example/")), "nodes[0].config.url", "no credentials"),
        ("nodes", url("url", json!("https://x.example:65536/")), "nodes[0].config.url", "with a host"),
        ("nodes", url("url", json!("https://:80/")), "nodes[0].config.url", "with a host"),
        ("nodes", url("url", json!("https://[::x]/")), "nodes[0].config.url", "with a host"),
        ("nodes", url("url", json!("https://a:b:80/")), "nodes[0].config.url", "with a host"),
        ("nodes", url("url", json!("https://x y/")), "nodes[0].config.url", "with a host"),
        ("nodes", url("method", json!("post")), "nodes[0].config.method", "GET, POST, PUT, PATCH, DELETE"),
        ("nodes", url("headers", json!({"Host": "a"})), "nodes[0].config.headers.Host", "the engine sets it"),
        (
            "nodes",
            url("headers", json!({"proxy-x": "a"})),
            "nodes[0].config.headers.proxy-x",
            "the engine sets it",
        ),
        ("nodes", url("body", json!({})), "nodes[0].config.body", "a string"),
        ("nodes", url("maxInFlight", json!(0)), "nodes[0].config.maxInFlight", "from 1 to 10000"),
        ("nodes", url("orderKey", json!("{{x}}")), "nodes[0].config.orderKey", "ordered is not true"),
        ("nodes", url("requestsPerSecond", json!(0)), "nodes[0].config.requestsPerSecond", "0.001"),
        ("nodes", worker(json!({"ackTimeoutSeconds": 0})), "nodes[0].config.ackTimeoutSeconds", "from 1"),
        ("nodes", worker(json!({"maxInFlight": "1"})), "nodes[0].config.maxInFlight", "from 1"),
        ("nodes", worker(json!({"x": "1"})), "nodes[0].config.x", "WorkerNode"),
        ("nodes", nats(json!({"subject": ""})), "nodes[0].config.subject", "1 to"),
        ("nodes", nats(json!({"stream": "a.b"})), "nodes[0].config.stream", "name of a stream"),
        (
            "nodes",
            nats(json!({"headers": {"nats-rollup": "all"}})),
            "nodes[0].config.headers.nats-rollup",
            "sets it",
        ),
        ("nodes", nats(json!({"headers": {"a b": "x"}})), "nodes[0].config.headers.a b", "must be named"),
        ("nodes", nats(json!({"topic": "x"})), "nodes[0].config.topic", "NatsNode"),
    ];
    check_refusals(|body| flow(body).map(drop), &json!({"name": "x"}), &refusals);
}

#[test]
fn a_flow_as_the_platform_exports_it_is_taken_as_it_is() {
    let body = json!({
        "name": "export", "description": "", "enabled": true, "flowClass": "cloud", "globals": [],
        "triggers": [{
            "type": "webhook", "key": key(), "config": {},
            "meta": {"category": "trigger", "name": "webhook", "label": "Webhook", "x": 60, "y": 20.5, "uiId": "u"},
            "outputIds": [["n1"]],
        }],
        "nodes": [{
            "id": "n1", "type": "WebhookReplyNode",
            "config": {
                "responseCodeTemplate": "200", "bodyTemplate": "{{data.body}}", "bodyTemplateType": "string",
                "headerInfo": [{"keyTemplate": "Content-Type", "valueTemplate": "text/plain"}],
                "isWebsocketMessage": false, "encodingTemplate": "",
            },
            "meta": {"category": "output", "x": 60, "y": 140, "label": "Reply"},
            "outputIds": [],
        }],
    });
    let kept = flow(&body).expect("valid");
    let NodeKind::WebhookReply(config) = &kept.nodes[0].kind else { panic!("a reply node") };
    assert_eq!(config.reply_id_path, "data.replyId");
    assert_eq!(config.header_info[0].key_template, "Content-Type");
    let stored = Flow::from_stored(&kept.to_stored()).expect("reads");
    assert_eq!(stored, kept);
    for field in ["triggers", "nodes"] {
        assert_eq!(stored.to_api()[field], body[field]);
    }
}

#[test]
fn numbers_of_any_length_are_the_same_after_they_were_stored() {
    // As a fuzzer found it: read, written and read again, the last digit was another.
    for number in
        ["66000000000001046423631", "6.6000000000001044e+22", "0.1", "5e-324", "1.7976931348623157e308"]
    {
        let body = serde_json::from_str(&format!(r#"{{"name":"a","iconData":[{number}]}}"#)).expect("JSON");
        let kept = flow(&body).expect("valid");
        assert_eq!(Flow::from_stored(&kept.to_stored()).as_ref(), Ok(&kept), "{number}");
    }
}

#[test]
fn wiring_decides_which_nodes_run() {
    let other = "ffffffffffffffffffffffff";
    let build = |trigger_ids: Value, node_ids: [Value; 4]| {
        let nodes: Vec<Value> = ["a", "b", "c", "d"]
            .iter()
            .zip(node_ids)
            .map(|(id, ids)| {
                let mut node = json!({"id": id, "type": "WorkerNode"});
                if !ids.is_null() {
                    node["outputIds"] = ids;
                }
                node
            })
            .collect();
        let mut trigger = json!({"type": "webhook", "key": key()});
        if !trigger_ids.is_null() {
            trigger["outputIds"] = trigger_ids;
        }
        flow(&json!({"name": "f", "triggers": [trigger, {"type": "webhook", "key": other}], "nodes": nodes}))
            .expect("valid")
    };
    let hook: Id = key().parse().expect("an id");
    let none = || [Value::Null, Value::Null, Value::Null, Value::Null];
    assert_eq!(build(Value::Null, none()).nodes_after(hook), [0, 1, 2, 3]);
    for leads_nowhere in [json!([[]]), json!([])] {
        assert!(build(leads_nowhere.clone(), none()).nodes_after(hook).is_empty());
        let node = [leads_nowhere.clone(), Value::Null, Value::Null, Value::Null];
        assert!(build(Value::Null, node).nodes_after(hook).is_empty());
        let all = || leads_nowhere.clone();
        assert!(build(all(), [all(), all(), all(), all()]).nodes_after(hook).is_empty());
    }
    assert_eq!(build(json!(["b"]), none()).nodes_after(hook), [1]);
    assert_eq!(build(json!([["d", "b"]]), none()).nodes_after(hook), [3, 1]);
    let circle = [json!([["b"]]), json!([["c"], ["a"]]), json!(["a"]), Value::Null];
    assert_eq!(build(json!(["a"]), circle).nodes_after(hook), [0, 1, 2]);
    let unwired_trigger = build(json!(["a"]), none());
    assert!(unwired_trigger.nodes_after(other.parse().expect("an id")).is_empty());
    assert!(unwired_trigger.nodes_after(owner()).is_empty());
    assert_eq!(build(json!(["b"]), none()).to_api()["triggers"][0]["outputIds"], json!([["b"]]));
}

#[test]
fn the_outputs_of_a_condition_are_told_apart() {
    let conditional = |id: &str, output_ids: Value| json!({"id": id, "type": "ConditionalNode", "config": {"expression": "1"}, "outputIds": output_ids});
    let debug = |id: &str, output_ids: Value| json!({"id": id, "type": "DebugNode", "outputIds": output_ids});
    let nodes = json!([
        debug("d", json!([["c"], ["a", "a"]])),
        debug("a", json!([["c", "d"]])),
        conditional("c", json!([["a"], ["e", "d"]])),
        {"id": "e", "type": "AnnotationNode", "config": {"any": "thing"}},
        {"id": "unreached", "type": "AnnotationNode"},
    ]);
    let trigger = |ids: Value| json!({"type": "webhook", "key": key(), "outputIds": ids});
    let triggers = json!([trigger(json!(["c"])), trigger(json!([["d"], ["c"]]))]);
    let flow = flow(&json!({"name": "f", "triggers": triggers, "nodes": nodes})).expect("valid");
    let wires = flow.wires(key().parse().expect("an id"));
    assert_eq!(wires.order, [2, 0, 1, 3]);
    assert_eq!(wires.first, [0, 1]);
    let [c, d, a, e] = [0, 1, 2, 3];
    let behind = [[vec![a], vec![e, d]], [vec![c, a], vec![]], [vec![c, d], vec![]], [vec![], vec![]]];
    assert_eq!(wires.behind, behind);
    let stored = Flow::from_stored(&flow.to_stored()).expect("reads");
    assert_eq!(stored, flow);
    assert_eq!(stored.to_api()["nodes"][3]["config"], json!({"any": "thing"}));
}

#[test]
fn nodes_without_an_id_are_given_one() {
    let nodes =
        json!([{"type": "WorkerNode"}, {"id": "node0", "type": "WorkerNode"}, {"type": "WorkerNode"}]);
    let flow = flow(&json!({"name": "f", "nodes": nodes})).expect("valid");
    let ids: Vec<&str> = flow.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["node1", "node0", "node2"]);
}

#[test]
fn the_secret_of_a_node_is_masked_and_kept() {
    let value =
        json!({"id": "a", "type": "HttpForwardNode", "config": {"url": "http://x", "secret": "s3cret"}});
    let node = node::FlowNode::read(&value, "nodes[0]", &[]).expect("valid");
    assert_eq!(node.to_value(true)["config"]["secret"], "***");
    assert_eq!(node.to_value(false), value);
    let masked = node.to_value(true);
    let kept = node::FlowNode::read(&masked, "nodes[0]", std::slice::from_ref(&node)).expect("kept");
    assert_eq!(kept, node);
    let mut elsewhere = masked;
    elsewhere["id"] = json!("b");
    let refused = node::FlowNode::read(&elsewhere, "nodes[0]", &[node]).expect_err("none to keep");
    assert_eq!(refused.field(), "nodes[0].config.secret");
}

#[test]
fn a_patch_of_a_flow_replaces_lists_whole() {
    let trigger = json!([{"type": "webhook", "key": key(), "outputIds": ["a"]}]);
    let nodes = json!([{"id": "a", "type": "WorkerNode"}, {"id": "b", "type": "WorkerNode"}]);
    let mut flow = flow(&json!({"name": "f", "triggers": trigger, "nodes": nodes})).expect("valid");
    flow.patch(&json!({"nodes": [{"id": "a", "type": "WorkerNode"}]}), LATER).expect("valid");
    assert_eq!((flow.nodes.len(), flow.triggers.len(), flow.last_updated), (1, 1, LATER));
    let dangling = flow.patch(&json!({"nodes": []}), LATER).expect_err("the trigger leads to it");
    assert_eq!(dangling.field(), "triggers[0].outputIds");
    flow.patch(&json!({"triggers": [], "nodes": []}), LATER).expect("valid");
    assert!(flow.nodes.is_empty() && flow.webhook_ids().is_empty());
}
