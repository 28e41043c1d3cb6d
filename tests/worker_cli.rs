//! `tidegate worker` and `tidegate tail` against a server, and the workers of `tools/examples`.

#[path = "common/mod.rs"]
mod common;
#[path = "command_line/listening.rs"]
mod listening;
#[allow(dead_code, reason = "shared with the tests of WebSocket webhooks, which use all of it")]
#[path = "sockets/mod.rs"]
mod sockets;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use common::{ACCESS_TOKEN, Hook, Server, eventually, request};
use sockets::{BINARY, FIN, Socket, TEXT};

fn served(fields: Value) -> (Server, Hook, String) {
    served_at(fields, "127.0.0.1:0")
}

fn served_at(fields: Value, workers: &str) -> (Server, Hook, String) {
    let server = Server::start(|settings| {
        settings
            .cores(2)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0)
            .set("TIDEGATE_WORKERS_LISTEN", workers);
    });
    let hook = server.webhook(fields);
    let flow = server.flow(&hook, json!([{"type": "WorkerNode"}]));
    (server, hook, flow)
}

fn post(hook: &Hook, body: &str) -> Vec<u8> {
    request("POST", &hook.target(""), &[("Content-Type", "application/json")], body.as_bytes())
}

/// A program that runs until it is told to end; killed with the test.
struct Running {
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = Some(BufReader::new(child.stdout.take().expect("piped")));
        Running { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().expect("it is read").read_line(&mut line).expect("text");
        assert!(line.ends_with('\n'), "it ended: {line}");
        line
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it is there");
    }

