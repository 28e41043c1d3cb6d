//! What a connection costs while nothing happens on it: private memory of the server before and after many came.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::load::{self, Plan, Protocol};
use crate::{ANSWER_BODY, frames, system};

/// After this long every server has let go of what a quiet connection does not need, on a machine that does other things too.
const SETTLING: Duration = Duration::from_secs(10);
/// Connections that come before anything is counted, and requests on each, so that the server's own structures are
/// there and its shared buffers have all been used. More than a server needs to have come and gone before it gives back
/// what its start took: else that goes while others are counted.
const FIRST: usize = 256;
const FIRST_REQUESTS: usize = 32;
/// Connections that come at a time, and the pause after them, in which those before become quiet: idle connections
/// gather over hours, not within a second.
const SLICE: usize = 500;
const PAUSE: Duration = Duration::from_millis(1300);
/// Connections from one address: far fewer than it has ports.
const PER_SOURCE: usize = 20_000;
/// Bytes of a request's body and of a message.
const BODY_BYTES: usize = 200;
const MESSAGE_BYTES: usize = 100;
/// A server that does not answer by then is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// What each connection does before it is quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// One request, answered.
    Answered,
    /// One request that waits.
    Waiting,
    /// An upgrade, and one message that is answered.
    Socket,
}

/// How fast connections come, and what they do until the memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    InSlices,
    AtOnce,
    /// At once, and each sends a request a second: the memory is read right after a request of every one of them.
    Speaking,
}

/// Sweeps of requests over connections that speak, before the memory is read.
const SWEEPS: usize = 3;
/// A sweep that took longer than this leaves connections that have been quiet for a while, which is another row.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(1);

/// Bytes of private memory that each of `count` connections costs.
pub fn bytes_each(
    address: SocketAddr,
    path: &str,
    pid: u32,
    count: usize,
    before: Before,
    coming: Coming,
) -> anyhow::Result<f64> {
    let mut held = Vec::with_capacity(count + FIRST);
    for index in 0..FIRST {
        held.push(open(address, path, index, before)?);
        let requests = if before == Before::Answered { FIRST_REQUESTS } else { 0 };
        for _ in 0..requests {
            ask(&mut held[index], address, path, before)?;
        }
    }
    std::thread::sleep(SETTLING);
    let without = system::private_dirty_bytes(pid)?;
    for index in FIRST..FIRST + count {
        if coming == Coming::InSlices && (index - FIRST) % SLICE == SLICE - 1 {
            std::thread::sleep(PAUSE);
        }
        held.push(open(address, path, index, before).with_context(|| format!("connection {index}"))?);
    }
    if coming == Coming::Speaking {
        let mut swept = Duration::MAX;
        for _ in 0..SWEEPS {
            let began = Instant::now();
            for stream in &mut held {
                ask(stream, address, path, before)?;
            }
            swept = began.elapsed();
        }
        ensure!(
            swept <= SWEEP_TIME_MAX,
            "{count} connections took {:.1} s for a request each, not a second at most",
            swept.as_secs_f64()
        );
    } else {
        std::thread::sleep(SETTLING);
    }
    let with = system::private_dirty_bytes(pid)?;
    for stream in &held {
        stream.set_nonblocking(true)?;
        let ended = matches!((&mut &*stream).read(&mut [0; 1]), Ok(0));
        ensure!(!ended, "the server closed a connection that should stay");
    }
    Ok((with as f64 - without as f64) / count as f64)
}

fn open(address: SocketAddr, path: &str, index: usize, before: Before) -> anyhow::Result<TcpStream> {
    let source = Ipv4Addr::new(127, 0, 0, 2 + (index / PER_SOURCE) as u8);
    let mut stream = system::connect(address, Some(source))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    if before == Before::Socket {
        let body = load::json_body(BODY_BYTES);
        load::upgrade(&mut stream, &Plan::new(Protocol::WebSocket, address, path), path.as_bytes())?;
        let mut frame = Vec::new();
        frames::write(&mut frame, 0x81, &body[..MESSAGE_BYTES], Some([1, 2, 3, 4]));
        stream.write_all(&frame)?;
        let (mut reader, mut is_answered) = (frames::Reader::default(), false);
        let mut part = [0; 1024];
        while !is_answered {
            let read = stream.read(&mut part).context("a message was not answered")?;
            ensure!(read > 0, "the server closed instead of answering a message");
            // What comes empty is no answer: it is what an echo has to say of the connection's begin.
            let taken =
                reader.take(&part[..read], |length| is_answered |= length == MESSAGE_BYTES as u64, |_| {});
            taken.map_err(|broken| anyhow::anyhow!("{broken}"))?;
        }
        return Ok(stream);
    }
    ask(&mut stream, address, path, before)?;
    Ok(stream)
}

/// Sends a request, and reads its answer unless it waits.
fn ask(stream: &mut TcpStream, address: SocketAddr, path: &str, before: Before) -> anyhow::Result<()> {
    let body = load::json_body(BODY_BYTES);
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    stream.write_all(&request)?;
    if before == Before::Answered {
        let mut answer = Vec::with_capacity(1024);
        let mut part = [0; 1024];
        while !answer.ends_with(ANSWER_BODY) {
            let read = stream.read(&mut part)?;
            ensure!(read > 0, "the server closed instead of answering");
            answer.extend_from_slice(&part[..read]);
        }
    }
    Ok(())
}
