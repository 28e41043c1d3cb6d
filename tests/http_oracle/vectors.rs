//! The vectors of http-desync-guardian (AWS's analyser of request smuggling), from the crate's own source, as requests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

/// The crate's files of vectors. Those that it has and that are not named here fail the test.
pub const SUITES: &[&str] = &[
    "acceptable",
    "ambiguous",
    "bad-header-characters",
    "edge-cases",
    "more-compliant-tests",
    "real-life-test-cases",
    "rfc-compliant",
    "severe",
    "single-case",
    "uri-specific-test-cases",
];

#[derive(Deserialize)]
pub struct Vector {
    pub name: String,
    uri: String,
    method: String,
    version: String,
    headers: Option<Vec<Header>>,
    pub expected: Expected,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
pub struct Expected {
    pub tier: String,
}

/// Longer bodies are announced and not sent.
pub const BODY_BYTES_MAX: usize = 10_000;

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

impl Vector {
    /// The request on the wire, with a Host where the vector is not about it, the body that its fields announce, and
    /// another request behind it.
    pub fn bytes(&self) -> Vec<u8> {
        let fields: Vec<(String, String)> = self
            .headers
            .iter()
            .flatten()
            .map(|field| (unescape(&field.name), unescape(&field.value)))
            .collect();
        let value = |lower: &str| {
            let field = fields.iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(lower));
            field.map(|(_, value)| value.trim())
        };
        let mut text =
            format!("{} {} {}\r\n", unescape(&self.method), unescape(&self.uri), unescape(&self.version));
        if value("host").is_none() {
            text.push_str("Host: a\r\n");
        }
        for (name, value) in &fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        // Characters stand for bytes.
        let mut bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
        if value("transfer-encoding").is_some() {
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else if let Some(length) = value("content-length").and_then(|value| value.parse::<usize>().ok()) {
            bytes.resize(bytes.len() + length.min(BODY_BYTES_MAX), b'x');
        }
        bytes.extend_from_slice(NEXT);
        bytes
    }
}

/// The vectors' escapes in words that YAML leaves as they are.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('x') => {
                let digits: String = characters.by_ref().take(2).collect();
                out.push(char::from(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits")));
            }
            Some('b') => out.push('\x08'),
            Some('f') => out.push('\x0c'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some(other) => out.push(other),
            None => panic!("an escape without an end in {text}"),
        }
    }
    out
}

/// What the compiler calls this machine.
fn host() -> String {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output().expect("rustc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("ASCII").trim().to_owned()
}

/// Where cargo keeps the source of the crate that has the vectors.
fn folder() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1"])
        // What only other machines need may never have been downloaded.
        .args(["--filter-platform", &host()])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let package = packages.iter().find(|package| package["name"] == "http_desync_guardian");
    let manifest =
        package.and_then(|package| package["manifest_path"].as_str()).expect("a dependency of tests");
    PathBuf::from(manifest).parent().expect("a manifest lies in a folder").join("tests")
}

/// The files by their names, in order, with what is in them.
pub fn read() -> Vec<(String, Vec<Vector>)> {
    let mut found: Vec<(String, Vec<Vector>)> = fs::read_dir(folder())
        .expect("the crate has its vectors")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(path).expect("text");
            (name, serde_saphyr::from_str(&text).expect("vectors as their README says"))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}
