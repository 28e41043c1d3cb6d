//! The program from outside: its command line, the greeting of a first start, the client commands against a server.

#[path = "command_line/operations.rs"]
mod operations;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::settings::ENTRIES;

/// A token that must show up nowhere.
const PLANTED_TOKEN: &str = "planted-0123456789abcdef";

/// The program, with nothing of ours in its environment, in a folder.
fn tidegate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    tidegate(folder).args(arguments).output().expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// The arguments of a server that takes free ports, on the loop that is to be had everywhere.
const FREE_PORTS: [&str; 10] = [
    "--ingress",
    "127.0.0.1:0",
    "--admin",
    "127.0.0.1:0",
    "--workers",
    "127.0.0.1:0",
    "--cores",
    "1",
    "--driver",
    "epoll",
];

/// A serving process; killed when it is dropped.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    greeting: String,
}

impl Server {
    fn start(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let mut command = tidegate(folder);
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut server = Server { child, output, greeting: String::new() };
        server.read_greeting();
        server
    }

    /// Reads until it has said all of its greeting, which it does once it serves.
    fn read_greeting(&mut self) {
        for lines in 1.. {
            let mut line = String::new();
            if self.output.read_line(&mut line).expect("text") == 0 {
                let mut why = String::new();
                self.child.stderr.take().expect("piped").read_to_string(&mut why).expect("text");
                panic!("it ended before it served: {}{why}", self.greeting);
            }
            self.greeting += &line;
            let first_start = self.greeting.starts_with("Tidegate");
            if first_start && line.contains("curl ") || !first_start && lines == 2 {
                return;
            }
        }
    }

    /// Ends it by SIGTERM; what it logged.
    fn stop(mut self) -> String {
        let id =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is there");
        let mut log = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        assert!(self.child.wait().expect("it ends").success(), "{log}");
        log
    }

