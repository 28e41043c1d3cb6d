//! Bodies whose reading depends on a header: text in a charset, and the `Content-Disposition` of a part of a form. For the
//! fuzz targets `charset` and `disposition`, and for tests/fuzzed_headers.rs, which runs their seeds on any compiler.
#![allow(dead_code, reason = "each target uses a half of it")]

use encoding_rs::{DecoderResult, Encoding, UTF_8};
use serde_json::{Map, Value};
use tidegate::base::clock::Now;
use tidegate::model::CastBuffersAs;
use tidegate::trigger::{Hidden, HttpData, Peer, http_event};

const NOW: Now = Now { nanos: 1, unix_millis: 1_771_521_960_123 };
/// Labels of the Encoding Standard, of each kind of encoding, and some that it does not know.
const LABELS: [&str; 24] = [
    "utf-8",
    "UTF8",
    "unicode-1-1-utf-8",
    "iso-8859-1",
    "latin1",
    "us-ascii",
    "windows-1252",
    "iso-8859-15",
    "koi8-r",
    "windows-1251",
    "macintosh",
    "x-user-defined",
    "utf-16",
    "utf-16le",
    "utf-16be",
    "shift_jis",
    "euc-jp",
    "iso-2022-jp",
    "gbk",
    "gb18030",
    "big5",
    "euc-kr",
    "hz-gb-2312",
    "klingon",
];
/// JSON deeper than this is left to other tests.
const DEPTH_MAX: usize = 100;

/// Of a part's head, its disposition among it, so much is read; beyond, the form is a string.
const DISPOSITION_BYTES_MAX: usize = 8_000;

/// The `body` of the payload of a POST; null where serde_json takes it for no JSON although it is: a number that no double
/// holds, and what is nested deeper than it goes.
fn body_of(content_type: &str, body: &[u8]) -> Value {
    let fields = [(&b"content-type"[..], content_type.as_bytes())];
    let data = HttpData {
        method: b"POST",
        path: b"/",
        query: None,
        fields: fields.iter().copied(),
        body,
        peer: Peer::Local,
        peer_is_trusted: false,
        hidden: Hidden::default(),
        raw_body: false,
        claims: None,
        cast: CastBuffersAs::Array,
        annotate_multipart: true,
        payload_limit: 262_144,
        reply_id: None,
    };
    let event = http_event(&mut Vec::new(), NOW, &data).expect("there is no coding");
    match serde_json::from_slice(event.body().bytes()) {
        Ok(value) => value,
        Err(error) => {
            let why = error.to_string();
            let is_limit = why.contains("number out of range") || why.contains("recursion limit");
            assert!(is_limit, "a payload is valid JSON: {why}");
            Value::Null
        }
    }
}

fn bytes_of(bytes: &[u8]) -> Value {
    bytes.iter().map(|byte| Value::from(*byte)).collect::<Vec<_>>().into()
}

/// Text in a declared charset: the first byte chooses the label, the second how the body is meant.
pub fn charset(data: &[u8]) {
    let [label, kind, body @ ..] = data else { return };
    let label = LABELS[usize::from(*label) % LABELS.len()];
    match kind % 3 {
        0 => plain(label, body),
        1 => json(label, body),
        _ => form(label, body),
    }
}

/// The text of bytes, decoded one by one; none if they are not text in the charset.
fn slowly_decoded(encoding: &'static Encoding, bytes: &[u8]) -> Option<String> {
    let mut decoder = encoding.new_decoder();
    let mut text = String::with_capacity(decoder.max_utf8_buffer_length(bytes.len())? + 64);
    for at in 0..=bytes.len() {
        let is_last = at == bytes.len();
        let piece = bytes.get(at..at + 1).unwrap_or_default();
        match decoder.decode_to_string_without_replacement(piece, &mut text, is_last).0 {
            DecoderResult::InputEmpty => {}
            DecoderResult::Malformed(..) => return None,
            DecoderResult::OutputFull => panic!("there was room for all of it"),
        }
    }
    Some(text)
}

/// What the text is to be, by the declared charset.
fn expected(label: &str, body: &[u8]) -> Option<String> {
    match Encoding::for_label(label.as_bytes()) {
        None => std::str::from_utf8(body).ok().map(str::to_owned),
        Some(encoding) if encoding == UTF_8 => std::str::from_utf8(body).ok().map(str::to_owned),
        Some(encoding) => slowly_decoded(encoding, body),
    }
}

fn plain(label: &str, body: &[u8]) {
    let shown = body_of(&format!("text/plain; charset={label}"), body);
    if body.is_empty() {
        return assert_eq!(shown, Value::Null);
    }
    let text = expected(label, body);
    assert_eq!(shown, text.map_or_else(|| bytes_of(body), Value::from), "{label}");
    // UTF-16 as the standard library reads it, where no mark says otherwise.
    let has_mark =
        body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff") || body.starts_with(b"\xef\xbb\xbf");
    let unit: Option<fn([u8; 2]) -> u16> = match label {
        "utf-16" | "utf-16le" => Some(u16::from_le_bytes),
        "utf-16be" => Some(u16::from_be_bytes),
        _ => None,
    };
    if let Some(unit) = unit.filter(|_| !has_mark && body.len().is_multiple_of(2)) {
        let units: Vec<u16> = body.chunks(2).map(|pair| unit([pair[0], pair[1]])).collect();
        assert_eq!(shown, String::from_utf16(&units).map_or_else(|_| bytes_of(body), Value::from), "{label}");
    }
}

