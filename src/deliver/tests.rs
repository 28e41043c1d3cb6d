//! A node's reply is the same over the parts of an event that it reads as over the whole payload.

mod behind;

use std::sync::Arc;

use proptest::prelude::*;

use crate::base::clock::Now;
use crate::base::json::Raw;
use crate::expression::ExpressionWork;
use crate::model::{BodyTemplateType, CastBuffersAs, ConditionalConfig, HeaderTemplate, WebhookReplyConfig};
use crate::registry::Condition;
use crate::reply::{Reply, ReplyNode, ReplyTo, Sheet, Unsent};
use crate::template::{Root, WORK_MAX};
use crate::trigger::{
    Hidden, HttpData, Parts, Payload, Peer, Tail, UpgradeData, WsEvent, http_draft, http_event,
    websocket_draft, websocket_event,
};

const NOW: Now = Now { nanos: 1, unix_millis: 1_771_521_960_123 };

/// Pieces of templates: every part, every way to the document, and what is not there.
const PIECES: [&str; 40] = [
    "text ",
    "{{time}}",
    "{{time.length}}",
    "{{data}}",
    "{{data.method}}{{data.type}}",
    "{{{data.path}}}",
    "{{data.path.length}}",
    "{{data.headers.host}}",
    "{{jsonEncode data.headers}}",
    "{{data.query.a}}",
    "{{#each data.query}}{{@key}}={{this}};{{/each}}",
    "{{data.body}}",
    "{{jsonEncode data.body}}",
    "{{data.body.list.[1]}}",
    "{{#each data.body.list}}{{this}}{{@index}}{{../data.path}}{{/each}}",
    "{{#each data.body.list}}{{else}}{{data.query.a}}{{/each}}",
    "{{data.message}}",
    "{{jsonEncode data.message}}",
    "{{data.message.data}}",
    "{{{data.message.data}}}",
    "{{jsonEncode data.message.data}}",
    "{{data.message.data.length}}{{data.message.data.[0]}}{{data.message.data.x}}",
    "{{data.message.length}}{{data.message.encoding}}",
    "{{#with data.message}}{{data}}{{this.length}}{{../data.type}}{{/with}}",
    "{{#if data.message.data}}yes{{else}}no{{/if}}",
    "{{#eq data.message.data \"a\"}}is{{else}}not{{/eq}}",
    "{{typeof data.message.data}} {{length data.message.data}} {{upper data.message.data}}",
    "{{lookup data.message \"data\"}}",
    "{{lookup data \"body\"}}",
    "{{#with data}}{{jsonEncode body}}{{message.data}}{{/with}}",
    "{{#with @root}}{{data.path}}{{/with}}",
    "{{@root.data.message.data}}",
    "{{jsonEncode this}}",
    "{{#each this}}{{@key}},{{/each}}",
    "{{#time}}{{jsonEncode this}}{{data.query.a}}{{/time}}",
    "{{#missing}}no{{else}}{{jsonEncode this}}{{/missing}}",
    "{{data.missing}}{{data.missing.deep}}{{missing}}{{data.length}}",
    "{{globals.g}}{{flowName}}{{applicationName.length}}",
    "{{data.replyId}}",
    "{{#each data.body.list as |x i|}}{{x}}{{i}}{{jsonEncode ../..}}{{/each}}",
];

const PATHS: [&str; 12] = [
    "",
    "time",
    "data",
    "data.message",
    "data.message.data",
    "data.message.data[0]",
    "data.message.length",
    "data.body",
    "data.body.list[0]",
    "data.headers",
    "data.missing",
    "globals",
];

