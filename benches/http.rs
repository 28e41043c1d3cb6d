//! Requests: heads and what their fields say of the body (framing), bodies sized and in chunks, and whole requests from
//! the bytes to the answer, without sockets.

mod common;

use std::hint::black_box;

use common::Model;
use common::path::{BUFFER_BYTES, Path};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use tidegate::base::buffer::ReceiveBuffer;
use tidegate::http::{Connection, Limits, Step};

const BODY_LIMIT: usize = 262_144;
/// Bytes of a large body, and of what one read brings of it.
const LARGE_BODY_BYTES: usize = 240_000;
const READ_BYTES: usize = 16 * 1024;
/// Bytes of a chunk of a large body, as clients' buffers make them.
const CHUNK_BYTES: usize = 4096;

/// A head by what ends it: nothing, a length, the chunked coding; and one with the fields of a browser.
fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    let target = format!("/webhooks/{}/readings?location=52", common::TOKEN);
    let few = "host: hooks.example.org\r\nuser-agent: device/2.1\r\naccept: */*\r\n";
    let many: String =
        (0..20).map(|n| format!("x-field-{n}: a value of an ordinary length {n}\r\n")).collect();
    for (name, method, fields, body) in [
        ("without a body", "GET", few.to_owned(), ""),
        ("with a length", "POST", format!("{few}content-length: 2\r\n"), "{}"),
        (
            "with the chunked coding",
            "POST",
            format!("{few}transfer-encoding: chunked\r\n"),
            "2\r\n{}\r\n0\r\n\r\n",
        ),
        ("with 20 fields more", "POST", format!("{few}{many}content-length: 2\r\n"), "{}"),
    ] {
        let bytes = format!("{method} {target} HTTP/1.1\r\n{fields}\r\n{body}").into_bytes();
        let (mut connection, mut buffer) = machine(BUFFER_BYTES);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                buffer.extend(black_box(&bytes));
                read(&mut connection, &mut buffer)
            });
        });
    }
    group.finish();
}

/// A body with its head: one of 200 bytes, and one that takes many reads.
fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body");
    let small = common::BODY.as_bytes();
    let large = vec![b'x'; LARGE_BODY_BYTES];
    for (name, bytes) in [
        ("sized, 200 bytes", sized(small)),
        ("in chunks of 64, 200 bytes", chunked(small, 64)),
        ("sized, 240 kB", sized(&large)),
        ("in chunks of 4 kB, 240 kB", chunked(&large, CHUNK_BYTES)),
    ] {
        let (mut connection, mut buffer) = machine(BODY_LIMIT + BUFFER_BYTES);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut length = 0;
                for part in black_box(&bytes).chunks(READ_BYTES) {
                    buffer.extend(part);
                    length = read(&mut connection, &mut buffer);
                }
                length
            });
        });
    }
    group.finish();
}

fn machine(capacity: usize) -> (Connection, ReceiveBuffer) {
    (Connection::new(Limits::default()), ReceiveBuffer::with_capacity(capacity))
}

fn sized(body: &[u8]) -> Vec<u8> {
    let head = format!("{}content-length: {}\r\n\r\n", head(), body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(body: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut bytes = format!("{}transfer-encoding: chunked\r\n\r\n", head()).into_bytes();
    for part in body.chunks(chunk_bytes) {
        bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn head() -> String {
    format!(
        "POST /webhooks/{}/readings HTTP/1.1\r\nhost: hooks.example.org\r\nuser-agent: device/2.1\r\naccept: */*\r\ncontent-type: application/json\r\n",
        common::TOKEN
    )
}

/// Reads what there is; says how long the body of the request that it makes whole is.
fn read(connection: &mut Connection, buffer: &mut ReceiveBuffer) -> usize {
    loop {
        match connection.poll(buffer) {
            Step::Head => connection.take_body(BODY_LIMIT),
            Step::Request => {
                let length = black_box(connection.body(buffer)).len();
                connection.finish(buffer);
                return length;
            }
            Step::NeedData => return 0,
            other => panic!("the request is good, not {other:?}"),
        }
    }
}

fn whole(criterion: &mut Criterion) {
    let now = common::now();
    let model = Model::of(1, now);
    let bytes = common::request(model.webhooks[0].token.as_str());
    let mut group = criterion.benchmark_group("request");
    for depth in [1, 16] {
        let burst = bytes.repeat(depth);
        let mut path = Path::new(&model, now);
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(format!("bytes to answer, {depth} at a time"), |bencher| {
            bencher.iter(|| path.serve(black_box(&burst)).len());
        });
    }
    let node = json!({"type": "WebhookReplyNode", "config": {"bodyTemplate": "{{data.body.device}}"}});
    let model = Model::with_flow(json!({"waitForReply": true}), node, now);
    let bytes = common::request(model.webhooks[0].token.as_str());
    let mut path = Path::new(&model, now);
    group.throughput(Throughput::Elements(1));
    group.bench_function("bytes to a template's reply", |bencher| {
        bencher.iter(|| path.serve(black_box(&bytes)).len());
    });
    group.finish();
}

criterion_group!(benches, heads, bodies, whole);
criterion_main!(benches);
