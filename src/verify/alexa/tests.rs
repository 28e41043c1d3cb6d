//! The whole way of a request, with a chain and signatures that Python's `cryptography` made (the files in `vectors`;
//! the leaf is valid in 2026, the intermediate from 2025 to 2029). Chains that are wrong are in `tests/verification`.

use super::*;
use crate::base::text::parse_time;
use crate::verify::fields::Fields;
use std::sync::Arc;

const ROOT: &[u8] = include_bytes!("vectors/root.pem");
const CHAIN: &[u8] = include_bytes!("vectors/chain.pem");
const BODY: &[u8] = include_bytes!("vectors/body.json");
const SHA1: &[u8] = include_bytes!("vectors/signature");
const SHA256: &[u8] = include_bytes!("vectors/signature-256");
const URL: &[u8] = b"https://s3.amazonaws.com/echo.api/echo-api-cert.pem";

fn at(time: &str) -> Now {
    let unix_millis = parse_time(time).and_then(|millis| u64::try_from(millis).ok()).expect("a time");
    Now { nanos: unix_millis * 1_000_000, unix_millis }
}

fn now() -> Now {
    at("2026-02-19T17:26:30Z")
}

fn chain() -> Chain {
    let roots = Arc::new(Roots::from_pem(ROOT).expect("a root"));
    Chain::parse(CHAIN, &roots).expect("a chain")
}

fn verify(list: &[(&[u8], &[u8])], body: &[u8]) -> Result<(), AlexaRefusal> {
    let fields = list.iter().copied();
    let fields: &dyn Fields<'_> = &fields;
    let pending = begin(fields, body, now())?;
    finish(&pending, &chain(), body, now())
}

#[test]
fn a_request_with_either_signature_passes() {
    let url: (&[u8], &[u8]) = (b"SignatureCertChainUrl", URL);
    assert_eq!(verify(&[url, (b"Signature", SHA1)], BODY), Ok(()));
    assert_eq!(verify(&[url, (b"Signature-256", SHA256)], BODY), Ok(()));
    assert_eq!(verify(&[url, (b"Signature-256", SHA256), (b"Signature", SHA1)], BODY), Ok(()));
}

#[test]
fn signature_256_decides_where_both_are_sent() {
    let url: (&[u8], &[u8]) = (b"SignatureCertChainUrl", URL);
    let wrong = Err(AlexaRefusal::WrongSignature(Digest::Sha256));
    assert_eq!(verify(&[url, (b"Signature-256", SHA1), (b"Signature", SHA1)], BODY), wrong);
    assert_eq!(verify(&[url, (b"Signature-256", SHA256), (b"Signature", SHA256)], BODY), Ok(()));
    assert_eq!(verify(&[url, (b"Signature", SHA256)], BODY), Err(AlexaRefusal::WrongSignature(Digest::Sha1)));
}

#[test]
fn every_changed_byte_of_the_body_is_refused() {
    let url: (&[u8], &[u8]) = (b"SignatureCertChainUrl", URL);
    for at in 0..BODY.len() {
        let mut body = BODY.to_vec();
        body[at] ^= 1;
        assert!(verify(&[url, (b"Signature", SHA1)], &body).is_err(), "{at}");
        assert!(verify(&[url, (b"Signature-256", SHA256)], &body).is_err(), "{at}");
    }
    let mut longer = BODY.to_vec();
    longer.push(b'\n');
    assert!(verify(&[url, (b"Signature", SHA1)], &longer).is_err());
}

#[test]
fn a_chain_is_good_from_its_first_second_to_its_last() {
    let chain = chain();
    for (time, expected) in [
        ("2025-12-31T23:59:59Z", Err(ChainError::NotYetValid)),
        ("2026-01-01T00:00:00Z", Ok(())),
        ("2026-12-31T23:59:59Z", Ok(())),
        ("2027-01-01T00:00:01Z", Err(ChainError::Expired)),
        ("2031-01-01T00:00:00Z", Err(ChainError::Expired)),
        ("2026-06-01T00:00:00Z", Ok(())),
    ] {
        // Twice, since the second answer may come from the first.
        assert_eq!(chain.check(at(time)), expected, "{time}");
        assert_eq!(chain.check(at(time)), expected, "{time}");
    }
}

