//! What `tools/costs` counts under callgrind: renderings, whose instructions have to stay under a constant times the
//! work they paid for; and each parser of bytes from outside, whose instructions have to grow as its input does.
//!
//! `costs renderings FIRST COUNT` renders so many hostile templates and prints what each spent. `costs parser NAME BYTES`
//! runs a parser over about as many bytes. Only what happens inside of [`measured`] counts. `costs parsers` names them.
//! Without arguments each runs once, so that `cargo test` sees that they work.

mod common;

use std::hint::black_box;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use common::hostile;
use common::path::KEY;
use tidegate::base::buffer::ReceiveBuffer;
use tidegate::base::clock::Now;
use tidegate::base::json::{DOCUMENT_DEPTH_MAX, Raw, validate};
use tidegate::deliver::protocol;
use tidegate::expression::Expression;
use tidegate::http::{Connection, Limits, Step};
use tidegate::model::CastBuffersAs;
use tidegate::proxy;
use tidegate::template::{Escape, OUTPUT_BYTES_MAX, Path, Template, Work};
use tidegate::trigger::{Hidden, HttpData, Peer, http_event};
use tidegate::websocket::{self, Event, Role, Scratch, mask};

/// Bytes of a member of a document that templates are rendered over.
const MEMBER_BYTES: usize = 20_000;
/// Bytes where nobody says how many.
const BYTES: usize = 8_192;
const NOW: Now = Now { nanos: 1_000_000_000_000, unix_millis: 1_771_521_960_123 };
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A parser: makes an input of about so many bytes, and what is done with it.
type Parser = (&'static str, fn(usize) -> Box<dyn FnMut()>);

const PARSERS: [Parser; 26] = [
    ("head", |bytes| head("", &"x-name: value\r\n".repeat((bytes / 15).min(90)))),
    ("head-long-field", |bytes| head("", &format!("x: {}\r\n", "v".repeat(bytes.min(15_000))))),
    ("head-target", |bytes| head(&"/%41&=?".repeat(bytes.min(7_000) / 7), "")),
    ("head-byte-by-byte", |bytes| bytewise(&format!("x: {}\r\n", "v".repeat(bytes.min(15_000))))),
    ("chunks", |bytes| {
        request("transfer-encoding: chunked\r\n", "1\r\nx\r\n".repeat(bytes / 6) + "0\r\n\r\n")
    }),
    ("chunks-byte-by-byte", chunks_bytewise),
    ("frames", |bytes| frames(0x82, b"some bytes", bytes / 16, false)),
    ("frames-fragments", |bytes| frames(0x00, b"x", bytes / 7, true)),
    ("frames-one", |bytes| frames(0x81, &vec![b'x'; bytes], 1, false)),
    ("query", |bytes| event(None, Some("a=%41+b&a=c&d;%u010d&".repeat(bytes / 21)), String::new())),
    ("query-names", |bytes| {
        event(None, Some((0..bytes / 7).map(|at| format!("k{at}=v&")).collect()), String::new())
    }),
    ("form", |bytes| event(Some(FORM), None, "a=%41+b&c[]=2&b=%C3%A9&".repeat(bytes / 23))),
    ("form-names", |bytes| event(Some(FORM), None, (0..bytes / 7).map(|at| format!("k{at}=v&")).collect())),
    ("multipart", |bytes| multipart(bytes, "some text\r\n--")),
    ("multipart-boundaries", |bytes| multipart(bytes, &"\r\n--b\r\n--".repeat(40))),
    ("form-charset", |bytes| {
        let pairs = "a=%83%41+b&%83%42=c&".repeat(bytes / 20);
        event(Some("application/x-www-form-urlencoded; charset=shift_jis"), None, pairs)
    }),
    ("text-charset", |bytes| event(Some("text/plain; charset=utf-16le"), None, "a\0".repeat(bytes / 2))),
    ("disposition", |bytes| {
        // A part's head is bounded: there are more of them.
        let name = "%C3%A9".repeat(200);
        let part = format!(
            "--b-1\r\nContent-Disposition: form-data; name=\"a\"; filename*=utf-8''{name}\r\n\r\nx\r\n"
        );
        let body = part.repeat((bytes / part.len()).max(1)) + "--b-1--\r\n";
        event(Some("multipart/form-data; boundary=b-1"), None, body)
    }),
    ("gzip", |bytes| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(document(bytes).as_bytes()).expect("into memory");
        body(
            b"content-type: application/json\r\ncontent-encoding: gzip\r\n",
            None,
            &encoder.finish().expect("gzip"),
        )
    }),
    ("expression", |bytes| {
        let text = format!("{}true", "{{data.body.a}} > 1.5 && 'x\\n' !== {{b}} || ".repeat(bytes / 44));
        expression(text)
    }),
    ("expression-nested", |bytes| {
        // How deep it may be nested is bounded: there are more of them.
        let nested = format!("{}1{} + ", "(-".repeat(20), ")".repeat(20));
        expression(format!("{}1", nested.repeat(bytes / nested.len())))
    }),
    ("json", |bytes| event(Some("application/json"), None, document(bytes))),
    ("json-validate", |bytes| {
        let text = document(bytes).into_bytes();
        Box::new(move || assert!(validate(black_box(&text), DOCUMENT_DEPTH_MAX)))
    }),
    ("worker-frame", |bytes| {
        let seqs = "12345,".repeat(bytes.min(390_000) / 6);
        let text = format!("{{\"type\":\"ack\",\"seqs\":[{seqs}1]}}");
        Box::new(move || assert!(protocol::parse(black_box(text.as_bytes())).is_ok()))
    }),
    ("worker-reply", |bytes| {
        let text = format!(
            "{{\"type\":\"reply\",\"replyId\":\"r\",\"headers\":{{\"a\":\"b\"}},\"body\":\"{}\"}}",
            "\\u00e9".repeat(bytes / 6)
        );
        Box::new(move || assert!(protocol::parse(black_box(text.as_bytes())).is_ok()))
    }),
    ("proxy", |bytes| {
        let extensions = [[4, 0, 0].repeat(bytes.min(4_000) / 3), Vec::new()].concat();
        let length = u16::try_from(12 + extensions.len()).expect("a short header");
        let mut text = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        text.extend(length.to_be_bytes());
        text.extend([127, 0, 0, 1, 127, 0, 0, 2, 0, 80, 0, 81]);
        text.extend(extensions);
        Box::new(move || assert!(proxy::parse(black_box(&text)).is_ok()))
    }),
];

