//! `Content-Encoding`, and what tries to get through under it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

type Coder = fn(&[u8]) -> Vec<u8>;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
    brotli::BrotliCompress(&mut &bytes[..], &mut out, &parameters).unwrap();
    out
}

/// The body that arrives under a coding, or why none does.
fn decoded(coding: &str, body: &[u8], limit: usize) -> Result<String, BodyRefused> {
    let fields: &[Field<'_>] =
        &[(b"Content-Encoding", coding.as_bytes()), (b"content-type", b"application/json")];
    let event = event(&HttpData { payload_limit: limit, ..post(fields, body) })?;
    Ok(shown(event.body()))
}

const BODY: &[u8] = b"{\"value\": \"thirty thirty thirty thirty\"}";

#[test]
fn each_coding_is_undone() {
    let text = String::from_utf8(BODY.to_vec()).unwrap();
    for (coding, body) in [
        ("gzip", gzip(BODY)),
        ("X-GZIP", gzip(BODY)),
        ("deflate", zlib(BODY)),
        ("deflate", deflate(BODY)),
        ("br", brotli(BODY)),
        ("identity", BODY.to_vec()),
        ("", BODY.to_vec()),
        ("gzip, identity,", gzip(BODY)),
        ("gzip, br", brotli(&gzip(BODY))),
        ("deflate ,gzip", gzip(&deflate(BODY))),
        ("gzip", [gzip(&BODY[..10]), gzip(&BODY[10..])].concat()),
    ] {
        assert_eq!(decoded(coding, &body, 1000).as_ref(), Ok(&text), "{coding}");
    }
}

#[test]
fn codings_in_several_fields_are_one_list() {
    let fields: &[Field<'_>] = &[(b"content-encoding", b"gzip"), (b"Content-Encoding", b"br")];
    let body = brotli(&gzip(b"text"));
    assert_eq!(member(&post(fields, &body), "body"), "\"text\"");
    assert_eq!(
        member(&post(fields, &body), "headers"),
        r#"{"content-encoding":"gzip, br","x-forwarded-for":"203.0.113.9"}"#
    );
}

#[test]
fn other_codings_and_more_than_two_are_not_supported() {
    for coding in ["zstd", "compress", "gzip;q=1", "gzip, zstd", "gzip,gzip,gzip", "chunked"] {
        assert_eq!(decoded(coding, &gzip(BODY), 1000), Err(BodyRefused::UnsupportedCoding), "{coding}");
    }
}

#[test]
fn exactly_the_limit_passes_and_a_byte_more_does_not() {
    let body = vec![b'1'; 5000];
    for (coding, coded) in
        [("gzip", gzip(&body)), ("deflate", zlib(&body)), ("deflate", deflate(&body)), ("br", brotli(&body))]
    {
        assert_eq!(decoded(coding, &coded, 5000).map(|text| text.len()), Ok(5000), "{coding}");
        assert_eq!(decoded(coding, &coded, 4999), Err(BodyRefused::TooLarge), "{coding}");
        assert_eq!(decoded(coding, &coded, 0), Err(BodyRefused::TooLarge), "{coding}");
    }
}

proptest::proptest! {
    #[test]
    fn what_is_within_the_limit_comes_out_as_it_was(
        body in proptest::collection::vec(0_u8..4, 1..3000),
        limit in 0_usize..3000,
        first in 0_usize..4,
        second in 0_usize..4,
    ) {
        let coders: [(&str, Coder); 4] =
            [("gzip", gzip), ("deflate", zlib), ("deflate", deflate), ("br", brotli)];
        let (inner, outer) = (coders[first], coders[second]);
        let once = inner.1(&body);
        let twice = outer.1(&once);
        let list = format!("{}, {}", inner.0, outer.0);
        let fields: &[Field<'_>] = &[(b"content-encoding", list.as_bytes())];
        let result = undo_codings(&HttpData { payload_limit: limit, ..post(fields, &twice) });
        let fits = body.len() <= limit && once.len() <= limit;
        let expected = if fits { Ok(body.into()) } else { Err(BodyRefused::TooLarge) };
        proptest::prop_assert_eq!(result, expected);
    }
}

#[test]
fn what_unfolds_without_end_stops_at_the_limit() {
    let zeros = vec![0; 32 * 262_144];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("deflate", deflate(&zeros)),
        ("br", brotli(&zeros)),
    ];
    for (coding, bomb) in &bombs {
        assert!(bomb.len() < 262_144, "{coding}");
        assert_eq!(decoded(coding, bomb, 262_144), Err(BodyRefused::TooLarge), "{coding}");
        let list = format!("{coding}, gzip");
        assert_eq!(decoded(&list, &gzip(bomb), 262_144), Err(BodyRefused::TooLarge), "{list}");
    }
}

#[test]
fn what_is_cut_short_broken_or_goes_on_is_refused() {
    for (coding, body) in
        [("gzip", gzip(BODY)), ("deflate", zlib(BODY)), ("deflate", deflate(BODY)), ("br", brotli(BODY))]
    {
        for end in 1..body.len() {
            assert_eq!(decoded(coding, &body[..end], 1000), Err(BodyRefused::BadCoding), "{coding} {end}");
        }
        let longer = [&body[..], b"!"].concat();
        assert_eq!(decoded(coding, &longer, 1000), Err(BodyRefused::BadCoding), "{coding}");
        assert_eq!(decoded(coding, BODY, 1000), Err(BodyRefused::BadCoding), "{coding}");
    }
    for (coding, mut body) in [("gzip", gzip(BODY)), ("deflate", zlib(BODY))] {
        let in_the_checksum = body.len() - 1 - if coding == "gzip" { 4 } else { 0 };
        body[in_the_checksum] ^= 1;
        assert_eq!(decoded(coding, &body, 1000), Err(BodyRefused::BadCoding), "{coding}");
    }
}

#[test]
fn zero_bytes_behind_a_gzip_member_are_padding() {
    for zeros in [1, 7, 512, 10_240] {
        let padded = [gzip(BODY), vec![0; zeros]].concat();
        assert_eq!(decoded("gzip", &padded, 1000), decoded("gzip", &gzip(BODY), 1000), "{zeros}");
        let twice = [gzip(BODY), gzip(BODY), vec![0; zeros]].concat();
        assert!(decoded("gzip", &twice, 1000).is_ok(), "{zeros}");
        let broken = [gzip(BODY), vec![0; zeros], b"x".to_vec()].concat();
        assert_eq!(decoded("gzip", &broken, 1000), Err(BodyRefused::BadCoding), "{zeros}");
    }
}

#[test]
fn a_body_that_unfolds_to_nothing_is_null() {
    for (coding, body) in
        [("gzip", gzip(b"")), ("deflate", zlib(b"")), ("deflate", deflate(b"")), ("br", brotli(b""))]
    {
        assert_eq!(decoded(coding, &body, 1000).as_deref(), Ok("null"), "{coding}");
    }
}

#[test]
fn refusals_have_their_status() {
    assert_eq!(BodyRefused::UnsupportedCoding.status(), 415);
    assert_eq!(BodyRefused::TooLarge.status(), 413);
    assert_eq!(BodyRefused::BadCoding.status(), 400);
}
