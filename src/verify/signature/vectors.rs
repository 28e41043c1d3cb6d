//! Every scheme against requests that its sender's documentation or library signed, and against what may be wrong
//! with each of them. `vectors.json` names the origin of each.

use super::signed::CannotSign;
use super::*;
use crate::model::SignatureConfig;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    scheme: String,
    origin: String,
    secret: String,
    /// Seconds since 1970 when the request comes in.
    now: u64,
    body: String,
    fields: BTreeMap<String, String>,
    #[serde(default)]
    url: String,
    content_type: Option<String>,
    header: Option<String>,
    algorithm: Option<String>,
    encoding: Option<String>,
    prefix: Option<String>,
    /// Further fields of the webhook's `signature`.
    #[serde(default)]
    more: Map<String, Value>,
}

/// A public key on P-256 that signed nothing here.
const OTHER_P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEX8tfP5h1PI31VKPfA/lP5rHOF0CALy6+KZMqyJAx6p99bDGXrREBTyOll7LtuGEkwzbjsngt4p72fJPgjdQijg==";

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("vectors.json")).expect("the vectors are JSON")
}

impl Vector {
    fn scheme(&self) -> SignatureScheme {
        let mut fields = json!({"scheme": self.scheme, "secret": "any"});
        let own = [
            ("header", &self.header),
            ("algorithm", &self.algorithm),
            ("encoding", &self.encoding),
            ("prefix", &self.prefix),
        ];
        for (name, value) in own {
            if let Some(value) = value {
                fields[name] = Value::from(value.as_str());
            }
        }
        self.more.iter().for_each(|(name, value)| fields[name] = value.clone());
        SignatureConfig::read(&fields, None).expect("a signature").expect("it is not null").scheme
    }

    fn check_with(&self, secrets: &[&str]) -> Result<(), String> {
        let signature = Signature::compile(&self.scheme(), secrets).map_err(|error| error.to_string())?;
        let mut fields: Vec<(&[u8], &[u8])> =
            self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        if let Some(content_type) = &self.content_type {
            fields.push((b"content-type", content_type.as_bytes()));
        }
        let request = SignedRequest {
            url: self.url.as_bytes(),
            fields: &fields.iter().copied(),
            body: self.body.as_bytes(),
        };
        let now = Now { nanos: 0, unix_millis: self.now * 1000 };
        signature.check(&request, now).map(|_| ()).map_err(|mismatch| mismatch.to_string())
    }

    fn check(&self) -> Result<(), String> {
        self.check_with(&[&self.secret])
    }

    /// A secret that the scheme can use and that did not sign.
    fn other_secret(&self) -> &'static str {
        match self.scheme.as_str() {
            "sendgrid" => OTHER_P256,
            "discord" | "ed25519" => "0101010101010101010101010101010101010101010101010101010101010101",
            _ => "dGhlIG90aGVyIHNlY3JldA==",
        }
    }

    fn signature_field(&self) -> (&String, &String) {
        self.fields
            .iter()
            .find(|(name, _)| {
                let name = name.to_ascii_lowercase();
                name.contains("signature") && !name.contains("timestamp")
                    || name.contains("hmac")
                    || name == "x-tag"
            })
            .expect("a signature")
    }
}

#[test]
fn what_a_sender_signed_passes() {
    for vector in vectors() {
        assert_eq!(vector.check(), Ok(()), "{} {}", vector.scheme, vector.origin);
    }
}

#[test]
fn a_changed_body_is_refused() {
    for vector in vectors() {
        for body in [format!("{}x", vector.body), format!("x{}", vector.body), vector.body.replace("a", "b")]
        {
            if body != vector.body {
                let changed = Vector { body, ..vector.clone() };
                assert!(changed.check().is_err(), "{} {}: {}", changed.scheme, changed.origin, changed.body);
            }
        }
    }
}

#[test]
fn any_of_several_secrets_may_have_signed() {
    for vector in vectors() {
        let other = vector.other_secret();
        assert_eq!(vector.check_with(&[other, "", &vector.secret]), Ok(()), "{}", vector.origin);
        assert!(vector.check_with(&[other]).is_err(), "{}", vector.origin);
    }
}

#[test]
fn an_empty_secret_refuses_everything() {
    for vector in vectors() {
        for secrets in [&[""][..], &["", ""], &[]] {
            assert!(vector.check_with(secrets).is_err(), "{}", vector.origin);
        }
    }
    // Also what an empty key would have signed: HMAC-SHA256("", "").
    let mut github = vectors().into_iter().find(|vector| vector.scheme == "github").expect("there is one");
    github.body.clear();
    github.fields.values_mut().for_each(|value| {
        *value = "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad".to_owned();
    });
    assert!(github.check_with(&[""]).is_err());
}

