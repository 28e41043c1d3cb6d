//! The HTTP machine against hyper's server: the same bytes, and never a request that hyper does not read the same
//! way. Where hyper goes on and we refuse, the rule that we keep is listed with its reason.

#[path = "common/counts.rs"]
mod counts;
#[allow(dead_code, reason = "what other tests that include this file use")]
#[path = "../src/http/tests/driver.rs"]
mod driver;
#[path = "http_oracle/grammar.rs"]
mod grammar;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::error::Error as _;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use driver::{Plan, Seen, drive, drive_cut};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tidegate::base::buffer;
use tidegate::http as machine;
use tidegate::http::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Rules of ours that hyper does not keep, or not always, each with a request that shows it, and why we do.
const STRICTER: &[(Refusal, &[u8], &str)] = &[
    (
        Refusal::BareLf,
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        "RFC 9112, 2.2: taking LF for a line's end is optional, and what smuggling is made of",
    ),
    (
        Refusal::EmptyLines,
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "RFC 9112, 2.2: one empty line is forgiven; more is no client's mistake",
    ),
    (
        Refusal::Target,
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "RFC 9112, 3.2: a fragment, another scheme, an authority or `*` without its method is no target",
    ),
    (
        Refusal::MethodName,
        b"METHOD-OF-MORE-THAN-THIRTY-TWO-BYTES / HTTP/1.1\r\nHost: a\r\n\r\n",
        "no method has more than 32 bytes; and what can be none is refused before its line is whole",
    ),
    (
        Refusal::HostMissing,
        b"GET / HTTP/1.1\r\n\r\n",
        "RFC 9112, 3.2: must be refused; hyper leaves it to its caller",
    ),
    (
        Refusal::HostRepeated,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "RFC 9112, 3.2: must be refused; hyper leaves it to its caller",
    ),
    (
        Refusal::HostInvalid,
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "RFC 9112, 3.2: must be refused; hyper leaves it to its caller",
    ),
    (
        Refusal::LengthRepeated,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "RFC 9112, 6.3: equal lengths may be merged or refused",
    ),
    (
        Refusal::LengthInvalid,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: +5\r\n\r\n0\r\n\r\n",
        "RFC 9110, 8.6: digits only; hyper does not look at a length behind a coding",
    ),
    (
        Refusal::LengthAndChunked,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "section 4 of the specification: both are refused; hyper drops the length",
    ),
    (
        Refusal::CodingRepeated,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "RFC 9112, 6.1: chunked is applied once; hyper looks at the last coding only",
    ),
    (
        Refusal::CodingUnsupported,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "section 4 of the specification: 501; hyper hands the body on as it is coded",
    ),
    (
        Refusal::Expectation,
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
        "RFC 9110, 10.1.1: 417; hyper passes over what it does not know",
    ),
    (
        Refusal::ChunkSize,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        "RFC 9112, 7.1: digits only; hyper takes white space behind them",
    ),
    (
        Refusal::ChunkExtension,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n",
        "RFC 9112, 7.1.1: a name follows each `;`; hyper passes over extensions",
    ),
];

/// Method, path, query and body of a request.
type Plain = (String, String, Option<String>, Vec<u8>);

/// What hyper's server reads: its whole requests, and whether it then refused something.
fn theirs(bytes: &[u8]) -> (Vec<Plain>, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let seen = Arc::new(Mutex::new((Vec::new(), false)));
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let for_service = Arc::clone(&seen);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let seen = Arc::clone(&for_service);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await;
                let mut seen = seen.lock().expect("no test panics with it");
                match body {
                    Ok(body) => seen.0.push((
                        head.method.to_string(),
                        head.uri.path().to_owned(),
                        head.uri.query().map(str::to_owned),
                        body.to_bytes().to_vec(),
                    )),
                    Err(error) => seen.1 |= !is_cut_short(&error),
                }
                Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.half_close(true).pipeline_flush(true);
        let connection = builder.serve_connection(TokioIo::new(server), service);
        client.write_all(bytes).await.expect("a pipe with room for it");
        client.shutdown().await.expect("an open pipe");
        let mut answers = Vec::new();
        let (served, read) = tokio::join!(connection, client.read_to_end(&mut answers));
        read.expect("an open pipe");
        let mut seen = std::mem::take(&mut *seen.lock().expect("no test panics with it"));
        seen.1 |= served.is_err_and(|error| error.is_parse());
        seen
    })
}

