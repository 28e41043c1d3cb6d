//! Properties that hold for any bytes: no panic, and the same events however they are cut; and for any valid request:
//! it is read as it was written.

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{Plan, Seen, drive, drive_cut};

/// A request as its parts, to be written and read back.
#[derive(Clone, Debug)]
struct Parts {
    method: String,
    path: String,
    query: Option<String>,
    fields: Vec<(String, Vec<u8>)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
}

fn parts() -> impl Strategy<Value = Parts> {
    let bytes = || vec(any::<u8>(), 1..40);
    let body = prop_oneof![
        Just(Body::None),
        bytes().prop_map(Body::Length),
        vec(bytes(), 0..5).prop_map(Body::Chunks)
    ];
    // No white space at the ends: it is not of the value.
    let value = "[!-~][\t -~]{0,20}[!-~]|[!-~]?".prop_map(String::into_bytes);
    (
        "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}"
            .prop_filter("CONNECT has targets of its own", |method| method != "CONNECT"),
        "/[a-zA-Z0-9._~!$&'()*+,;=:@%/-]{0,30}",
        proptest::option::of("[a-zA-Z0-9._~!$&'()*+,;=:@%/?-]{0,30}"),
        vec(("x-[!#$%&'*+.^_`|~0-9A-Za-z-]{0,10}", value), 0..8),
        body,
    )
        .prop_map(|(method, path, query, fields, body)| Parts { method, path, query, fields, body })
}

impl Parts {
    fn body(&self) -> Vec<u8> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Length(body) => body.clone(),
            Body::Chunks(chunks) => chunks.concat(),
        }
    }

    fn target(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}"));
        format!("{}{}", self.path, query.unwrap_or_default())
    }

    fn write(&self) -> Vec<u8> {
        let mut out =
            format!("{} {} HTTP/1.1\r\nHost: h.example:80\r\n", self.method, self.target()).into_bytes();
        for (name, value) in &self.fields {
            out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        match &self.body {
            Body::None => out.extend_from_slice(b"\r\n"),
            Body::Length(body) => {
                out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                out.extend_from_slice(body);
            }
            Body::Chunks(chunks) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    out.extend_from_slice(format!("{:X};a=b\r\n", chunk.len()).as_bytes());
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\nx: y\r\n\r\n");
            }
        }
        out
    }
}

/// A change that breaks a request, or does not.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let telling = prop::sample::select(vec![
        &b"\r"[..],
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b"\0",
        b";",
        b"0\r\n\r\n",
        b"\x7f",
        b"\x80",
        b"#",
        b",",
        b"\"",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: b\r\n",
        b"chunked",
        b"HTTP/1.0",
        b"+",
    ]);
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<prop::sample::Index>(), telling).prop_map(|(at, bytes)| Mutation::Insert(at, bytes.to_vec())),
        (any::<prop::sample::Index>(), 1..8_usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match mutation {
        Mutation::Replace(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Mutation::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Mutation::Remove(at, count) => {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + count).min(bytes.len()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_right_request_is_read_as_it_was_written(requests in vec(parts(), 1..4)) {
        let bytes: Vec<u8> = requests.iter().flat_map(Parts::write).collect();
        let seen = drive_cut(&bytes, &Plan::default());
        prop_assert_eq!(seen.len(), requests.len());
        for (seen, written) in seen.iter().zip(&requests) {
            let Seen::Request(read, body) = seen else { panic!("{seen:?}") };
            prop_assert_eq!(&read.method[..], written.method.as_bytes());
            let target = written.target();
            prop_assert_eq!(&read.target[..], target.as_bytes());
            prop_assert_eq!(&read.path[..], written.path.as_bytes());
            prop_assert_eq!(read.query.as_deref(), written.query.as_ref().map(String::as_bytes));
            for (field, (name, value)) in read.fields[1..].iter().zip(&written.fields) {
                prop_assert_eq!((&field.0[..], &field.1[..]), (name.as_bytes(), &value[..]));
            }
            prop_assert_eq!(body, &written.body());
        }
    }

    #[test]
    fn a_changed_request_is_read_the_same_however_it_is_cut(
        requests in vec(parts(), 1..3),
        mutations in vec(mutation(), 1..4),
        is_dropping in any::<bool>(),
    ) {
        let mut bytes: Vec<u8> = requests.iter().flat_map(Parts::write).collect();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        drive_cut(&bytes, &Plan { body_bytes_max: 64, is_dropping, ..Plan::default() });
    }

    #[test]
    fn any_bytes_are_read_the_same_however_they_are_cut(bytes in vec(any::<u8>(), 0..200)) {
        drive_cut(&bytes, &Plan::default());
    }

    #[test]
    fn any_chunks_are_read_the_same_however_they_are_cut(body in "([0-9a-fA-F;=\"\\\\: \t\r\nx]|\r\n){0,60}", sizes in vec(1..9_usize, 1..20)) {
        let bytes = [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", body.as_bytes()].concat();
        let whole = drive_cut(&bytes, &Plan::default());
        let mut rest = &bytes[..];
        let pieces = sizes.iter().cycle().map_while(|size| {
            let (piece, more) = rest.split_at((*size).min(rest.len()));
            rest = more;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(drive(pieces, &Plan::default()), whole);
    }
}
