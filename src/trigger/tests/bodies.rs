//! Content types and bodies, with the JSON that each gives.

use super::*;
use crate::model::CastBuffersAs;
use CastBuffersAs::{Array, Base64, Binary, Hex, Utf8};

#[test]
fn a_body_is_shown_as_its_type_says() {
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    for (content_type, body, expected) in [
        (json, r#"{"b":1.0,"a":1e400,"b":2}"#, r#"{"b":1.0,"a":1e400,"b":2}"#),
        (json, " \r\n[1, 2]\t", "[1, 2]"),
        (json, "\"text\"", "\"text\""),
        (json, "null", "null"),
        (json, "12345678901234567890.0", "12345678901234567890.0"),
        ("Application/JSON; charset=utf-8", "1", "1"),
        ("application/vnd.api+json", "1", "1"),
        ("application/cloudevents+JSON ; x=y", "[]", "[]"),
        (json, "{\"a\":1", r#""{\"a\":1""#),
        (json, "{'a':1}", r#""{'a':1}""#),
        (json, "01", r#""01""#),
        (json, "1 2", r#""1 2""#),
        (json, "  ", r#""  ""#),
        (json, "\u{feff}1", "1"),
        (json, "\u{feff}", "\"\u{feff}\""),
        (json, "\u{feff}\u{feff}1", "\"\u{feff}\u{feff}1\""),
        (json, "NaN", "\"NaN\""),
        ("text/json", "1", "\"1\""),
        ("json", "1", "\"1\""),
        ("", "1", "\"1\""),
        ("text/plain", "line\nline\0", r#""line\nline\u0000""#),
        ("application/xml", "<a b=\"c\"/>", r#""<a b=\"c\"/>""#),
        ("multipart/mixed; boundary=b", "--b--", "\"--b--\""),
        (form, "a=1&b=x+y&a=%32", r#"{"a":["1","2"],"b":"x y"}"#),
        ("Application/X-WWW-Form-URLEncoded;charset=UTF-8", "a", r#"{"a":""}"#),
        (form, "&", "{}"),
        (form, "a=é", r#"{"a":"é"}"#),
        (form, "a=%e9", "{\"a\":\"\u{fffd}\"}"),
        (form, "a=1&b=50%", r#"{"a":"1","b":"50%"}"#),
        (form, "%zz=1", r#"{"%zz":"1"}"#),
        (form, "x=%u010D", r#"{"x":"%u010D"}"#),
        (
            form,
            "status=cpu at 95% and rising&host=web1",
            r#"{"status":"cpu at 95% and rising","host":"web1"}"#,
        ),
        (form, "{\"a\":1}", r#"{"{\"a\":1}":""}"#),
        ("application/octet-stream", "ab", "[97,98]"),
        ("Application/Octet-Stream; x", "\0\u{7f}", "[0,127]"),
    ] {
        assert_eq!(body_of(content_type, body.as_bytes()), expected, "{content_type}: {body}");
    }
}

#[test]
fn bytes_are_cast_as_the_webhook_says() {
    let bytes = b"\x00\x09\x0a\x63\x64\xff\"";
    for (cast, expected) in [
        (Array, "[0,9,10,99,100,255,34]"),
        (Binary, "\"\\u0000\\t\\ncdÿ\\\"\""),
        (Utf8, "\"\\u0000\\t\\ncd\u{fffd}\\\"\""),
        (Base64, "\"AAkKY2T/Ig==\""),
        (Hex, "\"00090a6364ff22\""),
    ] {
        for content_type in [
            "application/octet-stream",
            "text/plain",
            "application/json",
            "image/png",
            "multipart/form-data; boundary=b",
        ] {
            assert_eq!(body_cast(content_type, bytes, cast), expected, "{content_type} {cast:?}");
        }
    }
}

#[test]
fn no_body_and_the_body_of_a_get_are_null() {
    for content_type in
        ["", "application/json", "application/octet-stream", "multipart/form-data; boundary=b"]
    {
        assert_eq!(body_of(content_type, b""), "null");
    }
    let fields: &[Field<'_>] = &[(b"content-encoding", b"zstd"), (b"content-type", b"application/json")];
    assert_eq!(member(&HttpData { method: b"GET", ..post(fields, b"{}") }, "body"), "null");
    assert_eq!(member(&post(fields, b""), "body"), "null");
}

#[test]
fn methods_are_in_lower_case() {
    for (method, expected) in
        [(&b"DELETE"[..], "delete"), (b"GET", "get"), (b"PATCH", "patch"), (b"PUT", "put")]
    {
        let shown = member(&HttpData { method, ..post(&[], b"") }, "method");
        assert_eq!(shown, format!("\"{expected}\""));
    }
}

#[test]
fn json_of_128_levels_is_spliced_and_of_129_a_string() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(body_of("application/json", nested(JSON_DEPTH_MAX).as_bytes()), nested(JSON_DEPTH_MAX));
    let deep = nested(JSON_DEPTH_MAX + 1);
    assert_eq!(body_of("application/json", deep.as_bytes()), format!("\"{deep}\""));
    let hostile = "[".repeat(262_144);
    assert_eq!(body_of("application/json", hostile.as_bytes()), format!("\"{hostile}\""));
}

#[test]
fn the_first_content_type_counts() {
    let fields: &[Field<'_>] = &[(b"content-type", b"text/plain"), (b"Content-Type", b"application/json")];
    assert_eq!(member(&post(fields, b"1"), "body"), "\"1\"");
}

#[test]
fn a_form_of_a_hundred_thousand_pairs_keeps_them_all() {
    let same = "a=1&".repeat(65_536);
    let shown: serde_json::Value =
        serde_json::from_str(&body_of("application/x-www-form-urlencoded", same.as_bytes())).unwrap();
    assert_eq!(shown["a"].as_array().unwrap().len(), 65_536);
    let different: String = (0..30_000).map(|i| format!("{i:x}=&")).collect();
    let shown: serde_json::Value =
        serde_json::from_str(&body_of("application/x-www-form-urlencoded", different.as_bytes())).unwrap();
    assert_eq!(shown.as_object().unwrap().len(), 30_000);
    assert_eq!(shown.as_object().unwrap().keys().nth(29_999).unwrap(), "752f");
}

#[test]
fn escaped_halves_of_surrogate_pairs_become_the_replacement_character() {
    for (body, expected) in [
        (r#"{"text":"cut \ud83d"}"#, r#"{"text":"cut \ufffd"}"#),
        (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
        (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
        (r#""\uD83D\uD83D\uDE00x""#, r#""\ufffd\uD83D\uDE00x""#),
        (r#"["\ud83d\n","\\ud83d","\\\ud83d"]"#, r#"["\ufffd\n","\\ud83d","\\\ufffd"]"#),
        (r#"{"\udfff":1.0}"#, r#"{"\ufffd":1.0}"#),
        // What is not JSON is a string still.
        (r#"{"a":"\ud83d"#, r#""{\"a\":\"\\ud83d""#),
        (r#""\ud83""#, r#""\"\\ud83\"""#),
    ] {
        assert_eq!(body_of("application/json", body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn a_declared_charset_is_obeyed() {
    let json = "application/json; charset=";
    for (content_type, body, expected) in [
        (format!("{json}iso-8859-1"), &b"{\"name\":\"Garc\xeda\"}"[..], "{\"name\":\"García\"}"),
        (format!("{json}\"UTF-8\""), b"\"\xc3\xad\"", "\"í\""),
        (format!("{json}utf-16le"), b"\"\0a\0\"\0", "\"a\""),
        (format!("{json}utf-16"), b"\xfe\xff\0\"\0a\0\"", "\"a\""),
        (format!("{json}unknown"), b"\"\xc3\xad\"", "\"í\""),
        (format!("{json}shift_jis"), b"[\"\x83\x65\"", "\"[\\\"テ\\\"\""),
        ("text/plain;charset=windows-1252".into(), b"\x80 5", "\"€ 5\""),
        ("text/plain;charset=Shift_JIS".into(), b"\x83\x65\x83\x58\x83\x67", "\"テスト\""),
        ("application/xml;charset=koi8-r".into(), b"\xd4", "\"т\""),
        // No form is sent in UTF-16, but some programs encode every text that they send.
        ("application/x-www-form-urlencoded;charset=utf-16".into(), b"a=%C3%A9", r#"{"a":"é"}"#),
        ("application/x-www-form-urlencoded;charset=utf-16".into(), b"a\0=\0\xe9\0", r#"{"a":"é"}"#),
        ("application/x-www-form-urlencoded;charset=utf-16be".into(), b"\0a\0=\0%\x004\x001", r#"{"a":"A"}"#),
        (
            "application/x-www-form-urlencoded".into(),
            b"_charset_=utf-16&a=b",
            r#"{"_charset_":"utf-16","a":"b"}"#,
        ),
        (", application/json".into(), b"[1]", "[1]"),
        // Bytes that are not text in the charset are cast.
        ("text/plain;charset=shift_jis".into(), b"\xff\x01", "[255,1]"),
        ("text/plain;charset=utf-8".into(), b"\xe9", "[233]"),
        (format!("{json}euc-jp"), b"\"\xff\"", "[34,255,34]"),
        // Bytes are bytes, whatever they are declared to be.
        ("application/octet-stream;charset=utf-8".into(), b"a", "[97]"),
    ] {
        assert_eq!(body_of(&content_type, body), expected, "{content_type}");
    }
}

#[test]
fn a_form_is_read_in_the_charset_that_it_names() {
    let form = "application/x-www-form-urlencoded";
    for (content_type, body, expected) in [
        (
            form.to_owned(),
            "name=Garc%EDa&charset=windows-1252",
            r#"{"name":"García","charset":"windows-1252"}"#,
        ),
        (
            form.to_owned(),
            "_charset_=iso-8859-1&n=%E9&charset=koi8-r",
            r#"{"_charset_":"iso-8859-1","n":"é","charset":"koi8-r"}"#,
        ),
        (form.to_owned(), "charset=a+good+one&n=%C3%A9", r#"{"charset":"a good one","n":"é"}"#),
        (format!("{form}; charset=shift_jis"), "n=%83%65%83e", r#"{"n":"テテ"}"#),
        (
            format!("{form}; charset=utf-8"),
            "n=%E9&charset=windows-1252",
            "{\"n\":\"\u{fffd}\",\"charset\":\"windows-1252\"}",
        ),
    ] {
        assert_eq!(body_of(&content_type, body.as_bytes()), expected, "{content_type}: {body}");
    }
}

#[test]
fn of_a_list_of_content_types_the_first_counts() {
    assert_eq!(body_of("application/json, application/json", b"[1]"), "[1]");
    assert_eq!(body_of("text/plain, application/json", b"[1]"), "\"[1]\"");
}
