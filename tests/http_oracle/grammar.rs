//! Requests, right ones and wrong ones, made from choices: the same choices make the same bytes. Each part that is
//! wrong wherever it stands is tagged with the rule that it breaks ([`flaw`]).

/// Right more often than not, so that what follows is reached.
pub const LINES: &[&str] = &[
    "GET /a HTTP/1.1",
    "POST /b?c=d HTTP/1.1",
    "PUT / HTTP/1.1",
    "POST /b HTTP/1.1",
    "GET http://h.example/x?y HTTP/1.1",
    "GET /a HTTP/1.0",
    "POST /a HTTP/1.0",
    "OPTIONS * HTTP/1.1",
    "DELETE /%41/{id} HTTP/1.1",
    "PATCH /a?b[]=|`^\\ HTTP/1.1",
    "M-SEARCH /a HTTP/1.1",
    "GET http://h.example:80 HTTP/1.1",
    "HEAD /a HTTP/1.1",
    "GET /a#b HTTP/1.1",
    "GET /a HTTP/1.2",
    "GET /a HTTP/2.0",
    "GET  /a HTTP/1.1",
    "GET /a  HTTP/1.1",
    "GET /a HTTP/1.1 ",
    "GET /a",
    "GET a HTTP/1.1",
    "GET * HTTP/1.1",
    "G(T /a HTTP/1.1",
    "GET /a\" HTTP/1.1",
    "GET /?\" HTTP/1.1",
    "GET /<a> HTTP/1.1",
    "GET /a\\b HTTP/1.1",
    "GET /^` HTTP/1.1",
    "GET http:///x HTTP/1.1",
    "GET http://u@h/ HTTP/1.1",
    "GET http://[::1]:8/ HTTP/1.1",
    "GET http://[x]/ HTTP/1.1",
    "GET http://h:99999/ HTTP/1.1",
    "GET http://h%41/ HTTP/1.1",
    "GET ftp://h/ HTTP/1.1",
    "GET h:80 HTTP/1.1",
    "get /caf\u{e9} HTTP/1.1",
    "GET /a\tHTTP/1.1",
    "GET http://h:/ HTTP/1.1",
    "GET http://a,b;c=d'(*)!/ HTTP/1.1",
    "GET HTTP://h/?? HTTP/1.1",
    "POST https://h?x HTTP/1.1",
];
pub const FIELDS: &[&str] = &[
    "Accept: */*",
    "x:y",
    "x: \ty z\t ",
    "X-Empty:",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: x, Close",
    "Expect: 100-continue",
    "Expect: x",
    "Content-Length: 5",
    "Content-Length: 5",
    "content-length:5 ",
    "Content-Length: 6",
    "Content-Length: 0",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: ",
    "Content-Length: 0x5",
    "Content-Length: 05",
    "Content-Length: 99999999999999999999",
    "Content-Length : 5",
    "Content-Length: 5\t",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked",
    "transfer-encoding:Chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: ",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked;a=b",
    "Transfer-Encoding:\r\n chunked",
    "Host: b",
    "Host: a b",
    " x: y",
    "x: y\r\n z",
    "x : y",
    "x",
    ": y",
    "x: \0",
    "x: \x7f",
    "\u{e9}: x",
    "x: \u{e9}",
    "Upgrade: websocket",
    "Connection: upgrade",
    "Trailer: x",
    "x: a\rb",
];
pub const BODIES: &[&str] = &[
    "",
    "hello",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b;\\\"\"\r\nhello\r\n0\r\nx: y\r\n\r\n",
    "00005\r\nhello\r\n000\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\nhello\n0\n\n",
    "5;a\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "\r\nhello\r\n0\r\n\r\n",
    "5\r\nhell",
    "5; a = b\r\nhello\r\n0\r\n\r\n",
    "A\r\n0123456789\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nbad\r\n\r\n",
    "5\r\nhello\r\n0\r\nx : y\r\n\r\n",
    "5\r\nhello\r\n0\r\nx: \0\r\n\r\n",
    "fffffffffffffffff\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\rhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nx: y\n\r\n",
];
pub const ENDS: &[&str] = &[
    "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r",
    "\r\r\n", "",
];
const BETWEEN: &[&str] = &["", "", "", "", "\r\n", "\r\n\r\n", "\n", " "];
/// Requests that one row of choices makes at most.
const REQUESTS_MAX: usize = 5;

