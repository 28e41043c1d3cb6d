//! Whatever comes in, a payload is valid JSON: `serde_json` is the judge.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::CastBuffersAs;

/// Reads the whole payload with a strict reader; the only thing it may not like is a number that no double can hold,
/// which is valid JSON.
fn judged(event: Event) -> Option<serde_json::Value> {
    let payload = Payload { event, tail: Arc::new(tail(b"{}")) };
    let mut whole = Vec::new();
    payload.write(&mut whole);
    assert!(json::validate(&whole, json::DOCUMENT_DEPTH_MAX));
    let text = std::str::from_utf8(&whole).unwrap();
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(error) => {
            let message = error.to_string();
            assert!(
                message.starts_with("number out of range") || message.starts_with("recursion"),
                "{message}"
            );
            None
        }
    }
}

fn any_cast() -> impl Strategy<Value = CastBuffersAs> {
    use CastBuffersAs::{Array, Base64, Binary, Hex, Utf8};
    prop::sample::select(vec![Array, Binary, Utf8, Base64, Hex])
}

fn any_type() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "application/json",
        "a/b+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "multipart/form-data; boundary=\"b\"",
        "application/octet-stream",
        "text/plain",
    ]);
    prop_oneof![8 => known.prop_map(|text| text.as_bytes().to_vec()), 1 => any::<Vec<u8>>()]
}

/// Bodies made of the pieces that parsers look for.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"\r\n--b"[..],
        b"--b",
        b"--",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Disposition: form-data; name=\"a\"",
        b"; filename=\"x\"",
        b"Content-Type: image/png",
        b"\"",
        b"\\",
        b"\\ud800",
        b"{\"a\":",
        b"}",
        b"[",
        b"]",
        b"1",
        b",",
        b":",
        b"null",
        b"&",
        b"=",
        b"+",
        b"%41",
        b"%ff",
        b"%",
        b"a",
        b"\xff",
        b"\xc3\xa9",
        b"\0",
        b" ",
        b"--b\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\nv\r\n--b--",
        b"{\"k\":[1e999,\"v\"]}",
    ]);
    let pieces = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![6 => pieces, 1 => any::<Vec<u8>>()]
}

fn any_fields() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "Host",
            "host",
            "X-A",
            "x-a",
            "Cookie",
            "Authorization",
            "X-Forwarded-For"
        ])
        .prop_map(|name| name.as_bytes().to_vec()),
        any::<Vec<u8>>()
    ];
    prop::collection::vec((name, any::<Vec<u8>>()), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn a_payload_is_valid_json_whatever_came_in(
        fields in any_fields(),
        content_type in any_type(),
        body in any_body(),
        (path, query) in any::<(Vec<u8>, Option<Vec<u8>>)>(),
        cast in any_cast(),
        (annotate_multipart, peer_is_trusted, hide_authorization, local) in any::<(bool, bool, bool, bool)>(),
        reply_id in any::<Option<String>>(),
    ) {
        let mut all: Vec<Field<'_>> = vec![(b"Content-Type", &content_type)];
        all.extend(fields.iter().map(|(name, value)| (&name[..], &value[..])));
        let data = HttpData {
            path: &path,
            query: query.as_deref(),
            cast,
            annotate_multipart,
            peer_is_trusted,
            hidden: Hidden { authorization: hide_authorization, ..Hidden::default() },
            raw_body: annotate_multipart,
            claims: None,
            peer: if local { Peer::Local } else { PEER },
            reply_id: reply_id.as_deref(),
            ..post(&all, &body)
        };
        let value = match event(&data) {
            Ok(event) => judged(event),
            Err(refused) => {
                // A random field may be a content coding by chance, but then no known one.
                prop_assert_eq!(refused, BodyRefused::UnsupportedCoding);
                None
            }
        };
        if let Some(value) = value {
            let headers = value["data"]["headers"].as_object().unwrap();
            prop_assert!(!headers.contains_key("cookie"));
            prop_assert!(!(hide_authorization && headers.contains_key("authorization")));
            let names: std::collections::BTreeSet<Vec<u8>> =
                all.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
            let shown = names.iter().filter(|name| match &name[..] {
                b"cookie" | b"x-forwarded-for" => false,
                b"authorization" => !hide_authorization,
                _ => true,
            });
            prop_assert_eq!(
                headers.keys().filter(|name| *name != "x-forwarded-for").count(),
                shown.count()
            );
            if let Some(address) = headers.get("x-forwarded-for") {
                prop_assert!(local || address.as_str().unwrap().ends_with("203.0.113.9"));
            }
            prop_assert_eq!(value["data"]["replyId"].as_str(), reply_id.as_deref());
        }
    }

    #[test]
    fn a_query_shows_every_pair_once(pairs in prop::collection::vec(("[a-c]{0,2}", any::<String>()), 0..30)) {
        let mut query = Vec::new();
        for (key, value) in &pairs {
            query.extend_from_slice(key.as_bytes());
            query.push(b'=');
            for byte in value.bytes() {
                query.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
            query.push(b'&');
        }
        let shown: serde_json::Value = serde_json::from_str(&member(&HttpData { query: Some(&query), ..post(&[], b"") }, "query")).unwrap();
        let mut expected = serde_json::Map::new();
        for (key, value) in &pairs {
            let value = serde_json::Value::from(value.clone());
            match expected.get_mut(key) {
                None => { expected.insert(key.clone(), value); }
                Some(serde_json::Value::Array(list)) => list.push(value),
                Some(one) => *one = serde_json::json!([one.clone(), value]),
            }
        }
        prop_assert_eq!(shown.to_string(), serde_json::Value::Object(expected).to_string());
    }

    #[test]
    fn any_bytes_under_any_coding_give_no_more_than_the_limit(
        coding in prop::sample::select(vec!["gzip", "deflate", "br", "gzip, deflate", "br, br"]),
        body in prop::collection::vec(any::<u8>(), 1..300),
        limit in 0_usize..200,
    ) {
        let fields: &[Field<'_>] = &[(b"content-encoding", coding.as_bytes())];
        if let Ok(body) = undo_codings(&HttpData { payload_limit: limit, ..post(fields, &body) }) {
            prop_assert!(body.len() <= limit);
        }
    }

    #[test]
    fn a_socket_event_is_valid_json(text: bool, data: Vec<u8>, reason: String, status_code: u16, path: Vec<u8>, query: Vec<u8>) {
        let fields: &[Field<'_>] = &[(b"X", &path)];
        let upgrade = UpgradeData::new(&path, Some(&query), fields.iter().copied(), PEER, true, Hidden::default(), None);
        for kind in [WsEvent::Connect, WsEvent::Message { text, data: &data }, WsEvent::Disconnect { status_code, reason: &reason }] {
            let value = judged(websocket_event(&mut Vec::new(), NOW, &upgrade, kind, "r")).unwrap();
            prop_assert_eq!(value["data"]["replyId"].as_str(), Some("r"));
        }
    }
}
