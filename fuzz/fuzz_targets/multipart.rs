//! `multipart/form-data` bodies: an object or the text, bounded; what was built as a form comes out as its parts.
//!
//! The first byte chooses how files are shown, and whether the rest is a body or the parts to build one of.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use common::{CASTS, Choices, NOW, body_of, members, post};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::model::CastBuffersAs;
use tidegate::trigger::{HttpData, PARTS_MAX, http_event};

const BOUNDARY: &str = "b-1";
const CHARSET: &[u8] = b"charset";
const NAMES: [&str; 4] = ["a", "b c", "", "é"];

/// A part as a sender means it.
struct Part<'a> {
    name: &'static str,
    is_file: bool,
    data: &'a [u8],
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let how = choices.byte();
    let cast = CASTS[usize::from(how >> 2) % CASTS.len()];
    let annotate = how & 2 != 0;
    if how & 1 == 0 {
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        take(content_type.as_bytes(), choices.all(), cast, annotate);
    } else if how & 0x80 == 0 {
        let content_type = [b"multipart/form-data;", choices.some_bytes()].concat();
        take(&content_type, choices.all(), cast, annotate);
    } else {
        build(choices, cast);
    }
});

/// Whatever came: an object, or the text as it stands.
fn take(content_type: &[u8], body: &[u8], cast: CastBuffersAs, annotate: bool) {
    let fields = [(&b"content-type"[..], content_type)];
    let data = HttpData { cast, annotate_multipart: annotate, ..post(&fields, body) };
    let event = http_event(&mut Vec::new(), NOW, &data).expect("there is no coding");
    let shown = body_of(&event);
    assert!(common::is_json(shown.as_bytes()), "{shown}");
    // An escape has six characters; a part that is annotated has a frame of its own and more bytes than this.
    assert!(shown.len() <= 8 * body.len() + 4, "{} of {}", shown.len(), body.len());
    if shown.starts_with('{') {
        let count: usize = members(shown).iter().map(|(_, value)| values(value)).sum();
        assert!(count <= PARTS_MAX.max(body.len()));
    } else if let Ok(text) = std::str::from_utf8(body).map(str::to_owned)
        && !text.is_empty()
        && !content_type.to_ascii_lowercase().windows(CHARSET.len()).any(|found| found == CHARSET)
    {
        assert_eq!(serde_json::from_str::<Value>(shown).expect("a string"), Value::from(text));
    }
}

/// Values of a member: those of a list.
fn values(value: &str) -> usize {
    serde_json::from_str::<Vec<&serde_json::value::RawValue>>(value).map_or(1, |list| list.len())
}

/// A body that a sender would write, with a boundary that is in none of the parts.
fn build(mut choices: Choices<'_>, cast: CastBuffersAs) {
    let mut parts: Vec<Part<'_>> = Vec::new();
    while !choices.is_over() {
        let part =
            Part { name: choices.one_of(&NAMES), is_file: choices.truth(), data: choices.some_bytes() };
        parts.push(part);
    }
    let boundary = "-".repeat(60) + "x";
    if parts.iter().any(|part| part.data.windows(boundary.len()).any(|found| found == boundary.as_bytes())) {
        return;
    }
    let mut body = Vec::new();
    for part in &parts {
        let file = if part.is_file { "; filename=\"f\"\r\nContent-Type: text/plain" } else { "" };
        let head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"{file}\r\n\r\n", part.name);
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(part.data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
    let fields = [(&b"content-type"[..], content_type.as_bytes())];
    let data = HttpData { cast, ..post(&fields, &body) };
    let event = http_event(&mut Vec::new(), NOW, &data).expect("there is no coding");
    if parts.len() > PARTS_MAX {
        return;
    }
    let shown = members(body_of(&event));
    let mut names: Vec<&str> = Vec::new();
    for part in &parts {
        if !names.contains(&part.name) {
            names.push(part.name);
        }
    }
    assert_eq!(shown.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    for (name, value) in shown {
        let of_name: Vec<&Part<'_>> = parts.iter().filter(|part| part.name == name).collect();
        if let [part] = of_name[..]
            && let (Ok(text), false) = (std::str::from_utf8(part.data), part.is_file)
        {
            assert_eq!(serde_json::from_str::<String>(value).expect("a string"), text);
        } else if of_name.len() > 1 {
            assert_eq!(values(value), of_name.len());
        }
    }
}