/// Whether the bytes ended within a body, which breaks no rule yet.
fn is_cut_short(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    error.is_incomplete_message() || source.is_some_and(|source| source.kind() == ErrorKind::UnexpectedEof)
}

/// What the machine reads, in the same form; and why it stopped, if a rule was broken.
fn ours(bytes: &[u8]) -> (Vec<Plain>, Option<Refusal>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("targets and methods are ASCII");
    let mut refusal = None;
    let mut requests = Vec::new();
    for seen in drive([bytes], &Plan::default()) {
        match seen {
            Seen::Request(read, body) => {
                requests.push((text(&read.method), text(&read.path), read.query.as_deref().map(text), body));
            }
            Seen::Refused(reason) => refusal = Some(reason),
            Seen::Close => {}
            Seen::TooLarge(_) | Seen::Dropped(_) => panic!("{}", bytes.escape_ascii()),
        }
    }
    (requests, refusal)
}

/// Compares; the refusals of ours that hyper does not share are counted. Returns whether both read all of it, a request
/// at least.
fn compare(bytes: &[u8], stricter: &mut BTreeMap<&'static str, u32>) -> bool {
    let (ours, refusal) = ours(bytes);
    let (theirs, theirs_refused) = theirs(bytes);
    let shown = bytes.escape_ascii();
    assert!(theirs.starts_with(&ours), "read otherwise: {shown}\nours   {ours:?}\ntheirs {theirs:?}");
    match refusal {
        Some(_) if theirs_refused && theirs.len() == ours.len() => false,
        Some(refusal) => {
            assert!(STRICTER.iter().any(|(rule, ..)| *rule == refusal), "{refusal:?} has no reason: {shown}");
            *stricter.entry(refusal.name()).or_default() += 1;
            false
        }
        None => {
            if theirs_refused {
                // Half a line is wrong already: we see that when the line ends, and read no request out of it. A head
                // that merely lacks its Host, or has it twice then, would be refused whatever the line is.
                let refusals = ["\r\n\r\n", "\r\nHost: a\r\n\r\n"].map(|end| {
                    let (longer, refusal) = self::ours(&[bytes, end.as_bytes()].concat());
                    assert!(longer == ours, "laxer than hyper: {shown}\nours {ours:?}");
                    refusal
                });
                let of_host = [Some(Refusal::HostMissing), Some(Refusal::HostRepeated), None];
                let is_of_line = refusals.iter().any(|refusal| !of_host.contains(refusal));
                assert!(is_of_line, "laxer than hyper: {shown}\nours {ours:?}, then {refusals:?}");
                return false;
            }
            assert_eq!(ours, theirs, "fewer, and nothing refused: {shown}");
            !ours.is_empty()
        }
    }
}

/// What the comparisons of a run found.
#[derive(Debug, Default)]
struct Found {
    inputs: usize,
    /// Inputs of which both read all, a request at least.
    taken_by_both: usize,
    stricter: BTreeMap<&'static str, u32>,
}

impl Found {
    /// Compares inputs, each once however often it is made.
    fn of(inputs: impl IntoIterator<Item = Vec<u8>>) -> Found {
        let mut found = Found::default();
        for bytes in inputs.into_iter().collect::<BTreeSet<Vec<u8>>>() {
            found.inputs += 1;
            found.taken_by_both += usize::from(compare(&bytes, &mut found.stricter));
        }
        found
    }
}

#[test]
fn a_table_of_requests_is_read_as_hyper_reads_it_or_refused() {
    // Each choice in turn, all others being the first, right ones.
    let places = (0..24).flat_map(|place| (0..=63).map(move |value| (place, value)));
    let found = Found::of(places.map(|(place, value)| {
        let mut at = 0;
        grammar::requests(|| {
            at += 1;
            Some(match at - 1 {
                here if here == place => value,
                // A field, so that its choices count.
                here if here == place - 1 => {
                    if value % 2 == 0 {
                        7
                    } else {
                        1
                    }
                }
                _ => 0,
            })
        })
    }));
    println!("{found:?}");
    counts::hold("differential-hyper-table", found.inputs);
    // Each of the five right requests of a row has one part that may be wrong: most rows are right as a whole.
    assert!(found.taken_by_both * 3 > found.inputs, "too few are taken: {found:?}");
}

/// The refusal of a lone request, by name.
fn refusal(bytes: &[u8]) -> Option<&'static str> {
    ours(bytes).1.map(Refusal::name)
}

