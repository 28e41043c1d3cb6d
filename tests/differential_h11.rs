//! The HTTP machine against h11, a strict parser of another language: the same bytes, and never a request that h11 does
//! not read the same way, field by field. What only one of the two refuses is listed with its reason.
//!
//! h11 comes from PyPI, so these tests run only where `TIDEGATE_TEST_TOOLS` names a folder to install it into.

#[path = "common/counts.rs"]
mod counts;
#[allow(dead_code, reason = "what other tests that include this file use")]
#[path = "../src/http/tests/driver.rs"]
mod driver;
#[allow(dead_code, reason = "what other tests that include this file use")]
#[path = "http_oracle/grammar.rs"]
mod grammar;
#[path = "common/skip.rs"]
mod skip;
#[allow(dead_code, reason = "what other tests that include this file use")]
#[path = "http_oracle/vectors.rs"]
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use driver::{Plan, Seen, drive};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde::Deserialize;
use tidegate::base::buffer;
use tidegate::http as machine;
use tidegate::http::Refusal;

/// Rules of ours that h11 does not keep, or not always, each with a request that shows it, and why we do.
const STRICTER: &[(Refusal, &[u8], &str)] = &[
    (
        Refusal::BareLf,
        b"GET / HTTP/1.1\nHost: a\n\n",
        "RFC 9112, 2.2: taking LF for a line's end is optional, and what smuggling is made of",
    ),
    (
        Refusal::Target,
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "RFC 9112, 3.2: h11 takes any visible characters; a fragment, `<`, another scheme are no target",
    ),
    (
        Refusal::MethodName,
        b"METHOD-OF-MORE-THAN-THIRTY-TWO-BYTES / HTTP/1.1\r\nHost: a\r\n\r\n",
        "no method has more than 32 bytes; and what can be none is refused before its line is whole",
    ),
    (
        Refusal::VersionUnsupported,
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "section 4 of the specification: 505 for all but 1.0 and 1.1; h11 takes any digits",
    ),
    (
        Refusal::FieldLine,
        b"GET / HTTP/1.1\r\nHost: a\r\nx: \x01\r\n\r\n",
        "RFC 9110, 5.5: control characters in values may be refused; h11 refuses NUL alone",
    ),
    (
        Refusal::ObsFold,
        b"GET / HTTP/1.1\r\nHost: a\r\nx: y\r\n z\r\n\r\n",
        "RFC 9112, 5.2: a folded line may be refused or joined; h11 joins it",
    ),
    (
        Refusal::HostInvalid,
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "RFC 9112, 3.2: must be refused; h11 leaves it to its caller",
    ),
    (
        Refusal::LengthInvalid,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
        "RFC 9112, 6.3: a list of equal lengths may be taken or refused; h11 merges it",
    ),
    (
        Refusal::LengthRepeated,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "RFC 9112, 6.3: equal lengths may be merged or refused",
    ),
    (
        Refusal::LengthAndChunked,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "section 4 of the specification: both are refused; h11 passes over the length",
    ),
    (
        Refusal::CodingInHttp10,
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "RFC 9112, 6.1: its framing is faulty whatever it says; h11 reads the chunks",
    ),
    (
        Refusal::Expectation,
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
        "RFC 9110, 10.1.1: 417; h11 leaves it to its caller",
    ),
    (
        Refusal::ChunkSize,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        "RFC 9112, 7.1: digits only; h11 takes white space behind them",
    ),
    (
        Refusal::ChunkExtension,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5; a = b\r\nhello\r\n0\r\n\r\n",
        "RFC 9112, 7.1.1: white space there is for the broken; h11 passes over extensions",
    ),
    (
        Refusal::Trailer,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: \x01\r\n\r\n",
        "as for a field line",
    ),
];

/// What h11 refuses and we take: part of its words, a request that shows it, and why we do.
const LAXER: &[(&str, &[u8], &str)] = &[(
    "no request line received",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "RFC 9112, 2.2: one empty line before a request should be ignored",
)];

/// h11 ends every connection of HTTP/1.0; we keep one alive that asks for it (RFC 9112, 9.3).
const KEPT_ALIVE: &[u8] =
    b"GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\nHost: a\r\n\r\n";

/// Rows of choices that are tried.
const CASES: usize = 5000;
/// What the rows are made from: the same in every run, so that a difference can be looked at again.
const SEED: [u8; 32] = *b"tidegate and h11 read the same. ";

/// Method, target, fields and body, a character for a byte; names in lower case.
type Plain = (String, String, Vec<(String, String)>, String);