#[test]
fn each_field_must_be_there_exactly_once() {
    for vector in vectors() {
        for name in vector.fields.keys() {
            let mut missing = vector.clone();
            let value = missing.fields.remove(name).expect("it was there");
            let message = missing.check().expect_err(name);
            assert!(message.contains("missing"), "{name}: {message}");

            // A map holds a name once, so the second one differs in its case.
            let mut repeated = vector.clone();
            let upper = name.to_ascii_uppercase();
            assert_ne!(&upper, name);
            repeated.fields.insert(upper, value);
            let message = repeated.check().expect_err(name);
            assert!(message.contains("more than once"), "{name}: {message}");
        }
    }
}

#[test]
fn every_cut_and_every_changed_byte_of_a_signature_is_refused() {
    for vector in vectors() {
        let (name, value) = vector.signature_field();
        for at in 0..value.len() {
            let mut cut = vector.clone();
            cut.fields.insert(name.clone(), value[..at].to_owned());
            // Padding of base64 may be left out.
            let unpadded = value[at..].bytes().all(|byte| byte == b'=');
            assert_eq!(cut.check().is_ok(), unpadded, "{}: {}", vector.origin, &value[..at]);

            let mut changed = value.clone().into_bytes();
            changed[at] = if changed[at] == b'B' { b'C' } else { b'B' };
            let changed = String::from_utf8(changed).expect("text");
            // Hex digits may be of either case.
            if !changed.eq_ignore_ascii_case(value) {
                let mut vector = vector.clone();
                vector.fields.insert(name.clone(), changed.clone());
                assert!(vector.check().is_err(), "{}: {changed}", vector.origin);
            }
        }
    }
}

#[test]
fn a_signed_timestamp_too_far_from_now_is_refused() {
    let timed = ["standard-webhooks", "stripe", "slack", "discord", "zoom", "sendgrid"];
    let mut seen = 0;
    for vector in vectors().into_iter().filter(|vector| timed.contains(&vector.scheme.as_str())) {
        seen += 1;
        for (now, passes) in [(300, true), (301, false)] {
            assert_eq!(Vector { now: vector.now + now, ..vector.clone() }.check().is_ok(), passes);
            assert_eq!(Vector { now: vector.now - now, ..vector.clone() }.check().is_ok(), passes);
        }
    }
    assert!(seen >= timed.len());
}

#[test]
fn a_changed_timestamp_or_id_is_refused() {
    for vector in vectors() {
        for (name, value) in &vector.fields {
            if name.ends_with("id") || name.to_ascii_lowercase().ends_with("timestamp") {
                for changed in [format!("{value}0"), format!("0{value}"), value.replace('1', "2")] {
                    if changed != *value {
                        let mut vector = vector.clone();
                        vector.fields.insert(name.clone(), changed);
                        assert!(vector.check().is_err(), "{}", vector.origin);
                    }
                }
            }
        }
    }
}

#[test]
fn one_right_signature_among_several_is_enough() {
    for (scheme, several) in [
        ("standard-webhooks", "v1a,AAAA v2,AAAA v1,bm9uc2Vuc2U= {} v1,!"),
        ("stripe", "v0=6ffb,v1=00,{},v1=zz,x"),
        ("pagerduty", "v2=6ffb, v1=00,{},v1=zz,x"),
    ] {
        for vector in vectors().into_iter().filter(|vector| vector.scheme == scheme) {
            let (name, value) = vector.signature_field();
            let mut vector = vector.clone();
            vector.fields.insert(name.clone(), several.replace("{}", value));
            assert_eq!(vector.check(), Ok(()), "{}", vector.origin);
            let none = several.replace("{}", "v3=0");
            vector.fields.insert(vector.signature_field().0.clone(), none);
            assert!(vector.check().is_err(), "{}", vector.origin);
        }
    }
}

#[test]
fn a_second_timestamp_of_stripe_is_refused() {
    let vector = vectors().into_iter().find(|vector| vector.scheme == "stripe").expect("there is one");
    let (name, value) = vector.signature_field();
    for changed in
        [format!("{value},t=1"), format!("t={},{value}", vector.now), value.replacen("t=", "T=", 1)]
    {
        let mut vector = vector.clone();
        vector.fields.insert(name.clone(), changed);
        assert!(vector.check().is_err());
    }
}

