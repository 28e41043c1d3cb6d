//! WebSocket frames: masking, and a message in with its echo out.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::base::buffer::ReceiveBuffer;
use tidegate::websocket::frame::{Header, Opcode};
use tidegate::websocket::{Connection, Event, Role, Scratch, mask};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const MESSAGE_LIMIT: usize = 262_144;
const BUFFER_BYTES: usize = 16 * 1024;

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
        let mut payload = vec![b'x'; length];
        mask::apply(&mut payload, KEY);
        let mut frame = Vec::new();
        Header { fin: true, compressed: false, opcode: Opcode::Text, key: Some(KEY), length: length as u64 }
            .write(&mut frame);
        frame.extend_from_slice(&payload);
        let burst = frame.repeat(depth);
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

criterion_group!(benches, masks, echoes);
criterion_main!(benches);
