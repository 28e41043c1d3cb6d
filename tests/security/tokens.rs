//! Access tokens beside the first: kept over a restart without their secrets, told in the log by name, and held to their
//! rights on every listener.

use serde_json::json;

use crate::common::{Server, Wire, request};

fn status(server: &Server, worker: bool, token: &str, method: &str, path: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let address = if worker { server.workers } else { server.admin };
    let fields = [
        ("Authorization", bearer.as_str()),
        ("Sec-WebSocket-Protocol", "tidegate.worker.v1"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
    ];
    let fields = if worker { &fields[..] } else { &fields[..1] };
    Wire::connect(address).ask(request(method, path, fields, b"")).status
}

#[test]
fn tokens_outlive_a_restart_and_their_secrets_are_nowhere() {
    let mut server = Server::start(|_| {});
    let hook = server.webhook(json!({}));
    let flow = server.flow(&hook, json!([{"type": "WorkerNode"}]));
    let worker_path = format!("/flows/{flow}/worker");
    let make = |name: &str, rights: &[&str]| {
        let made = server.done("POST", "/tokens", &json!({"name": name, "rights": rights}));
        made["token"].as_str().expect("a secret").to_owned()
    };
    let (worker, writer) = (make("a worker", &["worker"]), make("a \"writer\"", &["write"]));
    assert_eq!(status(&server, true, &worker, "GET", &worker_path), 101);
    assert_eq!(status(&server, true, &writer, "GET", &worker_path), 403);
    assert_eq!(status(&server, false, &worker, "GET", "/applications"), 403);
    // The change is told with who made it.
    let path = format!("/applications/{}", hook.application);
    assert_eq!(status(&server, false, &writer, "DELETE", &path), 200);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("deleteApplication")).expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&line["token"], &line["path"]), (&json!("a \"writer\""), &json!(path)));
    assert!(log.lines().any(|line| line.contains("createWebhook") && line.contains(&hook.id)), "{log}");
    assert!(
        log.lines().any(|line| line.contains("createToken") && line.contains("\"access-token\"")),
        "{log}"
    );

    server.terminate();
    server.ended();
    server.restart();
    assert_eq!(status(&server, false, &writer, "POST", "/applications"), 400);
    assert_eq!(status(&server, true, &writer, "GET", &worker_path), 403);
    let tokens = server.done("GET", "/tokens", &json!(null));
    assert_eq!(tokens["count"], 2);
    for secret in [&worker, &writer] {
        assert!(!server.log().contains(secret.as_str()));
        for entry in std::fs::read_dir(server.folder().join("data")).expect("a folder").flatten() {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "{:?}", entry.path());
        }
    }
}
