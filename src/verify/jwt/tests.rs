//! Tokens of the RFCs, and tokens that were altered.

use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{AuthConfig, Webhook};

const NOW: Now = Now { nanos: 0, unix_millis: 1_300_819_300_000 };

fn jwt(auth: Value, rendered: RenderedKeys) -> Jwt {
    let body = json!({"name": "w", "auth": auth});
    let webhook = Webhook::create(&body, crate::base::id::Id::from_raw([1; 12]), 0).unwrap();
    let Some(AuthConfig::Jwt(config)) = webhook.options.auth else { panic!("no token is asked for") };
    Jwt::compile(&config, rendered, |index, error| panic!("{index}: {error}"))
}

fn secret() -> Jwt {
    jwt(json!({"type": "jwt", "secret": "s"}), RenderedKeys::Secrets(vec!["s".to_owned()]))
}

fn sign(header: &[u8], claims: &[u8]) -> String {
    let text = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"s"), text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
}

fn check(jwt: &Jwt, token: &str) -> Verdict {
    jwt.check(Some(format!("Bearer {token}").as_bytes()), None, NOW)
}

/// RFC 7515, appendix A.3: a token on P-256, and its key.
const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const ES256_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

#[test]
fn the_token_of_rfc_7515_is_verified_with_its_key_until_it_expires() {
    let auth =
        json!({"type": "jwt", "jwksUrl": "https://a.example/keys", "issuer": "joe", "leewaySeconds": 0});
    let jwt = jwt(auth, RenderedKeys::Url("https://a.example/keys".to_owned()));
    let set = |keys: &str| KeySet::parse(format!("{{\"keys\": [{keys}]}}").as_bytes()).unwrap();
    let check = |set: Option<&KeySet>, unix_millis| {
        jwt.check(Some(format!("Bearer {ES256}").as_bytes()), set, Now { nanos: 0, unix_millis })
    };
    assert_eq!(check(None, NOW.unix_millis), Verdict::UnknownKey);
    assert_eq!(check(Some(&set(ES256_KEY)), 1_300_819_379_999), Verdict::Good);
    assert_eq!(check(Some(&set(ES256_KEY)), 1_300_819_380_000), Verdict::Refused);
    let named = ES256_KEY.replace("{\"kty\"", "{\"kid\":\"k\",\"kty\"");
    assert_eq!(check(Some(&set(&named)), NOW.unix_millis), Verdict::Good, "the token names no key");
    let other = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    assert_eq!(check(Some(&set(other)), NOW.unix_millis), Verdict::UnknownKey);
    assert_eq!(check(Some(&set(&format!("{other},{ES256_KEY}"))), NOW.unix_millis), Verdict::Good);
}

