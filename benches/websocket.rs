//! WebSocket frames: masking, a message in with its echo out, and a message through its flow to the reply's frame.

mod common;

use std::hint::black_box;

use common::Model;
use common::path::{BUFFER_BYTES, KEY, SocketPath, text_frame};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use tidegate::base::buffer::ReceiveBuffer;
use tidegate::websocket::{Connection, Event, Role, Scratch, mask};

const MESSAGE_LIMIT: usize = 262_144;

fn masks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for length in [16_usize, 100, 4096, 262_144] {
        let mut bytes = vec![b'x'; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| mask::apply(black_box(&mut bytes), KEY));
        });
    }
    group.finish();
}

fn echoes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message and echo");
    for (depth, length) in [(1, 100_usize), (16, 100), (1, 8192)] {
        let burst = text_frame(&vec![b'x'; length]).repeat(depth);
        let mut connection = Connection::new(Role::Server, None, MESSAGE_LIMIT);
        let (mut buffer, mut out, mut sent) =
            (ReceiveBuffer::with_capacity(BUFFER_BYTES), Vec::with_capacity(BUFFER_BYTES), Vec::new());
        let (mut scratch, mut other) = (Scratch::default(), Scratch::default());
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(format!("{length} bytes, {depth} at a time"), |bencher| {
            bencher.iter(|| {
                sent.clear();
                buffer.extend(black_box(&burst));
                while let Event::Message { text } = connection.poll(&mut buffer, &mut out, &mut scratch) {
                    let message = connection.message(&buffer, &scratch).to_vec();
                    assert!(connection.send(&mut sent, &mut other, text, &message), "the connection is open");
                    connection.done(&mut buffer);
                }
                sent.len()
            });
        });
    }
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let now = common::now();
    let node = json!({"type": "WebhookReplyNode", "config": {"bodyTemplate": "data.message.data",
        "bodyTemplateType": "path", "isWebsocketMessage": true, "encodingTemplate": "utf8"}});
    let model = Model::with_flow(json!({"isWebsocket": true}), node, now);
    let mut group = criterion.benchmark_group("message and its flow's reply");
    for depth in [1, 16] {
        let burst = text_frame(&[b'x'; 100]).repeat(depth);
        let mut path = SocketPath::new(&model, now);
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(format!("100 bytes, {depth} at a time"), |bencher| {
            bencher.iter(|| path.on_frames(black_box(&burst)).len());
        });
    }
    group.finish();
}

criterion_group!(benches, masks, echoes, replies);
criterion_main!(benches);
