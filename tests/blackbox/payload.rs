//! Section 5: the payload, as a test request (section 13) shows it.

use serde_json::{Value, json};

use crate::common::{Hook, Server};

fn server() -> Server {
    Server::start(|settings| {
        settings.set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

fn listened(server: &Server, fields: Value) -> Hook {
    let hook = server.webhook(fields);
    server.flow(&hook, json!([]));
    hook
}

#[test]
fn a_test_request_shows_the_whole_payload() {
    let server = server();
    let hook = server.webhook(json!({}));
    let flow = server.flow(&hook, json!([]));
    let globals = json!({"globals": [{"key": "list", "json": "[1, 2.50]"}]});
    server.done("PATCH", &format!("/applications/{}", hook.application), &globals);
    let mut tested = server.test(
        &hook,
        &json!({
            "path": "/transition/up?location=52", "method": "POST",
            "headers": {"X-Own": "a", "Cookie": "never=shown", "Authorization": "Bearer x"},
            "body": {"value": "30"},
        }),
    );
    assert_eq!(tested["statusCode"], 200);
    assert_eq!(tested["body"], json!({"success": true}));
    assert_eq!(tested["headers"]["content-type"], "application/json");
    assert!(tested["durationMs"].as_f64().is_some_and(|took| took >= 0.0), "{tested}");
    assert_eq!(tested["triggers"].as_array().map(Vec::len), Some(1));
    let mut payload = tested["triggers"][0].take();
    let time = payload["time"].take();
    let time = time.as_str().expect("a time");
    assert!(
        time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
        "RFC 3339 with milliseconds: {time}"
    );
    let headers = payload["data"]["headers"].take();
    for (name, value) in [("x-own", "a"), ("authorization", "Bearer x"), ("content-type", "application/json")]
    {
        assert_eq!(headers[name], value, "{headers}");
    }
    assert_eq!(headers.get("cookie"), None);
    let expected = json!({
        "time": null,
        "data": {
            "method": "post", "path": "/transition/up", "headers": null, "query": {"location": "52"},
            "body": {"value": "30"},
        },
        "applicationId": hook.application, "applicationName": "An application",
        "triggerId": hook.id, "triggerType": "webhook",
        "relayId": "000000000000000000000000", "relayType": "public",
        "flowId": flow, "flowName": "A flow",
        "globals": {"list": [1, 2.5]},
    });
    assert_eq!(payload, expected);
}

#[test]
fn the_peers_address_ends_the_list_and_what_came_before_counts_only_from_trusted_proxies() {
    for (trusted, sent, expected) in [
        ("", Value::Null, "127.0.0.1"),
        ("", json!("203.0.113.9"), "127.0.0.1"),
        ("127.0.0.0/8", json!("203.0.113.9"), "203.0.113.9, 127.0.0.1"),
        ("10.0.0.0/8, 127.0.0.1", json!("a, b"), "a, b, 127.0.0.1"),
        ("10.0.0.0/8", json!("203.0.113.9"), "127.0.0.1"),
    ] {
        let server = Server::start(|settings| {
            settings.set("TIDEGATE_INGRESS_TRUSTED_PROXIES", trusted);
        });
        let hook = listened(&server, json!({}));
        let headers = if sent.is_null() { json!({}) } else { json!({"X-Forwarded-For": sent}) };
        let tested = server.test(&hook, &json!({"headers": headers}));
        assert_eq!(
            tested["triggers"][0]["data"]["headers"]["x-forwarded-for"], expected,
            "{trusted}: {tested}"
        );
    }
}

#[test]
fn credentials_and_cookies_are_not_handed_on() {
    let server = server();
    let headers = json!({"Authorization": "Basic c29tZWJvZHk6", "Cookie": "a=b"});
    for (username, shown) in [("somebody", Value::Null), ("", json!("Basic c29tZWJvZHk6"))] {
        let hook = listened(&server, json!({"basicAuthUsername": username}));
        let tested = server.test(&hook, &json!({"headers": headers}));
        let seen = &tested["triggers"][0]["data"]["headers"];
        assert_eq!((&seen["authorization"], &seen["cookie"]), (&shown, &Value::Null), "{seen}");
    }
}

#[test]
fn each_flow_has_a_trigger_of_its_own_and_a_disabled_one_has_none() {
    let server = server();
    let hook = server.webhook(json!({}));
    let (first, second) = (server.flow(&hook, json!([])), server.flow(&hook, json!([])));
    let flows = |tested: &Value| -> Vec<String> {
        let triggers = tested["triggers"].as_array().expect("triggers");
        let mut ids: Vec<String> =
            triggers.iter().map(|trigger| trigger["flowId"].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids
    };
    let mut both = vec![first.clone(), second.clone()];
    both.sort();
    assert_eq!(flows(&server.test(&hook, &json!({}))), both);
    server.done(
        "PATCH",
        &format!("/applications/{}/flows/{first}", hook.application),
        &json!({"enabled": false}),
    );
    assert_eq!(flows(&server.test(&hook, &json!({}))), [second]);
}

#[test]
fn a_reply_id_is_there_only_where_a_reply_can_be_used() {
    let server = server();
    let hook = listened(&server, json!({}));
    assert_eq!(server.test(&hook, &json!({}))["triggers"][0]["data"].get("replyId"), None);
    let waiting = server.webhook(json!({"waitForReply": true}));
    server.flow(&waiting, json!([crate::common::reply_node("{}")]));
    let tested = server.test(&waiting, &json!({}));
    let reply_id = tested["triggers"][0]["data"]["replyId"].as_str().expect("a replyId");
    assert!(reply_id.starts_with(&format!("{}.", waiting.id)), "{reply_id}");
}

/// The `body` of the payload, as its bytes, for a request with this body of text.
fn body_of(server: &Server, hook: &Hook, content_type: &str, body: &str) -> String {
    let fields = json!({"headers": {"Content-Type": content_type}, "body": body});
    let response = server.call_raw("POST", &hook.resource("/test"), &fields.to_string());
    assert_eq!(response.status, 200, "{response:?}");
    let text = response.text().to_owned();
    serde_json::from_str::<&serde_json::value::RawValue>(&text).expect("valid JSON");
    assert_eq!(text.matches("\"applicationId\"").count(), 1, "one trigger: {text}");
    // The last member of `data` here, so that its bytes can be cut out.
    let from = text.find("\"body\":").expect("a body");
    let from = from + text[from + 1..].find("\"body\":").expect("the payload's") + 1 + "\"body\":".len();
    let data_ends = text.find("},\"applicationId\"").expect("what follows the data");
    text[from..data_ends].to_owned()
}

#[test]
fn the_body_is_read_as_its_content_type_says() {
    let server = server();
    let hook = listened(&server, json!({}));
    let boundary = "multipart/form-data; boundary=x";
    let form = "application/x-www-form-urlencoded";
    for (content_type, sent, expected) in [
        (
            "application/json",
            r#"{"b":1.10,"a":[1e400,12345678901234567890]}"#,
            r#"{"b":1.10,"a":[1e400,12345678901234567890]}"#,
        ),
        ("application/json; charset=utf-8", r#"{"a" : 1}"#, r#"{"a" : 1}"#),
        ("Application/JSON", "null", "null"),
        ("application/vnd.own+json", "[true]", "[true]"),
        ("application/json", r#""a string""#, r#""a string""#),
        ("application/json", r#"{"a":"#, r#""{\"a\":""#),
        ("application/json", "NaN", r#""NaN""#),
        ("application/json", "{} {}", r#""{} {}""#),
        (form, "a=1&b=2&a=3", r#"{"a":["1","3"],"b":"2"}"#),
        (form, "a+b=%C3%A9+c", r#"{"a b":"é c"}"#),
        ("text/plain", "a \"text\"\n", r#""a \"text\"\n""#),
        ("text/xml", "<a/>", r#""<a/>""#),
        ("unheard/of", "a", r#""a""#),
        ("application/octet-stream", "abc", "[97,98,99]"),
        (boundary, "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n", r#"{"a":"1"}"#),
        (boundary, "no part", r#""no part""#),
    ] {
        assert_eq!(body_of(&server, &hook, content_type, sent), expected, "{content_type}: {sent}");
    }
}

#[test]
fn bytes_are_cast_as_the_webhook_says() {
    let server = server();
    let multipart = "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n\x01a\r\n--x--\r\n";
    for (cast, expected) in [
        ("array", "[1,97]"),
        ("binary", r#""\u0001a""#),
        ("utf8", r#""\u0001a""#),
        ("base64", r#""AWE=""#),
        ("hex", r#""0161""#),
    ] {
        let hook = listened(&server, json!({"castBuffersAs": cast}));
        assert_eq!(body_of(&server, &hook, "application/octet-stream", "\x01a"), expected, "{cast}");
        let field = format!("{{\"f\":{expected}}}");
        assert_eq!(body_of(&server, &hook, "multipart/form-data; boundary=x", multipart), field, "{cast}");
    }
    let annotated = listened(&server, json!({"castBuffersAs": "hex", "annotateMultipart": true}));
    let body: Value =
        serde_json::from_str(&body_of(&server, &annotated, "multipart/form-data; boundary=x", multipart))
            .expect("JSON");
    assert_eq!(body["f"]["data"], "0161");
    assert_eq!(
        (&body["f"]["filename"], &body["f"]["contentType"]),
        (&json!("a.bin"), &json!("application/octet-stream"))
    );
}

#[test]
fn method_path_and_query_are_those_of_the_request() {
    let server = server();
    let hook = listened(&server, json!({}));
    let long = "x".repeat(1_000);
    for (method, path, shown_path, query) in [
        ("GET", "", "/", json!({})),
        ("get", "/", "/", json!({})),
        ("PUT", "/a/../b//c%2Fd%20e", "/a/../b//c%2Fd%20e", json!({})),
        ("DELETE", "?a=1&b=&c&a=2", "/", json!({"a": ["1", "2"], "b": "", "c": ""})),
        ("PATCH", "/x?a+b=%C3%A9%26&%C3%A9=1", "/x", json!({"a b": "é&", "é": "1"})),
        ("POST", &format!("/{long}"), &format!("/{long}"), json!({})),
    ] {
        let tested = server.test(&hook, &json!({"method": method, "path": path}));
        let data = &tested["triggers"][0]["data"];
        assert_eq!(data["method"], method.to_lowercase(), "{tested}");
        assert_eq!(data["path"], shown_path, "{tested}");
        assert_eq!(data["query"], query, "{tested}");
        assert_eq!(data["body"], Value::Null, "{tested}");
    }
}

#[test]
fn a_test_request_is_a_request_like_any_other() {
    let server = server();
    let hook = listened(
        &server,
        json!({
            "basicAuthUsername": "somebody", "limits": {"requestsPerWindow": 2, "windowSeconds": 3600, "payloadBytes": 10},
        }),
    );
    let refused = server.test(&hook, &json!({}));
    assert_eq!((&refused["statusCode"], &refused["triggers"]), (&json!(401), &json!([])));
    let authorization = json!({"Authorization": "Basic c29tZWJvZHk6"});
    let too_large = server.test(&hook, &json!({"headers": authorization, "body": "12345678901"}));
    assert_eq!(
        (&too_large["statusCode"], &too_large["body"]),
        (&json!(413), &json!({"error": "Content too large"}))
    );
    // Both counted.
    assert_eq!(server.test(&hook, &json!({"headers": authorization}))["statusCode"], 429);
    assert_eq!(server.wire().ask(hook.get()).status, 429);
    let (status, answer) = server.call("POST", &hook.resource("/test"), &json!({"unknown": 1}));
    assert_eq!((status, &answer["type"]), (400, &json!("Validation")));
}
