//! JSON Web Tokens: one that was made with any header and any claims, and then altered, lets in only where its signature
//! is that of its text and its claims are an object; and a key set of any bytes is read or refused.
//!
//! The first byte chooses whether the rest is a key set, or choices of a header, claims and alterations.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::Choices;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::base::clock::Now;
use tidegate::model::{JwtAlgorithm, JwtConfig, JwtKeys};
use tidegate::verify::jwt::{Jwt, KeySet, RenderedKeys, Verdict, unverified_claims};

const SECRET: &str = "a secret";
const NOW: Now = Now { nanos: 0, unix_millis: 1_771_521_960_000 };
const HEADERS: [&[u8]; 8] = [
    br#"{"alg":"HS256","typ":"JWT"}"#,
    br#"{"alg":"HS256"}"#,
    br#"{"alg":"none"}"#,
    br#"{"alg":"HS384"}"#,
    br#"{"alg":"HS256","kid":"k"}"#,
    br#"{"alg":"HS256","crit":["exp"]}"#,
    br#"{"alg":"RS256","jwk":{"kty":"oct","k":"AA"}}"#,
    br#"{"alg":"HS256","alg":"none"}"#,
];
const CLAIMS: [&[u8]; 6] = [
    b"{}",
    br#"{"sub":"me","n":1.50}"#,
    br#"{"exp":1771521960,"nbf":1771521900}"#,
    br#"{"exp":"soon"}"#,
    br#"{"half":"\ud83d"}"#,
    b"[]",
];

fn jwt() -> Jwt {
    let config = JwtConfig {
        algorithms: vec![JwtAlgorithm::Hs256, JwtAlgorithm::Hs384],
        // What the rendered secrets were, as far as the check is concerned.
        keys: JwtKeys::Url(String::new()),
        issuer: Vec::new(),
        audience: Vec::new(),
        leeway_seconds: 60,
    };
    Jwt::compile(&config, RenderedKeys::Secrets(vec![SECRET.to_owned()]), |_, _| panic!("a secret is a key"))
}

fn tag(algorithm: hmac::Algorithm, text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, SECRET.as_bytes()), text).as_ref().to_vec()
}

/// Whether a token is signed with the secret, as a plain reading finds it. That its claims are an object is seen by those
/// that flows get: half of a surrogate pair in them is no JSON to the plain reading.
fn is_right(token: &[u8]) -> bool {
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let [header, _claims, signature] = parts[..] else { return false };
    let decode = |part| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let json = |part| serde_json::from_slice::<Value>(&decode(part)?).ok();
    let Some(header) = json(header) else { return false };
    let algorithm = match header.get("alg").and_then(Value::as_str) {
        Some("HS256") => hmac::HMAC_SHA256,
        Some("HS384") => hmac::HMAC_SHA384,
        _ => return false,
    };
    let text = &token[..token.len() - signature.len() - 1];
    decode(signature).is_some_and(|signature| signature == tag(algorithm, text))
        && header.get("crit").is_none()
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    if choices.truth() {
        let _ = KeySet::parse(data.get(1..).unwrap_or_default());
        return;
    }
    let header = if choices.truth() { choices.one_of(&HEADERS) } else { choices.some_bytes() };
    let claims = if choices.truth() { choices.one_of(&CLAIMS) } else { choices.some_bytes() };
    let text = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let algorithm = if choices.truth() { hmac::HMAC_SHA256 } else { hmac::HMAC_SHA384 };
    let mut token =
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag(algorithm, text.as_bytes()))).into_bytes();
    for _ in 0..choices.below(4) {
        let place = usize::from(choices.byte()) % token.len();
        match choices.below(3) {
            0 => token[place] = choices.byte(),
            1 => drop(token.remove(place)),
            _ => token.insert(place, choices.byte()),
        }
        if token.is_empty() {
            return;
        }
    }
    let value = [b"Bearer ", token.as_slice()].concat();
    let verdict = jwt().check(Some(&value), None, NOW);
    // White space around a token is none of it.
    let token = token.trim_ascii();
    if verdict == Verdict::Good {
        assert!(is_right(token), "{} lets in", token.escape_ascii());
        let claims = unverified_claims(&value).expect("a token that lets in has claims");
        assert!(claims.trim_ascii_start().starts_with(b"{"), "claims are an object");
    }
    if let Some(claims) = unverified_claims(&value) {
        // A number that no double holds is JSON, and so is what is nested deeper than serde_json goes.
        if let Err(error) = serde_json::from_slice::<Value>(&claims) {
            let why = error.to_string();
            assert!(why.contains("number out of range") || why.contains("recursion limit"), "claims: {why}");
        }
    }
});
