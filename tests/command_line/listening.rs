//! `tidegate listen`, `tidegate worker` by name and with `--forward`, `tidegate tail` with what narrows it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::common::{Hook, Server, eventually};
use super::{Running, post, served, tidegate};

/// A program of `tools/clients` that prints its port; it ends with its standard input.
struct Program {
    child: Child,
    port: u16,
}

impl Program {
    fn start(interpreter: &str, script: &str) -> Option<Program> {
        let started = Command::new(interpreter)
            .arg(client(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            super::common::skip::skip(script, &format!("{interpreter} is not installed"));
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        Some(Program { child, port: line.trim().parse().expect("a port") })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools/clients").join(script)
}

/// Starts to listen; returns once the flow is there.
fn listen(server: &Server, hook: &Hook, url: &str) -> Running {
    let arguments = ["listen", &hook.id, "--app", &hook.application, "--forward", url];
    let listening = Running::start(&mut tidegate(server, &arguments));
    eventually("its workers are attached", || {
        (server.metric("tidegate_open_connections", "worker") >= 8).then_some(())
    });
    listening
}

fn flows(server: &Server, hook: &Hook) -> u64 {
    let listed = server.done("GET", &format!("/applications/{}/flows", hook.application), &Value::Null);
    listed["totalCount"].as_u64().expect("a count")
}

#[test]
fn python_and_node_call_each_other_through_listen() {
    for (program_interpreter, program_script, name) in
        [("python3", "echo.py", "python"), ("node", "echo.mjs", "node")]
    {
        let Some(program) = Program::start(program_interpreter, program_script) else { return };
        let server = Server::start(|settings| {
            settings.cores(2).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
        });
        let hook = server.webhook(json!({"waitForReply": true}));
        let listening = listen(&server, &hook, &format!("http://127.0.0.1:{}/base", program.port));
        for (interpreter, script) in [("python3", "call.py"), ("node", "call.mjs")] {
            let called = Command::new(interpreter)
                .arg(client(script))
                .args([format!("http://{}{}", server.ingress, hook.target("")), name.to_owned()])
                .output();
            let Ok(called) = called else {
                super::common::skip::skip(script, &format!("{interpreter} is not installed"));
                return;
            };
            let said = String::from_utf8_lossy(&called.stderr);
            assert!(called.status.success(), "{script} to {program_script}: {said}");
        }
        listening.interrupt();
        let (status, said) = listening.ended();
        assert!(status.success(), "{said}");
        assert!(said.contains("callers get its answers"), "{said}");
        // Nothing of it is left.
        assert_eq!(flows(&server, &hook), 0);
        assert_eq!(server.done("GET", &hook.resource(""), &Value::Null)["rawBody"], json!(false));
    }
}

#[test]
fn a_caller_is_told_that_the_program_does_not_answer() {
    let server = Server::start(|_| {});
    let hook = server.webhook(json!({"waitForReply": true}));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", taken.local_addr().expect("an address"));
    drop(taken);
    let mut listening = listen(&server, &hook, &url);
    let answer = server.wire().ask(post(&hook, "1"));
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("does not answer"), "{}", answer.text());
    assert!(listening.line().contains("POST    /  -  "));
    // Its flow is deleted: it ends, and says why.
    let listed = server.done("GET", &format!("/applications/{}/flows", hook.application), &Value::Null);
    let flow = listed["items"][0]["id"].as_str().expect("a flow").to_owned();
    server.done("DELETE", &format!("/applications/{}/flows/{flow}", hook.application), &Value::Null);
    let (status, said) = listening.ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
    assert_eq!(server.done("GET", &hook.resource(""), &Value::Null)["rawBody"], json!(false));
}

#[test]
fn what_a_killed_listener_left_is_removed_by_the_next_one() {
    let Some(program) = Program::start("python3", "echo.py") else { return };
    let server = Server::start(|_| {});
    let hook = server.webhook(json!({"waitForReply": true}));
    let url = format!("http://127.0.0.1:{}", program.port);
    drop(listen(&server, &hook, &url));
    assert_eq!(flows(&server, &hook), 1);
    eventually("its workers are gone", || {
        (server.metric("tidegate_open_connections", "worker") == 0).then_some(())
    });
    let listening = listen(&server, &hook, &url);
    assert_eq!(flows(&server, &hook), 1);
    assert_eq!(server.wire().ask(post(&hook, "1")).status, 207);
    drop(listening);
    let socket = server.webhook(json!({"isWebsocket": true}));
    let refused = tidegate(&server, &["listen", &socket.id, "--app", &socket.application, "--forward", &url])
        .output()
        .expect("runs");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the webhook is a WebSocket"), "{refused:?}");
    for (url, code) in [("https://localhost", 2), ("ftp://a", 2)] {
        let refused = tidegate(&server, &["listen", &hook.id, "--forward", url]).output().expect("runs");
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
    }
}

#[test]
fn a_worker_is_named_and_hands_triggers_to_a_program() {
    let Some(program) = Program::start("node", "echo.mjs") else { return };
    let (server, hook, _) = served(json!({"waitForReply": true}));
    let url = format!("http://127.0.0.1:{}/work", program.port);
    let arguments = ["worker", "A flow", "--app", &hook.application, "--forward", &url];
    let worker = Running::start(&mut tidegate(&server, &arguments));
    let answer = server.wire().ask(post(&hook, "{\"a\":1}"));
    assert_eq!(answer.status, 207, "{}", answer.text());
    let told: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(
        (&told["method"], &told["path"], &told["type"]),
        (&json!("POST"), &json!("/work"), &json!("application/json"))
    );
    worker.interrupt();
    let (status, said) = worker.ended();
    assert!(status.success(), "{said}");
    let absent = tidegate(&server, &["worker", "none", "--app", &hook.application]).output().expect("runs");
    assert!(
        String::from_utf8_lossy(&absent.stderr).contains("no flow has the id or the name \"none\""),
        "{absent:?}"
    );
}

#[test]
fn tail_follows_several_webhooks_and_shows_bodies() {
    let (server, hook, _) = served(json!({}));
    let folder = hook.resource("").rsplit_once('/').expect("a path").0.to_owned();
    let other = server.done("POST", &folder, &json!({"name": "other"}));
    let other = Hook {
        application: hook.application.clone(),
        id: other["id"].as_str().expect("an id").to_owned(),
        token: other["token"].as_str().expect("a token").to_owned(),
    };
    server.wire().ask(hook.get()).is(200, r#"{"success":true}"#);
    let arguments = ["tail", "A webhook", "other", "--app", &hook.application, "--body", "-n", "1"];
    let mut tail = Running::start(&mut tidegate(&server, &arguments));
    let first = tail.line();
    assert!(first.starts_with("A webhook ") && first.contains("GET     /  200"), "{first}");
    // It was listed, so the stream is open.
    server.wire().ask(post(&hook, "{\"n\":17}")).is(200, r#"{"success":true}"#);
    assert!(tail.line().contains("POST    /  200"));
    assert_eq!(tail.line(), "    {\"n\":17}\n");
    // It may not have its second stream yet: what came before that is among the last requests.
    server.wire().ask(post(&other, "{\"b\":2}")).is(200, r#"{"success":true}"#);
    let second = tail.line();
    assert!(second.starts_with("other ") && second.contains("POST    /  200"), "{second}");
    drop(tail);
    let all = tidegate(&server, &["tail", "--app", &hook.application, "--no-follow"]).output().expect("runs");
    assert_eq!(String::from_utf8_lossy(&all.stdout).lines().count(), 3, "{all:?}");
    let past = tidegate(&server, &["tail", "A webhook", "--app", &hook.application, "--no-follow", "--json"])
        .output()
        .expect("runs");
    let last = String::from_utf8_lossy(&past.stdout).lines().last().expect("a line").to_owned();
    let line: Value = serde_json::from_str(&last).expect("a line of JSON");
    assert_eq!(line["method"], "POST");
    let bad = tidegate(&server, &["tail", "A webhook", "--app", &hook.application, "--since", "soon"])
        .output()
        .expect("runs");
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
}

#[test]
fn what_tail_narrows_is_replayed_from_the_command_line() {
    const ADMITTED: usize = 25;
    const REFUSED: usize = 12;
    let (server, _, _) = served(json!({}));
    let limits = json!({"requestsPerWindow": ADMITTED, "windowSeconds": 3600});
    let hook = server.webhook(json!({"limits": limits}));
    let mut wire = server.wire();
    for number in 0..ADMITTED + REFUSED {
        let path = hook.target(&format!("/call/{number}"));
        let response = wire.ask(super::request("POST", &path, &[], number.to_string().as_bytes()));
        assert_eq!(response.status, if number < ADMITTED { 200 } else { 429 });
    }
    let run = |arguments: &[&str]| {
        let arguments =
            [&arguments[..1], &[&hook.id], &arguments[1..], &["--app", &hook.application]].concat();
        tidegate(&server, &arguments).output().expect("runs")
    };
    let lines = |arguments: &[&str]| -> Vec<String> {
        let output = run(&[&["tail", "--no-follow", "-n", "1000"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    };
    let records = |arguments: &[&str]| -> Vec<Value> {
        let lines = lines(&[arguments, &["--json"]].concat());
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let refused = lines(&["--status", "4xx"]);
    assert_eq!(refused.len(), REFUSED);
    assert!(refused.iter().all(|line| line.contains("  429  ") && line.contains("/call/")), "{refused:?}");
    assert_eq!(records(&["--status", "200"]).len(), ADMITTED);
    assert_eq!(records(&["--status", "2xx,429", "--search", "/call/3"]).len(), 8, "3 and 30 to 36");
    // Two by their ids, one of them unknown to the server; all that are refused; nothing that is not named.
    let late = records(&["--status", "429"]);
    let id = late[0]["id"].as_str().expect("an id");
    let some = run(&["replay", id, "000000000000000000000001"]);
    let said = String::from_utf8_lossy(&some.stderr);
    assert!(some.status.code() == Some(1) && said.contains("1 of 2 were not sent again"), "{some:?}");
    assert!(String::from_utf8_lossy(&some.stdout).contains("  200  "), "{some:?}");
    let all = run(&["replay", "--status", "429"]);
    let progress: Value = serde_json::from_slice(&all.stdout).expect("JSON");
    assert_eq!(
        (&progress["total"], &progress["replayed"], &progress["failed"]),
        (&json!(REFUSED), &json!(REFUSED), &json!(0)),
        "{all:?}"
    );
    let replays: Vec<Value> =
        records(&["--status", "200"]).into_iter().filter(|record| record["replayOf"].is_string()).collect();
    assert_eq!(replays.len(), REFUSED + 1);
    for record in &late {
        let of: Vec<&Value> = replays.iter().filter(|replay| replay["replayOf"] == record["id"]).collect();
        assert_eq!(of.len(), if record == &late[0] { 2 } else { 1 });
        assert!(
            of.iter().all(|replay| replay["path"] == record["path"] && replay["bytes"] == record["bytes"])
        );
    }
    assert_eq!(run(&["replay"]).status.code(), Some(2));
}
