//! The program as a child process, its REST API, and requests over real sockets: no more than these tests need.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing that a test waits for takes this long, on however busy a machine: a test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Between two looks at something that is about to happen.
const LOOK: Duration = Duration::from_millis(5);
/// The access token of every server here.
pub const ACCESS_TOKEN: &str = "verification-access-token";

/// A running server, gone with the test.
pub struct Server {
    child: Child,
    folder: TempDir,
    pub ingress: SocketAddr,
    pub admin: SocketAddr,
}

/// A webhook with a flow that every trigger runs.
pub struct Hook {
    pub id: String,
    pub application: String,
    pub token: String,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a field, empty where it is missing.
    pub fn field(&self, name: &str) -> &str {
        let mut values = self.head.lines().filter_map(|line| line.split_once(": "));
        values.find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// Asserts status and body.
    #[track_caller]
    pub fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body), "{self:?}");
    }

    /// Asserts a refusal with this reason.
    #[track_caller]
    pub fn refused(&self, status: u16, reason: &str) {
        assert_eq!(self.field("content-type"), "application/json");
        self.is(status, &json!({"error": reason}).to_string());
    }
}

impl Server {
    /// Starts the program with these variables beside the usual ones, without a limit of the rate.
    pub fn start(variables: &[(&str, &str)]) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .env_clear()
            .env("TIDEGATE_DATA", &data)
            .env("TIDEGATE_CORES", "2")
            .env("TIDEGATE_ACCESS_TOKEN", ACCESS_TOKEN)
            .env("TIDEGATE_JOURNAL_DURABILITY", "memory")
            .env("TIDEGATE_INGRESS_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_WORKERS_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", "0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let mut server = Server { child, folder, ingress: ([0; 4], 0).into(), admin: ([0; 4], 0).into() };
        let begun = Instant::now();
        let text = loop {
            if let Ok(text) = std::fs::read_to_string(data.join("addresses.json")) {
                break text;
            }
            let ended = server.child.try_wait().expect("a child");
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "it does not serve: {}", server.log());
            std::thread::sleep(LOOK);
        };
        let addresses: Value = serde_json::from_str(&text).expect("JSON");
        let address = |name: &str| addresses[name].as_str().expect("text").parse().expect("an address");
        (server.ingress, server.admin) = (address("ingress"), address("admin"));
        server
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("its log")
    }

    /// One call of the REST API: status and JSON.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let bearer = format!("Bearer {ACCESS_TOKEN}");
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = ask(self.admin, &request(method, path, &fields, body.as_bytes()));
        (response.status, serde_json::from_slice(&response.body).expect("JSON"))
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!((200..300).contains(&status), "{method} {path} with {body}: {status} {answer}");
        answer
    }

    /// A webhook with these fields in an application of its own, and a flow that replies `seen`.
    #[track_caller]
    pub fn webhook(&self, mut fields: Value) -> Hook {
        let application = id(&self.done("POST", "/applications", &json!({"name": "An application"})));
        fields["name"] = json!("A webhook");
        let webhook = self.done("POST", &format!("/applications/{application}/webhooks"), &fields);
        let hook = Hook {
            id: id(&webhook),
            token: webhook["token"].as_str().expect("text").to_owned(),
            application,
        };
        let flow = json!({
            "name": "A flow",
            "triggers": [{"type": "webhook", "key": hook.id}],
            "nodes": [{"type": "WebhookReplyNode", "config": {"bodyTemplate": "seen"}}],
        });
        self.done("POST", &format!("/applications/{}/flows", hook.application), &flow);
        hook
    }

    #[track_caller]
    pub fn patch(&self, hook: &Hook, fields: &Value) {
        self.done("PATCH", &format!("/applications/{}/webhooks/{}", hook.application, hook.id), fields);
    }

    /// A GET of the webhook's URL with this behind its token.
    pub fn get(&self, hook: &Hook, more: &str) -> Response {
        self.send("GET", hook, more, &[], b"")
    }

    /// A POST of JSON.
    pub fn post(&self, hook: &Hook, fields: &[(&str, &str)], body: &[u8]) -> Response {
        let fields = [&[("Content-Type", "application/json")], fields].concat();
        self.send("POST", hook, "", &fields, body)
    }

    /// Any request.
    pub fn send(
        &self,
        method: &str,
        hook: &Hook,
        more: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        ask(self.ingress, &request(method, &format!("/webhooks/{}{more}", hook.token), fields, body))
    }

    /// Triggers that were handed to flows, since the start.
    pub fn triggers(&self) -> u64 {
        let bearer = format!("Bearer {ACCESS_TOKEN}");
        let page = ask(self.admin, &request("GET", "/metrics", &[("Authorization", &bearer)], b""));
        let samples = page.text().lines().filter(|line| line.starts_with("tidegate_triggers_total"));
        samples.map(|line| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a count")).sum()
    }

    /// What `act` answers, and how many triggers it made.
    pub fn counted<T>(&self, act: impl FnOnce() -> T) -> (T, u64) {
        let before = self.triggers();
        let answer = act();
        (answer, self.triggers() - before)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("what the server wrote:\n{}", self.log());
        }
    }
}

fn id(resource: &Value) -> String {
    resource["id"].as_str().expect("an id").to_owned()
}

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A connection to the server, with patience.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

/// Sends a request that closes its connection, and reads the response.
pub fn ask(address: SocketAddr, request: &[u8]) -> Response {
    let mut stream = connect(address);
    stream.write_all(request).expect("the server takes it");
    response(&mut stream)
}

/// Reads a response to the end of its connection.
pub fn response(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the server answers and closes in order");
    let end = memchr::memmem::find(&bytes, b"\r\n\r\n").unwrap_or_else(|| panic!("no head in {bytes:?}"));
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head of ASCII");
    let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
    Response { status, head, body: bytes[end + 4..].to_vec() }
}

/// A request that closes its connection.
pub fn request(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in fields {
        write!(head, "{name}: {value}\r\n").expect("a string takes it");
    }
    write!(head, "Content-Length: {}\r\n\r\n", body.len()).expect("a string takes it");
    [head.as_bytes(), body].concat()
}
