//! Forms and queries against other readers: `URLSearchParams` (Node.js), busboy (npm) and Python's `email`. A table of
//! cases and some thousand from a seed, which are the same in each run. busboy is installed from npm into the folder
//! that `TIDEGATE_TEST_TOOLS` names, so these tests run only where that is set.
//!
//! Differences that are meant are named on the guide's page `conformance`.

#[path = "form_oracle/generate.rs"]
mod generate;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use generate::{Multipart, Reader, Seed};
use serde_json::{Map, Value, json};
use tidegate::base::clock::Now;
use tidegate::model::CastBuffersAs;
use tidegate::trigger::{HttpData, Peer, http_event};

/// Generated cases of pairs.
const PAIRS: usize = 6_000;
/// Generated forms.
const FORMS: usize = 4_000;
const NOW: Now = Now { nanos: 1, unix_millis: 1_771_521_960_123 };

/// The folder for packages; `None` where there is none, which CI does not allow.
fn tools() -> Option<PathBuf> {
    let tools = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from);
    if tools.is_none() {
        assert!(std::env::var_os("CI").is_none(), "TIDEGATE_TEST_TOOLS must name a folder for packages");
        eprintln!("SKIPPED: TIDEGATE_TEST_TOOLS names no folder for packages");
    }
    tools
}

/// Where busboy is; installed once, by whichever test comes first.
fn busboy() -> Option<PathBuf> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let folder = tools()?.join("forms");
    let _one_at_a_time = INSTALLING.lock();
    // Two processes that install at once would meet in one folder.
    std::fs::create_dir_all(&folder).expect("a folder");
    let lock = std::fs::File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    if !folder.join("node_modules/busboy").exists() {
        let installed = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent", "--prefix"])
            .arg(&folder)
            .arg("busboy@~1.6.0")
            .output()
            .expect("npm");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    }
    Some(folder)
}

/// What another program answers to a JSON array.
fn ask(command: &mut Command, input: &Value) -> Vec<Value> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let text = input.to_string();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("its output");
    writer.join().expect("a writer").expect("it read all of it");
    assert!(output.status.success());
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    assert_eq!(Some(answers.len()), input.as_array().map(Vec::len));
    answers
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/form_oracle").join(name)
}

/// `data` of the payload of a POST.
fn data(content_type: &str, query: &[u8], body: &[u8]) -> Value {
    let fields: [(&[u8], &[u8]); 1] = [(b"content-type", content_type.as_bytes())];
    let data = HttpData {
        method: b"POST",
        path: b"/",
        query: Some(query),
        fields: fields.iter().copied(),
        body,
        peer: Peer::Local,
        peer_is_trusted: false,
        hidden: tidegate::trigger::Hidden::default(),
        raw_body: false,
        claims: None,
        cast: CastBuffersAs::Base64,
        annotate_multipart: true,
        payload_limit: 262_144,
        reply_id: None,
    };
    let event = http_event(&mut Vec::new(), NOW, &data).expect("there is no coding");
    serde_json::from_slice(event.data().bytes()).expect("a payload is JSON")
}

/// The object of pairs: the values of a repeated key in an array.
fn object(pairs: impl IntoIterator<Item = (String, Value)>) -> Value {
    let mut object: Map<String, Value> = Map::new();
    let mut counts: Map<String, Value> = Map::new();
    for (key, value) in pairs {
        let count = counts.get(&key).and_then(Value::as_u64).unwrap_or(0);
        match (count, object.get_mut(&key)) {
            (0, _) => drop(object.insert(key.clone(), value)),
            (1, Some(first)) => *first = Value::from(vec![first.take(), value]),
            (_, Some(Value::Array(list))) => list.push(value),
            (_, other) => panic!("{other:?}"),
        }
        counts.insert(key, Value::from(count + 1));
    }
    Value::Object(object)
}

/// Fails with the shortest of the differences.
#[track_caller]
fn none_of(mut differences: Vec<String>, of: usize) {
    let count = differences.len();
    differences.sort_by_key(String::len);
    differences.truncate(8);
    assert!(differences.is_empty(), "{count} of {of} differ:\n{}", differences.join("\n"));
}

