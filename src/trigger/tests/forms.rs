//! `multipart/form-data`.

use super::*;
use crate::model::CastBuffersAs;

const TYPE: &str = "multipart/form-data; boundary=b";

fn form(body: &str) -> String {
    body_of(TYPE, body.as_bytes())
}

/// A body that is no form is shown as the text it is.
fn check_refused(content_type: &str, body: &str) {
    let expected = serde_json::to_string(body).unwrap();
    assert_eq!(body_of(content_type, body.as_bytes()), expected, "{content_type}");
}

fn annotated(body: &[u8]) -> String {
    let fields: &[Field<'_>] = &[(b"content-type", TYPE.as_bytes())];
    let data = HttpData { annotate_multipart: true, cast: CastBuffersAs::Base64, ..post(fields, body) };
    member(&data, "body")
}

/// A part with a disposition and a content.
fn part(disposition: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n")
}

fn one(disposition: &str, content: &str) -> String {
    form(&format!("{}--b--\r\n", part(disposition, content)))
}

#[test]
fn fields_are_texts_and_files_are_cast() {
    let body = [
        part("form-data; name=\"a\"", "1"),
        part("form-data; name=\"f\"; filename=\"x.bin\"", "\0ÿ"),
        part("form-data; name=\"a\"", "2\r\n3"),
        part("form-data; name=\"e\"", ""),
        "--b--\r\n".into(),
    ]
    .concat();
    assert_eq!(form(&body), r#"{"a":["1","2\r\n3"],"f":[0,195,191],"e":""}"#);
}

#[test]
fn an_annotated_file_says_its_name_and_type() {
    let body = concat!(
        "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a \\\"b\\\".png\"\r\n",
        "CONTENT-TYPE: image/png; x=y\r\nContent-Transfer-Encoding: binary\r\n\r\nabc\r\n",
        "--b\r\nContent-Disposition: form-data; name=g; filename=\"\"\r\n\r\n\r\n",
        "--b\r\nContent-Disposition: form-data; name=t\r\nContent-Type: text/plain\r\n\r\ntext\r\n--b--"
    );
    assert_eq!(
        annotated(body.as_bytes()),
        concat!(
            r#"{"f":{"filename":"a \"b\".png","contentType":"image/png; x=y","encoding":"binary","data":"YWJj"},"#,
            r#""g":{"filename":"","contentType":"application/octet-stream","encoding":"7bit","data":""},"t":"text"}"#
        )
    );
}

#[test]
fn text_that_is_not_utf8_is_cast_and_files_may_hold_any_bytes() {
    let body = b"--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n\xff\r\n--b\r\nContent-Disposition: form-data; \
        name=\"f\"; filename=\"\xff\"\r\n\r\n\r\n--\r\n--bb\r\n\x80\r\n--b--";
    assert_eq!(body_of(TYPE, body), "{\"t\":[255],\"f\":[13,10,45,45,13,10,45,45,98,98,13,10,128]}");
    assert!(annotated(body).contains("\"filename\":\"\u{fffd}\""));
}

#[test]
fn the_forms_of_a_name_are_read() {
    for (disposition, expected) in [
        ("form-data; name=a", r#"{"a":"v"}"#),
        ("FORM-DATA;NAME=\"a\"", r#"{"a":"v"}"#),
        ("form-data ; name = \"a\" ;", r#"{"a":"v"}"#),
        ("form-data; name=\"\"", r#"{"":"v"}"#),
        ("form-data; name=\"a;b=c\"", r#"{"a;b=c":"v"}"#),
        ("form-data; name=\"a\\\\b\\\"c\\d\"", r#"{"a\\b\"c\\d":"v"}"#),
        ("form-data; name=\"a%22b\"", r#"{"a%22b":"v"}"#),
        ("form-data; name=\"é\"", r#"{"é":"v"}"#),
        ("form-data; name=\"a\"; name=\"b\"", r#"{"a":"v"}"#),
        ("form-data;\r\n name=\"a\"", r#"{"a":"v"}"#),
        ("form-data; name=\"a\"; other", "refused"),
        ("form-data; name=\"a", "refused"),
        ("form-data", "refused"),
        ("form-data; filename=\"a\"", "refused"),
        ("attachment; name=\"a\"", "refused"),
        ("form-data; name=\"__proto__\"", r#"{"__proto__":"v"}"#),
        ("form-data; name=\"a\"; filename*=UTF-8''%e2%82%ac.txt", r#"{"a":[118]}"#),
    ] {
        let shown = one(disposition, "v");
        if expected == "refused" {
            assert!(shown.starts_with("\"--b"), "{disposition}: {shown}");
        } else {
            assert_eq!(shown, expected, "{disposition}");
        }
    }
    let extended =
        annotated((part("form-data; name=a; filename*=utf-8'en'%e2%82%ac", "") + "--b--").as_bytes());
    assert!(extended.contains("\"filename\":\"€\""), "{extended}");
    let both =
        annotated((part("form-data; name=a; filename*=utf-8''x; filename=y", "") + "--b--").as_bytes());
    assert!(both.contains("\"filename\":\"x\""), "{both}");
}

#[test]
fn boundaries_are_found_where_they_are_and_nowhere_else() {
    let head = "Content-Disposition: form-data; name=a\r\n\r\n";
    for (body, value) in [
        // What looks like a delimiter is content unless it is the whole line.
        (format!("--b\r\n{head}x--b--\r\n--b--"), "x--b--"),
        (format!("--b\r\n{head}\r\n--bx\r\n--b--"), "\r\n--bx"),
        (format!("--b\r\n{head}\r\n--b--x\r\n--b--"), "\r\n--b--x"),
        (format!("--b\r\n{head}\r\n--b-\r\n--b--"), "\r\n--b-"),
        (format!("--b\r\n{head}\n--b--\n\r\n--b--"), "\n--b--\n"),
        (format!("--b\r\n{head}\r\r\n--b--"), "\r"),
        (format!("--b\r\n{head}\r\n\r\n--b--"), "\r\n"),
        (format!("--b\r\n{head}\r\n-\r\n--\r\n--b--"), "\r\n-\r\n--"),
        // Preamble, epilogue, padding.
        (format!("preamble --b\r\n\r\n--b\r\n{head}v\r\n--b--\r\nepilogue\r\n--b\r\n"), "v"),
        (format!("--bb\r\n--b \t\r\n{head}v\r\n--b--  "), "v"),
        (format!("\r\n--b\r\n{head}v\r\n--b--\r\n"), "v"),
    ] {
        let expected = serde_json::json!({ "a": value }).to_string();
        assert_eq!(form(&body), expected, "{body:?}");
    }
    assert_eq!(form("--b--"), "{}");
    assert_eq!(form("--b--\r\n"), "{}");
    assert_eq!(form("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n--b--"), r#"{"a":""}"#);
    assert_eq!(form("--b\r\nContent-Disposition: form-data; name=a\r\n--b--"), r#"{"a":""}"#);
}

#[test]
fn what_breaks_a_rule_is_left_as_text() {
    let good = part("form-data; name=a", "v");
    for body in [
        "no form at all",
        "--b",
        "--b\r\n",
        "--b\r\n--b--",
        "--b\r\n\r\n--b--",
        "--b\r\n\r\nv\r\n--b--",
        &good,
        &good[..good.len() - 2],
        &format!("{good}--b"),
        &format!("{good}--b-"),
        &format!("{good}--c--"),
        "--b\r\nno colon\r\n\r\nv\r\n--b--",
        "--b\nContent-Disposition: form-data; name=a\n\nv\n--b--\n",
        "--b\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\nv\r\n--b--",
        "--b\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n--b--",
        "no part\r\n--b--\r\n",
    ] {
        check_refused(TYPE, body);
    }
    let body = format!("{good}--b--");
    let long = "x".repeat(71);
    for boundary in
        ["", "; boundary", "; boundary=", "; boundary=\"\"", "; boundary=\"b", "; boundary=\"b \"", "; x"]
    {
        check_refused(&format!("multipart/form-data{boundary}"), &body);
    }
    check_refused(
        &format!("multipart/form-data; boundary={long}"),
        &body.replace("--b", &format!("--{long}")),
    );
}

#[test]
fn every_prefix_of_a_form_is_text_and_the_whole_is_a_form() {
    let body = part("form-data; name=a", "v") + &part("form-data; name=f; filename=x", "y") + "--b--";
    assert_eq!(form(&body), r#"{"a":"v","f":[121]}"#);
    for end in 1..body.len() {
        check_refused(TYPE, &body[..end]);
    }
}

#[test]
fn a_boundary_may_be_quoted_and_of_any_case() {
    let body = "--a:B\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n--a:b--\r\n--a:B--";
    for content_type in
        ["Multipart/Form-Data; charset=utf-8; Boundary=\"a:B\"", "multipart/form-data;boundary=a:B; x=y"]
    {
        assert_eq!(body_of(content_type, body.as_bytes()), r#"{"a":"v\r\n--a:b--"}"#);
    }
}

#[test]
fn as_many_parts_as_the_bound_are_read_and_no_more() {
    let parts = |count: usize| part("form-data; name=a", "").repeat(count) + "--b--";
    let shown: serde_json::Value = serde_json::from_str(&form(&parts(PARTS_MAX))).unwrap();
    assert_eq!(shown["a"].as_array().unwrap().len(), PARTS_MAX);
    check_refused(TYPE, &parts(PARTS_MAX + 1));
    check_refused(TYPE, &parts(100_000));
}

#[test]
fn a_part_with_an_endless_head_is_refused() {
    let filler = "x".repeat(9000);
    check_refused(
        TYPE,
        &format!("--b\r\nX: {filler}\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n--b--"),
    );
    let boundary = "-".repeat(70);
    check_refused(&format!("multipart/form-data; boundary={boundary}"), &"-".repeat(262_144));
    check_refused(
        &format!("multipart/form-data; boundary={boundary}"),
        &format!("\r\n{boundary}").repeat(3000),
    );
}

proptest::proptest! {
    #[test]
    fn the_parts_of_any_form_come_out_as_they_went_in(
        parts in proptest::collection::vec(
            ("[a-c]{1,2}", proptest::collection::vec(proptest::sample::select(b"\r\n-bx\xff\0 ".to_vec()), 0..40)),
            0..8,
        ),
        boundary in "[a-z'()+_,./:=?-]{8,70}",
    ) {
        let mut body = Vec::new();
        let mut expected = serde_json::Map::new();
        for (name, content) in &parts {
            // The content's alphabet is too small for the boundary, but for one made of dashes, `b` and `x`.
            proptest::prop_assume!(!content.windows(boundary.len()).any(|window| window == boundary.as_bytes()));
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            let disposition = format!("Content-Disposition: form-data; name=\"{name}\"; filename=f\r\n\r\n");
            body.extend_from_slice(disposition.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
            let value = serde_json::Value::from(content.clone());
            let values = expected.entry(name.clone()).or_insert_with(|| serde_json::json!([]));
            values.as_array_mut().unwrap().push(value);
        }
        for values in expected.values_mut() {
            if values.as_array().unwrap().len() == 1 {
                *values = values[0].take();
            }
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let shown = body_of(&format!("multipart/form-data; boundary=\"{boundary}\""), &body);
        proptest::prop_assert_eq!(shown, serde_json::Value::Object(expected).to_string());
    }
}

#[test]
fn an_extended_name_wins_in_the_charset_that_it_names() {
    for (parameters, expected) in [
        ("filename=\"=?utf-8?B?S29hbGHDhC5qcGc=?=\"; filename*=utf-8''Koala%C3%84.jpg", "KoalaÄ.jpg"),
        ("filename*=iso-8859-1''%A3.txt", "£.txt"),
        ("filename*=ISO-8859-1'en'a%e9; filename=b", "aé"),
        // One that cannot be read leaves the plain one.
        ("filename*=utf-8''%e9; filename=b", "b"),
        ("filename*=utf-8''%4; filename=b", "b"),
        ("filename*=koi8-r''x; filename=b", "b"),
        ("filename=b; filename*=x", "b"),
    ] {
        let body = part(&format!("form-data; name=a; {parameters}"), "v") + "--b--";
        let shown: serde_json::Value = serde_json::from_str(&annotated(body.as_bytes())).unwrap();
        assert_eq!(shown["a"]["filename"], expected, "{parameters}");
    }
    assert_eq!(one("form-data; name=x; name*=utf-8''%C3%A9", "v"), "{\"é\":\"v\"}");
}

#[test]
fn a_part_that_cannot_be_read_is_left_out_and_the_others_stay() {
    let good = part("form-data; name=a", "v");
    for bad in [
        part("attachment; name=\"b\"; filename=\"x\"", "v"),
        part("form-data", "v"),
        part("form-data; name=\"f\"; filename=\"a\"b.txt\"", "v"),
        part("form-data; name=\"f", "v"),
        "--b\r\n\r\nv\r\n".to_owned(),
        "--b\r\nno colon\r\n\r\nv\r\n".to_owned(),
        "--b\r\n".to_owned(),
        format!("--b\r\nX: {}\r\nContent-Disposition: form-data; name=f\r\n\r\nv\r\n", "x".repeat(9000)),
    ] {
        assert_eq!(form(&format!("{bad}{good}--b--\r\n")), r#"{"a":"v"}"#, "{bad}");
        assert_eq!(form(&format!("{good}{bad}--b--\r\n")), r#"{"a":"v"}"#, "{bad}");
    }
}

#[test]
fn a_boundary_behind_a_comma_is_found() {
    let body = part("form-data; name=a", "v") + "--b--";
    assert_eq!(body_of("multipart/form-data, boundary=b", body.as_bytes()), r#"{"a":"v"}"#);
}

#[test]
fn bytes_without_a_file_name_are_cast_and_text_is_decoded() {
    let typed = |content_type: &str, content: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=a\r\nContent-Type: {content_type}\r\n\r\n{content}\r\n"
        )
    };
    assert_eq!(form(&(typed("application/octet-stream", "ab") + "--b--")), r#"{"a":[97,98]}"#);
    assert_eq!(form(&(typed("application/octet-stream; x=y", "") + "--b--")), r#"{"a":[]}"#);
    let body = [typed("text/plain; charset=iso-8859-1", "?"), "--b--".into()].concat();
    let body: Vec<u8> = body.bytes().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect();
    assert_eq!(body_of(TYPE, &body), r#"{"a":"é"}"#);
    let body =
        [part("form-data; name=_charset_", "windows-1252"), part("form-data; name=a", "?"), "--b--".into()]
            .concat();
    let body: Vec<u8> = body.bytes().map(|byte| if byte == b'?' { 0x80 } else { byte }).collect();
    assert_eq!(body_of(TYPE, &body), r#"{"_charset_":"windows-1252","a":"€"}"#);
}
