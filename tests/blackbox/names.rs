//! What an operator tells calls apart by: ids of requests, the log of requests, the metrics of single webhooks.

use serde_json::{Value, json};

use crate::common::{Hook, Server, eventually, reply_node, request};

on_each_driver!(a_request_keeps_its_id_and_one_without_gets_one, each_call_is_a_line_of_the_log,);

fn post(hook: &Hook, headers: &[(&str, &str)]) -> Vec<u8> {
    request("POST", &hook.target("/a/b?token=secret-1"), headers, b"{}")
}

fn is_made(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn a_request_keeps_its_id_and_one_without_gets_one(driver: &str) {
    let server = Server::start(|settings| {
        settings.driver(driver);
    });
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(&hook, json!([reply_node("{{{data.headers.x-request-id}}}")]));
    let own = server.webhook(json!({"waitForReply": true}));
    let node = json!({"type": "WebhookReplyNode", "config": {
        "bodyTemplate": "x", "headerInfo": [{"keyTemplate": "X-Request-Id", "valueTemplate": "of-the-flow"}]}});
    server.flow(&own, json!([node]));
    let mut wire = server.wire();
    let longest = "x".repeat(128);
    for given in ["7b0c6f0e-8a3d-4f0e-9d51-2f6a0a5f9f3c", "a", &longest] {
        let response = wire.ask(post(&hook, &[("X-Request-ID", given)]));
        assert_eq!(response.header("x-request-id"), Some(given));
        assert_eq!(response.text(), given);
    }
    let mut made = Vec::new();
    let too_long = format!("{longest}x");
    for bad in [
        &[][..],
        &[("X-Request-Id", "")],
        &[("X-Request-Id", "a b")],
        &[("X-Request-Id", &too_long)],
        &[("X-Request-Id", "a"), ("X-Request-Id", "a")],
    ] {
        let response = wire.ask(post(&hook, bad));
        let id = response.header("x-request-id").expect("an id").to_owned();
        assert!(is_made(&id), "{id}");
        assert_eq!(response.text(), id);
        made.push(id);
    }
    // Refusals have one, too, and so have paths without a webhook.
    for (target, status) in [("/webhooks/none", 404), ("/healthz", 200)] {
        let response = wire.ask(request("GET", target, &[], b""));
        assert_eq!(response.status, status);
        made.push(response.header("x-request-id").expect("an id").to_owned());
    }
    let count = made.len();
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), count, "{made:?}");
    assert_eq!(wire.ask(post(&own, &[])).header("x-request-id"), Some("of-the-flow"));
}

#[test]
fn a_caller_that_waits_gets_the_id_that_its_payload_has() {
    let server = Server::start(|_| {});
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1}}));
    server.flow(&hook, json!([{"type": "WorkerNode"}]));
    for (headers, given) in [(&[("X-Request-Id", "waits")][..], Some("waits")), (&[], None)] {
        let response = server.wire().ask(post(&hook, headers));
        assert_eq!(response.status, 504);
        let id = response.header("x-request-id").expect("an id");
        assert!(given.map_or_else(|| is_made(id), |given| id == given), "{id}");
    }
}

#[test]
fn requests_have_no_ids_where_that_is_set() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_INGRESS_REQUEST_ID", "false");
    });
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(&hook, json!([reply_node("[{{{data.headers.x-request-id}}}]")]));
    let response = server.wire().ask(post(&hook, &[]));
    assert_eq!((response.header("x-request-id"), response.text()), (None, "[]"));
    // What the caller sent is a header as any other.
    let response = server.wire().ask(post(&hook, &[("X-Request-Id", "given")]));
    assert_eq!((response.header("x-request-id"), response.text()), (None, "[given]"));
}

/// The lines of the log about calls, as JSON.
fn lines(server: &Server) -> Vec<Value> {
    let log = server.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "tidegate::requests").collect()
}