#[test]
fn a_chain_needs_its_intermediate_and_its_root() {
    let roots = Arc::new(Roots::from_pem(ROOT).expect("a root"));
    let text = std::str::from_utf8(CHAIN).expect("text");
    let end = text.find("-----END CERTIFICATE-----").expect("an end") + "-----END CERTIFICATE-----\n".len();
    let leaf_alone = Chain::parse(&CHAIN[..end], &roots).expect("a leaf");
    assert_eq!(leaf_alone.check(now()), Err(ChainError::UnknownIssuer));
    let publicly = Chain::parse(CHAIN, &Arc::new(Roots::public())).expect("a chain");
    assert_eq!(publicly.check(now()), Err(ChainError::UnknownIssuer));
    let turned = Chain::parse(&[&CHAIN[end..], &CHAIN[..end]].concat(), &roots).expect("certificates");
    assert_eq!(turned.check(now()), Err(ChainError::WrongName));
}

#[test]
fn what_is_no_chain_is_refused() {
    let roots = Arc::new(Roots::from_pem(ROOT).expect("a root"));
    let parse = |pem: &[u8]| Chain::parse(pem, &roots).expect_err("no chain");
    assert_eq!(parse(b""), ChainError::NotPem);
    assert_eq!(parse(b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"), ChainError::NotPem);
    assert_eq!(
        parse(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ChainError::BadCertificate
    );
    assert_eq!(parse(&CHAIN.repeat(6)), ChainError::TooMany);
    for cut in (0..CHAIN.len()).step_by(97) {
        // Cut anywhere, it is refused or a chain of fewer certificates; it is never a panic.
        let _ = Chain::parse(&CHAIN[..cut], &roots);
    }
}

#[test]
fn a_chain_with_an_intermediate_that_cannot_be_read_says_so() {
    let text = std::str::from_utf8(CHAIN).expect("PEM is text");
    let (leaf, _) = text.split_at(text.find("-----END CERTIFICATE-----").expect("a leaf") + 26);
    let bad = format!("{leaf}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let roots = Arc::new(Roots::from_pem(ROOT).expect("a root"));
    let judged = Chain::parse(bad.as_bytes(), &roots).and_then(|chain| chain.check(now()).map(|_| ()));
    assert_eq!(judged, Err(ChainError::BadCertificate));
}

#[test]
fn roots_are_the_certificates_of_a_file() {
    assert!(Roots::public().anchors().len() > 50);
    assert_eq!(Roots::from_pem(CHAIN).expect("two").anchors().len(), 2);
    assert_eq!(Roots::from_pem(b"").expect_err("none"), AlexaRootsError::Empty);
    assert_eq!(Roots::from_pem(b"nothing").expect_err("none"), AlexaRootsError::Empty);
    let bad = [ROOT, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"].concat();
    assert_eq!(Roots::from_pem(&bad).expect_err("one is bad"), AlexaRootsError::BadCertificate(1));
}

#[test]
fn a_cached_chain_is_given_while_it_is_good() {
    let url = ChainUrl::parse(URL).expect("good");
    let mut cache = ChainCache::new();
    cache.insert(&url, Err(FetchError::TimedOut), now());
    cache.insert(&url, Ok(Arc::new(chain())), now());
    assert!(matches!(cache.lookup(&url, now()), Lookup::Good(_)));
    assert!(matches!(cache.lookup(&url, at("2026-12-31T23:59:59Z")), Lookup::Good(_)));
    assert!(matches!(cache.lookup(&url, at("2027-01-02T00:00:00Z")), Lookup::Unknown));
    // It was forgotten then, not set aside.
    assert!(matches!(cache.lookup(&url, now()), Lookup::Unknown));
}

#[test]
fn the_chain_that_was_used_longest_ago_is_forgotten_first() {
    let chain = Arc::new(chain());
    let url = |number: u64| {
        ChainUrl::parse(format!("https://s3.amazonaws.com/echo.api/{number}").as_bytes()).expect("good")
    };
    let later = |nanos: u64| Now { nanos: now().nanos + nanos, ..now() };
    let mut cache = ChainCache::new();
    let count = cache::CHAINS_MAX as u64;
    for number in 0..count {
        cache.insert(&url(number), Ok(Arc::clone(&chain)), later(number));
    }
    assert!(matches!(cache.lookup(&url(0), later(count)), Lookup::Good(_)));
    cache.insert(&url(count), Ok(Arc::clone(&chain)), later(count));
    assert!(matches!(cache.lookup(&url(1), later(count)), Lookup::Unknown));
    for number in [0, 2, count] {
        assert!(matches!(cache.lookup(&url(number), later(count)), Lookup::Good(_)), "{number}");
    }
}
