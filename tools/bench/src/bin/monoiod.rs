//! The same answer from monoio, the runtime that is fastest on io_uring among those published: one thread, a task for
//! each connection, heads split by httparse, one write for all that is ready on a connection. Ring flags as the kernel
//! has them; the runtime's defaults lack them.
//!
//! `monoiod [--cpu N] [--listen 127.0.0.1:0]` prints its address and serves until it is killed.

use std::net::SocketAddr;

use clap::Parser;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use tidegate_bench::{ANSWER, system};

/// Answers every request with the same bytes, by monoio
#[derive(Parser)]
struct Arguments {
    /// Run on this CPU
    #[arg(long)]
    cpu: Option<usize>,
    /// Serve here; the address is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// Bytes that one read brings: sixteen pipelined requests.
const READ_BYTES: usize = 16 * 1024;
/// A head that has no end by then is not served here.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields that a head may have.
const FIELDS_MAX: usize = 64;
/// Entries of the submission ring, and of the completion ring.
const ENTRIES: u32 = 4096;
const COMPLETIONS: u32 = 32_768;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(cpu) = arguments.cpu {
        system::pin_to_cpu(cpu)?;
    }
    system::raise_open_files(1 << 20)?;
    let listener = system::listen(arguments.listen)?;
    println!("{}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let mut ring = io_uring06::IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun().setup_cqsize(COMPLETIONS);
    RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(ENTRIES).build()?.block_on(
        async {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                monoio::spawn(serve(stream));
            }
        },
    )
}

/// Answers until the peer closes or sends a head that is not valid.
async fn serve(mut stream: TcpStream) {
    let (mut read, mut out) = (Vec::with_capacity(READ_BYTES), Vec::new());
    let (mut pending, mut body_left) = (Vec::new(), 0);
    loop {
        let (result, filled) = stream.read(read).await;
        read = filled;
        let Ok(received @ 1..) = result else { return };
        out.clear();
        let whole = if pending.is_empty() {
            answer(&read[..received], &mut body_left, &mut out)
                .map(|used| pending.extend_from_slice(&read[used..received]))
        } else {
            pending.extend_from_slice(&read[..received]);
            answer(&pending, &mut body_left, &mut out).map(|used| drop(pending.drain(..used)))
        };
        read.clear();
        if whole.is_none() || pending.len() > HEAD_BYTES_MAX {
            return;
        }
        if !out.is_empty() {
            let (result, sent) = stream.write_all(out).await;
            out = sent;
            if result.is_err() {
                return;
            }
        }
    }
}

/// Appends an answer for each request that ends within the bytes; returns how many bytes were used, or `None` if a head
/// is not valid.
fn answer(bytes: &[u8], body_left: &mut usize, out: &mut Vec<u8>) -> Option<usize> {
    let mut used = 0;
    loop {
        let here = (*body_left).min(bytes.len() - used);
        used += here;
        *body_left -= here;
        if used == bytes.len() {
            if here > 0 && *body_left == 0 {
                out.extend_from_slice(ANSWER);
            }
            return Some(used);
        }
        if here > 0 {
            out.extend_from_slice(ANSWER);
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(length) = head.parse(&bytes[used..]).ok()? else { return Some(used) };
        used += length;
        let named = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        *body_left = match named {
            Some(field) => std::str::from_utf8(field.value).ok()?.trim().parse().ok()?,
            None => 0,
        };
        if *body_left == 0 {
            out.extend_from_slice(ANSWER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_gets_one_answer_however_it_is_cut() {
        let request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n12345".repeat(3);
        let get = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2);
        for bytes in [request, get] {
            let expected = if bytes.starts_with(b"GET") { 2 } else { 3 };
            for step in 1..bytes.len() {
                let (mut pending, mut body_left, mut out) = (Vec::new(), 0, Vec::new());
                for piece in bytes.chunks(step) {
                    pending.extend_from_slice(piece);
                    let used = answer(&pending, &mut body_left, &mut out).expect("valid requests");
                    pending.drain(..used);
                }
                assert_eq!(out.len(), expected * ANSWER.len(), "in steps of {step}");
            }
        }
        assert_eq!(answer(b"\0\r\n\r\n", &mut 0, &mut Vec::new()), None);
    }
}
