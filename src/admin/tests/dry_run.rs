//! Flows that are tried over a payload and not run.

use serde_json::{Value, json};

use super::{Server, check_error, id_of};

fn flow(webhook: &str) -> Value {
    json!({
        "triggers": [{"type": "webhook", "key": webhook, "outputIds": [["hot"]]}],
        "nodes": [
            {"id": "hot", "type": "ConditionalNode", "config": {"expression": "{{data.body.t}} > 30"},
                "outputIds": [["cold"], ["send", "say"]]},
            {"id": "cold", "type": "WebhookReplyNode", "config": {"bodyTemplate": "cold"}},
            {"id": "send", "type": "HttpForwardNode", "outputIds": [["late"]], "config": {
                "url": "https://example.org/{{data.body.id}}", "body": "{{data.body.name}}", "secret": "***"}},
            {"id": "say", "type": "WebhookReplyNode", "config": {"bodyTemplate": "{{globals.word}} {{data.body.t}}",
                "responseCodeTemplate": "201", "headerInfo": [{"keyTemplate": "X-A", "valueTemplate": "{{flowName}}"}]}},
            {"id": "late", "type": "WorkerNode"},
        ],
    })
}

fn asked(app: &str, flow: &Value, body: &Value) -> Value {
    json!({
        "applicationId": id_of(app), "flow": flow,
        "payload": {"time": "2026-02-19T17:26:00.123Z", "data": {"method": "post", "body": body, "replyId": "x"}},
    })
}

#[test]
fn a_flow_tells_which_nodes_a_payload_reaches_and_what_they_make_of_it() {
    let server = Server::new();
    let app = server.application();
    server.send("PATCH", &app, &json!({"globals": [{"key": "word", "json": "\"is\""}]}));
    let hook = server.webhook(&app, &json!({"name": "h", "waitForReply": true}));
    let flow = flow(id_of(&hook));
    let warm =
        server.send("POST", "/preview", &asked(&app, &flow, &json!({"t": 31, "id": "a b", "name": "<x>"})));
    assert_eq!(warm.status, 200, "{}", warm.text);
    assert_eq!(warm.json["errors"], json!([]));
    let nodes = warm.json["nodes"].as_array().expect("a list");
    let ids: Vec<&Value> = nodes.iter().map(|node| &node["id"]).collect();
    assert_eq!(ids, ["hot", "send", "say", "late"]);
    assert_eq!(nodes[0]["condition"], true);
    assert_eq!(nodes[1]["request"]["url"], "https://example.org/a%20b");
    assert_eq!(nodes[1]["request"]["body"], "<x>");
    let reply = &nodes[2]["reply"];
    assert_eq!(
        (&reply["statusCode"], &reply["body"], &reply["isSent"]),
        (&json!(201), &json!("is 31"), &json!(true))
    );
    assert_eq!(reply["headers"][1], json!(["X-A", "a flow"]));
    assert_eq!((&nodes[3]["worker"], &nodes[3]["afterDelivery"]), (&json!(true), &json!(true)));

    let cold = server.send("POST", "/preview", &asked(&app, &flow, &json!({"t": 1}))).json;
    assert_eq!(cold["nodes"][0]["condition"], false);
    assert_eq!(cold["nodes"][1]["reply"]["body"], "cold");
    assert_eq!(cold["nodes"].as_array().map(Vec::len), Some(2));
}

#[test]
fn every_node_that_is_wrong_is_told_at_its_place() {
    let server = Server::new();
    let app = server.application();
    let hook = server.webhook(&app, &json!({"name": "h"}));
    let mut flow = flow(id_of(&hook));
    flow["nodes"][0]["config"]["expression"] = json!("{{data.body.t}} >");
    flow["nodes"][2]["config"]["url"] = json!("ftp://x");
    flow["nodes"][3]["config"]["bodyTemplate"] = json!("{{#if");
    let shown = server.send("POST", "/preview", &asked(&app, &flow, &json!({}))).json;
    let fields: Vec<&Value> =
        shown["errors"].as_array().expect("a list").iter().map(|one| &one["field"]).collect();
    assert_eq!(fields, ["nodes[0].config.expression", "nodes[2].config.url", "nodes[3].config.bodyTemplate"]);
    assert_eq!(shown["nodes"], json!([]));

    let mut loose = self::flow(id_of(&hook));
    loose["nodes"][1]["outputIds"] = json!([["none"]]);
    let shown = server.send("POST", "/preview", &asked(&app, &loose, &json!({}))).json;
    assert_eq!(shown["errors"][0]["field"], "nodes[1].outputIds");
}

#[test]
fn a_reply_that_nobody_waits_for_says_so_and_a_flow_without_a_trigger_runs_nothing() {
    let server = Server::new();
    let app = server.application();
    let hook = server.webhook(&app, &json!({"name": "h"}));
    let shown = server.send("POST", "/preview", &asked(&app, &flow(id_of(&hook)), &json!({}))).json;
    assert_eq!(shown["nodes"][1]["reply"]["isSent"], false);
    let shown = server
        .send("POST", "/preview", &asked(&app, &json!({"nodes": [{"type": "WorkerNode"}]}), &json!({})))
        .json;
    assert_eq!(shown, json!({"nodes": [], "errors": []}));
}

#[test]
fn what_is_no_dry_run_is_refused() {
    let server = Server::new();
    let app = server.application();
    let good = asked(&app, &json!({}), &json!({}));
    for (name, value, status, mentions) in [
        ("applicationId", Value::Null, 400, "applicationId"),
        ("applicationId", json!("x"), 400, "applicationId"),
        ("applicationId", json!(super::NOBODY), 404, "Application"),
        ("webhookId", json!(5), 400, "webhookId"),
        ("flow", json!([]), 400, "flow"),
        ("payload", json!(1), 400, "payload"),
    ] {
        let mut body = good.clone();
        body[name] = value;
        let kind = if status == 404 { "NotFound" } else { "Validation" };
        check_error(&server.send("POST", "/preview", &body), status, kind, mentions);
    }
    let hook = server.webhook(&app, &json!({"name": "h"}));
    let mut body = asked(&app, &flow(id_of(&hook)), &json!({}));
    body["payload"]["data"] = json!(1);
    check_error(&server.send("POST", "/preview", &body), 400, "Validation", "payload.data");
}