/// The rule that a request line, field line or line end breaks, by the name of its refusal; `None` for one that breaks
/// none, or only beside others (two lengths, a coding in HTTP/1.0).
pub fn flaw(part: &str) -> Option<&'static str> {
    Some(match part {
        "GET /a HTTP/1.2" | "GET /a HTTP/2.0" => "version",
        "GET  /a HTTP/1.1" | "GET /a  HTTP/1.1" | "GET /a HTTP/1.1 " | "GET /a" | "GET /a\tHTTP/1.1" => {
            "request_line"
        }
        "G(T /a HTTP/1.1" => "method",
        "GET http:///x HTTP/1.1"
        | "GET http://u@h/ HTTP/1.1"
        | "GET http://[x]/ HTTP/1.1"
        | "GET http://h:99999/ HTTP/1.1"
        | "GET http://h%41/ HTTP/1.1" => "host_invalid",
        "GET /a#b HTTP/1.1"
        | "GET a HTTP/1.1"
        | "GET * HTTP/1.1"
        | "GET /a\" HTTP/1.1"
        | "GET /?\" HTTP/1.1"
        | "GET /<a> HTTP/1.1"
        | "GET /a\\b HTTP/1.1"
        | "GET /^` HTTP/1.1"
        | "GET ftp://h/ HTTP/1.1"
        | "GET h:80 HTTP/1.1"
        | "get /caf\u{e9} HTTP/1.1" => "target",
        "Expect: x" => "expectation",
        "Content-Length: +5"
        | "Content-Length: 5, 5"
        | "Content-Length: "
        | "Content-Length: 0x5"
        | "Content-Length: 99999999999999999999" => "length_invalid",
        "Transfer-Encoding: chunked, chunked" | "Transfer-Encoding: " => "coding_repeated",
        "Transfer-Encoding: gzip, chunked" => "coding_unsupported",
        "Transfer-Encoding: identity"
        | "Transfer-Encoding: chunked, identity"
        | "Transfer-Encoding: xchunked"
        | "Transfer-Encoding: \"chunked\""
        | "Transfer-Encoding: chunked;a=b" => "coding_not_final",
        "Transfer-Encoding:\r\n chunked" | " x: y" | "x: y\r\n z" => "obs_fold",
        "Content-Length : 5"
        | "Transfer-Encoding : chunked"
        | "Transfer-Encoding: \x0bchunked"
        | "x : y"
        | "x"
        | ": y"
        | "x: \0"
        | "x: \x7f"
        | "\u{e9}: x" => "field_line",
        "x: a\rb" | "\r" | "\r\r\n" => "bare_cr",
        "\n" => "bare_lf",
        _ => return None,
    })
}

/// The rule that a chunked body breaks.
pub fn chunked_flaw(body: &str) -> Option<&'static str> {
    Some(match body {
        "5;a\nhello\r\n0\r\n\r\n"
        | "5\nhello\n0\n\n"
        | "5\r\nhello\r\n0\r\n\n"
        | "5\r\nhello\r\n0\r\nx: y\n\r\n" => "bare_lf",
        "5\rhello\r\n0\r\n\r\n" => "bare_cr",
        "hello"
        | "5 \r\nhello\r\n0\r\n\r\n"
        | "+5\r\nhello\r\n0\r\n\r\n"
        | "0x5\r\nhello\r\n0\r\n\r\n"
        | "\r\nhello\r\n0\r\n\r\n"
        | "fffffffffffffffff\r\n" => "chunk_size",
        "5\r\nhello0\r\n\r\n" => "chunk_end",
        "5; a = b\r\nhello\r\n0\r\n\r\n" | "5;\r\nhello\r\n0\r\n\r\n" => "chunk_extension",
        "5\r\nhello\r\n0\r\nbad\r\n\r\n"
        | "5\r\nhello\r\n0\r\nx : y\r\n\r\n"
        | "5\r\nhello\r\n0\r\nx: \0\r\n\r\n" => "trailer",
        _ => return None,
    })
}

/// The bytes that the choices make.
pub fn requests(choice: impl FnMut() -> Option<u8>) -> Vec<u8> {
    tagged(choice).0
}

/// The bytes that the choices make, and the rules that the first request's head breaks. The second is `None` where two
/// lines of it run together, which may mend a flaw or make one.
pub fn tagged(mut choice: impl FnMut() -> Option<u8>) -> (Vec<u8>, Option<Vec<&'static str>>) {
    let mut out = Vec::new();
    let (mut flaws, mut runs_together) = (Vec::new(), false);
    // Without choices left, the first of each, which is right.
    let mut pick = |list: &[&'static str]| list[usize::from(choice().unwrap_or(0)) % list.len()];
    const COUNTS: &[&str] = &["", "x", "xx", "xxx"];
    const OFTEN: &[&str] = &["x", "x", "x", "x", "x", "x", "x", ""];
    for request in 0..REQUESTS_MAX {
        let mut add = |out: &mut Vec<u8>, part: &'static str| {
            out.extend_from_slice(part.as_bytes());
            if request == 0 {
                flaws.extend(flaw(part));
                runs_together |= part.is_empty();
            }
        };
        // The first third of the lines is right.
        let lines = if pick(OFTEN).is_empty() { LINES } else { &LINES[..LINES.len() / 3] };
        let ends = if pick(OFTEN).is_empty() { ENDS } else { &ENDS[..1] };
        add(&mut out, pick(lines));
        add(&mut out, pick(ends));
        if !pick(OFTEN).is_empty() {
            out.extend_from_slice(b"Host: a\r\n");
        }
        for _ in 0..pick(COUNTS).len() {
            add(&mut out, pick(FIELDS));
            add(&mut out, pick(ends));
        }
        let framing = pick(&["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""]);
        out.extend_from_slice(framing.as_bytes());
        add(&mut out, pick(ends));
        let bodies = match (framing.as_bytes().first(), pick(OFTEN)) {
            (Some(b'C'), "x") => &BODIES[1..2],
            (Some(b'T'), "x") => &BODIES[3..9],
            (None, "x") => &BODIES[..1],
            _ => BODIES,
        };
        out.extend_from_slice(pick(bodies).as_bytes());
        out.extend_from_slice(pick(BETWEEN).as_bytes());
    }
    (out, (!runs_together).then_some(flaws))
}
