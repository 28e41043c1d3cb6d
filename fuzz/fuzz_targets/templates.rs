//! Templates and payload paths: no source breaks the compiler, what compiled renders within its bound, the same text
//! each time, and leaves what was there before alone.
//!
//! The input is a source, and behind a NUL the document that it is rendered over, or nothing for one of ours. Each input
//! also chooses parts whose text is known: the template of them renders that text, no other.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use common::Choices;
use libfuzzer_sys::fuzz_target;
use tidegate::base::json::Raw;
#[cfg(fuzzing)]
use tidegate::base::steps;
use tidegate::template::{Escape, GlobalsRoot, Path, Root, Template, Work};

const OUTPUT_BYTES_MAX: usize = 20_000;
/// Steps that a rendering takes before the first one that it pays for.
#[cfg(fuzzing)]
const STEPS_FREE: usize = 200;
const BEFORE: &[u8] = b"before";
const DOCUMENT: &[u8] = br#"{"time":"2026-02-19T17:26:00.123Z","data":{"body":{"a":"<&\"'`=>","n":1.50,"e":1e400,"list":[1,"x",null,
    {"b":[[],{}]}],"o":{"k":"v","k":"w","":0},"t":true,"u":"\ud83d\ude00\ud800","a b":"c","deep":[[[[[[1]]]]]]},"replyId":"r"},
    "globals":{"key":{"x":"y"},"globals":3}}"#;

/// Parts, and what each renders over [`DOCUMENT`], as handlebars.js does, escaped for HTML.
const PARTS: [(&str, &str); 14] = [
    ("plain text", "plain text"),
    (" {\"a\": 1} ", " {\"a\": 1} "),
    ("{{data.replyId}}", "r"),
    ("{{data.body.n}}", "1.50"),
    ("{{data.body.t}}", "true"),
    ("{{data.body.missing}}", ""),
    ("{{{data.body.o.k}}}", "w"),
    ("{{data.body.list.[1]}}", "x"),
    ("{{data.body.[a b]}}", "c"),
    ("{{#if data.body.t}}yes{{else}}no{{/if}}", "yes"),
    ("{{#if data.body.missing}}yes{{else}}no{{/if}}", "no"),
    ("{{#unless data.body.missing}}none{{/unless}}", "none"),
    // A repeated key is visited as often as it stands in the text.
    ("{{#each data.body.o}}{{@key}};{{/each}}", "k;k;;"),
    ("{{! a comment }}", ""),
];

/// A template of known parts renders the text of them.
fn second_opinion(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (mut source, mut expected) = (String::new(), String::new());
    for _ in 0..choices.below(8) {
        let (part, text) = choices.one_of(&PARTS);
        source.push_str(part);
        expected.push_str(text);
    }
    let template = Template::compile(&source).unwrap_or_else(|error| panic!("{error}: {source}"));
    let mut out = Vec::new();
    let document = Raw::trusted(DOCUMENT);
    template
        .render_within(&document, Escape::Html, OUTPUT_BYTES_MAX, &mut Work::default(), &mut out)
        .expect("a short text");
    assert_eq!(String::from_utf8_lossy(&out), expected, "{source}");
}

fuzz_target!(|data: &[u8]| {
    second_opinion(data);
    let (source, document) = match data.iter().position(|&byte| byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &b""[..]),
    };
    let Ok(source) = std::str::from_utf8(source) else { return };
    let document = Raw::document(document).unwrap_or(Raw::trusted(DOCUMENT));
    if let Ok(path) = Path::parse(source) {
        let text = path.read(&document);
        assert!(text.as_ref().is_none_or(|text| common::is_json(text)));
        if let Some(found) = path.find(&document) {
            assert_eq!(text.as_deref(), Some(found.bytes()));
        }
    }
    let template = match Template::compile(source) {
        Ok(template) => template,
        Err(error) => {
            let lines = source.matches('\n').count() + 1;
            assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let again = Template::compile(source).expect("what compiled");
    assert_eq!(again.constant(), template.constant());
    render(&template, &again, &document);
    render(&template, &again, &GlobalsRoot::new(document));
});

fn render(template: &Template, again: &Template, root: &dyn Root) {
    for escape in [Escape::Html, Escape::None] {
        let mut out = BEFORE.to_vec();
        let mut work = Work::default();
        #[cfg(fuzzing)]
        let _ = steps::take();
        let rendered = template.render_within(root, escape, OUTPUT_BYTES_MAX, &mut work, &mut out);
        // What a rendering does is no more than what it paid for.
        #[cfg(fuzzing)]
        assert!(steps::take() <= work.spent() + STEPS_FREE, "{} units", work.spent());
        assert!(out.starts_with(BEFORE));
        let text = &out[BEFORE.len()..];
        assert!(text.len() <= OUTPUT_BYTES_MAX);
        assert!(rendered.is_ok() || text.is_empty());
        assert!(std::str::from_utf8(text).is_ok(), "{}", text.escape_ascii());
        if let (Some(constant), Ok(())) = (template.constant(), &rendered) {
            assert_eq!(constant.as_bytes(), text);
        }
        let mut other = Vec::new();
        assert_eq!(
            again.render_within(root, escape, OUTPUT_BYTES_MAX, &mut Work::default(), &mut other),
            rendered
        );
        assert_eq!(other, text);
    }
}
