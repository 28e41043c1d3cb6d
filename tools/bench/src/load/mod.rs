//! The load generator: many connections, one thread, one ring; closed loop (as fast as the answers come) or open
//! loop (at a fixed rate, with latency counted from the moment at which a request should have left, so that a slow
//! server cannot hide behind requests that were never sent).

mod connection;
mod outcome;
mod plot;
mod run;

pub use connection::upgrade;
pub use outcome::{Outcome, Second};
pub use plot::svg;
pub use run::{Watcher, run};

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::frames;
use crate::targets::{Order, Targets};

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    WebSocket,
}

/// When it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Time(Duration),
    /// Requests or messages that are answered, warm-up not counted.
    Count(u64),
}

/// What answers must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// None: any status.
    pub status: Option<u16>,
    pub length: Length,
}

/// How long an answer's body or message must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Any,
    /// As the first measured one.
    Same,
    Exactly(u64),
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub protocol: Protocol,
    pub address: SocketAddr,
    /// What the `Host` field says.
    pub host: String,
    pub targets: Targets,
    pub order: Order,
    pub method: String,
    /// Further header lines, `name: value` each.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
    pub connections: usize,
    /// Requests or messages under way on a connection at a time.
    pub depth: usize,
    pub bound: Bound,
    /// Load before anything counts.
    pub warmup: Duration,
    /// Requests a second over all connections; none: closed loop.
    pub rate: Option<f64>,
    /// Requests of the open loop that leave together on one connection; at most `depth`.
    pub burst: usize,
    pub expect: Expectation,
    /// Connections are spread over these addresses of this machine.
    pub sources: Vec<Ipv4Addr>,
    pub seed: u64,
}

impl Plan {
    /// 64 connections, one request at a time each, one second, a 200 expected.
    #[must_use]
    pub fn new(protocol: Protocol, address: SocketAddr, path: &str) -> Plan {
        Plan {
            protocol,
            address,
            host: address.to_string(),
            targets: Targets::One(path.to_owned()),
            order: Order::Random,
            method: "POST".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            connections: 64,
            depth: 1,
            bound: Bound::Time(Duration::from_secs(1)),
            warmup: Duration::from_millis(300),
            rate: None,
            burst: 1,
            expect: Expectation { status: Some(200), length: Length::Same },
            sources: Vec::new(),
            seed: 1,
        }
    }

    /// What follows the path of a request.
    fn behind_path(&self) -> Vec<u8> {
        let mut out = format!(" HTTP/1.1\r\nhost: {}\r\n", self.host).into_bytes();
        for line in &self.headers {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        let bodiless = matches!(self.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS");
        if !self.body.is_empty() || !bodiless {
            out.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }

    /// The same bytes for every request, where there is only one path; `depth` of them in a row.
    fn constant(&self) -> Option<Vec<u8>> {
        let mut one = Vec::new();
        match self.protocol {
            // A mask that is not zero, as a browser's would not be.
            Protocol::WebSocket => frames::write(&mut one, 0x81, &self.body, Some(MASK)),
            Protocol::Http => {
                let path = self.targets.sole()?;
                one.extend_from_slice(format!("{} {path}", self.method).as_bytes());
                one.extend_from_slice(&self.behind_path());
            }
        }
        Some(one.repeat(self.depth))
    }
}

/// The mask of every frame that is sent.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A JSON body of exactly `bytes` bytes (none for 0; under 10 there is only a number).
#[must_use]
pub fn json_body(bytes: usize) -> Vec<u8> {
    const AROUND: usize = r#"{"pad":""}"#.len();
    match bytes.checked_sub(AROUND) {
        None => vec![b'1'; bytes],
        Some(padding) => format!(r#"{{"pad":"{}"}}"#, "x".repeat(padding)).into_bytes(),
    }
}
