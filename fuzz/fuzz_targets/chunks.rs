//! A chunked body: decoded as a plain reading of the grammar decodes it, whole and byte by byte.

#![no_main]

#[allow(dead_code, reason = "what other tests that include this file use")]
#[path = "../../src/http/tests/driver.rs"]
mod driver;

use driver::{Plan, Seen, drive};
use libfuzzer_sys::fuzz_target;
use tidegate::base::buffer;
use tidegate::http as machine;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What a plain reading finds.
struct Plainly {
    body: Vec<u8>,
    /// There are neither extensions nor trailers, so that nothing can be wrong with them.
    is_bare: bool,
}

/// The body, line by line; None where it is not whole or its sizes are wrong. Extensions and trailers are passed over.
fn plainly(mut bytes: &[u8]) -> Option<Plainly> {
    let mut found = Plainly { body: Vec::new(), is_bare: true };
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = bytes[..end].split(|&byte| byte == b';').next()?;
        found.is_bare &= size.len() == end;
        if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            break;
        }
        found.body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let has_trailers = !bytes.starts_with(b"\r\n");
    found.is_bare &= !has_trailers;
    (!has_trailers || bytes.windows(4).any(|four| four == b"\r\n\r\n")).then_some(found)
}

fuzz_target!(|data: &[u8]| {
    let bytes = [HEAD, data].concat();
    let plan = Plan::default();
    let seen = drive([&bytes[..]], &plan);
    assert_eq!(drive(bytes.chunks(1), &plan), seen);
    let plain = plainly(data);
    match &seen[..] {
        [Seen::Request(_, body), Seen::Close] => {
            assert_eq!(plain.map(|plain| plain.body).as_ref(), Some(body), "decoded otherwise");
        }
        [] | [Seen::Refused(_) | Seen::TooLarge(_)] => {
            assert!(
                plain.is_none_or(|plain| !plain.is_bare || plain.body.len() > plan.body_bytes_max),
                "right, and not taken: {}",
                data.escape_ascii()
            );
        }
        other => panic!("{other:?}"),
    }
});