#[track_caller]
fn compare_pairs(texts: &[String]) {
    if tools().is_none() {
        return;
    }
    let expected = ask(Command::new("node").arg(script("pairs.cjs")), &json!(texts));
    let mut differences = Vec::new();
    for (text, expected) in texts.iter().zip(expected) {
        let pairs: Vec<(String, Value)> = serde_json::from_value(expected).expect("pairs");
        let expected = object(pairs);
        let shown = data("application/x-www-form-urlencoded", text.as_bytes(), text.as_bytes());
        // As text: the order counts too.
        let body = if text.is_empty() { json!({}) } else { shown["body"].clone() };
        for (place, shown) in [("query", &shown["query"]), ("body", &body)] {
            if format!("{shown}") != format!("{expected}") {
                differences.push(format!("{place} {text:?}\n    ours {shown}\n    node {expected}"));
            }
        }
    }
    none_of(differences, texts.len());
}

#[test]
fn pairs_are_read_as_url_search_params_reads_them() {
    let table = [
        "",
        "a",
        "a=",
        "=a",
        "=",
        "&",
        "&&a=1&&",
        "a=1&a=2&a=3",
        "a=1&b=2&a=3",
        "a=b=c",
        "a+b=c+d",
        "a%20b=c%2Bd",
        "status=cpu at 95% and rising&host=web1",
        "x=100%&y=%",
        "x=%u010D",
        "x=%C3%A9&y=%c3%a9&z=é",
        "x=%E9&y=%ff%fe&z=%E2%82",
        "x=%ED%A0%80",
        "x=%F4%90%80%80",
        "%61=%62",
        "%26=%3D&%3D=%26",
        "a;b=c;d",
        "?a=1",
        "a=1#b=2",
        "a[0]=1&a[1]=2&a[]=3",
        "__proto__=1&constructor=2&__proto__=3",
        "%EF%BB%BFa=1&\u{feff}b=2",
        "a=\u{0}&b=%00",
        "a=1\r\n&b=2\n",
        "1=a&0=b&-1=c",
        "a=%2525",
    ];
    compare_pairs(&table.map(str::to_owned));
}

#[test]
fn generated_pairs_are_read_as_url_search_params_reads_them() {
    let mut seed = Seed(20_261_130);
    compare_pairs(&(0..PAIRS).map(|_| generate::pairs(&mut seed)).collect::<Vec<_>>());
}

/// A form as the oracles get it.
fn input(forms: &[Multipart]) -> Value {
    forms
        .iter()
        .map(|form| json!({"contentType": form.content_type, "body": BASE64_STANDARD.encode(&form.body)}))
        .collect()
}

fn bytes(part: &Value, name: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(part[name].as_str().expect("base64")).expect("base64")
}

/// A part as our payload shows it.
fn shown(part: &Value, data: &[u8], filename: &Value, content_type: &str) -> (String, Value) {
    let name = part["name"].as_str().expect("a name").to_owned();
    let base64 = || Value::from(BASE64_STANDARD.encode(data));
    let value = if filename.is_null() {
        match str::from_utf8(data) {
            Ok(text) if content_type != "application/octet-stream" => Value::from(text),
            _ => base64(),
        }
    } else {
        json!({"filename": filename, "contentType": content_type, "encoding": part["encoding"], "data": base64()})
    };
    (name, value)
}

/// The media type without its parameters, in lower case: busboy shows no more.
fn media_type(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Our reading, with no more of the types than the oracles show.
fn ours(form: &Multipart) -> Value {
    let mut body = data(&form.content_type, b"", &form.body)["body"].take();
    let shorten = |value: &mut Value| {
        if let Some(content_type) = value.get("contentType").and_then(Value::as_str).map(media_type) {
            value["contentType"] = Value::from(content_type);
        }
    };
    for value in body.as_object_mut().into_iter().flat_map(Map::values_mut) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(shorten),
            value => shorten(value),
        }
    }
    body
}

#[track_caller]
fn compare_forms(
    forms: &[Multipart],
    oracle: &str,
    answers: &[Value],
    read: impl Fn(&Value) -> (String, Value),
) {
    let mut differences = Vec::new();
    for (form, answer) in forms.iter().zip(answers) {
        let ours = ours(form);
        let expected = match answer["parts"].as_array() {
            Some(parts) => object(parts.iter().map(&read)),
            // What is no form is the text that it is.
            None => Value::from(String::from_utf8_lossy(&form.body).into_owned()),
        };
        if format!("{ours}") != format!("{expected}") {
            let text = String::from_utf8_lossy(&form.body).into_owned();
            differences.push(format!(
                "{} {text:?}\n    ours   {ours}\n    {oracle} {expected} {}",
                form.content_type, answer["error"]
            ));
        }
    }
    none_of(differences, forms.len());
}

