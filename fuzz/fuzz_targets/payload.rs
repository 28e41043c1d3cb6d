//! The payload of a request: valid JSON to an independent parser, with the same parts where we say they are.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::{CASTS, Choices, NOW, is_json, member, members, tail};
use libfuzzer_sys::fuzz_target;
use tidegate::base::json::validate;
use tidegate::template::Root as _;
use tidegate::trigger::{Hidden, HttpData, JSON_DEPTH_MAX, Payload, Peer, http_event};

const METHODS: [&[u8]; 5] = [b"POST", b"GET", b"PUT", b"DELETE", b"p\"\\\x07\xff"];
const NAMES: [&[u8]; 8] = [
    b"Content-Type",
    b"content-encoding",
    b"Cookie",
    b"Authorization",
    b"X-Forwarded-For",
    b"X-A",
    b"x-a",
    b"!#$%&'*+-.^_`|~",
];
const VALUES: [&[u8]; 10] = [
    b"application/json",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=b",
    b"application/octet-stream",
    b"application/vnd.x+json; charset=utf-8",
    b"text/plain",
    b"gzip",
    b"deflate, br",
    b"identity",
    b"",
];
const REPLY_ID: &str = "0123456789abcdef01234502.AAAAAAAAAAAAAAAAAAAAAA";
const PAYLOAD_LIMIT: usize = 65_536;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let peers =
        [Peer::Local, Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), Peer::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST))];
    let method = choices.one_of(&METHODS);
    let how = choices.byte();
    let mut fields: Vec<(&[u8], &[u8])> = Vec::new();
    for _ in 0..choices.below(12) {
        let name = if choices.truth() { choices.one_of(&NAMES) } else { choices.some_bytes() };
        fields.push((name, if choices.truth() { choices.one_of(&VALUES) } else { choices.some_bytes() }));
    }
    let path = choices.some_bytes();
    let query = choices.truth().then(|| choices.some_bytes());
    let data = HttpData {
        method,
        path,
        query,
        fields: fields.iter().copied(),
        peer: choices.one_of(&peers),
        peer_is_trusted: how & 1 != 0,
        hidden: Hidden { authorization: how & 2 != 0, ..Hidden::default() },
        raw_body: how & 128 != 0,
        claims: None,
        cast: choices.one_of(&CASTS),
        annotate_multipart: how & 4 != 0,
        payload_limit: PAYLOAD_LIMIT,
        reply_id: (how & 8 != 0).then_some(REPLY_ID),
        body: choices.all(),
    };
    let mut scratch = b"what an event before left".to_vec();
    let Ok(event) = http_event(&mut scratch, NOW, &data) else {
        assert!(fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"content-encoding")));
        return;
    };
    assert_eq!(http_event(&mut Vec::new(), NOW, &data).expect("as before").bytes(), event.bytes());

    let payload = Payload { event, tail: tail() };
    let mut text = Vec::new();
    payload.write(&mut text);
    assert_eq!(text.len(), payload.len());
    assert!(is_json(&text), "{}", text.escape_ascii());
    // Ours takes what theirs takes.
    assert!(validate(&text, tidegate::base::json::DOCUMENT_DEPTH_MAX));

    let text = std::str::from_utf8(&text).expect("JSON is UTF-8");
    let whole = members(text);
    let found = |key| payload.get(key).map(|value| value.bytes().to_vec());
    for (key, value) in &whole {
        assert_eq!(found(key), Some(value.as_bytes().to_vec()), "{key}");
    }
    let shown = members(member(&whole, "data"));
    assert_eq!(member(&shown, "body").as_bytes(), payload.event.body().bytes());
    for (key, value) in &shown {
        let ours = payload.get_member("data", key).expect("it is there");
        assert_eq!(ours.bytes(), value.as_bytes(), "{key}");
    }
    assert_eq!(shown.iter().any(|(key, _)| key == "replyId"), data.reply_id.is_some());
    check_headers(&data, member(&shown, "headers"));
    check_json_body(&data, member(&shown, "body"));
});

/// No name twice, and nothing that is to be hidden.
fn check_headers(data: &HttpData<'_, common::Fields<'_>>, shown: &str) {
    let headers = members(shown);
    for (place, (name, _)) in headers.iter().enumerate() {
        assert!(headers[..place].iter().all(|(before, _)| before != name), "{name} stands twice");
        assert!(name != "cookie" && !(data.hidden.authorization && name == "authorization"));
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
}

/// What is JSON to an independent parser is spliced in byte for byte; what is not, is a string.
fn check_json_body(data: &HttpData<'_, common::Fields<'_>>, shown: &str) {
    let mut kinds = data.fields.clone().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
    let is_coded = data.fields.clone().any(|(name, _)| name.eq_ignore_ascii_case(b"content-encoding"));
    let is_json_type = kinds.next().is_some_and(|(_, value)| value == b"application/json");
    if !is_json_type || is_coded || data.method == b"GET" || data.body.is_empty() {
        return;
    }
    // A byte order mark before it is dropped.
    let body = data.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data.body);
    if validate(body, JSON_DEPTH_MAX) {
        assert_eq!(shown.as_bytes(), body.trim_ascii());
    } else if std::str::from_utf8(body).is_ok() {
        assert!(shown.starts_with('"'));
        // Ours is stricter in one point: an escape of half a surrogate pair is no character.
        let may_be_half = body.windows(2).any(|two| two == b"\\u");
        let should_be_taken = is_json(body) && !may_be_half && !is_deep(body);
        assert!(!should_be_taken, "JSON, and not taken: {}", data.body.escape_ascii());
    }
}

/// Whether it is nested deeper than is taken, brackets within strings apart.
fn is_deep(text: &[u8]) -> bool {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest > JSON_DEPTH_MAX
}