    /// Its end, and what it said on standard error.
    fn ended(mut self) -> (ExitStatus, String) {
        let status = eventually("it ends", || self.child.try_wait().expect("a child"));
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        (status, said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tidegate(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TIDEGATE_DATA", server.folder().join("data"))
        .env("TIDEGATE_ACCESS_TOKEN", ACCESS_TOKEN);
    command
}

#[test]
fn each_trigger_is_a_line_that_acks_it() {
    let (server, hook, flow) = served(json!({}));
    let mut worker = Running::start(&mut tidegate(&server, &["worker", &flow, "--credit", "2"]));
    for body in ["{\"n\": 1.10,\n \"s\": \"a  b\"}", "[ ]", "3", "4"] {
        assert_eq!(server.wire().ask(post(&hook, body)).status, 200);
        let line = worker.line();
        let minified: String =
            body.replace("1.10,\n \"s\": ", "1.10,\"s\":").replace("\"n\": ", "\"n\":").replace("[ ]", "[]");
        assert!(line.contains(&format!("\"body\":{minified}}}")), "{line}");
        assert!(serde_json::from_str::<Value>(&line).expect("JSON")["flowId"] == json!(flow));
    }
    eventually("all are acked", || (server.metric("tidegate_deliveries_total", "done") == 4).then_some(()));
    worker.interrupt();
    let (status, said) = worker.ended();
    assert!(status.success(), "{status}: {said}");
    assert_eq!(said, "");
}

#[test]
fn a_command_replies_with_what_it_prints() {
    let (server, hook, flow) = served(json!({"waitForReply": true}));
    // The body is what follows it in the payload's text.
    let script = r#"body=$(sed 's/.*"body"://; s/,"replyId".*//'); case $body in 1) echo '{"json": 1.10}';; 2) echo "just text";; 3) printf '';; *) printf '\377';; esac"#;
    let worker = Running::start(&mut tidegate(&server, &["worker", &flow, "--exec", script]));
    let mut wire = server.wire();
    wire.ask(post(&hook, "1")).is(200, r#"{"json": 1.10}"#);
    wire.ask(post(&hook, "2")).is(200, "just text");
    wire.ask(post(&hook, "3")).is(200, "");
    assert_eq!(wire.ask(post(&hook, "4")).body, b"\xff");
    worker.interrupt();
    assert!(worker.ended().0.success());
}

#[test]
fn a_command_does_not_get_the_access_token() {
    let (server, hook, flow) = served(json!({"waitForReply": true}));
    let mut command = tidegate(&server, &["worker", &flow, "--exec", "env"]);
    let worker = Running::start(command.env("OTHER", "kept"));
    let told = String::from_utf8(server.wire().ask(post(&hook, "1")).body).expect("text");
    assert!(told.contains("OTHER=kept"), "{told}");
    assert!(!told.contains("ACCESS_TOKEN") && !told.contains(ACCESS_TOKEN), "{told}");
    worker.interrupt();
    assert!(worker.ended().0.success());
}

#[test]
fn a_command_that_fails_gives_its_trigger_to_another() {
    let (server, hook, flow) = served(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 20}}));
    // The first call fails, each further one replies.
    let mark = server.folder().join("mark");
    let script = format!("if mkdir {} 2>/dev/null; then exit 3; fi; echo again", mark.display());
    let worker = Running::start(&mut tidegate(&server, &["worker", &flow, "--exec", &script]));
    server.wire().ask(post(&hook, "1")).is(200, "again");
    worker.interrupt();
    let (status, said) = worker.ended();
    assert!(status.success() && said.contains("exit status: 3"), "{said}");
}

#[test]
fn a_command_talks_to_websockets_and_is_silent_where_it_prints_nothing() {
    let (server, hook, flow) = served(json!({"isWebsocket": true}));
    let script = r#"payload=$(cat); case $payload in *'"type":"message"'*) echo heard;; esac"#;
    let worker = Running::start(&mut tidegate(&server, &["worker", &flow, "--exec", script]));
    let mut client = Socket::open(&server, &hook);
    client.say("hello").expect(FIN | TEXT, b"heard");
    client.send(FIN | BINARY, b"\x00").expect(FIN | TEXT, b"heard");
    client.close(1000, "").closed();
    eventually("all are acked", || (server.metric("tidegate_deliveries_total", "done") == 4).then_some(()));
    worker.interrupt();
    assert!(worker.ended().0.success());
}

#[test]
fn a_worker_attaches_again_to_a_server_that_comes_back() {
    // On an address of its own: the port is given up for a moment, and another test must not get it.
    let (mut server, hook, flow) = served_at(json!({}), "127.0.10.1:0");
    let mut worker = Running::start(&mut tidegate(&server, &["worker", &flow]));
    server.wire().ask(post(&hook, "1")).is(200, r#"{"success":true}"#);
    worker.line();
    let workers = server.workers;
    server.crash();
    server.restart_with("TIDEGATE_WORKERS_LISTEN", &workers.to_string());
    server.wire().ask(post(&hook, "2")).is(200, r#"{"success":true}"#);
    assert!(worker.line().contains("\"body\":2"));
    server.done("DELETE", &format!("/applications/{}/flows/{flow}", hook.application), &Value::Null);
    let (status, said) = worker.ended();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("attaching again") && said.contains("Flow deleted"), "{said}");
}

#[test]
fn what_cannot_be_worked_for_is_said_at_once() {
    let (server, _, flow) = served(json!({}));
    let cases: [(&[&str], &str, &str, i32); 9] = [
        (&["worker", "0123456789abcdef01234567"], ACCESS_TOKEN, "404", 1),
        (&["worker", &flow], "wrong-access-token", "401", 1),
        (&["worker", "a name"], ACCESS_TOKEN, "--app", 2),
        (&["worker", &flow, "--workers", "127.0.0.1:1"], ACCESS_TOKEN, "127.0.0.1:1", 1),
        (&["worker", &flow, "--workers", "ws://127.0.0.1:1"], ACCESS_TOKEN, "ws://127.0.0.1:1", 1),
        (&["worker", &flow, "--workers", "ws://localhost:1/"], ACCESS_TOKEN, "ws://localhost:1", 1),
        (&["worker", &flow, "--workers", "wss://127.0.0.1:1"], ACCESS_TOKEN, "wss://127.0.0.1:1", 1),
        (&["worker", &flow, "--workers", "ws://localhost"], ACCESS_TOKEN, "--workers must be ws://", 2),
        (&["worker", &flow, "--workers", "unix:relative"], ACCESS_TOKEN, "--workers must be ws://", 2),
    ];
    for (arguments, token, said, code) in cases {
        let output =
            tidegate(&server, arguments).env("TIDEGATE_ACCESS_TOKEN", token).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(said) && text.starts_with("tidegate: "), "{arguments:?}: {text}");
    }
}

#[test]
fn a_worker_attaches_where_it_is_told_to() {
    let (server, hook, flow) = served(json!({}));
    let url = format!("ws://{}", server.workers);
    let mut worker = Running::start(
        tidegate(&server, &["worker", &flow, "--workers", &url]).env("TIDEGATE_DATA", server.folder()),
    );
    server.wire().ask(post(&hook, "1")).is(200, r#"{"success":true}"#);
    assert!(worker.line().contains("\"body\":1"));
    worker.interrupt();
    assert!(worker.ended().0.success());
}

/// A server of one webhook: whoever asks for its last requests gets these, and for events those, and then their end.
fn fake_admin(recent: &'static str, streams: Vec<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let mut streams = streams.into_iter();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("text") > 0, "{head}");
            }
            let (kind, body) = if head.contains("text/event-stream") {
                // Without more to tell, the stream stays open and says nothing.
                match streams.next() {
                    Some(events) => ("text/event-stream", events.to_owned()),
                    None => {
                        std::mem::forget(stream);
                        continue;
                    }
                }
            } else if head.starts_with("GET /applications?") {
                (
                    "application/json",
                    r#"{"items":[{"id":"0123456789abcdef01234567"}],"totalCount":1}"#.to_owned(),
                )
            } else {
                assert!(head.contains("/webhooks/0123456789abcdef01234568/requests?perPage="), "{head}");
                ("application/json", recent.to_owned())
            };
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{body}")
                .expect("sent");
        }
    });
    address
}