/// What h11 said to one input.
#[derive(Debug, Deserialize)]
struct Theirs {
    requests: Vec<Plain>,
    refused: Option<String>,
    closes: bool,
}

/// What the machine said to it.
#[derive(Debug)]
struct Ours {
    requests: Vec<Plain>,
    refused: Option<Refusal>,
    closes: bool,
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn ours(bytes: &[u8]) -> Ours {
    let mut ours = Ours { requests: Vec::new(), refused: None, closes: false };
    for seen in drive([bytes], &Plan::default()) {
        match seen {
            Seen::Request(read, body) => {
                let fields = read.fields.iter();
                let fields = fields.map(|(name, value)| (latin1(name).to_ascii_lowercase(), latin1(value)));
                ours.requests.push((
                    latin1(&read.method),
                    latin1(&read.target),
                    fields.collect(),
                    latin1(&body),
                ));
            }
            Seen::Refused(refusal) => (ours.refused, ours.closes) = (Some(refusal), true),
            Seen::Close => ours.closes = true,
            // A vector announces four million bytes. Both wait for them: h11 knows no limit.
            Seen::TooLarge(_) => {}
            Seen::Dropped(_) => panic!("{}", bytes.escape_ascii()),
        }
    }
    ours
}

/// h11's folder; installed by whichever test comes first.
fn h11() -> Option<PathBuf> {
    let Some(tools) = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from) else {
        skip::skip("h11", "TIDEGATE_TEST_TOOLS names no folder for packages");
        return None;
    };
    let folder = tools.join("h11");
    std::fs::create_dir_all(&folder).expect("a folder");
    // Two processes that install at once would meet in one folder.
    let lock = std::fs::File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    let installed = Command::new(tool("h11-install")).arg(&folder).output().expect("a shell");
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    Some(folder)
}

fn tool(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools/clients").join(name)
}

/// What h11 says to each of the inputs.
fn theirs(h11: &PathBuf, inputs: &[Vec<u8>]) -> Vec<Theirs> {
    let mut child = Command::new("python3")
        .arg(tool("h11_read.py"))
        .arg(h11)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python is there");
    let mut to = child.stdin.take().expect("a pipe");
    let from = BufReader::new(child.stdout.take().expect("a pipe"));
    let said: Vec<Theirs> = std::thread::scope(|scope| {
        scope.spawn(move || {
            for input in inputs {
                let length = u32::try_from(input.len()).expect("a short input");
                to.write_all(&length.to_be_bytes()).expect("it reads");
                to.write_all(input).expect("it reads");
            }
        });
        from.lines().map(|line| serde_json::from_str(&line.expect("text")).expect("its JSON")).collect()
    });
    assert!(child.wait().expect("a child").success());
    assert_eq!(said.len(), inputs.len());
    said
}

/// What was found in a run.
#[derive(Debug, Default)]
struct Found {
    requests: usize,
    refused_by_both: usize,
    /// By the names of our rules, and by h11's words.
    stricter: BTreeMap<&'static str, usize>,
    laxer: BTreeMap<&'static str, usize>,
    kept_alive: usize,
    unexplained: Vec<String>,
}

fn compare(bytes: &[u8], theirs: &Theirs, found: &mut Found) {
    let ours = ours(bytes);
    let shown = format!("{}\n   ours {ours:?}\n theirs {theirs:?}", bytes.escape_ascii());
    let both = ours.requests.len().min(theirs.requests.len());
    if (0..both).any(|at| !is_same(&ours.requests[at], &theirs.requests[at])) {
        found.unexplained.push(format!("read otherwise: {shown}"));
        return;
    }
    found.requests += both;
    let more = ours.requests.len().cmp(&theirs.requests.len());
    match (&ours.refused, &theirs.refused) {
        (Some(_), Some(_)) if more.is_eq() => found.refused_by_both += 1,
        (_, Some(words)) if more.is_gt() || !ours.closes => {
            match LAXER.iter().find(|(part, ..)| words.contains(part)) {
                Some((part, ..)) => *found.laxer.entry(part).or_default() += 1,
                None => found.unexplained.push(format!("laxer: {shown}")),
            }
        }
        (_, None) if theirs.closes && both > 0 && asks_to_be_kept_alive(&theirs.requests[both - 1]) => {
            found.kept_alive += 1;
        }
        (Some(rule), _) => match STRICTER.iter().find(|(listed, ..)| listed == rule) {
            Some(_) => *found.stricter.entry(rule.name()).or_default() += 1,
            None => found.unexplained.push(format!("stricter: {shown}")),
        },
        _ if more.is_eq() && ours.closes == theirs.closes => {}
        _ => found.unexplained.push(format!("more or fewer: {shown}")),
    }
}

