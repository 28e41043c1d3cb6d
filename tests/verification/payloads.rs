//! Forms of several parts and bodies with a coding, as far as a caller sees them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::harness::{Hook, Server};

/// The limit of section 11.
const PAYLOAD_BYTES: usize = 262_144;
const SUCCESS: &str = r#"{"success":true}"#;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector takes it")
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector takes it")
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams { quality: 1, ..Default::default() };
    brotli::BrotliCompress(&mut &*bytes, &mut out, &parameters).expect("a vector takes it");
    out
}

/// What the flow's trigger holds as its body, by a test request.
fn body_of(server: &Server, hook: &Hook, content_type: &str, body: &str) -> Value {
    let path = format!("/applications/{}/webhooks/{}/test", hook.application, hook.id);
    let fields =
        json!({"path": "/", "method": "POST", "headers": {"Content-Type": content_type}, "body": body});
    let answer = server.done("POST", &path, &fields);
    assert_eq!(answer["statusCode"], json!(200), "{answer}");
    answer["triggers"][0]["data"]["body"].clone()
}

#[test]
fn a_body_with_a_coding_is_taken_and_one_that_cannot_be_undone_refused() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({}));
    let coded = |coding: &str, body: &[u8]| server.post(&hook, &[("Content-Encoding", coding)], body);
    let text = br#"{"value":"30"}"#;
    let (_, triggers) = server.counted(|| {
        coded("gzip", &gzip(text)).is(200, SUCCESS);
        coded("GZIP", &gzip(text)).is(200, SUCCESS);
        coded("deflate", &deflate(text)).is(200, SUCCESS);
        coded("br", &brotli(text)).is(200, SUCCESS);
        coded("identity", text).is(200, SUCCESS);
    });
    assert_eq!(triggers, 5);
    let (_, triggers) = server.counted(|| {
        assert_eq!(coded("compress", text).status, 415);
        assert_eq!(coded("zstd", text).status, 415);
        for coding in ["gzip", "deflate", "br"] {
            assert_eq!(coded(coding, b"\xff\xff\xff\xff not packed").status, 400, "{coding}");
        }
        let packed = gzip(text);
        assert_eq!(coded("gzip", &packed[..packed.len() - 1]).status, 400);
    });
    assert_eq!(triggers, 0);
}

#[test]
fn the_limit_holds_for_the_bytes_after_a_coding_too() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({}));
    let coded = |coding: &str, body: &[u8]| server.post(&hook, &[("Content-Encoding", coding)], body);
    coded("gzip", &gzip(&vec![b' '; PAYLOAD_BYTES])).is(200, SUCCESS);
    let bomb = vec![0; 4 * 1024 * 1024];
    let (_, triggers) = server.counted(|| {
        coded("gzip", &gzip(&vec![b' '; PAYLOAD_BYTES + 1])).refused(413, "Content too large");
        coded("gzip", &gzip(&bomb)).refused(413, "Content too large");
        coded("deflate", &deflate(&bomb)).refused(413, "Content too large");
        coded("br", &brotli(&bomb[..1024 * 1024])).refused(413, "Content too large");
        // One layer inside another is as large as it is in the end.
        coded("gzip, gzip", &gzip(&gzip(&bomb))).refused(413, "Content too large");
    });
    assert_eq!(triggers, 0);
    server.get(&hook, "").is(200, SUCCESS);
}

#[test]
fn a_form_of_parts_becomes_an_object() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({"castBuffersAs": "base64", "annotateMultipart": true}));
    let form = "--b\r\nContent-Disposition: form-data; name=\"field\"\r\n\r\nvalue\r\n\
                --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
                Content-Type: text/plain\r\n\r\nhello\r\n--b--\r\n";
    let body = body_of(&server, &hook, "multipart/form-data; boundary=b", form);
    assert_eq!(body["field"], json!("value"));
    assert_eq!(body["file"]["filename"], json!("a.txt"));
    assert_eq!(body["file"]["contentType"], json!("text/plain"));
    assert_eq!(body["file"]["data"], json!("aGVsbG8="));
    server.patch(&hook, &json!({"annotateMultipart": false, "castBuffersAs": "hex"}));
    let body = body_of(&server, &hook, "multipart/form-data; boundary=b", form);
    assert_eq!(body, json!({"field": "value", "file": "68656c6c6f"}));
    // What is no form stays text.
    assert_eq!(body_of(&server, &hook, "multipart/form-data; boundary=x", form), json!(form));
}

#[test]
fn a_form_of_very_many_parts_costs_no_more_than_the_limit() {
    let server = Server::start(&[("TIDEGATE_LIMITS_PAYLOAD_BYTES", "16777216")]);
    let hook = server.webhook(json!({}));
    let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n";
    let content_type = "multipart/form-data; boundary=b";
    let form = |parts| format!("{}--b--\r\n", part.repeat(parts));
    assert_eq!(body_of(&server, &hook, content_type, &form(1000)), json!({"a": vec!["v"; 1000]}));
    // More parts than a form has are no form: the body stays text.
    assert_eq!(body_of(&server, &hook, content_type, &form(1001)), json!(form(1001)));
    let form = form(100_000);
    let fields = [("Content-Type", content_type)];
    let answer = server.send("POST", &hook, "", &fields, form.as_bytes());
    answer.is(200, SUCCESS);
    let hook = server.webhook(json!({"limits": {"payloadBytes": PAYLOAD_BYTES}}));
    let answer = server.send("POST", &hook, "", &fields, form.as_bytes());
    answer.refused(413, "Content too large");
    let fields = [fields[0], ("Content-Encoding", "gzip")];
    server.send("POST", &hook, "", &fields, &gzip(form.as_bytes())).refused(413, "Content too large");
}
