//! The options of a webhook that restrict its callers or shape its answers (sections 3, 4, 5 and 8), through the whole
//! program: right, wrong, absent, and changed while connections are open.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the tests of WebSockets, which use all of it")]
#[path = "../sockets/mod.rs"]
mod sockets;

mod answers;
mod callers;
mod changes;
mod deduplicate;
mod jwks_server;
mod jwt;
mod timeouts;
mod token;

use serde_json::{Value, json};

use common::{Hook, Response, Server, request};

/// A server without a limit of the rate.
fn server(cores: usize) -> Server {
    Server::start(|settings| {
        settings.cores(cores).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

/// A webhook that waits for a flow that replies what this template renders.
#[track_caller]
fn echo(server: &Server, mut fields: Value, template: &str) -> Hook {
    fields["waitForReply"] = json!(true);
    let hook = server.webhook(fields);
    server.flow(&hook, json!([common::reply_node(template)]));
    hook
}

/// A call on a connection of its own.
fn call(server: &Server, method: &str, hook: &Hook, more: &str, headers: &[(&str, &str)]) -> Response {
    server.wire().ask(request(method, &hook.target(more), headers, b""))
}

/// The error of a PATCH that must be refused.
#[track_caller]
fn refused(server: &Server, hook: &Hook, fields: &Value) -> String {
    let (status, error) = server.call("PATCH", &hook.resource(""), fields);
    assert_eq!(status, 400, "{fields}: {error}");
    error["message"].as_str().expect("text").to_owned()
}
