//! Flows that branch (section 9): which nodes run, and that each runs once.

use serde_json::{Value, json};

use crate::common::{Hook, Server, eventually, reply_node, request};

fn reply(id: &str, text: &str, output_ids: Value) -> Value {
    let mut node = reply_node(text);
    node["id"] = json!(id);
    node["outputIds"] = output_ids;
    node
}

fn condition(id: &str, expression: &str, output_ids: Value) -> Value {
    json!({"id": id, "type": "ConditionalNode", "config": {"expression": expression}, "outputIds": output_ids})
}

fn pass(id: &str, kind: &str, output_ids: Value) -> Value {
    json!({"id": id, "type": kind, "outputIds": output_ids})
}

/// Saves a flow whose trigger leads to `first`: status and answer.
fn save(server: &Server, hook: &Hook, first: &Value, nodes: &Value) -> (u16, Value) {
    let trigger = json!({"type": "webhook", "key": hook.id, "outputIds": first});
    let flow = json!({"name": "A flow", "triggers": [trigger], "nodes": nodes});
    server.call("POST", &format!("/applications/{}/flows", hook.application), &flow)
}

#[track_caller]
fn flow(server: &Server, hook: &Hook, first: Value, nodes: Value) {
    let (status, answer) = save(server, hook, &first, &nodes);
    assert_eq!(status, 201, "{answer}");
}

fn ask(server: &Server, hook: &Hook, body: &Value) -> String {
    let headers = [("Content-Type", "application/json")];
    let post = request("POST", &hook.target(""), &headers, body.to_string().as_bytes());
    let response = server.wire().ask(post);
    assert_eq!(response.status, 200, "{response:?}");
    response.text().to_owned()
}

fn start() -> Server {
    Server::start(|settings| {
        settings.set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

#[test]
fn the_output_that_is_decided_runs() {
    let server = start();
    let hook = server.webhook(json!({"waitForReply": true}));
    let nodes = json!([
        condition("hot", "{{data.body.temperature}} > 30", json!([["cold"], ["note", "log"]])),
        pass("note", "AnnotationNode", json!([["name"]])),
        pass("log", "DebugNode", json!([[]])),
        condition(
            "name",
            "{{data.body.name}} === 'a' || {{data.body.name}} == null",
            json!([["other"], ["a"]])
        ),
        reply("cold", "cold", json!([])),
        reply("a", "a or none", json!([])),
        reply("other", "other", json!([])),
    ]);
    flow(&server, &hook, json!([["hot"]]), nodes);
    for (body, expected) in [
        (json!({"temperature": 31, "name": "a"}), "a or none"),
        (json!({"temperature": "31"}), "a or none"),
        (json!({"temperature": 31, "name": "b"}), "other"),
        (json!({"temperature": 30}), "cold"),
        (json!({"temperature": [29]}), "cold"),
        (json!({}), "cold"),
    ] {
        assert_eq!(ask(&server, &hook, &body), expected, "{body}");
    }
    assert_eq!(server.metric("tidegate_replies_total", "false"), 0, "one reply each");
    // The payload that somebody looks at is decided as a draft is.
    let tested = server.test(&hook, &json!({"body": {"temperature": 31, "name": "b"}}));
    assert_eq!(tested["body"], "other");
}

#[test]
fn an_output_that_leads_nowhere_ends_the_flow() {
    let server = start();
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1}}));
    flow(
        &server,
        &hook,
        json!([["only"]]),
        json!([
            condition("only", "{{data.body}} === 1", json!([[], ["yes"]])),
            reply("yes", "yes", json!([[]]))
        ]),
    );
    assert_eq!(ask(&server, &hook, &json!(1)), "yes");
    let headers = [("Content-Type", "application/json")];
    assert_eq!(server.wire().ask(request("POST", &hook.target(""), &headers, b"2")).status, 504);
    let unwired = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1}}));
    flow(&server, &unwired, json!([[]]), json!([reply("yes", "yes", json!([[]]))]));
    assert_eq!(server.wire().ask(unwired.get()).status, 504, "`[[]]` leads nowhere");
}

#[test]
fn a_node_runs_once_where_branches_meet_and_in_a_circle() {
    let server = start();
    let hook = server.webhook(json!({"waitForReply": true}));
    // Both triggers' outputs and both branches lead to `meet`, and it leads back to the first condition.
    flow(
        &server,
        &hook,
        json!([["first", "second"]]),
        json!([
            condition("first", "{{data.body}} == 1", json!([["meet"], ["between"]])),
            condition("second", "true", json!([[], ["meet", "first"]])),
            pass("between", "AnnotationNode", json!([["meet"]])),
            reply("meet", "met", json!([["first", "second"]])),
        ]),
    );
    for body in [json!(1), json!(2)] {
        assert_eq!(ask(&server, &hook, &body), "met");
    }
    assert_eq!(server.metric("tidegate_replies_total", "true"), 2);
    assert_eq!(server.metric("tidegate_replies_total", "false"), 0, "a second reply would be refused");
}