#[test]
fn tail_prints_the_last_requests_and_each_further_one_once() {
    // `/b` came twice within a millisecond, `/0` before `/a` in the same one.
    let recent = r#"{"items":[
        {"time":"2026-02-19T17:26:02.000Z","method":"GET","path":"/b","status":429,"durationMs":0.5,"bytes":0,"refusal":"Over rate limit, request throttled","payload":null},
        {"time":"2026-02-19T17:26:02.000Z","method":"GET","path":"/b","status":429,"durationMs":0.5,"bytes":0,"refusal":"Over rate limit, request throttled","payload":null},
        {"time":"2026-02-19T17:26:01.000Z","method":"POST","path":"/a","status":200,"durationMs":1.25,"bytes":3,"refusal":null,"payload":{"n":1.10}},
        {"time":"2026-02-19T17:26:01.000Z","method":"POST","path":"/0","status":200,"durationMs":1.25,"bytes":3,"refusal":null,"payload":null}
    ],"count":4}"#;
    let first = concat!(
        ": open\n\n",
        r#"data: {"time":"2026-02-19T17:26:02.000Z","method":"GET","path":"/b","status":429,"durationMs":0.5,"bytes":0,"refusal":"Over rate limit, request throttled","payload":null}"#,
        "\n\nevent: skipped\ndata: 7\n\n",
        r#"data: {"time":"2026-02-19T17:26:03.000Z","method":"PUT","path":"/c","status":200,"durationMs":2,"bytes":9,"refusal":null,"payload":null}"#,
        "\n\n",
        r#"data: {"time":"2026-02-19T17:26:03.000Z","method":"PUT","path":"/c","status":200,"durationMs":2,"bytes":9,"refusal":null,"payload":null}"#,
        "\n\n",
    );
    let second = "data: {\"time\":\"2026-02-19T17:26:04.000Z\",\ndata: \"method\":\"GET\",\"path\":\"/d\",\"status\":200,\"durationMs\":2,\"bytes\":9,\"refusal\":null,\"payload\":{\"n\":1.10}}\n\n";
    let server = served(json!({})).0;
    let lines = |extra: &[&str]| {
        let address = fake_admin(recent, vec![first, second]);
        let arguments = [&["tail", "0123456789abcdef01234568", "--server", &address], extra].concat();
        let mut tail = Running::start(&mut tidegate(&server, &arguments));
        let lines: Vec<String> = (0..7).map(|_| tail.line()).collect();
        let _ = tail.child.kill();
        let (_, said) = tail.ended();
        assert!(said.contains("7 requests were left out"), "{said}");
        lines
    };
    assert_eq!(
        lines(&[]),
        [
            "2026-02-19T17:26:01.000Z  POST    /0  200  1.2 ms  3 B\n",
            "2026-02-19T17:26:01.000Z  POST    /a  200  1.2 ms  3 B\n",
            "2026-02-19T17:26:02.000Z  GET     /b  429  0.5 ms  0 B  Over rate limit, request throttled\n",
            "2026-02-19T17:26:02.000Z  GET     /b  429  0.5 ms  0 B  Over rate limit, request throttled\n",
            "2026-02-19T17:26:03.000Z  PUT     /c  200  2.0 ms  9 B\n",
            "2026-02-19T17:26:03.000Z  PUT     /c  200  2.0 ms  9 B\n",
            "2026-02-19T17:26:04.000Z  GET     /d  200  2.0 ms  9 B\n",
        ]
    );
    let json = lines(&["--json"]);
    assert!(json[1].ends_with("\"payload\":{\"n\":1.10}}\n"), "{json:?}");
    assert!(json[6].starts_with("{\"time\":\"2026-02-19T17:26:04.000Z\",\"method\""), "{json:?}");
}

