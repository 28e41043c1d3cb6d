//! Section 3: what the REST API answered survives a crash right after the answer.

use serde_json::{Value, json};

use crate::common::Server;

const ROUNDS: usize = 20;

#[test]
fn what_was_answered_is_there_after_a_crash() {
    let mut server = Server::start(|_| {});
    let hook = server.webhook(json!({"responseCode": 201}));
    let webhooks = format!("/applications/{}/webhooks", hook.application);
    let mut made: Option<String> = None;
    let mut shown = server.done("GET", &hook.resource(""), &Value::Null);
    for round in 0..ROUNDS {
        let name = format!("Round {round}");
        let code = 210 + round % 50;
        // The last call before the crash is a creation, a change and a deletion by turns.
        match round % 3 {
            0 => {
                let webhook = server.done("POST", &webhooks, &json!({"name": name, "responseCode": code}));
                made = webhook["id"].as_str().map(str::to_owned);
            }
            1 => {
                shown =
                    server.done("PATCH", &hook.resource(""), &json!({"name": name, "responseCode": code}));
            }
            _ => {
                let id = made.take().expect("made two rounds ago");
                server.done("DELETE", &format!("{webhooks}/{id}"), &Value::Null);
            }
        }
        server.crash();
        server.restart();
        assert_eq!(server.done("GET", &hook.resource(""), &Value::Null), shown, "round {round}");
        // And it is served, not only shown.
        let expected = shown["responseCode"].as_u64().expect("a code");
        assert_eq!(u64::from(server.wire().ask(hook.get()).status), expected, "round {round}");
        let list = server.done("GET", &webhooks, &Value::Null);
        let mut ids: Vec<&str> =
            list["items"].as_array().expect("items").iter().filter_map(|item| item["id"].as_str()).collect();
        ids.retain(|id| *id != hook.id);
        assert_eq!(ids, made.as_deref().into_iter().collect::<Vec<_>>(), "round {round}");
    }
}

#[test]
fn a_flow_and_globals_survive_a_crash_and_a_deleted_application_stays_away() {
    let mut server = Server::start(|_| {});
    let hook = server.webhook(json!({"waitForReply": true, "basicAuthUsername": "{{user}}"}));
    let application = format!("/applications/{}", hook.application);
    let gone = server.webhook(json!({}));
    server.flow(&hook, json!([crate::common::reply_node("{\"kept\":true}")]));
    server.done("PATCH", &application, &json!({"globals": [{"key": "user", "json": "\"somebody\""}]}));
    server.done("DELETE", &format!("/applications/{}", gone.application), &Value::Null);
    server.crash();
    server.restart();
    let right = [("Authorization", "Basic c29tZWJvZHk6")];
    let ask = |headers: &[(&str, &str)]| {
        server.wire().ask(crate::common::request("GET", &hook.target(""), headers, b""))
    };
    ask(&right).is(200, "{\"kept\":true}");
    assert_eq!(ask(&[]).status, 401);
    assert_eq!(server.wire().ask(gone.get()).status, 404);
    assert_eq!(server.call("GET", &gone.resource(""), &Value::Null).0, 404);
}
