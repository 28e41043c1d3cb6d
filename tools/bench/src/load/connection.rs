//! One connection of the load: opened and upgraded at once, then driven by the ring.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Plan, Protocol};
use crate::{answer, frames, system};

/// A server that does not take a connection or an upgrade by then is broken.
const OPENING: Duration = Duration::from_secs(20);
/// An upgrade's answer that has no end by then is none.
const UPGRADE_BYTES_MAX: usize = 16 * 1024;

/// Reads what the protocol brings.
pub(super) enum Reader {
    Http(answer::Reader),
    WebSocket(frames::Reader),
}

/// One connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) reader: Reader,
    /// When each request under way should have left, nanoseconds since the start.
    pub(super) starts: VecDeque<u64>,
    /// Requests that are due and not handed to the ring.
    pub(super) due: usize,
    /// Requests as they are sent, where they differ from one to the next.
    pub(super) out: Vec<u8>,
    /// A send whose completion is awaited: its bytes.
    pub(super) sending: Option<usize>,
    /// It stands among those that have something to send.
    pub(super) is_ready: bool,
    /// It stands among those that can take a request (open loop).
    pub(super) is_free: bool,
    /// The peer is gone.
    pub(super) ended: bool,
}

impl Connection {
    pub(super) fn open(plan: &Plan, index: usize, path: &[u8]) -> anyhow::Result<Connection> {
        let source = (!plan.sources.is_empty()).then(|| plan.sources[index % plan.sources.len()]);
        let mut stream = system::connect(plan.address, source)
            .with_context(|| format!("connection {index} to {}", plan.address))?;
        let reader = match plan.protocol {
            Protocol::Http => Reader::Http(answer::Reader::new(plan.method == "HEAD")),
            Protocol::WebSocket => {
                upgrade(&mut stream, plan, path).with_context(|| format!("upgrade of connection {index}"))?;
                Reader::WebSocket(frames::Reader::default())
            }
        };
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            reader,
            starts: VecDeque::with_capacity(plan.depth),
            due: 0,
            out: Vec::new(),
            sending: None,
            is_ready: false,
            is_free: false,
            ended: false,
        })
    }
}

/// Asks for a WebSocket and reads the 101, no byte further.
pub fn upgrade(stream: &mut TcpStream, plan: &Plan, path: &[u8]) -> anyhow::Result<()> {
    let mut request = b"GET ".to_vec();
    request.extend_from_slice(path);
    request.extend_from_slice(
        format!(
            " HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            plan.host
        )
        .as_bytes(),
    );
    for line in &plan.headers {
        request.extend_from_slice(line.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.set_read_timeout(Some(OPENING))?;
    stream.write_all(&request)?;
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < UPGRADE_BYTES_MAX, "the answer to the upgrade does not end");
        ensure!(stream.read(&mut byte)? == 1, "the server closed instead of answering the upgrade");
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head);
    let status = text.lines().next().unwrap_or_default();
    ensure!(status.contains(" 101"), "the upgrade was refused: {status}");
    // RFC 6455, 1.3: the accept value of this key.
    ensure!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the upgrade's accept value is wrong");
    Ok(())
}
