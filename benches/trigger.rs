//! Payloads: what a flow that listens costs, by kind of body.

mod common;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::base::buffer::ReceiveBuffer;
use tidegate::http::{Connection, Limits, Step};
use tidegate::model::CastBuffersAs;
use tidegate::trigger::{Hidden, HttpData, Peer, http_event};

const BODY_LIMIT: usize = 262_144;

fn payloads(criterion: &mut Criterion) {
    let now = common::now();
    let mut group = criterion.benchmark_group("payload");
    let form = "value=30&unit=%C2%B0C&tag=north&tag=cellar&note=sensor+B+replaced".repeat(3);
    let large = format!("{{\"values\":[{}1]}}", "30.25,".repeat(40_000));
    let bodies: [(&str, &str, &[u8]); 5] = [
        ("JSON of 200 bytes", "application/json", common::BODY.as_bytes()),
        ("JSON of 240 kB", "application/json", large.as_bytes()),
        ("form of 200 bytes", "application/x-www-form-urlencoded", form.as_bytes()),
        ("text of 200 bytes", "text/plain", common::BODY.as_bytes()),
        ("bytes as an array", "application/octet-stream", common::BODY.as_bytes()),
    ];
    for (name, content_type, body) in bodies {
        let request = format!(
            "POST /webhooks/{}/a?location=52&floor=1 HTTP/1.1\r\nhost: hooks.example.org\r\nuser-agent: device/2.1\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            common::TOKEN,
            body.len()
        );
        let mut buffer = ReceiveBuffer::with_capacity(BODY_LIMIT + request.len());
        let mut connection = Connection::new(Limits::default());
        buffer.extend(request.as_bytes());
        buffer.extend(body);
        assert_eq!(connection.poll(&mut buffer), Step::Head);
        connection.take_body(BODY_LIMIT);
        assert_eq!(connection.poll(&mut buffer), Step::Request);
        let request = connection.request(&buffer);
        let mut scratch = Vec::new();
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let data = HttpData {
                    method: request.method_bytes(),
                    path: b"/a",
                    query: request.query(),
                    fields: request.fields(),
                    body: black_box(connection.body(&buffer)),
                    peer: Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    peer_is_trusted: false,
                    hidden: Hidden::default(),
                    raw_body: false,
                    claims: None,
                    cast: CastBuffersAs::Array,
                    annotate_multipart: false,
                    payload_limit: BODY_LIMIT,
                    reply_id: Some("0123456789abcdef01234567.0123456789abcdef0123456789abcdef"),
                };
                http_event(&mut scratch, now, &data).expect("no coding is to be undone")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, payloads);
criterion_main!(benches);
