//! The WebSocket clients that people use, in their own programs (`tools/clients/ws_*`), against a server.
//!
//! Their packages come from the registries, so these tests run only where `TIDEGATE_TEST_TOOLS` names a folder to
//! install them into, as `tools/test` does; with `CI` set they must.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::common::skip::skip;
use crate::common::{ACCESS_TOKEN, Server};

on_each_driver! {
    pythons_websockets_is_served,
    nodes_ws_is_served,
    pythons_websockets_works,
}

/// The folder that the packages are in; installed once, by whichever test comes first. None: they are not to be had.
fn tools() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from) else {
        skip("clients of npm and PyPI", "TIDEGATE_TEST_TOOLS names no folder for packages");
        return None;
    };
    fs::create_dir_all(&folder).expect("a folder");
    // Two processes that install at once would meet in one folder.
    let lock = File::create(folder.join("ws.lock")).expect("a file");
    lock.lock().expect("a lock");
    let installed = Command::new(script("ws-install")).arg(&folder).status().expect("a shell");
    if !installed.success() {
        skip("clients of npm and PyPI", "they cannot be installed");
        return None;
    }
    Some(folder)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/clients").join(name)
}

fn server(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).cores(2).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

/// Runs a client's program; it says by its exit code whether all was as it should be.
fn run(tools: &Path, interpreter: &str, name: &str, arguments: &[String]) {
    let output = Command::new(interpreter)
        .arg(script(name))
        .args(arguments)
        .env("PYTHONPATH", tools.join("python"))
        .stdin(Stdio::null())
        .output()
        .expect("the client starts");
    assert!(
        output.status.success(),
        "{name}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn run_against_echo(driver: &str, interpreter: &str, name: &str) {
    let Some(tools) = tools() else { return };
    let server = server(driver);
    let hook = server.webhook(json!({"isWebsocket": true}));
    server.echo_flow(&hook, &[]);
    run(&tools, interpreter, name, &[format!("ws://{}{}", server.ingress, hook.target(""))]);
}

fn pythons_websockets_is_served(driver: &str) {
    run_against_echo(driver, "python3", "ws_client.py");
}

fn nodes_ws_is_served(driver: &str) {
    run_against_echo(driver, "node", "ws_client.mjs");
}

fn pythons_websockets_works(driver: &str) {
    let Some(tools) = tools() else { return };
    let server = server(driver);
    let hook = server.webhook(json!({"isWebsocket": true}));
    let flow = server.flow(&hook, json!([{"type": "WorkerNode"}]));
    let arguments = [
        format!("ws://{}/flows/{flow}/worker", server.workers),
        format!("ws://{}{}", server.ingress, hook.target("")),
        ACCESS_TOKEN.to_owned(),
    ];
    run(&tools, "python3", "ws_worker.py", &arguments);
}