fn each_call_is_a_line_of_the_log(driver: &str) {
    for (requests, level, expected) in
        [("all", "error", &["one", "two", "three"][..]), ("refused", "info", &["two", "three"])]
    {
        let server = Server::start(|settings| {
            settings.driver(driver).set("TIDEGATE_LOG_REQUESTS", requests).set("TIDEGATE_LOG", level);
        });
        let hook = server.webhook(json!({"basicAuthUsername": "u", "basicAuthPassword": "planted-password"}));
        let basic = ("Authorization", "Basic dTpwbGFudGVkLXBhc3N3b3Jk");
        let mut wire = server.wire();
        assert_eq!(wire.ask(post(&hook, &[basic, ("X-Request-Id", "one")])).status, 200);
        assert_eq!(wire.ask(post(&hook, &[("X-Request-Id", "two")])).status, 401);
        let not_found = request("GET", "/webhooks/planted-token", &[("X-Request-Id", "three")], b"");
        assert_eq!(wire.ask(not_found).status, 404);
        let found =
            eventually("the lines", || Some(lines(&server)).filter(|lines| lines.len() == expected.len()));
        for (line, id) in found.iter().zip(expected) {
            assert_eq!(line["id"], *id);
            let (status, refusal, webhook, path) = match *id {
                "one" => (200, Value::Null, json!(hook.id), "/a/b"),
                "two" => (401, json!("Unauthorized"), json!(hook.id), "/a/b"),
                _ => (404, json!("Webhook not found"), Value::Null, "/webhooks/"),
            };
            assert_eq!(
                (&line["status"], &line["refusal"], &line["webhook"], &line["path"]),
                (&json!(status), &refusal, &webhook, &json!(path)),
                "{line}"
            );
            assert_eq!((&line["peer"], &line["level"]), (&json!("127.0.0.1"), &json!("INFO")));
            assert!(
                line["millis"].is_number() && line["bytes"].is_number() && line["method"].is_string(),
                "{line}"
            );
        }
        let log = server.log();
        for secret in ["planted", "secret-1", &hook.token] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
        assert_eq!(server.metric("tidegate_calls_untold_total", "of=\"log\""), 0);
    }
}

#[test]
fn the_log_looks_as_it_is_set() {
    for (format, is_json) in [("auto", true), ("json", true), ("text", false)] {
        let server = Server::start(|settings| {
            settings.set("TIDEGATE_LOG_FORMAT", format);
        });
        let log = eventually("a line", || Some(server.log()).filter(|log| log.contains("serving")));
        let line = log.lines().find(|line| line.contains("serving")).expect("a line");
        assert_eq!(serde_json::from_str::<Value>(line).is_ok(), is_json, "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn a_webhook_that_refuses_is_told_of_once_and_a_decision_at_debug() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_LOG", "debug");
    });
    let hook = server.webhook(json!({"methods": ["PUT"]}));
    let mut wire = server.wire();
    for _ in 0..5 {
        assert_eq!(wire.ask(post(&hook, &[("X-Request-Id", "told")])).status, 405);
    }
    let log = eventually("the decisions", || {
        Some(server.log()).filter(|log| log.matches("a request was decided").count() == 5)
    });
    let refused: Vec<&str> =
        log.lines().filter(|line| line.contains("calls of a webhook are refused")).collect();
    assert_eq!(refused.len(), 1, "{log}");
    let line: Value = serde_json::from_str(refused[0]).expect("JSON");
    assert_eq!(
        (&line["webhook"], &line["level"], &line["refused"]),
        (&json!(hook.id), &json!("WARN"), &json!(1))
    );
    let decided = log.lines().find(|line| line.contains("a request was decided")).expect("a line");
    let decided: Value = serde_json::from_str(decided).expect("JSON");
    assert_eq!(
        (&decided["id"], &decided["status"], &decided["refusal"]),
        (&json!("told"), &json!(405), &json!("Method not allowed"))
    );
}

#[test]
fn the_busiest_webhooks_have_metrics_of_their_own() {
    let server = Server::start(|settings| {
        settings.cores(2).set("TIDEGATE_METRICS_WEBHOOKS", 2);
    });
    let hooks: Vec<Hook> = (0..3).map(|_| server.webhook(json!({}))).collect();
    let mut wire = server.wire();
    for (hook, calls) in hooks.iter().zip([1, 3, 2]) {
        (0..calls).for_each(|_| assert_eq!(wire.ask(hook.get()).status, 200));
    }
    assert_eq!(wire.ask(request("CONNECT", "localhost:1", &[], b"")).status, 405);
    let of = |hook: &Hook, class: &str| {
        let label = format!("webhook=\"{}\",class=\"{class}\"", hook.id);
        server.metric("tidegate_webhook_responses_total", &label)
    };
    assert_eq!((of(&hooks[1], "2xx"), of(&hooks[2], "2xx")), (3, 2));
    let page = server.call_raw("GET", "/metrics", "");
    assert!(!page.text().contains(&hooks[0].id));
}
