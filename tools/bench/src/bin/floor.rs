//! The least that a server can cost: raw io_uring, one thread, no parsing beyond finding where a request ends, one
//! send for all that is ready on a connection. It uses every option that was measured to be cheaper: multishot accept
//! and receive, provided buffers of 1 MiB in all (16 MiB walk through cold memory: +4 %), a registered ring and direct
//! descriptors (-1 to -3 %).
//!
//! `floor [--cpu N] [--listen 127.0.0.1:0]` prints its address and serves until it is killed.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use clap::Parser;
use tidegate_bench::ring::{Completion, Ring};
use tidegate_bench::{ANSWER, system};

/// The least that a server can cost: answers every request with the same bytes
#[derive(Parser)]
struct Arguments {
    /// Run on this CPU
    #[arg(long)]
    cpu: Option<usize>,
    /// Serve here; the address is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// Answers that one send carries at most.
const ANSWERS: usize = 256;
/// Buffers and their size: 16 KiB hold sixteen pipelined requests; 1 MiB in all stays in the cache.
const BUFFERS: u16 = 64;
const BUFFER_BYTES: usize = 16 * 1024;
/// Direct descriptors, more than any row has connections.
const FILES: u32 = 32_768;
/// Kinds of operations, above the descriptor in an operation's number.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const CLOSE: u64 = 3 << 32;
/// A head that has no end by then is nothing that this server serves.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// One connection.
#[derive(Default)]
struct Connection {
    /// Bytes of the present body that are still to come.
    body_left: usize,
    /// A head that is not whole.
    partial: Vec<u8>,
    /// Answers that are due.
    owed: usize,
    /// Answers that are being sent.
    sending: usize,
    /// The peer is gone: closed as soon as nothing is in flight.
    ended: bool,
}

/// The last head: one that is the same again needs no second look.
#[derive(Default)]
struct Known {
    head: Vec<u8>,
    body_bytes: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(cpu) = arguments.cpu {
        system::pin_to_cpu(cpu)?;
    }
    let open_files = system::raise_open_files(1 << 20)?;
    let files = FILES.min(u32::try_from(open_files).unwrap_or(FILES));
    let listener = system::listen(arguments.listen)?;
    println!("{}", listener.local_addr()?);
    serve(listener.as_raw_fd(), files)
}

fn serve(listener: i32, files: u32) -> anyhow::Result<()> {
    let answers = ANSWER.repeat(ANSWERS);
    let mut ring = Ring::direct(BUFFERS, BUFFER_BYTES, files)?;
    ring.accept(listener, ACCEPT)?;
    let mut connections: Vec<Option<Box<Connection>>> = Vec::new();
    let mut known = Known::default();
    let mut completions: Vec<Completion> = Vec::new();
    let mut ready: Vec<i32> = Vec::new();
    loop {
        ring.wait(None, &mut completions)?;
        for completion in completions.drain(..) {
            let fd = completion.user as u32 as i32;
            match completion.user & !0xFFFF_FFFF {
                ACCEPT => {
                    if completion.result >= 0 {
                        let index = completion.result as usize;
                        if connections.len() <= index {
                            connections.resize_with(index + 1, || None);
                        }
                        connections[index] = Some(Box::default());
                        ring.receive(completion.result, RECEIVE | index as u64)?;
                    }
                    if !completion.goes_on() {
                        ring.accept(listener, ACCEPT)?;
                    }
                }
                RECEIVE => {
                    let Some(connection) = &mut connections[fd as usize] else { continue };
                    if completion.result > 0 {
                        let owed = connection.take(ring.bytes(&completion), &mut known);
                        ring.give_back(&completion);
                        if owed > 0 {
                            if connection.owed == 0 && connection.sending == 0 {
                                ready.push(fd);
                            }
                            connection.owed += owed;
                        }
                        if !completion.goes_on() {
                            ring.receive(fd, RECEIVE | fd as u64)?;
                        }
                    } else if completion.result == -libc::ENOBUFS {
                        ring.receive(fd, RECEIVE | fd as u64)?;
                    } else {
                        connection.ended = true;
                    }
                }
                CLOSE => {}
                _ => {
                    let Some(connection) = &mut connections[fd as usize] else { continue };
                    connection.ended |= completion.result != (connection.sending * ANSWER.len()) as i32;
                    connection.sending = 0;
                    if connection.owed > 0 {
                        ready.push(fd);
                    }
                }
            }
            if let Some(slot) = connections.get_mut(fd as usize)
                && slot.as_ref().is_some_and(|connection| connection.ended && connection.sending == 0)
            {
                *slot = None;
                ring.close(fd, CLOSE)?;
            }
        }
        for fd in ready.drain(..) {
            let Some(connection) = &mut connections[fd as usize] else { continue };
            let count = connection.owed.min(ANSWERS);
            connection.owed -= count;
            connection.sending = count;
            // SAFETY: the answers live as long as the loop.
            unsafe { ring.send(fd, &answers[..count * ANSWER.len()], SEND | fd as u64, false)? };
        }
    }
}

impl Connection {
    /// Counts the requests that end within the bytes.
    fn take(&mut self, mut bytes: &[u8], known: &mut Known) -> usize {
        let mut ended = 0;
        loop {
            if self.body_left > 0 {
                let here = self.body_left.min(bytes.len());
                self.body_left -= here;
                bytes = &bytes[here..];
                if self.body_left > 0 {
                    return ended;
                }
                ended += 1;
            }
            if bytes.is_empty() {
                return ended;
            }
            if self.partial.is_empty() {
                let Some(head) = head(bytes, known) else {
                    self.partial.extend_from_slice(bytes);
                    return ended;
                };
                bytes = &bytes[head..];
            } else {
                let before = self.partial.len();
                let room = HEAD_BYTES_MAX.saturating_sub(before);
                self.partial.extend_from_slice(&bytes[..room.min(bytes.len())]);
                let Some(head) = head(&self.partial, known) else {
                    self.ended |= room <= bytes.len();
                    return ended;
                };
                self.partial.clear();
                bytes = &bytes[head - before..];
            }
            self.body_left = known.body_bytes;
            if self.body_left == 0 {
                ended += 1;
            }
        }
    }
}

/// The length of the head that the bytes begin with; its body's is known then.
fn head(bytes: &[u8], known: &mut Known) -> Option<usize> {
    if !known.head.is_empty() && bytes.starts_with(&known.head) {
        return Some(known.head.len());
    }
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = &bytes[..end];
    known.head.clear();
    known.head.extend_from_slice(head);
    known.body_bytes = length(head);
    Some(end)
}

/// The `Content-Length` of a head.
fn length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)));
    let value = line.and_then(|line| std::str::from_utf8(&line[NAME.len()..]).ok());
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