/// Parsers of what authors of flows write.
const COMPILERS: [Parser; 8] = [
    ("template-text", |bytes| template("text and } braces { ".repeat(bytes / 20))),
    ("template-tags", |bytes| template("a\n {{lower data.body.x}}".repeat(bytes / 24))),
    ("template-blocks", |bytes| template("{{#if a}}\n b {{else}} c {{/if}}\n".repeat(bytes / 33))),
    ("template-comments", |bytes| template("  {{! a }}\n\n".repeat(bytes / 12))),
    ("template-escaped", |bytes| template("\\{{a}} \\\\{{b}}".repeat(bytes / 14))),
    ("template-names", |bytes| template(format!("{{{{{}}}}}", "n".repeat(bytes)))),
    ("template-white", |bytes| template(format!("{}{{{{a}}}}", " ".repeat(bytes)))),
    ("path", |bytes| {
        let text = format!("a[\"{}\"]", "\\\"".repeat(bytes / 2));
        Box::new(move || assert!(Path::parse(black_box(&text)).is_ok()))
    }),
];

const FORM: &str = "application/x-www-form-urlencoded";

/// Callgrind counts what happens from here to the return.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    run();
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let all = || PARSERS.iter().chain(&COMPILERS);
    match words[..] {
        ["parsers"] => all().for_each(|(name, _)| println!("{name}")),
        // There are no tests here, says this to who lists them.
        _ if words.contains(&"--list") => {}
        ["renderings", first, count] => {
            let (Ok(first), Ok(count)) = (first.parse::<u64>(), count.parse::<u64>()) else {
                return ExitCode::from(2);
            };
            (first..first + count).for_each(rendering);
        }
        ["parser", name, bytes] => {
            let parser = all().find(|(known, _)| *known == name);
            let (Some((_, prepare)), Ok(bytes)) = (parser, bytes.parse()) else {
                eprintln!("costs: no parser {name}, or {bytes} is not a number");
                return ExitCode::from(2);
            };
            measured(&mut prepare(bytes));
        }
        _ => {
            (0..20).for_each(rendering);
            all().for_each(|(_, prepare)| measured(&mut prepare(BYTES)));
        }
    }
    ExitCode::SUCCESS
}

