//! A target that answers as a test says, and remembers what it was sent.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::common::eventually;

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub line: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Received {
    /// The body, which is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What a target does with a request.
pub enum Answer {
    /// A status, header lines, and a body.
    Respond(u16, &'static str, Vec<u8>),
    /// Nothing, until the other side has enough.
    Hang,
    /// The connection is closed.
    Close,
    /// Whatever this writes; then the connection is closed.
    Write(Box<dyn FnOnce(&mut TcpStream) + Send>),
}

impl Answer {
    pub fn status(status: u16) -> Answer {
        Answer::Respond(status, "", Vec::new())
    }
}

type Script = dyn Fn(usize, &Received) -> Answer + Send + Sync;

/// A server that answers by a script, which is told the number of each request, from 0.
pub struct Target {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    received: Mutex<Vec<Received>>,
    counts: Mutex<Counts>,
    freed: Condvar,
    script: Box<Script>,
}

#[derive(Default)]
struct Counts {
    now: usize,
    most: usize,
    /// Answers are held back while this is set.
    is_held: bool,
}

impl Target {
    pub fn start(script: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static) -> Target {
        Target::start_on(TcpListener::bind("127.0.0.1:0").expect("a port"), script)
    }

    pub fn start_on(
        listener: TcpListener,
        script: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static,
    ) -> Target {
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            received: Mutex::default(),
            counts: Mutex::default(),
            freed: Condvar::new(),
            script: Box::new(script),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Target { address, state }
    }

    /// A target that is always content.
    pub fn fine() -> Target {
        Target::start(|_, _| Answer::status(200))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.state.received.lock().unwrap().len()
    }

    /// Waits until so many requests were received.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        eventually("requests to a target", || (self.count() >= count).then(|| self.received()))
    }

    /// Most requests that were under way at a time.
    pub fn most_at_once(&self) -> usize {
        self.state.counts.lock().unwrap().most
    }

    /// Requests that are under way.
    pub fn at_once(&self) -> usize {
        self.state.counts.lock().unwrap().now
    }

    /// Holds all answers back until [`Target::release`].
    pub fn hold(&self) {
        self.state.counts.lock().unwrap().is_held = true;
    }

    pub fn release(&self) {
        self.state.counts.lock().unwrap().is_held = false;
        self.state.freed.notify_all();
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
        let mut writer = stream;
        while let Some(received) = receive(&mut reader) {
            let number = {
                let mut all = self.received.lock().unwrap();
                all.push(received.clone());
                all.len() - 1
            };
            {
                let mut counts = self.counts.lock().unwrap();
                counts.now += 1;
                counts.most = counts.most.max(counts.now);
                drop(self.freed.wait_while(counts, |counts| counts.is_held).unwrap());
            }
            let answer = (self.script)(number, &received);
            if matches!(answer, Answer::Hang) {
                // Until the other side closes.
                let _ = reader.read(&mut [0]);
            }
            self.counts.lock().unwrap().now -= 1;
            let (status, fields, body) = match answer {
                Answer::Respond(status, fields, body) => (status, fields, body),
                Answer::Write(write) => return write(&mut writer),
                Answer::Hang | Answer::Close => return,
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status} Said\r\n{fields}content-length: {length}\r\n\r\n");
            if writer.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                return;
            }
        }
    }
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = HashMap::new();
    loop {
        let field = line()?;
        let Some((name, value)) = field.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length: &String| length.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { line: first, headers, body })
}

/// A port on which nothing listens.
pub fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// Pause of a target that is slow and not dead: longer than any other step of a test.
pub const SLOW: Duration = Duration::from_millis(300);