/// Whether it has the field that keeps a connection of HTTP/1.0.
fn asks_to_be_kept_alive(request: &Plain) -> bool {
    request.2.iter().any(|(name, value)| name == "connection" && value.eq_ignore_ascii_case("keep-alive"))
}

/// Whether two requests are one. h11 writes the two fields that frame a body in its own way, and leaves it to its caller
/// that the authority of an absolute target stands in the place of the Host (RFC 9112, 3.2.2).
fn is_same(ours: &Plain, theirs: &Plain) -> bool {
    let is_absolute = ours.1.contains("://");
    let framing = |name: &str| {
        name == "content-length" || name == "transfer-encoding" || (is_absolute && name == "host")
    };
    let rest = |fields: &[(String, String)]| -> Vec<(String, String)> {
        fields.iter().filter(|(name, _)| !framing(name)).cloned().collect()
    };
    (&ours.0, &ours.1, rest(&ours.2), &ours.3) == (&theirs.0, &theirs.1, rest(&theirs.2), &theirs.3)
}

/// Requests of the grammar, and one in three of them with a byte that is another.
fn generated() -> Vec<Vec<u8>> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let choices = proptest::collection::vec(any::<u8>(), 0..120);
    let flip = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    let rows = (choices, flip);
    let mut made = Vec::with_capacity(CASES);
    for _ in 0..CASES {
        let (choices, flip) = rows.new_tree(&mut runner).expect("nothing is filtered").current();
        let mut choices = choices.into_iter();
        let mut bytes = grammar::requests(|| choices.next());
        if let Some((at, byte)) = flip {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        made.push(bytes);
    }
    made
}

#[test]
fn what_is_read_as_a_request_h11_reads_the_same_way() {
    let Some(h11) = h11() else { return };
    let vectors = vectors::read();
    let vectors = vectors.iter().flat_map(|(_, vectors)| vectors.iter().map(vectors::Vector::bytes));
    // An input that is made twice is one.
    let inputs: BTreeSet<Vec<u8>> = vectors.chain(generated()).collect();
    let inputs: Vec<Vec<u8>> = inputs.into_iter().collect();
    let mut found = Found::default();
    for (input, theirs) in inputs.iter().zip(theirs(&h11, &inputs)) {
        compare(input, &theirs, &mut found);
    }
    println!(
        "{} inputs: {} requests the same, {} refused by both",
        inputs.len(),
        found.requests,
        found.refused_by_both
    );
    counts::hold("differential-h11-inputs", inputs.len());
    counts::hold("differential-h11-same", found.requests);
    counts::hold("differential-h11-refused-by-both", found.refused_by_both);
    println!("stricter than h11: {:?}", found.stricter);
    println!("laxer than h11: {:?}; kept alive in HTTP/1.0: {}", found.laxer, found.kept_alive);
    let unexplained = &found.unexplained;
    assert!(unexplained.is_empty(), "{}:\n{}", unexplained.len(), unexplained.join("\n"));
}

#[test]
fn every_listed_difference_from_h11_has_a_request_that_shows_it() {
    let Some(h11) = h11() else { return };
    let inputs: Vec<Vec<u8>> =
        STRICTER.iter().map(|row| row.1).chain(LAXER.iter().map(|row| row.1)).map(<[u8]>::to_vec).collect();
    let said = theirs(&h11, &inputs);
    let (stricter, laxer) = said.split_at(STRICTER.len());
    let (kept, ended) = (ours(KEPT_ALIVE), &theirs(&h11, &[KEPT_ALIVE.to_vec()])[0]);
    assert_eq!((kept.requests.len(), ended.requests.len(), ended.closes), (2, 1, true));
    for ((rule, bytes, _), theirs) in STRICTER.iter().zip(stricter) {
        assert_eq!(ours(bytes).refused, Some(*rule), "{}", bytes.escape_ascii());
        assert_eq!(theirs.refused, None, "h11 refuses this too: {}", bytes.escape_ascii());
    }
    for ((part, bytes, _), theirs) in LAXER.iter().zip(laxer) {
        assert_eq!(ours(bytes).refused, None, "{}", bytes.escape_ascii());
        let refused = theirs.refused.as_deref().unwrap_or_default();
        assert!(refused.contains(part), "h11 says {refused:?} to {}", bytes.escape_ascii());
    }
}
