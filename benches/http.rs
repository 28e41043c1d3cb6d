//! Requests: a head, a chunked body, and a whole request from the bytes to the answer, without sockets.

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::base::buffer::ReceiveBuffer;
use tidegate::http::encode::DateField;
use tidegate::http::{Connection, Limits, Step};
use tidegate::ingress::request::{self, AtHead, Door};
use tidegate::ingress::respond::{self, Frame};

/// The engine's receive buffer.
const BUFFER_BYTES: usize = 16 * 1024;
const BODY_LIMIT: usize = 262_144;

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http");
    let bytes = common::request(common::TOKEN);
    let (mut connection, mut buffer) =
        (Connection::new(Limits::default()), ReceiveBuffer::with_capacity(BUFFER_BYTES));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("head and sized body", |bencher| {
        bencher.iter(|| {
            buffer.extend(black_box(&bytes));
            read(&mut connection, &mut buffer)
        });
    });
    let mut chunked = common::request(common::TOKEN);
    let head = chunked.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    chunked.truncate(head);
    let text = String::from_utf8(chunked).expect("the head is text");
    let length = format!("content-length: {}", common::BODY.len());
    let mut chunked = text.replace(&length, "transfer-encoding: chunked").into_bytes();
    for part in common::BODY.as_bytes().chunks(64) {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    group.throughput(Throughput::Bytes(chunked.len() as u64));
    group.bench_function("head and body in chunks of 64", |bencher| {
        bencher.iter(|| {
            buffer.extend(black_box(&chunked));
            read(&mut connection, &mut buffer)
        });
    });
    group.finish();
}

/// Reads one request that is whole; says how long its body is.
fn read(connection: &mut Connection, buffer: &mut ReceiveBuffer) -> usize {
    loop {
        match connection.poll(buffer) {
            Step::Head => connection.take_body(BODY_LIMIT),
            Step::Request => {
                let length = black_box(connection.body(buffer)).len();
                connection.finish(buffer);
                return length;
            }
            other => panic!("the request is whole and good, not {other:?}"),
        }
    }
}

fn whole(criterion: &mut Criterion) {
    let now = common::now();
    let model = common::Model::of(1, now);
    let registry = model.registry(now);
    let bytes = common::request(model.webhooks[0].token.as_str());
    let mut group = criterion.benchmark_group("request");
    for depth in [1, 16] {
        let burst = bytes.repeat(depth);
        let (mut connection, mut buffer) =
            (Connection::new(Limits::default()), ReceiveBuffer::with_capacity(BUFFER_BYTES));
        let (mut date, mut out) = (DateField::new(), Vec::with_capacity(BUFFER_BYTES));
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(format!("bytes to answer, {depth} at a time"), |bencher| {
            bencher.iter(|| {
                out.clear();
                buffer.extend(black_box(&burst));
                let pin = registry.pin();
                let mut taken = None;
                loop {
                    match connection.poll(&mut buffer) {
                        Step::Head => {
                            let at_head =
                                request::at_head(Door { core: 0, now }, &pin, &connection.request(&buffer));
                            let AtHead::Take { hook, limit } = at_head else {
                                panic!("the webhook takes all")
                            };
                            taken = Some(hook);
                            connection.take_body(limit);
                        }
                        Step::Request => {
                            let hook = taken.take().expect("its head was taken");
                            let frame = Frame {
                                date: date.line(now.unix_millis),
                                keep_alive: connection.keep_alive(),
                                http10: false,
                                head_only: false,
                                cors: true,
                            };
                            respond::answer(&mut out, &request::default_answer(hook), &frame);
                            connection.finish(&mut buffer);
                        }
                        Step::NeedData => break,
                        other => panic!("the requests are whole and good, not {other:?}"),
                    }
                }
                out.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, heads, whole);
criterion_main!(benches);
