//! The vectors of http-desync-guardian (AWS's analyser of request smuggling), from the crate's own source: what it
//! calls severe is refused and ends the connection, what it calls compliant is taken.

#[allow(dead_code, reason = "what other tests that include this file use")]
#[path = "../src/http/tests/driver.rs"]
mod driver;

use std::path::PathBuf;
use std::process::Command;

use driver::{Plan, Seen, drive_cut};
use serde::Deserialize;
use tidegate::base::buffer;
use tidegate::http as machine;

/// The crate's files of vectors. Those that it has and that are not named here fail the test.
const SUITES: &[&str] = &[
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

/// Ambiguous vectors that are taken here (there is no severe one), and why they have one meaning: name, reason.
const TAKEN: &[(&str, &str)] = &[
    ("Transfer_Encoding with underscore.", OTHER_NAME),
    ("Content_Length with underscore.", OTHER_NAME),
    ("Transfer-Encoding with multiple hyphens", OTHER_NAME),
    ("Transfer-Encoding with multiple delimiters", OTHER_NAME),
    ("Get with a body and Content-Length", BODY_IS_READ),
    ("Get with a body and Transfer-Encoding", BODY_IS_READ),
    ("Head with a body and Content-Length", BODY_IS_READ),
    ("Head with a body and Transfer-Encoding", BODY_IS_READ),
    ("Has a CL in GET", BODY_IS_READ),
    ("Has a TE in GET", BODY_IS_READ),
];
const OTHER_NAME: &str =
    "another field, which says nothing of framing (RFC 9110, 5.1: a name is compared whole)";
const BODY_IS_READ: &str =
    "RFC 9112, 6.3: the fields frame the body whatever the method; it is read to its end";

/// Compliant or acceptable vectors that are refused here, and why this is stricter: name, reason.
const STRICTER: &[(&str, &str)] = &[
    ("No TE/CL headers, some others are non-compliant", SPACE_BEFORE_COLON),
    ("TE and some others are non-compliant", SPACE_BEFORE_COLON),
    ("CL and some others are non-compliant", SPACE_BEFORE_COLON),
    ("A non-essential header with a non-printable character (x01)", CONTROL),
    (r"Some-Header\x01", CONTROL),
    (r"\x01Some-Header", CONTROL),
    (r"Some-Header: \x01value", CONTROL),
    (r"Some-Header: value\x01", CONTROL),
    ("Non-RFC, but OK HTTP/0.9", VERSION),
    ("Empty version, which means HTTP/0.9", VERSION),
    ("Unknown but OK HTTP/1.2", VERSION),
    ("Correct TE OK", OTHER_CODING),
    ("Transfer-Encoding: identity and chunked OK", OTHER_CODING),
    ("Multiple transfer encoding headers in a single request OK", OTHER_CODING),
    ("TE with custom parameters OK", OTHER_CODING),
    ("Different Transfer-Encoding headers", OTHER_CODING),
    ("Different Transfer-Encoding headers combined", OTHER_CODING),
    ("Transfer-Encoding with a param: chunked;custom_param", OTHER_CODING),
    ("Compliant URL", "a fragment, `<`, `>` and `\"` are not of a target (RFC 3986, 3.3 and 3.4)"),
    ("Empty URI", "RFC 9112, 3.2: no form of a target is empty"),
    ("Extra spaces in version", REQUEST_LINE),
    ("[space] in URI", REQUEST_LINE),
];
const SPACE_BEFORE_COLON: &str = "RFC 9112, 5.1: white space before the colon must be refused";
const CONTROL: &str = "section 4 of the specification: control characters are refused in every field";
const VERSION: &str = "section 4 of the specification: only HTTP/1.0 and HTTP/1.1 are spoken";
const OTHER_CODING: &str =
    "section 4 of the specification: the only transfer coding is chunked, without parameters";
const REQUEST_LINE: &str = "RFC 9112, 3: three parts with one space between; the leniency is optional";

#[derive(Deserialize)]
struct Vector {
    name: String,
    uri: String,
    method: String,
    version: String,
    headers: Option<Vec<Header>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct Expected {
    tier: String,
}

/// Longer bodies are announced and not sent.
const BODY_BYTES_MAX: usize = 10_000;

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

impl Vector {
    /// The request on the wire, with a Host where the vector is not about it, the body that its fields announce, and
    /// another request behind it.
    fn bytes(&self) -> Vec<u8> {
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

/// Where cargo keeps the source of the crate that has the vectors.
fn vectors() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
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

/// What came of a vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Refused,
    Taken,
}

fn outcome(vector: &Vector) -> Outcome {
    let bytes = vector.bytes();
    let seen = drive_cut(&bytes, &Plan { body_bytes_max: BODY_BYTES_MAX, ..Plan::default() });
    match &seen[..] {
        [Seen::Refused(_)] => Outcome::Refused,
        // The body is the announced one: the next request is read behind it, or the client wanted to close.
        [Seen::Request(..), Seen::Request(next, _)] if next.target == b"/next" => Outcome::Taken,
        [Seen::Request(..), Seen::Close] => Outcome::Taken,
        // Right, but for its size (413).
        [Seen::TooLarge(_)] => Outcome::Taken,
        other => panic!("{}: {}: {other:?}", vector.name, bytes.escape_ascii()),
    }
}

#[test]
fn what_smuggles_is_refused_and_what_is_right_is_taken() {
    let folder = vectors();
    let mut found: Vec<String> = std::fs::read_dir(&folder)
        .expect("the crate has its vectors")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, SUITES);
    let mut wrong = Vec::new();
    let mut used = Vec::new();
    let mut totals = [0; 4];
    println!("{:26} {:>5} {:>7} {:>5} {:>9}", "suite", "cases", "refused", "taken", "explained");
    for suite in SUITES {
        let text = std::fs::read_to_string(folder.join(format!("{suite}.yaml"))).expect("text");
        let vectors: Vec<Vector> = serde_saphyr::from_str(&text).expect("vectors as their README says");
        let mut counts = [vectors.len(), 0, 0, 0];
        for vector in &vectors {
            let outcome = outcome(vector);
            counts[1 + usize::from(outcome == Outcome::Taken)] += 1;
            let (expected, explained) = match vector.expected.tier.as_str() {
                "Severe" => (Outcome::Refused, &[][..]),
                "Ambiguous" => (Outcome::Refused, TAKEN),
                "Compliant" | "Acceptable" => (Outcome::Taken, STRICTER),
                tier => panic!("{suite}: {}: tier {tier}", vector.name),
            };
            if outcome == expected {
                continue;
            }
            match explained.iter().find(|(name, _)| *name == vector.name) {
                Some((name, _)) => {
                    counts[3] += 1;
                    used.push(*name);
                }
                None => wrong.push(format!(
                    "{suite}: {} {:?}: {outcome:?}: {}",
                    vector.expected.tier,
                    vector.name,
                    vector.bytes().escape_ascii()
                )),
            }
        }
        println!("{suite:26} {:>5} {:>7} {:>5} {:>9}", counts[0], counts[1], counts[2], counts[3]);
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    println!("{:26} {:>5} {:>7} {:>5} {:>9}", "all", totals[0], totals[1], totals[2], totals[3]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(totals[0] > 150, "the vectors are fewer than they were");
    for (name, reason) in TAKEN.iter().chain(STRICTER) {
        assert!(used.contains(name), "{name} needs no reason any more ({reason})");
    }
}