fn json(label: &str, body: &[u8]) {
    let shown = body_of(&format!("application/json;charset=\"{label}\""), body);
    let Some(text) = expected(label, body).filter(|text| !text.is_empty()) else {
        return assert_eq!(shown, if body.is_empty() { Value::Null } else { shown.clone() });
    };
    let opened = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    let json = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match serde_json::from_str::<Value>(json) {
        Ok(value) if opened < DEPTH_MAX => assert_eq!(shown, value, "{label}"),
        Ok(_) => {}
        // Half of a surrogate pair is JSON to the grammar, and U+FFFD in the payload.
        Err(_) if text.contains("\\u") || text.contains("\\U") => {}
        // A number that no double holds is JSON, too.
        Err(error) if error.to_string().contains("number out of range") => {}
        Err(_) if opened < DEPTH_MAX => assert_eq!(shown, Value::from(text), "{label}"),
        Err(_) => {}
    }
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}

fn form(label: &str, body: &[u8]) {
    let encoded = percent_encoded(body);
    let content_type = "application/x-www-form-urlencoded";
    let encoding = Encoding::for_label(label.as_bytes()).unwrap_or(UTF_8);
    // No form is sent in UTF-16.
    let text = encoding.output_encoding().decode_without_bom_handling(body).0;
    let shown = body_of(&format!("{content_type}; charset={label}"), format!("a={encoded}").as_bytes());
    assert_eq!(shown, serde_json::json!({ "a": text }), "{label}");
    // The same where a field names it.
    let shown = body_of(content_type, format!("_charset_={label}&a={encoded}").as_bytes());
    assert_eq!(shown["a"], Value::from(text), "{label}");
    // A program that encodes every text encodes the form, too.
    let unit: fn(u16) -> [u8; 2] = match label {
        "utf-16" | "utf-16le" => u16::to_le_bytes,
        "utf-16be" => u16::to_be_bytes,
        _ => return,
    };
    let encoded: Vec<u8> = "a=%41é".encode_utf16().flat_map(unit).collect();
    let shown = body_of(&format!("{content_type}; charset={label}"), &encoded);
    assert_eq!(shown, serde_json::json!({"a": "Aé"}), "{label}");
}

/// The `Content-Disposition` of a part: the first byte chooses whether the rest is its value as it stands, or what one is
/// built of.
pub fn disposition(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    if how & 1 == 0 {
        let value: Vec<u8> = rest.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        return check_shape(&shown(&value));
    }
    let mut built = Built::default();
    for parameter in rest.split(|byte| *byte == 0) {
        if let [kind, text @ ..] = parameter {
            built.add(*kind, &String::from_utf8_lossy(text));
        }
    }
    if built.value.len() > DISPOSITION_BYTES_MAX {
        return;
    }
    let shown = shown(built.value.as_bytes());
    let name = built.extended_name.or(built.name);
    let Some(name) = name else {
        // No readable part: the body is a string.
        return assert!(shown.is_string(), "{shown} of {}", built.value);
    };
    let value = match built.extended_filename.or(built.filename) {
        None => Value::from("text"),
        Some(filename) => serde_json::json!({
            "filename": filename, "contentType": "text/x", "encoding": "7bit", "data": bytes_of(b"text"),
        }),
    };
    assert_eq!(shown, Value::Object(Map::from_iter([(name, value)])), "{}", built.value);
}

fn shown(value: &[u8]) -> Value {
    let body = [
        b"--b\r\nContent-Type: text/x\r\nContent-Disposition: form-data".as_slice(),
        value,
        b"\r\n\r\ntext\r\n--b--\r\n",
    ];
    body_of("multipart/form-data; boundary=b", &body.concat())
}

/// A form with one part, or the body as a string.
fn check_shape(shown: &Value) {
    match shown {
        Value::String(text) => assert!(text.ends_with("\r\n\r\ntext\r\n--b--\r\n")),
        // Bytes that are not text.
        Value::Array(bytes) => assert!(bytes.iter().all(Value::is_u64)),
        Value::Object(members) => {
            assert_eq!(members.len(), 1);
            for value in members.values() {
                let file = ["filename", "contentType", "encoding", "data"];
                assert!(*value == "text" || file.iter().all(|field| value.get(field).is_some()), "{value}");
            }
        }
        other => panic!("{other}"),
    }
}

/// A field that a sender builds, and the names that it says.
#[derive(Default)]
struct Built {
    value: String,
    name: Option<String>,
    extended_name: Option<String>,
    filename: Option<String>,
    extended_filename: Option<String>,
}

impl Built {
    fn add(&mut self, kind: u8, text: &str) {
        let text: String = text.chars().filter(|sign| !sign.is_control()).collect();
        let (key, slot) = match kind % 5 {
            0 => ("name", Some(&mut self.name)),
            1 => ("name*", Some(&mut self.extended_name)),
            2 => ("filename", Some(&mut self.filename)),
            3 => ("filename*", Some(&mut self.extended_filename)),
            _ => ("size", None),
        };
        let key = if kind & 8 == 0 { key.to_owned() } else { key.to_ascii_uppercase() };
        let separator = [";", "; ", " ;\t", ";;"][usize::from(kind >> 6)];
        let is_token = !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte));
        let written = if key.ends_with('*') {
            let latin1: Option<Vec<u8>> =
                text.chars().map(|sign| u8::try_from(u32::from(sign)).ok()).collect();
            match latin1.filter(|_| kind & 16 != 0) {
                Some(bytes) => format!("ISO-8859-1'en'{}", percent_encoded(&bytes)),
                None => format!("utf-8''{}", percent_encoded(text.as_bytes())),
            }
        } else if is_token && kind & 16 != 0 {
            text.clone()
        } else {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        };
        self.value += &format!("{separator}{key}={written}");
        if let Some(slot) = slot {
            // The first of a name counts.
            slot.get_or_insert(text);
        }
    }
}