#[test]
fn a_token_on_p_384_is_verified_with_a_key_of_that_curve_alone() {
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    // Uncompressed: 4, x, y (SEC 1, 2.3.3).
    let [x, y] = [&pair.public_key().as_ref()[1..49], &pair.public_key().as_ref()[49..]]
        .map(|half| BASE64_URL_SAFE_NO_PAD.encode(half));
    let key = json!({"kty": "EC", "crv": "P-384", "x": x, "y": y});
    let text = format!(
        "{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(br#"{"alg":"ES384"}"#),
        BASE64_URL_SAFE_NO_PAD.encode(br#"{"exp":1300819380}"#)
    );
    let signature = pair.sign(&aws_lc_rs::rand::SystemRandom::new(), text.as_bytes()).unwrap();
    let token = format!("Bearer {text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
    let url = "https://a.example/keys";
    let jwt = jwt(json!({"type": "jwt", "jwksUrl": url}), RenderedKeys::Url(url.to_owned()));
    let check = |keys: &str| {
        let set = KeySet::parse(format!("{{\"keys\": [{keys}]}}").as_bytes()).unwrap();
        jwt.check(Some(token.as_bytes()), Some(&set), NOW)
    };
    assert_eq!(check(&key.to_string()), Verdict::Good);
    assert_eq!(check(ES256_KEY), Verdict::UnknownKey);
}

#[test]
fn two_that_let_the_same_callers_in_are_the_same() {
    let of = |leeway, secret: &str| {
        let auth = json!({"type": "jwt", "secret": "{{globals.s}}", "leewaySeconds": leeway});
        jwt(auth, RenderedKeys::Secrets(vec![secret.to_owned()]))
    };
    assert!(of(1, "s").is_same(&of(1, "s")));
    assert!(!of(1, "s").is_same(&of(2, "s")), "another rule");
    assert!(!of(1, "s").is_same(&of(1, "t")), "another secret, which a global gave");
}

#[test]
fn a_set_without_a_key_for_signatures_is_refused() {
    for (document, error) in [
        ("", KeySetError::Malformed),
        ("[]", KeySetError::Malformed),
        ("{\"keys\": {}}", KeySetError::Malformed),
        ("{\"keys\": []}", KeySetError::NoKey),
        ("{\"keys\": [1, {}, {\"kty\": \"oct\", \"k\": \"cw\"}]}", KeySetError::NoKey),
    ] {
        assert_eq!(KeySet::parse(document.as_bytes()).unwrap_err(), error, "{document}");
    }
}

#[test]
fn an_algorithm_without_a_signature_is_none() {
    let jwt = secret();
    assert_eq!(check(&jwt, &sign(br#"{"alg":"HS256"}"#, b"{}")), Verdict::Good);
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":null}"#,
        "{}",
        "[]",
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        "\u{feff}{\"alg\":\"HS256\"}",
    ] {
        let token = sign(header.as_bytes(), b"{}");
        assert_eq!(check(&jwt, &token), Verdict::Refused, "{header}");
        let unsigned = &token[..=token.rfind('.').unwrap()];
        assert_eq!(check(&jwt, unsigned), Verdict::Refused, "{header}");
    }
}

#[test]
fn claims_are_a_json_object_of_bounded_depth() {
    let header = br#"{"alg":"HS256"}"#;
    let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    for (claims, expected) in [
        (" {\"a\" : 1e2} ".to_owned(), Some("{\"a\" : 1e2}".to_owned())),
        ("{\"a\":\"\\ud83d\"}".to_owned(), Some("{\"a\":\"\\ufffd\"}".to_owned())),
        (deep(CLAIMS_DEPTH_MAX), Some(deep(CLAIMS_DEPTH_MAX))),
        (deep(CLAIMS_DEPTH_MAX + 1), None),
        ("[]".to_owned(), None),
        ("1".to_owned(), None),
        ("{\"a\":1,}".to_owned(), None),
        (String::new(), None),
    ] {
        let token = sign(header, claims.as_bytes());
        let verdict = if expected.is_some() { Verdict::Good } else { Verdict::Refused };
        assert_eq!(check(&secret(), &token), verdict, "{claims}");
        let shown = unverified_claims(format!("bearer {token}").as_bytes());
        assert_eq!(shown.map(|claims| String::from_utf8(claims).unwrap()), expected);
    }
}

#[test]
fn a_token_holds_from_nbf_to_exp_and_a_leeway_around() {
    let leeway = 30.0;
    let jwt = jwt(
        json!({"type": "jwt", "secret": "s", "leewaySeconds": leeway as u32}),
        RenderedKeys::Secrets(vec!["s".to_owned()]),
    );
    let now = NOW.unix_millis as f64 / 1000.0;
    for (claims, verdict) in [
        (json!({"nbf": now + leeway}), Verdict::Good),
        (json!({"nbf": now + leeway + 0.5}), Verdict::Refused),
        (json!({"exp": now - leeway + 0.5}), Verdict::Good),
        (json!({"exp": now - leeway}), Verdict::Refused),
        (json!({"nbf": now - 9.0, "exp": now + 9.0}), Verdict::Good),
        (json!({"nbf": "0"}), Verdict::Refused),
    ] {
        let token = sign(br#"{"alg":"HS256"}"#, claims.to_string().as_bytes());
        assert_eq!(check(&jwt, &token), verdict, "{claims}");
    }
}

proptest! {
    #[test]
    fn a_token_that_was_altered_is_refused(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let token = sign(br#"{"alg":"HS256","typ":"JWT"}"#, br#"{"sub":"me"}"#);
        let mut altered = token.clone().into_bytes();
        let place = place.index(altered.len());
        altered[place] = byte;
        let value = [b"Bearer ", altered.as_slice()].concat();
        let is_same = altered == token.as_bytes();
        // The last character of a part has bits that count for nothing; the decoder asks that they are zero.
        let verdict = secret().check(Some(&value), None, NOW);
        prop_assert_eq!(verdict, if is_same { Verdict::Good } else { Verdict::Refused });
    }
}