#[test]
fn fitbits_signature_may_be_percent_encoded() {
    let vector = vectors().into_iter().find(|vector| vector.scheme == "fitbit").expect("there is one");
    let (name, value) = vector.signature_field();
    let encoded = value.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    assert_ne!(&encoded, value);
    let mut vector = vector.clone();
    vector.fields.insert(name.clone(), encoded);
    assert_eq!(vector.check(), Ok(()));
}

#[test]
fn twilios_port_is_tried_both_ways() {
    for vector in vectors().into_iter().filter(|vector| vector.scheme == "twilio") {
        for (from, to) in [(".com:443/", ".com/"), (".com/", ".com:443/")] {
            let url = vector.url.replacen(from, to, 1);
            assert_eq!(Vector { url, ..vector.clone() }.check(), Ok(()), "{}", vector.origin);
        }
        let url = vector.url.replacen("https", "http", 1);
        assert!(Vector { url, ..vector.clone() }.check().is_err());
    }
}

#[test]
fn a_body_that_twilio_did_not_sign_is_refused() {
    let vectors: Vec<_> = vectors().into_iter().filter(|vector| vector.scheme == "twilio").collect();
    let get = vectors.iter().find(|vector| vector.origin.ends_with("GET")).expect("there is one");
    for content_type in [None, Some("application/json".to_owned()), Some("text/plain".to_owned())] {
        let with_body = Vector { body: "{}".to_owned(), content_type, ..get.clone() };
        assert!(with_body.check().expect_err("a body").contains("does not cover the body"));
    }
    let json = vectors.iter().find(|vector| vector.origin.ends_with("JSON body")).expect("there is one");
    let changed = Vector { body: "{}".to_owned(), ..json.clone() };
    assert!(changed.check().expect_err("another body").contains("bodySHA256"));
}

#[test]
fn twilios_parameters_count_in_any_order() {
    let vector =
        vectors().into_iter().find(|vector| vector.body.starts_with("Z=last")).expect("there is one");
    let mut parts: Vec<_> = vector.body.split('&').collect();
    parts.reverse();
    assert_eq!(Vector { body: parts.join("&"), ..vector.clone() }.check(), Ok(()));
}

#[test]
fn a_standard_webhooks_secret_must_be_base64() {
    for (index, secrets) in
        [&["whsec_!"][..], &["", "whsec_"], &["plJ3", "", "not base64"]].iter().enumerate()
    {
        let error = Signature::compile(&SignatureScheme::StandardWebhooks, secrets).expect_err("no base64");
        assert_eq!(error.index, index);
        assert!(error.to_string().starts_with("signature.secret must be base64"), "{error}");
    }
}

#[test]
fn what_is_signed_here_is_what_the_library_signs() {
    for vector in vectors().into_iter().filter(|vector| vector.scheme == "standard-webhooks") {
        let id = vector.fields.iter().find(|(name, _)| name.ends_with("-id")).expect("an id").1;
        let key = StandardKey::parse(&vector.secret).expect("a secret");
        assert_eq!(&key.sign(id, vector.now, vector.body.as_bytes()), vector.signature_field().1);
    }
    assert!(StandardKey::parse("").is_none());
    assert!(StandardKey::parse("whsec_").is_none());
}

#[test]
fn messages_never_show_the_expected_tag() {
    for vector in vectors() {
        let (name, value) = vector.signature_field();
        let tag = value.rsplit(['=', ',']).find(|part| !part.is_empty()).expect("a tag");
        let mut wrong = vector.clone();
        let flipped = value.replacen(tag, &tag.replace(['a', 'B', '1'], "c"), 1);
        wrong.fields.insert(name.clone(), flipped);
        if let Err(message) = wrong.check() {
            assert!(!message.contains(tag) && !message.contains(&vector.secret), "{message}");
        }
        let shown = format!("{:?}", Signature::compile(&vector.scheme(), &[&vector.secret]));
        assert!(!shown.contains(&vector.secret), "{shown}");
    }
}

