//! Everything of a payload but the body.

use std::sync::Arc;

use super::*;
use crate::template::Root as _;

fn headers_of(fields: &[Field<'_>]) -> String {
    member(&post(fields, b""), "headers")
}

fn query_of(query: &[u8]) -> String {
    member(&HttpData { query: Some(query), ..post(&[], b"") }, "query")
}

#[test]
fn a_payload_is_an_event_and_a_tail() {
    let fields: &[Field<'_>] = &[(b"Content-Type", b"application/json")];
    let data = HttpData {
        path: b"/transition/up",
        query: Some(b"location=52"),
        reply_id: Some("5f.r1"),
        ..post(fields, b" {\"value\":\"30\", \"exact\": 1.10}\n")
    };
    let payload = Payload { event: event(&data).unwrap(), tail: Arc::new(tail(b"{\"key\":[1.0]}")) };
    let mut out = b"before".to_vec();
    payload.write(&mut out);
    let expected = concat!(
        r#"{"time":"2026-02-19T17:26:00.123Z","data":{"method":"post","path":"/transition/up","#,
        r#""headers":{"content-type":"application/json","x-forwarded-for":"203.0.113.9"},"#,
        r#""query":{"location":"52"},"body":{"value":"30", "exact": 1.10},"replyId":"5f.r1"},"#,
        r#""applicationId":"aaaaaaaaaaaaaaaaaaaaaaaa","applicationName":"My \"app\"","#,
        r#""triggerId":"bbbbbbbbbbbbbbbbbbbbbbbb","triggerType":"webhook","#,
        r#""relayId":"000000000000000000000000","relayType":"public","#,
        r#""flowId":"cccccccccccccccccccccccc","flowName":"A flow","globals":{"key":[1.0]}}"#,
    );
    assert_eq!(std::str::from_utf8(&out[6..]).unwrap(), expected);
    assert_eq!(payload.len(), expected.len());
}

#[test]
fn every_key_of_a_payload_is_found() {
    let payload = Payload {
        event: event(&HttpData { reply_id: Some("r"), ..post(&[], b"text") }).unwrap(),
        tail: Arc::new(tail(b"{\"a\":{\"b\":1}}")),
    };
    let whole = payload.whole();
    for (key, value) in json::Raw::document(&whole).unwrap().entries() {
        assert_eq!(shown(payload.get(&key).unwrap()), shown(value), "{key}");
    }
    assert_eq!(shown(payload.get("globals").unwrap().get("a").unwrap()), "{\"b\":1}");
    assert_eq!(shown(payload.event.body()), "\"text\"");
    assert!(payload.get("nothing").is_none());
}

#[test]
fn members_are_found_at_once_as_they_are_by_looking_through() {
    for reply_id in [None, Some("5f.r1")] {
        for body in [&b"text"[..], b"", b"{\"a\":1}"] {
            let fields: &[Field<'_>] = &[(b"content-type", b"application/json")];
            let event = event(&HttpData { reply_id, ..post(fields, body) }).unwrap();
            let payload = Payload { event, tail: Arc::new(tail(b"{}")) };
            for member in
                ["body", "message", "replyId", "method", "type", "path", "headers", "query", "dy", ""]
            {
                let looked_up = payload.get("data").unwrap().get(member).map(shown);
                assert_eq!(payload.get_member("data", member).map(shown), looked_up, "{member}");
                assert!(payload.get_member("time", member).is_none());
            }
        }
    }
}

#[test]
fn a_reply_id_is_there_only_where_a_reply_can_be_used() {
    assert!(event(&post(&[], b"")).unwrap().data().get("replyId").is_none());
}

#[test]
fn a_path_begins_with_a_slash_and_keeps_its_escapes() {
    let path = |path: &'static [u8]| member(&HttpData { path, ..post(&[], b"") }, "path");
    assert_eq!(path(b""), "\"/\"");
    assert_eq!(path(b"/a%20b/\"\xff"), "\"/a%20b/\\\"ÿ\"");
    assert_eq!(path(b"x"), "\"/x\"");
}

#[test]
fn names_are_in_lower_case_and_repeated_fields_joined() {
    assert_eq!(
        headers_of(&[
            (b"X-B", b"1"),
            (b"x-a", b"\xe9\"\\"),
            (b"x-b", b"2"),
            (b"Accept", b""),
            (b"X-b", b"3, 4")
        ]),
        r#"{"x-b":"1, 2, 3, 4","x-a":"é\"\\","accept":"","x-forwarded-for":"203.0.113.9"}"#
    );
}

#[test]
fn names_that_share_a_mark_are_not_taken_for_each_other() {
    let names: Vec<String> = (0..100).map(|i| format!("x-{i}")).collect();
    let fields: Vec<Field<'_>> = names.iter().map(|name| (name.as_bytes(), &b"v"[..])).collect();
    let shown: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&headers_of(&fields)).unwrap();
    assert_eq!(shown.len(), 101);
}

#[test]
fn a_name_that_is_no_token_still_gives_valid_json() {
    assert_eq!(
        headers_of(&[(b"A\"\x01\n\xc9", b"1"), (b"", b"2")]),
        r#"{"a\"\u0001\nÉ":"1","":"2","x-forwarded-for":"203.0.113.9"}"#
    );
}

#[test]
fn cookies_are_never_shown_and_credentials_only_where_they_are_not_the_webhooks() {
    let fields: &[Field<'_>] = &[(b"Cookie", b"a=b"), (b"COOKIE", b"c"), (b"Authorization", b"Bearer x")];
    let open = post(fields, b"");
    assert_eq!(member(&open, "headers"), r#"{"authorization":"Bearer x","x-forwarded-for":"203.0.113.9"}"#);
    let guarded = HttpData { hidden: Hidden { authorization: true, ..Hidden::default() }, ..open };
    assert_eq!(member(&guarded, "headers"), r#"{"x-forwarded-for":"203.0.113.9"}"#);
}

#[test]
fn forwarded_for_ends_with_the_peer_and_keeps_what_a_trusted_one_says() {
    let fields: &[Field<'_>] = &[
        (b"X-Forwarded-For", b"1.2.3.4"),
        (b"Host", b"h"),
        (b"x-forwarded-for", b""),
        (b"x-forwarded-for", b"5.6.7.8"),
    ];
    let forwarded = |fields, peer, peer_is_trusted| {
        member(&HttpData { peer, peer_is_trusted, ..post(fields, b"") }, "headers")
    };
    let v6 = |text: &str| Peer::Ip(text.parse().unwrap());
    assert_eq!(forwarded(fields, PEER, false), r#"{"host":"h","x-forwarded-for":"203.0.113.9"}"#);
    assert_eq!(
        forwarded(fields, PEER, true),
        r#"{"host":"h","x-forwarded-for":"1.2.3.4, 5.6.7.8, 203.0.113.9"}"#
    );
    assert_eq!(forwarded(fields, Peer::Local, true), r#"{"host":"h","x-forwarded-for":"1.2.3.4, 5.6.7.8"}"#);
    assert_eq!(forwarded(fields, Peer::Local, false), r#"{"host":"h"}"#);
    assert_eq!(forwarded(&[], Peer::Local, true), "{}");
    assert_eq!(forwarded(&[], v6("::ffff:10.0.0.1"), false), r#"{"x-forwarded-for":"10.0.0.1"}"#);
    assert_eq!(forwarded(&[], v6("2001:db8::1"), false), r#"{"x-forwarded-for":"2001:db8::1"}"#);
}

#[test]
fn a_query_is_an_object_of_decoded_texts() {
    for (query, expected) in [
        ("", "{}"),
        ("&&", "{}"),
        ("a", r#"{"a":""}"#),
        ("a=", r#"{"a":""}"#),
        ("=b", r#"{"":"b"}"#),
        ("a=b=c", r#"{"a":"b=c"}"#),
        ("a=1&b=2&a=3&c=4&a=5", r#"{"a":["1","3","5"],"b":"2","c":"4"}"#),
        ("%61=1&a=2", r#"{"a":["1","2"]}"#),
        ("z=1&a=2&m=3", r#"{"z":"1","a":"2","m":"3"}"#),
        ("q=a+b%2Bc%20d", r#"{"q":"a b+c d"}"#),
        ("q=%E2%82%AC", r#"{"q":"€"}"#),
        ("q=%ff%41", "{\"q\":\"\u{fffd}A\"}"),
        ("q=100%&r=%zz", r#"{"q":"100%","r":"%zz"}"#),
        ("q=%22%5c%00", r#"{"q":"\"\\\u0000"}"#),
        ("__proto__=1&constructor=2&__proto__=3", r#"{"__proto__":["1","3"],"constructor":"2"}"#),
        ("a[]=1&a[]=2&b.c=3", r#"{"a[]":["1","2"],"b.c":"3"}"#),
        ("a;b=1", r#"{"a;b":"1"}"#),
    ] {
        assert_eq!(query_of(query.as_bytes()), expected, "{query}");
    }
    assert_eq!(query_of(b"q=\xff"), "{\"q\":\"\u{fffd}\"}");
    assert_eq!(member(&post(&[], b""), "query"), "{}");
}

#[test]
fn the_events_of_a_socket_carry_its_upgrade_request() {
    let fields: &[Field<'_>] = &[(b"Host", b"h"), (b"Cookie", b"c")];
    let upgrade =
        UpgradeData::new(b"", Some(b"a=1"), fields.iter().copied(), PEER, false, Hidden::default(), None);
    let data = |kind| {
        let event = websocket_event(&mut Vec::new(), NOW, &upgrade, kind, "w.1");
        assert_eq!(shown(event.body()), shown(event.data().get("message").unwrap()));
        assert_eq!(shown(event.time()), "\"2026-02-19T17:26:00.123Z\"");
        shown(event.data())
    };
    let rest = r#","path":"/","headers":{"host":"h","x-forwarded-for":"203.0.113.9"},"query":{"a":"1"},"replyId":"w.1"}"#;
    for (kind, expected) in [
        (WsEvent::Connect, r#"{"type":"connect","message":{}"#),
        (
            WsEvent::Message { text: true, data: "é\n".as_bytes() },
            r#"{"type":"message","message":{"data":"é\n","length":3}"#,
        ),
        (WsEvent::Message { text: true, data: b"" }, r#"{"type":"message","message":{"data":"","length":0}"#),
        (
            WsEvent::Message { text: false, data: b"\xff\x00a" },
            r#"{"type":"message","message":{"data":"/wBh","length":3,"encoding":"base64"}"#,
        ),
        (
            WsEvent::Disconnect { status_code: 1006, reason: "" },
            r#"{"type":"disconnect","message":{"statusCode":1006,"reason":""}"#,
        ),
        (
            WsEvent::Disconnect { status_code: 4000, reason: "\"bye\"" },
            r#"{"type":"disconnect","message":{"statusCode":4000,"reason":"\"bye\""}"#,
        ),
    ] {
        assert_eq!(data(kind), format!("{expected}{rest}"));
    }
}

#[test]
fn the_buffer_is_used_again_unless_the_event_is_large() {
    let mut scratch = Vec::new();
    let small = http_event(&mut scratch, NOW, &post(&[], b"a")).unwrap();
    let storage = scratch.as_ptr();
    let again = http_event(&mut scratch, NOW, &post(&[], b"b")).unwrap();
    assert_eq!(scratch.as_ptr(), storage);
    assert_ne!(small.bytes(), again.bytes());
    let large = vec![b'x'; 100_000];
    let event = http_event(&mut scratch, NOW, &post(&[], &large)).unwrap();
    assert!(scratch.is_empty());
    assert_eq!(event.body().bytes().len(), large.len() + 2);
}

#[test]
fn a_payload_counts_what_it_keeps_and_what_a_lookup_looks_through() {
    let globals = br#"{"a":"0123456789"}"#;
    let tail = Arc::new(tail(globals));
    let plain = Payload { event: event(&post(&[], b"body")).unwrap(), tail: tail.clone() };
    assert_eq!(plain.kept_len(), plain.len());
    let raw = RawBody { bytes: bytes::Bytes::from_static(b"as it came"), ..RawBody::default() };
    let with_raw = Payload { event: plain.event.clone().with_raw(raw), tail };
    assert_eq!(with_raw.event.raw().unwrap().bytes, "as it came");
    assert_eq!(with_raw.kept_len(), plain.len() + "as it came".len());
    assert_eq!(with_raw.len(), plain.len(), "it is no part of the payload");
    assert_eq!(["data", "globals", "x"].map(|key| plain.knows_members(key)), [true, false, false]);
    for (key, cost) in
        [("time", 0), ("data", 0), ("globals", 0), ("flowName", plain.tail.len() - globals.len())]
    {
        assert_eq!(plain.get_cost(key), cost, "{key}");
    }
}

#[test]
fn a_body_that_is_refused_is_told_why() {
    for (refused, status, message) in [
        (BodyRefused::UnsupportedCoding, 415, "Content-Encoding must be gzip, deflate or br"),
        (BodyRefused::TooLarge, 413, "Content too large"),
        (BodyRefused::BadCoding, 400, "Content does not match its Content-Encoding"),
    ] {
        assert_eq!((refused.status(), refused.to_string().as_str()), (status, message));
    }
}

#[test]
fn a_path_leads_to_what_the_request_that_opened_a_websocket_said() {
    let fields: &[Field<'_>] = &[(b"X-A", b"1"), (b"X-B", b"2")];
    let claims = br#"{"sub":"me"}"#;
    for claims in [None, Some(&claims[..])] {
        let fields = fields.iter().copied();
        let upgrade = UpgradeData::new(b"/p", Some(b"a=1"), fields, PEER, false, Hidden::default(), claims);
        let said = WsEvent::Message { text: true, data: b"hello" };
        let mut scratch = Vec::new();
        let event = websocket_draft(&mut scratch, NOW, &upgrade, said, "a reply's id", Parts::ALL).keep();
        let whole: serde_json::Value = serde_json::from_slice(event.data().bytes()).unwrap();
        let payload = Payload { event, tail: Arc::new(tail(b"{}")) };
        for (name, value) in whole.as_object().unwrap() {
            let found = payload.get_member("data", name).map(shown);
            assert_eq!(found, Some(value.to_string()), "{name}");
        }
        assert_eq!(whole.get("claims").is_some(), claims.is_some());
        assert_eq!(upgrade.path(), b"/p");
    }
}
