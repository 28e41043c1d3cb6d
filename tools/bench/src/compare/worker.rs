//! A worker that acks every trigger at once, on a thread of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::tidegate::access_token;
use crate::load::{self, Plan, Protocol};
use crate::{frames, system};

/// Triggers that may be under way to the worker; more than connections can have waiting.
const CREDIT: u64 = 50_000;
/// Bytes that one read brings.
const READ_BYTES: usize = 256 * 1024;
/// A frame may be 2 MiB (section 10).
const FRAME_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// How long the last triggers may take.
const CATCHING_UP: Duration = Duration::from_secs(10);

/// An attached worker.
pub struct Worker {
    stream: TcpStream,
    acked: Arc<AtomicU64>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Worker {
    /// Attaches to a flow.
    pub fn attach(workers: SocketAddr, flow: &str, cpu: usize) -> anyhow::Result<Worker> {
        let mut stream = system::connect(workers, None).context("the workers' listener")?;
        let path = format!("/flows/{flow}/worker");
        let mut plan = Plan::new(Protocol::WebSocket, workers, &path);
        plan.headers.push(format!("authorization: Bearer {}", access_token()));
        plan.headers.push("sec-websocket-protocol: tidegate.worker.v1".to_owned());
        load::upgrade(&mut stream, &plan, path.as_bytes())?;
        stream.set_read_timeout(None)?;
        let acked = Arc::new(AtomicU64::new(0));
        let (mut reader, counter) = (stream.try_clone()?, Arc::clone(&acked));
        let thread = std::thread::spawn(move || {
            system::pin_to_cpu(cpu)?;
            serve(&mut reader, &counter)
        });
        Ok(Worker { stream, acked, thread: Some(thread) })
    }

    /// Waits until at least this many triggers were acked, and lets the worker go.
    pub fn finish(mut self, at_least: u64) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.acked.load(Ordering::Relaxed) < at_least {
            let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
            if ended || began.elapsed() > CATCHING_UP {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stream.shutdown(Shutdown::Both).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_else(|_| bail!("the worker panicked"))?;
        }
        let acked = self.acked.load(Ordering::Relaxed);
        ensure!(acked >= at_least, "{acked} triggers came to the worker, {at_least} were accepted");
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stream.shutdown(Shutdown::Both).ok();
    }
}

fn serve(stream: &mut TcpStream, acked: &AtomicU64) -> anyhow::Result<()> {
    let mut out = Vec::new();
    say(&mut out, &format!("{{\"type\":\"ready\",\"credit\":{CREDIT}}}"));
    stream.write_all(&out)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut pending: Vec<u8> = Vec::new();
    let mut seqs = String::new();
    loop {
        // A reset is how a server that was stopped ends the connection.
        let read = stream.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            return Ok(());
        }
        pending.extend_from_slice(&buffer[..read]);
        out.clear();
        seqs.clear();
        let (mut used, mut count) = (0, 0);
        while let Some(header) =
            frames::header(&pending[used..]).map_err(|code| anyhow::anyhow!("opcode {code}"))?
        {
            ensure!(header.payload_bytes <= FRAME_BYTES_MAX, "a frame of {} bytes", header.payload_bytes);
            let end = used + header.header_bytes + header.payload_bytes as usize;
            let Some(payload) = pending.get(used + header.header_bytes..end) else { break };
            match header.kind {
                frames::Kind::Message => {
                    if let Some(seq) = seq(payload) {
                        if count > 0 {
                            seqs.push(',');
                        }
                        seqs.push_str(seq);
                        count += 1;
                    }
                }
                frames::Kind::Ping => frames::write(&mut out, 0x8A, payload, Some([0; 4])),
                frames::Kind::Close => return Ok(()),
                frames::Kind::Pong => {}
            }
            used = end;
        }
        pending.drain(..used);
        if count > 0 {
            say(&mut out, &format!("{{\"type\":\"ack\",\"seqs\":[{seqs}]}}"));
            say(&mut out, &format!("{{\"type\":\"ready\",\"credit\":{count}}}"));
            acked.fetch_add(count, Ordering::Relaxed);
        }
        if stream.write_all(&out).is_err() {
            return Ok(());
        }
    }
}

fn say(out: &mut Vec<u8>, text: &str) {
    frames::write(out, 0x81, text.as_bytes(), Some([0x11, 0x22, 0x33, 0x44]));
}

/// The digits behind the frame's `"seq":`, if it is a trigger. It stands before the payload, which may hold any text.
fn seq(frame: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"\"seq\":";
    if !frame.starts_with(b"{\"type\":\"trigger\"") {
        return None;
    }
    let from = memchr::memmem::find(frame, NAME)? + NAME.len();
    let digits = frame[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&frame[from..from + digits]).ok().filter(|digits| !digits.is_empty())
}