#[test]
fn tail_ends_with_its_reader_though_nothing_comes() {
    let (server, hook, _) = served(json!({}));
    server.wire().ask(post(&hook, "1")).is(200, r#"{"success":true}"#);
    let arguments = ["tail", &hook.id, "--app", &hook.application];
    let mut tail = Running::start(&mut tidegate(&server, &arguments));
    assert!(tail.line().contains("POST"));
    tail.lines = None;
    assert!(tail.ended().0.success());
}

#[test]
fn tail_ends_with_its_webhook() {
    let (server, hook, _) = served(json!({}));
    let arguments = ["tail", &hook.id, "--app", &hook.application];
    let mut tail = Running::start(&mut tidegate(&server, &arguments));
    server.wire().ask(post(&hook, "1")).is(200, r#"{"success":true}"#);
    assert!(tail.line().contains("POST"));
    server.done("DELETE", &hook.resource(""), &Value::Null);
    let (status, said) = tail.ended();
    assert_eq!((status.code(), said.as_str()), (Some(1), "tidegate: Webhook was not found\n"));
}

/// Runs a worker of `tools/examples` in front of a webhook; packages as `tools/clients/ws-install` puts them.
fn example(interpreter: &str, name: &str) {
    let Some(tools) = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from) else {
        common::skip::skip("the example workers", "TIDEGATE_TEST_TOOLS names no folder for packages");
        return;
    };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(&tools).expect("a folder");
    let lock = std::fs::File::create(tools.join("ws.lock")).expect("a file");
    lock.lock().expect("a lock");
    let installed =
        Command::new(root.join("tools/clients/ws-install")).arg(&tools).status().expect("a shell");
    drop(lock);
    if !installed.success() {
        common::skip::skip("the example workers", "their packages cannot be installed");
        return;
    }
    let (server, hook, flow) = served(json!({"waitForReply": true}));
    let url = format!("ws://{}/flows/{flow}/worker", server.workers);
    let mut command = Command::new(interpreter);
    command
        .args([root.join("tools/examples").join(name).into_os_string(), url.into()])
        .env("TIDEGATE_ACCESS_TOKEN", ACCESS_TOKEN)
        .env("PYTHONPATH", tools.join("python"));
    let _worker = Running::start(&mut command);
    for body in ["{\"a\":[1,2]}", "\"text\""] {
        let answer = server.wire().ask(post(&hook, body));
        assert_eq!(answer.status, 200);
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer, json!({"you said": serde_json::from_str::<Value>(body).expect("JSON")}));
    }
}

#[test]
fn the_example_in_python_works() {
    example("python3", "worker.py");
}

#[test]
fn the_example_in_javascript_works() {
    example("node", "worker.mjs");
}