#[test]
fn a_configured_timestamp_is_held_to_its_tolerance() {
    let vectors = vectors();
    let mut seen = 0;
    for vector in vectors.iter().filter(|vector| vector.more.contains_key("timestampHeader")) {
        for tolerance in [300, 10, 86_400] {
            let mut vector = vector.clone();
            if tolerance != 300 {
                vector.more.insert("toleranceSeconds".to_owned(), json!(tolerance));
            }
            seen += 1;
            for (off, passes) in [(tolerance, true), (tolerance + 1, false)] {
                assert_eq!(Vector { now: vector.now + off, ..vector.clone() }.check().is_ok(), passes);
                assert_eq!(Vector { now: vector.now - off, ..vector.clone() }.check().is_ok(), passes);
            }
        }
    }
    assert_eq!(seen, 6);
}

#[test]
fn a_public_key_must_be_one() {
    for scheme in [json!({"scheme": "discord"}), json!({"scheme": "ed25519", "header": "X"})] {
        let mut fields = scheme;
        fields["secret"] = json!("any");
        let scheme = SignatureConfig::read(&fields, None).unwrap().unwrap().scheme;
        let error = Signature::compile(&scheme, &["", "not a key"]).expect_err("not a key");
        assert_eq!(error.index, 1);
        assert!(error.to_string().contains("must be an Ed25519 public key"), "{error}");
    }
    // The same point under another curve's name, and one that is compressed, are none.
    for key in ["not a key", &OTHER_P256[4..], &OTHER_P256.replace("AQcDQgAE", "AQcDQgAC")] {
        let error = Signature::compile(&SignatureScheme::Sendgrid, &[key]).expect_err("not a key");
        assert!(error.to_string().contains("must be a public key on P-256"), "{error}");
    }
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n",
        &OTHER_P256[..64],
        &OTHER_P256[64..]
    );
    assert!(Signature::compile(&SignatureScheme::Sendgrid, &[pem]).is_ok());
}

#[test]
fn what_is_signed_here_passes_the_check_of_its_scheme() {
    let mut signed_count = 0;
    for vector in vectors() {
        let signature = Signature::compile(&vector.scheme(), &["", &vector.secret]).expect("a secret");
        let now = Now { nanos: 0, unix_millis: vector.now * 1000 };
        let content_type = vector.content_type.as_deref().unwrap_or_default();
        let (url, body) = (vector.url.as_bytes(), vector.body.as_bytes());
        let signed = match signature.sign(&Unsigned { url, content_type, body, id: "msg_1" }, now) {
            Ok(signed) => signed,
            Err(error) => {
                assert_eq!(error, CannotSign::PublicKey, "{}", vector.origin);
                assert!(["discord", "ed25519", "sendgrid"].contains(&vector.scheme.as_str()));
                continue;
            }
        };
        signed_count += 1;
        assert_eq!(signed.body, None);
        let mut fields: Vec<(&[u8], &[u8])> = vec![(b"content-type", content_type.as_bytes())];
        fields.extend(signed.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let request = SignedRequest { url, fields: &fields.iter().copied(), body };
        assert!(signature.check(&request, now).is_ok(), "{}: {:?}", vector.origin, signed.fields);
    }
    assert!(signed_count > 10);
}

#[test]
fn nothing_is_signed_without_a_secret() {
    let unsigned = Unsigned { url: b"", content_type: "", body: b"", id: "msg_1" };
    for vector in vectors()
        .into_iter()
        .filter(|vector| !["discord", "ed25519", "sendgrid"].contains(&vector.scheme.as_str()))
    {
        let signature = Signature::compile(&vector.scheme(), &[""]).expect("an empty secret");
        let now = Now { nanos: 0, unix_millis: vector.now * 1000 };
        assert_eq!(signature.sign(&unsigned, now), Err(CannotSign::NoSecret), "{}", vector.origin);
    }
}

#[test]
fn a_tag_that_cannot_be_read_is_refused_with_what_it_must_be() {
    for (encoding, tag, must) in [
        ("hex", "no tag", "a tag in hex digits"),
        ("base64", "no tag", "a tag in base64"),
        ("hex", "", "a tag in hex digits"),
    ] {
        let fields = json!({"scheme": "hmac", "secret": "s", "header": "x-tag", "encoding": encoding});
        let scheme =
            SignatureConfig::read(&fields, None).expect("a signature").expect("it is not null").scheme;
        let signature = Signature::compile(&scheme, &["s"]).expect("any secret will do");
        let fields = [(&b"x-tag"[..], tag.as_bytes())];
        let request = SignedRequest { url: b"", fields: &fields.iter().copied(), body: b"" };
        let refused = signature.check(&request, Now { nanos: 0, unix_millis: 0 }).unwrap_err();
        assert_eq!(refused.to_string(), format!("x-tag must be {must}"));
    }
}