fn tail() -> Tail {
    let id = "0123456789abcdef01234567".parse().unwrap();
    Tail::new(id, "An app", id, id, "A flow", Arc::from(&br#"{"g":"<g>"}"#[..]))
}

/// The parts that a node asks for.
fn parts_of(node: &ReplyNode) -> Parts {
    let mut parts = Parts::NONE;
    node.reads(&mut |read| parts = parts.union(Parts::of(read)));
    parts
}

fn replied(node: &ReplyNode, payload: &dyn Root) -> Result<Option<(Option<String>, Reply)>, Unsent> {
    let mut sheet = Sheet::default();
    let rendered = node.render(payload, &mut sheet)?;
    Ok(rendered.map(|rendered| {
        let to = match rendered.to() {
            ReplyTo::Trigger => None,
            ReplyTo::Named(id) => Some(id.to_string()),
        };
        (to, rendered.into_reply())
    }))
}

fn any_node() -> impl Strategy<Value = WebhookReplyConfig> {
    let template = || {
        prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..4).prop_map(|pieces| pieces.concat())
    };
    let path = prop::sample::select(PATHS.to_vec()).prop_map(str::to_owned);
    let body = prop_oneof![
        template().prop_map(|body| (BodyTemplateType::String, body)),
        path.prop_map(|path| (BodyTemplateType::Path, path)),
    ];
    let named =
        prop::sample::select(vec!["", "data.replyId", "data.message.data", "data.query.a", "data.body.id"]);
    let encoding = prop::sample::select(vec!["", "utf8", "hex", "base64", "binary", "{{data.query.e}}"]);
    (body, template(), template(), any::<bool>(), named, encoding).prop_map(
        |((body_template_type, body_template), code, header, is_websocket_message, named, encoding)| {
            WebhookReplyConfig {
                reply_id_path: named.to_owned(),
                response_code_template: code,
                body_template,
                body_template_type,
                header_info: vec![HeaderTemplate { key_template: "x-a".to_owned(), value_template: header }],
                is_websocket_message,
                encoding_template: encoding.to_owned(),
            }
        },
    )
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[a-c<>&\"'\\\\é😀\n\u{0}\u{1f}]{0,40}".prop_map(String::into_bytes), any::<Vec<u8>>(),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_request_gets_the_same_reply_from_its_parts(
        config in any_node(),
        path: Vec<u8>,
        query in prop::sample::select(vec!["", "a=1&b=2&a=3&e=hex", "e=none", "a=%22%3C"]),
        body in prop::sample::select(vec![
            &br#"{"id":"r2","on":true,"list":[1,"<x>",{"y":2}]}"#[..], b"{\"list\":[],\"on\":false}", b"text", b"", b"\xff",
        ]),
    ) {
        let node = ReplyNode::compile(&config).expect("every piece is good");
        let fields = [(&b"content-type"[..], &b"application/json"[..]), (b"Host", b"h<\xe9>")];
        let data = HttpData {
            method: b"POST",
            path: &path,
            query: Some(query.as_bytes()),
            fields: fields.into_iter(),
            body,
            peer: Peer::Local,
            peer_is_trusted: false,
            hidden: Hidden::default(),
            raw_body: false,
            claims: None,
            cast: CastBuffersAs::Array,
            annotate_multipart: false,
            payload_limit: 10_000,
            reply_id: Some("r1"),
        };
        let tail = tail();
        let event = http_event(&mut Vec::new(), NOW, &data).unwrap();
        let whole = Payload { event, tail: Arc::new(tail.clone()) };
        let mut scratch = b"what an event before left".to_vec();
        let draft = http_draft(&mut scratch, NOW, &data, parts_of(&node)).unwrap();
        prop_assert_eq!(replied(&node, &draft.payload(&tail)), replied(&node, &whole));
    }

    #[test]
    fn a_message_gets_the_same_reply_from_its_parts(config in any_node(), message in any_message(), text: bool, kind in 0..3) {
        let node = ReplyNode::compile(&config).expect("every piece is good");
        let fields = [(&b"Host"[..], &b"h"[..])];
        let upgrade = UpgradeData::new(b"/p\"", Some(b"a=1&e=hex"), fields.into_iter(), Peer::Local, false, Hidden::default(), None);
        let event = match kind {
            0 => WsEvent::Message { text, data: &message },
            1 => WsEvent::Connect,
            _ => WsEvent::Disconnect { status_code: 1000, reason: "bye" },
        };
        let tail = tail();
        let whole = websocket_event(&mut Vec::new(), NOW, &upgrade, event, "r1");
        let whole = Payload { event: whole, tail: Arc::new(tail.clone()) };
        let mut scratch = b"what an event before left".to_vec();
        let draft = websocket_draft(&mut scratch, NOW, &upgrade, event, "r1", parts_of(&node));
        prop_assert_eq!(replied(&node, &draft.payload(&tail)), replied(&node, &whole));
    }
}

/// Conditions over every path, and over values that they may be compared with.
fn any_condition() -> impl Strategy<Value = Condition> {
    let path = || prop::sample::select(PATHS[1..].to_vec()).prop_map(|path| format!("{{{{{path}}}}}"));
    let operator = prop::sample::select(vec!["==", "===", "<", "+", "&&", "||"]);
    let right = prop_oneof![path(), Just("'a'".to_owned()), Just("2".to_owned()), Just("null".to_owned())];
    (path(), operator, right).prop_map(|(left, operator, right)| {
        let expression = format!("{left} {operator} {right}");
        Condition::compile(&ConditionalConfig { expression }).expect("every piece is good")
    })
}

/// Enough for any of these conditions.
const WORK: ExpressionWork = ExpressionWork::new(1 << 22);

proptest! {
    #[test]
    fn a_condition_is_the_same_over_the_parts_that_it_looks_at(
        condition in any_condition(),
        message in any_message(),
        text: bool,
    ) {
        let mut parts = Parts::NONE;
        condition.reads(&mut |read| parts = parts.union(Parts::of(read)));
        let fields = [(&b"Host"[..], &b"h"[..])];
        let upgrade = UpgradeData::new(b"/p", Some(b"a=1"), fields.into_iter(), Peer::Local, false, Hidden::default(), None);
        let event = WsEvent::Message { text, data: &message };
        let tail = tail();
        let whole = websocket_event(&mut Vec::new(), NOW, &upgrade, event, "r1");
        let whole = Payload { event: whole, tail: Arc::new(tail.clone()) };
        let mut buffer = b"what an event before left".to_vec();
        let draft = websocket_draft(&mut buffer, NOW, &upgrade, event, "r1", parts);
        let draft = draft.payload(&tail);
        let is_true = |root: &dyn Root| condition.is_true(root, &mut WORK.clone(), &mut Vec::new());
        prop_assert_eq!(is_true(&draft), is_true(&whole));
    }
}

#[test]
fn what_no_template_looks_at_is_not_written() {
    let upgrade =
        UpgradeData::new(b"/", None, std::iter::empty(), Peer::Local, false, Hidden::default(), None);
    let echo = WebhookReplyConfig {
        body_template: "data.message.data".to_owned(),
        body_template_type: BodyTemplateType::Path,
        is_websocket_message: true,
        ..WebhookReplyConfig::default()
    };
    let node = ReplyNode::compile(&echo).unwrap();
    let mut scratch = Vec::new();
    for (data, written) in [(&b"text"[..], false), (b"\xff", true)] {
        let message = WsEvent::Message { text: true, data };
        let draft = websocket_draft(&mut scratch, NOW, &upgrade, message, "r1", parts_of(&node));
        assert!(replied(&node, &draft.payload(&tail())).unwrap().is_some());
        assert_eq!(!scratch.is_empty(), written);
    }
    assert!(!parts_of(&node).has_reply_id());
}

#[test]
fn the_nodes_of_an_event_share_one_budget_of_work() {
    let node = ReplyNode::compile(&WebhookReplyConfig {
        reply_id_path: String::new(),
        response_code_template: String::new(),
        body_template: "{{#each data.body}}{{upper this}}{{/each}}".to_owned(),
        body_template_type: BodyTemplateType::String,
        header_info: Vec::new(),
        is_websocket_message: false,
        encoding_template: String::new(),
    })
    .expect("a template");
    let body = format!("[{}]", vec!["\"aaaaaaaaaaaaaaaa\""; 10_000].join(","));
    let document = format!("{{\"data\":{{\"replyId\":\"r\",\"body\":{body}}}}}");
    let payload = Raw::document(document.as_bytes()).expect("JSON");
    let mut sheet = Sheet::default();
    let render = |sheet: &mut Sheet| node.render(&payload, sheet).map(|_| ());
    sheet.begin_event(document.len());
    assert_eq!(render(&mut sheet), Ok(()));
    let one = sheet.scratch_and_work().1.spent();
    assert!(one > 100_000, "{one}");
    let affordable = WORK_MAX / one;
    for _ in 1..affordable {
        assert_eq!(render(&mut sheet), Ok(()));
    }
    // However many nodes there are, an event costs no more than one rendering may.
    for _ in 0..1_000 {
        assert!(render(&mut sheet).is_err());
        assert!(sheet.scratch_and_work().1.spent() <= WORK_MAX);
    }
    sheet.begin_event(document.len());
    assert_eq!(render(&mut sheet), Ok(()));
}

#[test]
fn a_reply_that_names_its_caller_does_not_answer_the_trigger() {
    for (reply_id_path, answers) in [("", true), ("data.replyId", true), ("data.body.id", false)] {
        let config =
            WebhookReplyConfig { reply_id_path: reply_id_path.to_owned(), ..WebhookReplyConfig::default() };
        let node = ReplyNode::compile(&config).expect("a path");
        assert_eq!(node.answers_trigger(), answers, "{reply_id_path}");
    }
}

#[test]
fn a_condition_is_charged_what_it_takes_and_no_more() {
    let expression = "{{data.body}} == 1".to_owned();
    let condition = Condition::compile(&ConditionalConfig { expression }).expect("it is good");
    let payload = Raw::document(br#"{"data":{"body":1}}"#).expect("JSON");
    let mut sheet = Sheet::default();
    sheet.begin_event(100);
    for round in 1..=100 {
        assert_eq!(super::decide(&condition, &payload, &mut sheet), Ok(true));
        let spent = sheet.scratch_and_work().1.spent();
        assert!(spent > 0 && spent < WORK_MAX / 1_000 * round, "{spent} after {round}");
    }
}

#[test]
fn an_event_as_large_as_an_operator_allows_can_be_read() {
    let node = ReplyNode::compile(&WebhookReplyConfig {
        body_template: "data.message.data".to_owned(),
        body_template_type: BodyTemplateType::Path,
        is_websocket_message: true,
        encoding_template: "{{data.message.encoding}}".to_owned(),
        ..WebhookReplyConfig::default()
    })
    .expect("a template");
    let data = "a".repeat(20 * 1024 * 1024);
    let document = format!("{{\"data\":{{\"message\":{{\"data\":\"{data}\",\"encoding\":\"utf8\"}}}}}}");
    let payload = Raw::document(document.as_bytes()).expect("JSON");
    let mut sheet = Sheet::default();
    sheet.begin_event(document.len());
    let reply = node.render(&payload, &mut sheet).expect("it renders").expect("a reply");
    assert_eq!(reply.body().map(<[u8]>::len), Some(data.len()));
}
