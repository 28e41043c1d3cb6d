//! The cases that `tools/instructions` counts: whole requests and messages, from the bytes that are received to the
//! bytes that are sent, with the engine's counters and a clock that moves, run so many times under callgrind. The ring,
//! timers and records of requests are not in them.
//!
//! `instructions CASE ROUNDS` runs one case; the difference between two numbers of rounds is what a round costs, with
//! the start of the process taken out. `--cases` names them. Without arguments each is run a few times, so that
//! `cargo bench` and `cargo test` see that they work.

mod common;

use std::hint::black_box;
use std::process::ExitCode;

use common::Model;
use common::path::{Path, SocketPath, text_frame};
use serde_json::json;
use tidegate::base::clock::Now;
use tidegate::base::id::TokenText;

/// Rounds where nobody says how many.
const ROUNDS: u32 = 100;
/// Each counts as so many requests: what is done once for a burst is shared by them.
const DEPTH: usize = 16;
/// The time at which every run begins: what depends on it (the date, the ticks of a rate) is the same each time.
const NOW: Now = Now { nanos: 1_000_000_000_000, unix_millis: 1_771_521_960_123 };

type Case = (&'static str, fn(u32));

const CASES: [Case; 5] = [
    ("plain", plain),
    ("pipelined-16", pipelined),
    ("over-the-rate", over_the_rate),
    ("template-reply", template_reply),
    ("websocket-message", websocket_message),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--cases"] => CASES.iter().for_each(|(name, _)| println!("{name}")),
        // There are no tests here, says this to who lists them.
        _ if words.contains(&"--list") => {}
        [name, rounds] if !name.starts_with('-') => {
            let case = CASES.iter().find(|(known, _)| *known == name);
            let (Some((_, run)), Ok(rounds)) = (case, rounds.parse()) else {
                eprintln!("instructions: no case {name}, or {rounds} is no number");
                return ExitCode::from(2);
            };
            run(rounds);
        }
        _ => CASES.iter().for_each(|(name, run)| {
            run(ROUNDS);
            println!("{name}: {ROUNDS} rounds; tools/instructions counts them");
        }),
    }
    ExitCode::SUCCESS
}

/// A POST of 200 bytes to a webhook without a flow, under a rate that is counted.
fn plain(rounds: u32) {
    requests(Model::of(1, NOW), 1, rounds, b"HTTP/1.1 200 OK\r\n", b"{\"success\":true}");
}

/// The same, sixteen at a time; a round is all sixteen.
fn pipelined(rounds: u32) {
    requests(Model::of(1, NOW), DEPTH, rounds, b"HTTP/1.1 200 OK\r\n", b"{\"success\":true}");
}

/// A flood that is refused.
fn over_the_rate(rounds: u32) {
    let mut model = with_fixed_token(Model::of(1, NOW));
    let limits = json!({"limits": {"requestsPerWindow": 1, "windowSeconds": 86_400}});
    model.webhooks[0].patch(&limits, NOW.unix_millis).expect("good limits");
    let bytes = common::request(common::TOKEN);
    let mut path = Path::new(&model, NOW);
    assert!(path.serve(&bytes).starts_with(b"HTTP/1.1 200 "), "the only token");
    for _ in 0..rounds {
        assert!(path.serve(black_box(&bytes)).starts_with(b"HTTP/1.1 429 "));
    }
}

/// A request that waits, and a template that replies with some of its payload.
fn template_reply(rounds: u32) {
    let node = json!({"type": "WebhookReplyNode", "config": {"responseCodeTemplate": "201",
        "bodyTemplate": "{\"device\":\"{{data.body.device}}\",\"path\":\"{{{data.path}}}\"}",
        "headerInfo": [{"keyTemplate": "x-floor", "valueTemplate": "{{data.query.floor}}"}]}});
    let model = Model::with_flow(json!({"waitForReply": true}), node, NOW);
    let body = b"{\"device\":\"boiler-17\",\"path\":\"/readings\"}";
    requests(model, 1, rounds, b"HTTP/1.1 201 Created\r\n", body);
}

fn requests(model: Model, depth: usize, rounds: u32, status: &[u8], body: &[u8]) {
    let model = with_fixed_token(model);
    let bytes = common::request(common::TOKEN).repeat(depth);
    let mut path = Path::new(&model, NOW);
    for _ in 0..rounds {
        let out = path.serve(black_box(&bytes));
        assert!(out.starts_with(status) && out.ends_with(body), "{}", out.escape_ascii());
    }
}

/// The same token in each run: nothing that is counted can depend on its characters.
fn with_fixed_token(mut model: Model) -> Model {
    model.webhooks[0].token = TokenText::parse(common::TOKEN).expect("forty characters");
    model
}

/// A message of a hundred bytes, and the flow's message back.
fn websocket_message(rounds: u32) {
    let node = json!({"type": "WebhookReplyNode", "config": {"bodyTemplate": "data.message.data",
        "bodyTemplateType": "path", "isWebsocketMessage": true, "encodingTemplate": "utf8"}});
    let model = Model::with_flow(json!({"isWebsocket": true}), node, NOW);
    let mut path = SocketPath::new(&model, NOW);
    let message = [b'x'; 100];
    let frame = text_frame(&message);
    for _ in 0..rounds {
        let out = path.on_frames(black_box(&frame));
        assert!(out.ends_with(&message), "{}", out.escape_ascii());
    }
}
