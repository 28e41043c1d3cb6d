//! A head: what is taken keeps the rules that smuggling breaks, and is read as httparse reads it.

#![no_main]

#[allow(dead_code, reason = "what other tests that include this file use")]
#[path = "../../src/http/tests/driver.rs"]
mod driver;

use driver::{Plan, Seen, drive};
use libfuzzer_sys::fuzz_target;
use tidegate::base::buffer;
use tidegate::http as machine;
use tidegate::http::Framing;

fuzz_target!(|data: &[u8]| {
    let plan = Plan { body_bytes_max: 0, ..Plan::default() };
    let seen = drive([data], &plan);
    assert_eq!(drive(data.chunks(1), &plan), seen);
    let (Some(Seen::Request(read, _)) | Some(Seen::TooLarge(read))) = seen.first() else { return };
    let bytes = data.strip_prefix(b"\r\n").unwrap_or(data);
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { panic!("httparse refuses it") };
    assert_eq!(request.path.map(str::as_bytes), Some(&read.target[..]));
    assert_eq!(request.method.map(str::as_bytes), Some(&read.method[..]));
    assert_eq!(request.headers.len(), read.fields.len());
    let is_url = !read.target.starts_with(b"/") && read.target != b"*";
    for (theirs, (name, value)) in request.headers.iter().zip(&read.fields) {
        assert_eq!(theirs.name.as_bytes(), &name[..]);
        if is_url && name.eq_ignore_ascii_case(b"host") {
            // The authority of the target takes its place.
            assert!(read.target.windows(value.len().max(1)).any(|found| found == value));
        } else {
            assert_eq!(theirs.value.trim_ascii(), &value[..]);
        }
    }
    let head = &bytes[..length];
    assert!(head.iter().enumerate().all(|(at, &byte)| match byte {
        b'\n' => head[at - 1] == b'\r',
        b'\r' => head[at + 1] == b'\n',
        byte => byte == b'\t' || (byte >= b' ' && byte != 0x7F),
    }));
    let count = |wanted: &str| {
        read.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes())).count()
    };
    let (hosts, lengths, codings) = (count("host"), count("content-length"), count("transfer-encoding"));
    assert!(hosts == 1 || hosts == 0 && !read.is_http11);
    assert!(lengths + codings <= 1 && (read.is_http11 || codings == 0));
    assert_eq!(read.framing == Framing::Chunked, codings == 1);
});