/// Renders one template and prints its seed and what it spent.
fn rendering(seed: u64) {
    let (source, document) = hostile::case(seed, MEMBER_BYTES);
    let template = Template::compile(&source).expect("a template");
    let root = Raw::document(document.as_bytes()).expect("a document");
    let (mut work, mut out) = (Work::default(), Vec::new());
    measured(&mut || {
        let _ = black_box(template.render_within(&root, Escape::Html, OUTPUT_BYTES_MAX, &mut work, &mut out));
    });
    println!("{seed} {} {source}", work.spent());
}

fn machine() -> (Connection, ReceiveBuffer) {
    (Connection::new(Limits::default()), ReceiveBuffer::with_capacity(1024))
}

fn head_text(target: &str, fields: &str) -> Vec<u8> {
    format!("GET /{target} HTTP/1.1\r\nhost: a\r\n{fields}\r\n").into_bytes()
}

fn head(target: &str, fields: &str) -> Box<dyn FnMut()> {
    let text = head_text(target, fields);
    Box::new(move || {
        let (mut connection, mut buffer) = machine();
        buffer.extend(black_box(&text));
        assert_eq!(connection.poll(&mut buffer), Step::Head);
    })
}

/// The same, as it arrives from a slow caller.
fn bytewise(fields: &str) -> Box<dyn FnMut()> {
    let text = head_text("", fields);
    Box::new(move || {
        let (mut connection, mut buffer) = machine();
        let mut last = Step::NeedData;
        for byte in black_box(&text) {
            buffer.extend(&[*byte]);
            last = connection.poll(&mut buffer);
        }
        assert_eq!(last, Step::Head);
    })
}