#[test]
fn a_long_row_of_conditions_is_walked() {
    const CONDITIONS: usize = 999;
    let server = start();
    let hook = server.webhook(json!({"waitForReply": true}));
    let mut nodes: Vec<Value> = (0..CONDITIONS)
        .map(|n| {
            condition(
                &n.to_string(),
                &format!("{{{{data.body}}}} > {n}"),
                json!([["end"], [(n + 1).to_string()]]),
            )
        })
        .collect();
    nodes[CONDITIONS - 1]["outputIds"] = json!([["end"], []]);
    nodes.push(reply("end", "left", json!([])));
    flow(&server, &hook, json!([["0"]]), json!(nodes));
    for body in [0, 1, 500, 998] {
        assert_eq!(ask(&server, &hook, &json!(body)), "left");
    }
}

#[test]
fn a_condition_that_takes_too_much_work_decides_nothing() {
    let server = start();
    let hook = server.webhook(json!({"waitForReply": true}));
    // Each look for a member goes through the whole body.
    let expression = vec!["{{data.body.missing}}"; 1_200].join(" || ");
    flow(
        &server,
        &hook,
        json!([["dear", "other"]]),
        json!([
            condition("dear", &expression, json!([["false"], ["true"]])),
            reply("false", "false", json!([])),
            reply("true", "true", json!([])),
            reply("other", "other", json!([])),
        ]),
    );
    assert_eq!(ask(&server, &hook, &json!({"small": 1})), "other");
    assert_eq!(server.metric("tidegate_condition_errors_total", ""), 0);
    assert_eq!(server.metric("tidegate_replies_total", "false"), 1, "the reply behind false came second");
    assert_eq!(ask(&server, &hook, &json!({"large": "x".repeat(100_000)})), "other");
    assert_eq!(server.metric("tidegate_condition_errors_total", ""), 1);
    assert_eq!(server.metric("tidegate_replies_total", "false"), 1, "nothing behind it ran");
}

#[test]
fn what_is_no_condition_or_leads_back_to_itself_is_refused_with_its_place() {
    let server = start();
    let hook = server.webhook(json!({}));
    for (node, field, why) in [
        (
            condition("a", "{{data.body} > 1", json!([])),
            "nodes[0].config.expression",
            "line 1, column 1: `{{` is never closed",
        ),
        (condition("a", "{{data.body}} >\n= 1", json!([])), "nodes[0].config.expression", "line 2, column 1"),
        (
            condition("a", "{{typeof data}} == 'object'", json!([])),
            "nodes[0].config.expression",
            "helpers are not supported",
        ),
        (condition("a", "1", json!([[], ["a"]])), "nodes[0].outputIds", "the node itself"),
        (condition("a", "1", json!([[], [], []])), "nodes[0].outputIds", "at most two lists"),
        (json!({"id": "a", "type": "ConditionalNode"}), "nodes[0].config.expression", "is required"),
        (
            json!({"id": "a", "type": "DebugNode", "config": {"message": "{{#if"}}),
            "nodes[0].config.message",
            "must be a template: line 1",
        ),
        (
            json!({"id": "a", "type": "AnnotationNode", "outputIds": [["a"]]}),
            "nodes[0].outputIds",
            "the node itself",
        ),
    ] {
        let (status, answer) = save(&server, &hook, &json!([]), &json!([node]));
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!((status, &answer["type"]), (400, &json!("Validation")), "{answer}");
        assert!(message.contains(field) && message.contains(why), "{message}");
    }
}

#[test]
fn a_debug_nodes_message_is_one_escaped_line_of_the_log_at_debug() {
    let message = |server: &Server| {
        let hook = server.webhook(json!({}));
        let nodes = json!([
            {"id": "d\n", "type": "DebugNode", "outputIds": [["long"]],
                "config": {"message": "got {{data.body}}", "level": "verbose", "property": "data"}},
            {"id": "long", "type": "DebugNode", "config": {"message": "{{data.query.long}}"}},
        ]);
        flow(server, &hook, json!([["d\n"]]), nodes);
        let target = hook.target(&format!("?long={}", "y".repeat(7_000)));
        let headers = [("Content-Type", "text/plain")];
        let post = request("POST", &target, &headers, b"\x1b[31m<red>\nERROR a second line");
        assert_eq!(server.wire().ask(post).status, 200);
    };
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_LOG", "debug");
    });
    message(&server);
    let lines = eventually("the messages are logged", || {
        let log = server.log();
        let lines: Vec<String> =
            log.lines().filter(|line| line.contains("\"DebugNode\"")).map(str::to_owned).collect();
        (lines.len() == 2).then_some(lines)
    });
    let first: Value = serde_json::from_str(&lines[0]).expect("a line is JSON");
    assert_eq!(first["level"], "DEBUG");
    assert_eq!(first["text"], r#""got \u{1b}[31m<red>\nERROR a second line""#);
    let long: Value = serde_json::from_str(&lines[1]).expect("a line is JSON");
    assert_eq!(long["message_bytes"], 7_000);
    assert!(long["text"].as_str().is_some_and(|text| text.len() < 5_000));
    // At the usual level nothing of a payload is in the log.
    let quiet = start();
    message(&quiet);
    assert!(!quiet.log().contains("DebugNode"));
}