#[test]
fn each_part_of_the_grammar_is_taken_or_refused_by_its_own_rule() {
    for line in grammar::LINES {
        assert_eq!(refusal(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), grammar::flaw(line), "{line:?}");
    }
    for field in grammar::FIELDS {
        let expected = if field.starts_with("Host: ") { Some("host_repeated") } else { grammar::flaw(field) };
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        assert_eq!(refusal(request.as_bytes()), expected, "{field:?}");
    }
    for end in grammar::ENDS.iter().filter(|end| !end.is_empty()) {
        let request = format!("GET / HTTP/1.1{end}Host: a\r\n\r\n");
        assert_eq!(refusal(request.as_bytes()), grammar::flaw(end), "{end:?}");
    }
    for body in grammar::BODIES {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(refusal(request.as_bytes()), grammar::chunked_flaw(body), "{body:?}");
    }
}

#[test]
fn every_rule_that_is_stricter_than_hyper_has_a_request_that_shows_it() {
    let mut same = Vec::new();
    for (rule, bytes, reason) in STRICTER {
        assert_eq!(ours(bytes), (Vec::new(), Some(*rule)), "{}", bytes.escape_ascii());
        let mut stricter = BTreeMap::new();
        compare(bytes, &mut stricter);
        if stricter.is_empty() {
            same.push((rule, reason));
        }
    }
    assert!(same.is_empty(), "hyper refuses these too: {same:?}");
}

#[test]
fn a_body_that_is_cut_short_is_refused_by_neither() {
    let mut stricter = BTreeMap::new();
    for body in
        ["5\r\nhello\r\n700\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "5\r\nhel", "5\r\nhello\r\n", "5", ""]
    {
        compare(
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}").as_bytes(),
            &mut stricter,
        );
    }
    compare(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel", &mut stricter);
    assert_eq!(stricter, BTreeMap::new());
}

/// Rows of choices that are tried.
const CASES: usize = 3000;
/// Rows of which both take all five requests, at least: a machine that refuses everything differs in nothing either.
const TAKEN_BY_BOTH_MIN: usize = 150;
/// Seed of the rows: the same in every run, so that a difference can be looked at again.
const SEED: [u8; 32] = *b"tidegate and hyper read the same";
/// Rules that a head may break by parts that are right alone, or wrong in another way (a Host beside a second one).
const OF_SEVERAL_PARTS: &[&str] = &[
    "host_missing",
    "host_invalid",
    "host_repeated",
    "length_repeated",
    "length_and_chunked",
    "coding_in_http10",
    "coding_repeated",
    "coding_unsupported",
    "coding_not_final",
];

const OF_LINE_ENDS: &[&str] = &["bare_cr", "bare_lf"];

#[test]
fn generated_requests_are_read_as_hyper_reads_them_or_refused() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let choices = proptest::collection::vec(any::<u8>(), 0..120);
    let flip = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    let rows = (choices, flip);
    let (mut inputs, mut flawed) = (Vec::with_capacity(CASES), 0);
    for _ in 0..CASES {
        let (choices, flip) = rows.new_tree(&mut runner).expect("nothing is filtered").current();
        let mut choices = choices.into_iter();
        let (mut bytes, flaws) = grammar::tagged(|| choices.next());
        if let Some((at, byte)) = flip {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        } else if let Some(flaws) = flaws.filter(|flaws| !flaws.is_empty()) {
            flawed += 1;
            let (requests, refusal) = ours(&bytes);
            let name = refusal.map(Refusal::name);
            // Behind a line without a right end the head may run on into the next request, whose flaws count then.
            let runs_on = flaws.iter().any(|flaw| OF_LINE_ENDS.contains(flaw));
            let is_known = |name| runs_on || flaws.contains(&name) || OF_SEVERAL_PARTS.contains(&name);
            let is_its_rule = name.is_some_and(is_known);
            let shown = bytes.escape_ascii();
            assert!(requests.is_empty() && is_its_rule, "{name:?} is none of {flaws:?}: {shown}");
        }
        drive_cut(&bytes, &Plan::default());
        inputs.push(bytes);
    }
    let found = Found::of(inputs);
    println!("{flawed} with flaws of their own; {found:?}");
    counts::hold("differential-hyper-generated", found.inputs);
    counts::hold("differential-hyper-taken-by-both", found.taken_by_both);
    assert!(flawed > CASES / 10, "too few flaws: {flawed}");
    assert!(found.taken_by_both >= TAKEN_BY_BOTH_MIN, "too few are taken: {found:?}");
}