fn request(fields: &str, body: String) -> Box<dyn FnMut()> {
    let text =
        [format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n").into_bytes(), body.into_bytes()].concat();
    Box::new(move || {
        let (mut connection, mut buffer) = machine();
        buffer.extend(black_box(&text));
        assert_eq!(connection.poll(&mut buffer), Step::Head);
        connection.take_body(BYTES_MAX);
        assert_eq!(connection.poll(&mut buffer), Step::Request);
    })
}

fn chunks_bytewise(bytes: usize) -> Box<dyn FnMut()> {
    let text = "1;a=b\r\nx\r\n".repeat(bytes / 10) + "0\r\n\r\n";
    Box::new(move || {
        let (mut connection, mut buffer) = machine();
        buffer.extend(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(connection.poll(&mut buffer), Step::Head);
        connection.take_body(BYTES_MAX);
        let mut last = Step::NeedData;
        for byte in black_box(text.as_bytes()) {
            buffer.extend(&[*byte]);
            last = connection.poll(&mut buffer);
        }
        assert_eq!(last, Step::Request);
    })
}

/// Masked frames, each a message, or all of them the parts of one.
fn frames(first_byte: u8, payload: &[u8], count: usize, one_message: bool) -> Box<dyn FnMut()> {
    let mut text = Vec::new();
    for at in 0..count {
        let opcode = match one_message {
            true if at == 0 => 0x01,
            true if at + 1 == count => 0x80,
            _ => first_byte,
        };
        text.push(opcode);
        match u16::try_from(payload.len()) {
            Ok(short) if short < 126 => text.push(0x80 | short as u8),
            Ok(short) => {
                text.push(0x80 | 126);
                text.extend(short.to_be_bytes());
            }
            Err(_) => {
                text.push(0x80 | 127);
                text.extend((payload.len() as u64).to_be_bytes());
            }
        }
        text.extend(KEY);
        let start = text.len();
        text.extend_from_slice(payload);
        mask::apply(&mut text[start..], KEY);
    }
    Box::new(move || {
        let mut connection = websocket::Connection::new(Role::Server, None, BYTES_MAX);
        let (mut buffer, mut out) = (ReceiveBuffer::with_capacity(1024), Vec::new());
        let mut scratch = Scratch::default();
        buffer.extend(black_box(&text));
        let mut messages = 0;
        while let Event::Message { .. } = connection.poll(&mut buffer, &mut out, &mut scratch) {
            black_box(connection.message(&buffer, &scratch).len());
            connection.done(&mut buffer);
            messages += 1;
        }
        assert_eq!(messages, if one_message { 1 } else { count });
    })
}

/// The payload of a request.
fn event(content_type: Option<&'static str>, query: Option<String>, text: String) -> Box<dyn FnMut()> {
    let fields = content_type.map(|kind| format!("content-type: {kind}\r\n")).unwrap_or_default();
    body(fields.as_bytes(), query, text.as_bytes())
}

/// The payload of a request with these fields.
fn body(fields: &[u8], query: Option<String>, body: &[u8]) -> Box<dyn FnMut()> {
    let length = format!("content-length: {}\r\n\r\n", body.len());
    let (mut connection, mut buffer) = machine();
    buffer.extend(&[b"POST / HTTP/1.1\r\nhost: a\r\n", fields, length.as_bytes(), body].concat());
    assert_eq!(connection.poll(&mut buffer), Step::Head);
    connection.take_body(BYTES_MAX);
    assert_eq!(connection.poll(&mut buffer), Step::Request);
    Box::new(move || {
        let request = connection.request(&buffer);
        let data = HttpData {
            method: request.method_bytes(),
            path: b"/",
            query: query.as_deref().map(str::as_bytes),
            fields: request.fields(),
            body: black_box(connection.body(&buffer)),
            peer: Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            peer_is_trusted: false,
            hidden: Hidden::default(),
            raw_body: false,
            claims: None,
            cast: CastBuffersAs::Array,
            annotate_multipart: true,
            payload_limit: BYTES_MAX,
            reply_id: None,
        };
        black_box(http_event(&mut Vec::new(), NOW, &data).expect("no coding is to be undone"));
    })
}

fn multipart(bytes: usize, data: &str) -> Box<dyn FnMut()> {
    let part =
        format!("--b-1\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\n{data}\r\n");
    // No more parts than a form may have: they get longer.
    let parts = (bytes / part.len()).clamp(1, 200);
    let filler = data.repeat((bytes / parts / data.len()).max(1));
    let body = part.replacen(data, &filler, 1).repeat(parts) + "--b-1--\r\n";
    event(Some("multipart/form-data; boundary=b-1"), None, body)
}

fn document(bytes: usize) -> String {
    let item = r#"{"a":[1.50,"x\u00e9\n",null,true],"b":{}},"#;
    format!("[{}1]", item.repeat(bytes / item.len()))
}

fn expression(source: String) -> Box<dyn FnMut()> {
    Box::new(move || {
        let compiled = Expression::compile(black_box(&source), &mut |path| Ok(path.to_owned()));
        assert!(compiled.map(|_: Expression<String>| ()).is_ok());
    })
}

fn template(source: String) -> Box<dyn FnMut()> {
    Box::new(move || assert!(Template::compile(black_box(&source)).is_ok()))
}
