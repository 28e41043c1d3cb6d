//! Section 3: what the REST API answered is what every core serves, from that moment.

use serde_json::{Value, json};

use crate::common::{Server, Wire};

const CORES: usize = 4;
/// Enough that each core has some of them.
const CONNECTIONS: usize = 48;

#[test]
fn every_core_sees_a_change_once_it_is_answered() {
    let server = Server::start(|settings| {
        settings.cores(CORES).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({}));
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|_| server.wire()).collect();
    let all_answer = |wires: &mut [Wire], status: u16, why: &str| {
        for wire in wires {
            assert_eq!(wire.ask(hook.get()).status, status, "{why}");
        }
    };
    all_answer(&mut wires, 200, "as it was made");
    // Each core has served some.
    for core in 0..CORES {
        assert!(
            server.metric("tidegate_requests_total", &format!("core=\"{core}\"")) > 0,
            "core {core} met none"
        );
    }
    for code in 201..221 {
        server.patch(&hook, &json!({"responseCode": if code == 204 { 230 } else { code }}));
        all_answer(&mut wires, if code == 204 { 230 } else { code }, "changed");
    }
    server.patch(&hook, &json!({"enabled": false}));
    all_answer(&mut wires, 200, "switched off");
    server.patch(&hook, &json!({"enabled": true, "basicAuthPassword": "{{password}}"}));
    all_answer(&mut wires, 401, "locked: an unset credential refuses everybody");
    server.patch(
        &hook,
        &json!({"basicAuthPassword": "", "waitForReply": true, "limits": {"replyTimeoutSeconds": 3600}}),
    );
    server.flow(&hook, json!([crate::common::reply_node("{}")]));
    all_answer(&mut wires, 220, "a flow replies");
    server.done("DELETE", &hook.resource("?includeWorkflows=true"), &Value::Null);
    all_answer(&mut wires, 404, "deleted");
}

#[test]
fn globals_reach_credentials_once_their_change_is_answered() {
    let server = Server::start(|settings| {
        settings.cores(2);
    });
    let hook = server
        .webhook(json!({"basicAuthPassword": "{{globals.password}}", "limits": {"requestsPerWindow": 0}}));
    let application = format!("/applications/{}", hook.application);
    let mut wires: Vec<Wire> = (0..16).map(|_| server.wire()).collect();
    // ":one" and ":two" in base64.
    for (password, right, wrong) in [("one", "Om9uZQ==", "OnR3bw=="), ("two", "OnR3bw==", "Om9uZQ==")] {
        let globals = json!({"globals": [{"key": "password", "json": json!(password).to_string()}]});
        server.done("PATCH", &application, &globals);
        for wire in &mut wires {
            for (credentials, status) in [(right, 200), (wrong, 401)] {
                let authorization = format!("Basic {credentials}");
                let headers = [("Authorization", authorization.as_str())];
                let response = wire.ask(crate::common::request("GET", &hook.target(""), &headers, b""));
                assert_eq!(response.status, status, "{password}");
            }
        }
    }
}
