//! The valid and the invalid configurations of an `HttpForwardNode`.

use serde_json::{Value, json};

use super::flow;
use crate::model::{ForwardBody, ForwardMethod, NodeKind};

#[test]
fn a_forward_is_read_with_its_defaults_and_with_all_that_it_may_say() {
    let read = |config: Value| {
        let body = json!({"name": "x", "nodes": [{"id": "a", "type": "HttpForwardNode", "config": config}]});
        let flow = flow(&body).expect("valid");
        let NodeKind::HttpForward(config) = flow.nodes[0].kind.clone() else { panic!("a forward") };
        config
    };
    let least = read(json!({"url": "HTTPS://x.example"}));
    assert_eq!(
        (least.method, least.body, least.max_in_flight),
        (ForwardMethod::Post, ForwardBody::Payload, 100)
    );
    assert_eq!((least.order_key, least.requests_per_second, least.secret), (None, None, None));
    for url in
        ["http://[::1]:80/{{a}}", "http://127.0.0.1:1/?a={{b}}", "http://a_b-c.d/x y", "http://x?{{a}}"]
    {
        assert_eq!(read(json!({"url": url})).url, url);
    }
    let all = read(json!({
        "url": "http://x/{{data.path}}", "method": "PUT", "headers": {"X-A": "{{b}}"}, "body": "raw", "maxInFlight": 1,
        "ordered": true, "orderKey": "{{data.body.id}}", "requestsPerSecond": 0.5, "secret": ["a", "b"],
    }));
    assert_eq!((all.method.as_str(), all.body, all.max_in_flight), ("PUT", ForwardBody::Raw, 1));
    assert_eq!((all.order_key.as_deref(), all.requests_per_second), (Some("{{data.body.id}}"), Some(0.5)));
    assert_eq!(read(json!({"url": "http://x", "ordered": true})).order_key.as_deref(), Some(""));
    let template = read(json!({"url": "http://x", "body": "{{a}}"}));
    assert_eq!(template.body, ForwardBody::Template("{{a}}".to_owned()));
}