#[track_caller]
fn compare_with_busboy(forms: &[Multipart]) {
    let Some(folder) = busboy() else { return };
    let answers = ask(Command::new("node").arg(script("busboy.cjs")).arg(folder), &input(forms));
    compare_forms(forms, "busboy", &answers, |part| {
        let content_type = part["type"].as_str().unwrap_or("text/plain");
        if part["text"].is_string() {
            return shown(part, &bytes(part, "text"), &Value::Null, "text/plain");
        }
        shown(part, &bytes(part, "data"), &part["filename"], &media_type(content_type))
    });
}

#[track_caller]
fn compare_with_python(forms: &[Multipart]) {
    if tools().is_none() {
        return;
    }
    let answers = ask(Command::new("python3").arg(script("mail.py")), &input(forms));
    compare_forms(forms, "python", &answers, |part| {
        let default = if part["filename"].is_null() { "text/plain" } else { "application/octet-stream" };
        let content_type = part["type"].as_str().map_or(default.to_owned(), media_type);
        shown(part, &bytes(part, "data"), &part["filename"], &content_type)
    });
}

fn generated(reader: Reader) -> Vec<Multipart> {
    let mut seed = Seed(20_261_131);
    (0..FORMS).map(|_| generate::multipart(&mut seed, reader)).collect()
}

#[test]
fn generated_forms_are_read_as_busboy_reads_them() {
    compare_with_busboy(&generated(Reader::Busboy));
}

#[test]
fn generated_forms_are_read_as_pythons_email_reads_them() {
    compare_with_python(&generated(Reader::Python));
}

/// A form of parts, each its header and its content, with the boundary `b`.
fn form(parts: &[(&str, &str)]) -> Multipart {
    let mut body = String::new();
    for (head, content) in parts {
        body += &format!("--b\r\n{head}\r\n\r\n{content}\r\n");
    }
    Multipart {
        content_type: "multipart/form-data; boundary=b".to_owned(),
        body: (body + "--b--\r\n").into_bytes(),
    }
}

/// Forms, without those of which the reader makes something else.
fn table(reader: Reader) -> Vec<Multipart> {
    let disposition = |parameters: &str| format!("Content-Disposition: form-data; {parameters}");
    let one = |parameters: &str| form(&[(&disposition(parameters), "v")]);
    let raw = |body: &str| Multipart {
        content_type: "multipart/form-data; boundary=b".to_owned(),
        body: body.as_bytes().to_vec(),
    };
    let file =
        |parameters: &str| form(&[(&format!("{}\r\nContent-Type: image/png", disposition(parameters)), "v")]);
    let mut forms = vec![
        one("name=\"a\""),
        one("name=a"),
        file("name=\"a\"; filename=\"x.txt\""),
        file("filename=\"x.txt\"; name=\"a\""),
        file("name=\"a\"; filename=\"Koala\\\"s.jpg\""),
        file("name=\"a\"; filename*=iso-8859-1''%A3.txt"),
        form(&[
            (&disposition("name=\"a\""), "1"),
            (&disposition("name=\"a\""), "2"),
            (&disposition("name=\"b\""), "3"),
        ]),
        form(&[(
            &format!("{}\r\nContent-Type: application/octet-stream", disposition("name=\"a\"")),
            "bytes",
        )]),
        form(&[(&disposition("name=\"a\""), "")]),
        raw("preamble\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n--b--\r\nepilogue"),
        raw("--b\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\nv\r\n--b--\r\n"),
    ];
    forms.extend(match reader {
        Reader::Busboy => vec![file(
            "name=\"a\"; filename=\"=?utf-8?B?S29hbGHDhC5qcGc=?=\"; filename*=utf-8''Koala%C3%84.jpg",
        )],
        Reader::Python => vec![
            one("name=\"a\"; filename=\"x.txt\""),
            file("name=\"a\"; filename=\"\""),
            form(&[(&disposition("name=\"a\""), "\r\n--bb\r\n")]),
            raw("--b  \r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n--b--"),
        ],
    });
    forms
}

#[test]
fn forms_are_read_as_busboy_reads_them() {
    compare_with_busboy(&table(Reader::Busboy));
}

#[test]
fn forms_are_read_as_pythons_email_reads_them() {
    compare_with_python(&table(Reader::Python));
}
