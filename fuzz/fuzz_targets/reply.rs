//! A reply from outside on its way to a caller: the head that goes out has the fields that we meant and no other, and
//! the body stands whole behind it.
//!
//! The first byte chooses the frame, and whether the rest is the reply's JSON or choices of its parts. Each input also
//! makes a reply of parts that are right: that one must go out.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use common::Choices;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use tidegate::http::encode::has_body;
use tidegate::ingress::respond::{self, Cors, Frame};
use tidegate::reply::{HttpReply, parse_body, to_http};

const DATE: &[u8] = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
const NAMES: [&str; 9] = [
    "Content-Type",
    "content-length",
    "Transfer-Encoding",
    "Set-Cookie",
    "Access-Control-Allow-Origin",
    "X-Content-Type-Options",
    "Connection",
    "Proxy-X",
    "x-a",
];
const VALUES: [&str; 6] =
    ["text/plain; charset=utf-8", "chunked", "7", "*", "a\r\nset-cookie: b", "text/html"];
const ENCODINGS: [&str; 4] = ["utf8", "base64", "hex", "binary"];
const BODY_BYTES_MAX: usize = 10_000;
/// The only status beside 204 and 304 that has no content.
const RESET_CONTENT: u16 = 205;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let how = choices.byte();
    let frame = Frame {
        date: DATE,
        keep_alive: how & 2 != 0,
        http10: how & 4 != 0,
        head_only: false,
        cors: if how & 8 != 0 { Cors::Any } else { Cors::Off },
        id: None,
    };
    let good = write_good(&mut Choices::new(data));
    assert!(send(good.as_bytes(), &frame), "{good} is not sent");
    let text = if how & 1 == 0 { choices.all().to_vec() } else { write(choices).into_bytes() };
    send(&text, &frame);
});

/// Sends a reply and checks what goes out; whether it was one that could be sent.
fn send(text: &[u8], frame: &Frame<'_>) -> bool {
    let Ok(reply) = parse_body(text) else { return false };
    assert!(common::is_json(text));
    let Ok(http) = to_http(&reply, 202, BODY_BYTES_MAX) else {
        assert!(reply.body.is_some_and(|body| body.len() > BODY_BYTES_MAX));
        return false;
    };
    let mut out = Vec::new();
    respond::reply(&mut out, &http, frame);
    check(&out, &http, frame);
    true
}

/// A reply of chosen parts that are right, as JSON with white space.
fn write_good(choices: &mut Choices<'_>) -> String {
    let mut reply = Map::new();
    if choices.truth() {
        let code = [200u64, 201, 204, 205, 304, 400, 599][choices.below(7)];
        reply.insert("responseCode".into(), Value::from(code));
    }
    let mut headers = Map::new();
    for at in 0..choices.below(4) {
        headers.insert(format!("x-{at}"), Value::from(["", "a", "a, b; c=\"d\""][choices.below(3)]));
    }
    reply.insert("headers".into(), Value::Object(headers));
    let (encoding, body) =
        [("utf8", "a: {b}, [c]"), ("base64", "aGk="), ("hex", "00ff"), ("utf8", "")][choices.below(4)];
    reply.insert("encoding".into(), Value::from(encoding));
    reply.insert("body".into(), Value::from(body));
    common::spaced(&Value::Object(reply).to_string(), choices)
}

/// A reply of chosen parts, as JSON.
fn write(mut choices: Choices<'_>) -> String {
    let mut reply = Map::new();
    if choices.truth() {
        let code = [200u64, 204, 304, 205, 100, 599, 600, 0][choices.below(8)];
        reply.insert("responseCode".into(), Value::from(code));
    }
    if choices.truth() {
        reply.insert("encoding".into(), Value::from(choices.one_of(&ENCODINGS)));
    }
    let mut headers = Map::new();
    for _ in 0..choices.below(8) {
        let mut word = |known: &[&str]| match choices.truth() {
            true => choices.one_of(known).to_owned(),
            false => String::from_utf8_lossy(choices.some_bytes()).into_owned(),
        };
        headers.insert(word(&NAMES), Value::from(word(&VALUES)));
    }
    reply.insert("headers".into(), Value::Object(headers));
    reply.insert("body".into(), json!(String::from_utf8_lossy(choices.all())));
    Value::Object(reply).to_string()
}

fn check(out: &[u8], http: &HttpReply<'_>, frame: &Frame<'_>) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = response.parse(out) else {
        panic!("{}", out.escape_ascii())
    };
    assert!((200..600).contains(&http.status));
    assert_eq!(response.code, Some(http.status));
    let body = &out[length..];
    let is_named = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
    let count = |wanted: &str| response.headers.iter().filter(|field| is_named(field.name, wanted)).count();

    // The reply's own, in order; all others are the engine's.
    let mut own = http.headers.iter().peekable();
    let mut engines: Vec<String> = Vec::new();
    for field in response.headers.iter() {
        match own.peek() {
            Some((name, value))
                if *name == field.name
                    && value.trim_matches([' ', '\t']).as_bytes() == field.value.trim_ascii() =>
            {
                own.next();
            }
            _ => engines.push(field.name.to_ascii_lowercase()),
        }
    }
    assert!(own.next().is_none(), "a header did not go out");
    let mut expected = vec!["date"];
    if !frame.keep_alive || frame.http10 {
        expected.push("connection");
    }
    if matches!(frame.cors, Cors::Any)
        && !http.headers.iter().any(|(name, _)| is_named(name, "access-control-allow-origin"))
    {
        expected.push("access-control-allow-origin");
    }
    expected.extend(["x-content-type-options", "content-security-policy", "x-xss-protection"]);
    let content = has_body(http.status) && http.status != RESET_CONTENT;
    if content {
        expected.push("content-type");
    }
    if has_body(http.status) {
        expected.push("content-length");
    }
    assert_eq!(engines, expected);
    for never in ["set-cookie", "transfer-encoding", "trailer", "upgrade", "keep-alive", "proxy-x"] {
        assert_eq!(count(never), 0, "{never}");
    }
    for once in ["content-length", "content-type", "date", "connection", "x-content-type-options"] {
        assert!(count(once) <= 1, "{once} stands twice");
    }
    let declared = response.headers.iter().find(|field| is_named(field.name, "content-length"));
    let declared = declared.map(|field| std::str::from_utf8(field.value).expect("digits"));
    if content {
        assert_eq!(body, http.body);
        assert_eq!(declared, Some(http.body.len().to_string().as_str()));
    } else {
        assert!(body.is_empty());
    }
}