    /// The line to be pasted into a shell.
    fn call(&self) -> &str {
        self.greeting.lines().map(str::trim).find(|line| line.starts_with("curl ")).expect("a curl line")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// GETs a target over a stream; the status and the body.
fn get(mut stream: impl Read + Write, target: &str) -> (u16, String) {
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// What a successful command printed, as JSON.
fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", err(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn help_lists_every_setting_with_its_flag_variable_and_default() {
    let folder = folder();
    for arguments in [&["--help"][..], &["serve", "--help"], &["check", "--help"]] {
        let output = run(folder.path(), arguments);
        assert!(output.status.success());
        let help = out(&output);
        let words: Vec<&str> = help.split_whitespace().collect();
        let help = words.join(" ");
        for entry in ENTRIES {
            let flag = entry.flag.map_or(entry.key.to_owned(), |flag| format!("--{flag}"));
            for expected in [&flag, entry.variable, &format!("[default: {}]", entry.default)] {
                assert!(help.contains(expected), "{expected} in the help of {arguments:?}");
            }
        }
    }
    let version = out(&run(folder.path(), &["--version"]));
    assert_eq!(version.trim(), format!("tidegate {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_shows_each_setting_with_its_place_and_no_secret() {
    let folder = folder();
    std::fs::write(folder.path().join("t.toml"), "cores = 3\n[limits]\nconcurrency = 7\n").expect("written");
    let output = tidegate(folder.path())
        .args(["check", "--config", "t.toml", "--log", "debug"])
        .env("TIDEGATE_ACCESS_TOKEN", PLANTED_TOKEN)
        .env("TIDEGATE_CORES", "2")
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    let lines: HashMap<&str, Vec<&str>> = text
        .lines()
        .filter_map(|line| Some((line.split_whitespace().next()?, line.split_whitespace().skip(1).collect())))
        .collect();
    assert_eq!(lines.len(), ENTRIES.len() + 1, "{text}");
    assert_eq!(lines["cores"], ["2", "TIDEGATE_CORES", "in", "the", "environment"]);
    assert_eq!(lines["limits.concurrency"], ["7", "t.toml:3"]);
    assert_eq!(lines["log"], ["debug", "--log"]);
    assert_eq!(lines["access_token"][0], "***");
    assert!(!text.contains(PLANTED_TOKEN));
    assert!(!folder.path().join("tidegate-data").exists(), "check touches nothing");
}

/// Names and values for the environment.
type Variables = &'static [(&'static str, &'static str)];

#[test]
fn a_bad_setting_stops_the_start_with_its_name_and_place() {
    let folder = folder();
    std::fs::write(folder.path().join("bad.toml"), "log = \"info\"\n\n[ingress]\nlisen = \"x\"\n")
        .expect("written");
    let cases: &[(&[&str], Variables, &str)] = &[
        (&["--config", "bad.toml"], &[], "bad.toml:4: there is no setting ingress.lisen"),
        (&["serve", "--config", "absent.toml"], &[], "--config: absent.toml cannot be read"),
        (&["check", "--config", "/dev/zero"], &[], "--config: /dev/zero cannot be read: it has more than"),
        (
            &["check"],
            &[("TIDEGATE_CONFIG", "absent.toml")],
            "TIDEGATE_CONFIG in the environment: absent.toml",
        ),
        (
            &[],
            &[("TIDEGATE_CORES", "many")],
            "TIDEGATE_CORES in the environment: cores must be a whole number",
        ),
        (&["check"], &[("TIDEGATE_COERS", "1")], "TIDEGATE_COERS in the environment: there is no setting"),
        (&["serve", "--ingress", "8080"], &[], "--ingress: ingress.listen must be ip:port"),
        (&["--cores", "-1"], &[], "--cores: cores must be a whole number"),
        (&["--log", "verbose"], &[], "--log: log must be"),
        (
            &["check", "--workers", "127.0.0.1:8081"],
            &[],
            "--workers: admin.listen and workers.listen cannot both listen on 127.0.0.1:8081",
        ),
        (
            &["check", "--ingress", "unix:/run/t.sock", "--admin", "unix:/run/t.sock"],
            &[],
            "cannot both listen on unix:/run/t.sock",
        ),
        (
            &["check"],
            &[("TIDEGATE_ADMIN_HOSTS", "https://console.example.org")],
            "TIDEGATE_ADMIN_HOSTS in the environment: admin.hosts must hold names such as console.example.org, without",
        ),
        (&["check", "--public-url", "https://"], &[], "--public-url: ingress.public_url must be an http or"),
        (
            &["app", "list"],
            &[("TIDEGATE_ACCESS_TOKEN", "short")],
            "TIDEGATE_ACCESS_TOKEN in the environment: access_token must",
        ),
    ];
    for (arguments, environment, expected) in cases {
        let output = tidegate(folder.path())
            .args(*arguments)
            .envs(environment.iter().copied())
            .output()
            .expect("runs");
        let said = err(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("tidegate: ") && said.lines().count() == 1, "{said}");
        assert!(said.contains(expected), "{said} should hold {expected}");
    }
    assert!(!folder.path().join("tidegate-data").exists());
}

#[test]
fn what_is_asked_for_wrongly_is_said_in_one_line() {
    let folder = folder();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--coers", "2"], &["unexpected argument '--coers'", "tip: a similar argument exists"]),
        (&["sevre"], &["unrecognized subcommand 'sevre'", "'serve'"]),
        (&["serve", "--cores"], &["a value is required for '--cores"]),
        (&["--cores", "1", "--cores", "2"], &["'--cores", "cannot be used multiple times"]),
        (&["webhook"], &["subcommand", "list, show, create, set, delete, url"]),
        (&["webhook", "create"], &["required arguments were not provided", "<NAME>"]),
        (&["flow", "set", "x", "--jsn", "y"], &["'--jsn'"]),
        (&["replay"], &["<WEBHOOK>"]),
        (&["worker", "0123456789abcdef01234567", "--credit", "0"], &["'0'", "--credit"]),
        (&["app", "show", "a\nb\u{1b}[31m", "c\nd"], &["unexpected argument 'c d'"]),
    ];
    for (arguments, expected) in cases {
        let output = run(folder.path(), arguments);
        let said = err(&output);
        assert_eq!((output.status.code(), out(&output).as_str()), (Some(2), ""), "{arguments:?}: {said}");
        assert!(said.starts_with("tidegate: ") && said.lines().count() == 1, "{arguments:?}: {said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{said:?} should hold {expected:?}");
        assert!(!said.contains('\u{1b}') && !said.contains("Usage:"), "{said:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_one_that_is_closed_is_none() {
    let folder = folder();
    for arguments in [&["--help"][..], &["--version"], &["check"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("is there");
        let output = tidegate(folder.path()).args(arguments).stdout(full).output().expect("runs");
        let said = err(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("tidegate: No space left") && said.lines().count() == 1, "{said}");
        let (reader, closed) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = tidegate(folder.path()).args(arguments).stdout(closed).output().expect("runs");
        assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn check_reads_the_roots_of_alexa() {
    let folder = folder();
    std::fs::write(folder.path().join("none.pem"), "no roots here\n").expect("written");
    for (file, why) in [
        ("absent.pem", "No such file"),
        ("none.pem", "alexa.roots"),
        ("/dev/zero", "more than 4194304 bytes"),
    ] {
        let checked = tidegate(folder.path()).arg("check").env("TIDEGATE_ALEXA_ROOTS", file).output();
        let checked = checked.expect("runs");
        let said = err(&checked);
        assert_eq!(checked.status.code(), Some(1), "{said}");
        assert!(said.contains("the file of alexa.roots") && said.contains(why), "{said}");
        assert!(said.starts_with("tidegate: ") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_variable_of_ours_whose_name_is_no_text_is_not_passed_over() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = folder();
    let name = std::ffi::OsStr::from_bytes(b"TIDEGATE_CORES\xff");
    let checked = tidegate(folder.path()).arg("check").env(name, "1").output().expect("runs");
    let said = err(&checked);
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains("TIDEGATE_CORES\u{fffd} in the environment: there is no setting"), "{said}");
    let other = std::ffi::OsStr::from_bytes(b"OTHER_TIDEGATE_\xff");
    let checked = tidegate(folder.path()).arg("check").env(other, "1").output().expect("runs");
    assert!(checked.status.success(), "{}", err(&checked));
}

#[test]
fn the_call_that_a_first_start_prints_works_and_a_second_start_is_brief() {
    let folder = folder();
    let server = Server::start(folder.path(), &FREE_PORTS, &[]);
    let url = server.call().strip_prefix("curl ").expect("a URL").trim_matches('\'').to_owned();
    let (authority, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
    let (status, body) = get(TcpStream::connect(authority).expect("connects"), &format!("/{path}?name=you"));
    assert_eq!(status, 200, "{body}");
    let reply: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(reply["hello"], "from Tidegate");

    let token = folder.path().join("tidegate-data/access-token");
    assert!(server.greeting.contains("tidegate-data/access-token"), "{}", server.greeting);
    assert_eq!(std::fs::metadata(&token).expect("is there").permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(token).expect("text").trim().to_owned();
    let log = server.stop();
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of the log is JSON");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert!(!log.contains(&token));

    let server = Server::start(folder.path(), &FREE_PORTS, &[]);
    assert_eq!(server.greeting.lines().count(), 2, "{}", server.greeting);
    assert!(!server.greeting.contains(&token));
}

#[test]
fn the_whole_conversation_works_over_unix_sockets() {
    let folder = folder();
    let socket = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let (ingress, admin, workers) = (socket("in put.sock"), socket("admin.sock"), socket("workers.sock"));
    let arguments = [
        "--ingress",
        &ingress,
        "--admin",
        &admin,
        "--workers",
        &workers,
        "--cores",
        "1",
        "--driver",
        "epoll",
    ];
    let server = Server::start(folder.path(), &arguments, &[]);
    let call = server.call();
    let path = folder.path().join("in put.sock");
    assert!(
        call.starts_with(&format!("curl --unix-socket '{}' http://localhost/webhooks/", path.display())),
        "{call}"
    );
    let target = call.rsplit_once("http://localhost").expect("a URL").1;
    let (status, body) = get(std::os::unix::net::UnixStream::connect(&path).expect("connects"), target);
    assert_eq!(status, 200, "{body}");
    let shown = json_of(&run(folder.path(), &["webhook", "show", "hello"]));
    assert_eq!(format!("/webhooks/{}", shown["token"].as_str().expect("a token")), target);
    let named = json_of(&run(folder.path(), &["app", "list", "--json", "--server", &admin]));
    assert_eq!(named.as_array().map(Vec::len), Some(1));

    let asked = json_of(&run(folder.path(), &["webhook", "create", "ask", "--set", "waitForReply=true"]));
    let flow =
        json!({"triggers": [{"type": "webhook", "key": asked["id"]}], "nodes": [{"type": "WorkerNode"}]});
    std::fs::write(folder.path().join("flow.json"), flow.to_string()).expect("written");
    let flow = json_of(&run(folder.path(), &["flow", "create", "answers", "--json", "flow.json"]));
    let id = flow["id"].as_str().expect("an id");
    let mut worker = tidegate(folder.path())
        .args(["worker", id, "--exec", "echo worked", "--workers", &workers])
        .spawn()
        .expect("starts");
    let target = format!("/webhooks/{}", asked["token"].as_str().expect("a token"));
    let answered = get(std::os::unix::net::UnixStream::connect(&path).expect("connects"), &target);
    worker.kill().and_then(|()| worker.wait()).expect("it can be ended");
    assert_eq!(answered, (200, "worked".to_owned()));
}

#[test]
fn a_first_start_that_fails_does_not_cost_the_demonstration() {
    let folder = folder();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").to_string();
    for (flag, key) in [("--ingress", "ingress.listen"), ("--admin", "admin.listen")] {
        let mut arguments = FREE_PORTS.to_vec();
        let at = arguments.iter().position(|argument| *argument == flag).expect("among them");
        arguments[at + 1] = &taken;
        let output = run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = err(&output);
        let last = said.lines().last().expect("a message");
        assert!(
            last.starts_with("tidegate: ")
                && last.contains(&taken)
                && last.contains(key)
                && last.contains(flag),
            "{said}"
        );
    }
    let server = Server::start(folder.path(), &FREE_PORTS, &[]);
    assert!(server.call().starts_with("curl http://127.0.0.1:"));
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let folder = folder();
    let server = Server::start(folder.path(), &FREE_PORTS, &[]);
    let output = run(folder.path(), &FREE_PORTS);
    assert_eq!(output.status.code(), Some(1));
    let said = err(&output);
    assert!(
        said.contains(&format!("in use by process {}", server.child.id())) && said.contains("--data"),
        "{said}"
    );
}

#[test]
fn a_flow_of_one_step_needs_no_json() {
    let folder = folder();
    let server = Server::start(folder.path(), &FREE_PORTS, &[("TIDEGATE_ACCESS_TOKEN", PLANTED_TOKEN)]);
    let run = |arguments: &[&str]| {
        let mut command = tidegate(folder.path());
        command.args(arguments).env("TIDEGATE_ACCESS_TOKEN", PLANTED_TOKEN).output().expect("runs")
    };
    let id = json_of(&run(&["webhook", "create", "in"]))["id"].clone();
    let other = json_of(&run(&["webhook", "create", "other"]))["id"].clone();
    for (flags, kind, config) in [
        (
            &["--reply", "hi", "--code", "201"][..],
            "WebhookReplyNode",
            json!({"bodyTemplate": "hi", "responseCodeTemplate": "201"}),
        ),
        (&["--forward", "http://127.0.0.1:9/x"], "HttpForwardNode", json!({"url": "http://127.0.0.1:9/x"})),
        (&["--worker"], "WorkerNode", Value::Null),
    ] {
        let named = other.as_str().expect("an id");
        let flow =
            json_of(&run(&[&["flow", "create", "f", "--webhook", "in", "--webhook", named], flags].concat()));
        assert_eq!((&flow["triggers"][0]["key"], &flow["triggers"][1]["key"]), (&id, &other));
        assert_eq!((&flow["nodes"][0]["type"], &flow["nodes"][0]["config"]), (&json!(kind), &config));
    }
    for flags in [&["--reply", "a", "--worker"][..], &["--code", "201"], &["--forward", "a", "--reply", "b"]]
    {
        assert_eq!(run(&[&["flow", "create", "f"], flags].concat()).status.code(), Some(2), "{flags:?}");
    }
    assert_eq!(run(&["flow", "create", "f", "--webhook", "absent"]).status.code(), Some(1));

    // A reply is of the kind that the webhooks' callers take.
    json_of(&run(&["webhook", "create", "chat", "--set", "isWebsocket=true"]));
    let both =
        ["flow", "create", "f", "--webhook", "in", "--webhook", "chat", "--reply", "hi", "--code", "201"];
    assert_eq!(
        json_of(&run(&both))["nodes"],
        json!([
            {"id": "reply", "type": "WebhookReplyNode",
                "config": {"bodyTemplate": "hi", "responseCodeTemplate": "201"}},
            {"id": "message", "type": "WebhookReplyNode",
                "config": {"bodyTemplate": "hi", "isWebsocketMessage": true}},
        ])
    );
    let socket = ["flow", "create", "f", "--webhook", "chat", "--reply", "hi"];
    assert_eq!(json_of(&run(&socket))["nodes"][0]["config"]["isWebsocketMessage"], json!(true));
    assert_eq!(run(&[&socket[..], &["--code", "201"]].concat()).status.code(), Some(2));
    drop(server);
}

#[test]
fn the_client_commands_create_list_show_set_test_and_delete() {
    let folder = folder();
    let server = Server::start(folder.path(), &FREE_PORTS, &[("TIDEGATE_ACCESS_TOKEN", PLANTED_TOKEN)]);
    let run = |arguments: &[&str]| {
        tidegate(folder.path())
            .args(arguments)
            .env("TIDEGATE_ACCESS_TOKEN", PLANTED_TOKEN)
            .output()
            .expect("runs")
    };
    let id_of = |value: &Value| value["id"].as_str().expect("an id").to_owned();

    // The demonstration's application is the only one, so none has to be named.
    let webhook = json_of(&run(&[
        "webhook",
        "create",
        "second",
        "--set",
        "responseCode=202",
        "--set",
        "limits.concurrency=5",
    ]));
    assert_eq!((&webhook["responseCode"], &webhook["limits"]), (&json!(202), &json!({"concurrency": 5})));
    let id = id_of(&webhook);
    let body = json!({"triggers": [{"type": "webhook", "key": id}]}).to_string();
    std::fs::write(folder.path().join("flow.json"), body).expect("written");
    let flow = json_of(&run(&[
        "flow",
        "create",
        "counts",
        "--json",
        "flow.json",
        "--set",
        "description=from a file",
    ]));
    assert_eq!((&flow["description"], &flow["triggers"][0]["key"]), (&json!("from a file"), &json!(id)));

    let table = out(&run(&["webhook", "list", "--filter", "sec*"]));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    let url = lines[1].split_whitespace().last().expect("a URL");
    assert!(
        url.starts_with("http://127.0.0.1:") && url.ends_with(webhook["token"].as_str().expect("a token")),
        "{table}"
    );
    let (authority, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
    assert_eq!(get(TcpStream::connect(authority).expect("connects"), &format!("/{path}")).0, 202);

    let told = run(&[
        "webhook",
        "test",
        &id,
        "--method",
        "put",
        "--path",
        "/up?a=b",
        "--header",
        "X-Kind: test",
        "--header",
        "X-Kind: again",
        "--body",
        "{\"n\":1.10}",
    ]);
    assert!(out(&told).contains("\"body\":{\"n\":1.10}"), "{}", out(&told));
    let told = json_of(&told);
    let data = &told["triggers"][0]["data"];
    assert_eq!(
        (&told["statusCode"], &data["method"], &data["path"]),
        (&json!(202), &json!("put"), &json!("/up"))
    );
    assert_eq!((&data["query"], &data["headers"]["x-kind"]), (&json!({"a": "b"}), &json!("test, again")));

    let changed = json_of(&run(&["webhook", "set", "second", "enabled=false", "description=off for now"]));
    assert_eq!((&changed["enabled"], &changed["description"]), (&json!(false), &json!("off for now")));
    assert_eq!(json_of(&run(&["webhook", "show", &id])), changed);

    // What of it will not act as it reads is told beside it.
    let warned = run(&["webhook", "set", "second", "verificationType=fitbit"]);
    assert_eq!(json_of(&warned)["warnings"].as_array().map(Vec::len), Some(1));
    let said = String::from_utf8_lossy(&warned.stderr);
    assert!(said.starts_with("tidegate: warning: ") && said.contains("verificationCode"), "{said}");
    json_of(&run(&["webhook", "set", "second", "verificationType=none"]));

    // What a dot reaches into stays but for what is named.
    let limits = |assignments: &[&str]| {
        json_of(&run(&[&["webhook", "set", "second"], assignments].concat()))["limits"].clone()
    };
    assert_eq!(limits(&["limits.requestsPerWindow=70"]), json!({"requestsPerWindow": 70, "concurrency": 5}));
    assert_eq!(limits(&["limits.concurrency=null"]), json!({"requestsPerWindow": 70}));
    assert_eq!(limits(&["limits={}", "limits.windowSeconds=7"]), json!({"windowSeconds": 7}));
    assert_eq!(limits(&["limits=null"]), json!({}));

    let refused = run(&["webhook", "set", &id, "responseCode=99"]);
    assert_eq!(
        (refused.status.code(), err(&refused).as_str()),
        (Some(1), "tidegate: `responseCode` must be an integer from 200 to 599\n")
    );
    let misused = run(&["webhook", "set", &id, "responseCode"]);
    assert_eq!(misused.status.code(), Some(2), "{}", err(&misused));
    assert_eq!(run(&["flow", "show", "absent"]).status.code(), Some(1));

    assert!(run(&["webhook", "delete", &id, "--include-workflows"]).status.success());
    assert_eq!(run(&["webhook", "show", &id]).status.code(), Some(1));
    assert_eq!(json_of(&run(&["flow", "list", "--filter", "counts", "--json"])), json!([]));

    let app = id_of(&json_of(&run(&["app", "create", "another"])));
    let ambiguous = run(&["flow", "list"]);
    assert_eq!(ambiguous.status.code(), Some(2));
    assert!(err(&ambiguous).contains("--app"), "{}", err(&ambiguous));
    assert_eq!(json_of(&run(&["flow", "list", "--app", &app, "--json"])), json!([]));
    assert_eq!(json_of(&run(&["app", "set", "another", "name=renamed"]))["name"], "renamed");
    assert!(run(&["app", "delete", "renamed"]).status.success());
    assert_eq!(out(&run(&["app", "list"])).lines().count(), 2);

    // The file of an unset variable is no token here, and a wrong one is said to be wrong.
    let wrong = tidegate(folder.path())
        .args(["app", "list"])
        .env("TIDEGATE_ACCESS_TOKEN", "wrong-0123456789abcdef")
        .output();
    let wrong = wrong.expect("runs");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(err(&wrong).contains("access token") && !err(&wrong).contains("wrong-"), "{}", err(&wrong));
    assert_eq!(tidegate(folder.path()).args(["app", "list"]).output().expect("runs").status.code(), Some(1));

    let greeting = server.greeting.clone();
    assert!(greeting.contains("as given by access_token"), "{greeting}");
    let log = server.stop();
    for text in [&log, &greeting] {
        assert!(!text.contains(PLANTED_TOKEN) && !text.contains("wrong-"), "{text}");
    }
    assert!(!log.contains(webhook["token"].as_str().expect("a token")), "{log}");

    let stopped = run(&["app", "list", "--server", "http://127.0.0.1:1"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(err(&stopped).contains("is `tidegate serve` running?"), "{}", err(&stopped));
}

#[test]
fn a_terminal_gets_escapes_and_a_pipe_the_bytes() {
    const SENT: &str = "a\u{9b}31mb\u{7f}c\u{202e}d\u{2028}e";
    let folder = folder();
    let _server = Server::start(folder.path(), &FREE_PORTS, &[("TIDEGATE_ACCESS_TOKEN", PLANTED_TOKEN)]);
    let run = |command: &mut Command| {
        let output = command.env("TIDEGATE_ACCESS_TOKEN", PLANTED_TOKEN).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        out(&output)
    };
    let created = run(tidegate(folder.path()).args(["webhook", "create", SENT]));
    assert!(created.contains(SENT), "{created}");
    let id = serde_json::from_str::<Value>(&created).expect("JSON")["id"].as_str().expect("an id").to_owned();
    for arguments in
        [format!("webhook show {id}"), "webhook list".to_owned(), "webhook list --json".to_owned()]
    {
        // util-linux's `script` gives a command a terminal of its own.
        let mut command = Command::new("script");
        command.env_remove("TIDEGATE_TEST_TOOLS").current_dir(folder.path()).stdin(Stdio::null());
        let asked = format!("{} {arguments}", env!("CARGO_BIN_EXE_tidegate"));
        let shown = run(command.args(["-qec", &asked, "/dev/null"]));
        assert!(shown.contains("31mb") && shown.contains("202e"), "{arguments}: {shown}");
        let is_raw =
            |c: char| c.is_control() && !matches!(c, '\n' | '\r') || matches!(c, '\u{202e}' | '\u{2028}');
        assert!(!shown.contains(is_raw), "{arguments}: {shown:?}");
    }
}

#[test]
fn a_list_of_webhooks_shows_the_urls_that_callers_use() {
    let folder = folder();
    let arguments = [&FREE_PORTS[..], &["--public-url", "https://hooks.example.org/"]].concat();
    let _server = Server::start(folder.path(), &arguments, &[]);
    // Only the process that serves was told of it.
    let table = out(&run(folder.path(), &["webhook", "list"]));
    assert!(table.contains("  https://hooks.example.org/webhooks/"), "{table}");
}

#[test]
fn a_webhook_gets_another_url_and_the_old_one_goes_on_for_its_grace() {
    let folder = folder();
    let _server = Server::start(folder.path(), &FREE_PORTS, &[]);
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let before = json_of(&run(&["webhook", "show", "hello"]));
    let made = json_of(&run(&["webhook", "rotate", "hello", "--grace", "60"]));
    assert_eq!((made["token"].as_str().map(str::len), &made["id"]), (Some(40), &before["id"]));
    assert_eq!(made["previousTokens"][0]["token"], before["token"]);
    let given = json_of(&run(&["webhook", "rotate", "hello", "--token", "a-name-of-its-own"]));
    assert_eq!(given["token"], "a-name-of-its-own");
    for refused in [["--token", "short"], ["--grace", "2592001"], ["--grace", "soon"]] {
        let output = run(&[&["webhook", "rotate", "hello"][..], &refused].concat());
        assert!(!output.status.success(), "{refused:?}: {}", out(&output));
    }
}
