//! The clients that people use, in their own programs (`tools/clients`), against a server.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::common::Server;

/// Runs a client's program with the webhook's URL; it says by its exit code whether all was as it should be.
///
/// Where the interpreter is missing the test is skipped and says so, but never where `CI` is set.
fn run(interpreter: &[&str], script: &str, driver: &str) {
    let (program, arguments) = interpreter.split_first().expect("a program");
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        return crate::common::skip::skip(script, &format!("{program} is not installed"));
    }
    let server = Server::start(|settings| {
        settings.driver(driver).cores(2).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({}));
    let waiting = server.webhook(json!({"waitForReply": true, "responseCode": 201}));
    server.flow(&waiting, json!([crate::common::reply_node("{\"reply\":true}")]));
    let url = |target: String| format!("http://{}{target}", server.ingress);
    let output = Command::new(program)
        .args(arguments)
        .arg(format!("{}/tools/clients/{script}", env!("CARGO_MANIFEST_DIR")))
        .args([url(hook.target("")), url(waiting.target(""))])
        .stdin(Stdio::null())
        .output()
        .expect("the client starts");
    assert!(
        output.status.success(),
        "{script}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn curl_is_served_on_io_uring() {
    run(&["bash"], "curl.sh", "io_uring");
}

#[test]
fn curl_is_served_on_epoll() {
    run(&["bash"], "curl.sh", "epoll");
}

#[test]
fn pythons_http_client_is_served_on_io_uring() {
    run(&["python3"], "http_client.py", "io_uring");
}

#[test]
fn pythons_http_client_is_served_on_epoll() {
    run(&["python3"], "http_client.py", "epoll");
}

#[test]
fn nodes_fetch_is_served_on_io_uring() {
    run(&["node"], "fetch.mjs", "io_uring");
}

#[test]
fn nodes_fetch_is_served_on_epoll() {
    run(&["node"], "fetch.mjs", "epoll");
}
