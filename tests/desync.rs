//! The vectors of http-desync-guardian (AWS's analyser of request smuggling), from the crate's own source: what it
//! calls severe is refused and ends the connection, what it calls compliant is taken.

#[allow(dead_code, reason = "what other tests that include this file use")]
#[path = "../src/http/tests/driver.rs"]
mod driver;

#[path = "common/counts.rs"]
mod counts;
#[path = "http_oracle/vectors.rs"]
mod vectors;

use driver::{Plan, Seen, drive_cut};
use tidegate::base::buffer;
use tidegate::http as machine;
use vectors::{BODY_BYTES_MAX, SUITES, Vector};

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
    let suites = vectors::read();
    let found: Vec<&str> = suites.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, SUITES);
    let mut wrong = Vec::new();
    let mut used = Vec::new();
    let mut totals = [0; 4];
    println!("{:26} {:>5} {:>7} {:>5} {:>9}", "suite", "cases", "refused", "taken", "explained");
    for (suite, vectors) in &suites {
        let mut counts = [vectors.len(), 0, 0, 0];
        for vector in vectors {
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
    counts::hold("desync-vectors", totals[0]);
    counts::hold("desync-explained", totals[3]);
    let severe =
        suites.iter().flat_map(|(_, vectors)| vectors).filter(|vector| vector.expected.tier == "Severe");
    counts::hold("desync-severe", severe.count());
    for (name, reason) in TAKEN.iter().chain(STRICTER) {
        assert!(used.contains(name), "{name} needs no reason any more ({reason})");
    }
}
