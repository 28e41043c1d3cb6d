//! Standard Webhooks (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>),
//! the symmetric `v1` of it: checking, and signing for whoever delivers.

use super::keys::SignatureKeys;
use super::mismatch::Mismatch;
use super::request::{SignedRequest, Unsigned};
use super::tag::{Tag, from_base64};
use super::timed::timestamp;
use crate::base::clock::Now;
use crate::base::text::{base64_decode, base64_into};
use crate::verify::fields::NotOnce;
use aws_lc_rs::hmac;
use smallvec::SmallVec;

/// The prefix of a secret; it may be left out.
const SECRET_PREFIX: &str = "whsec_";
/// The symmetric version; `v1a` is the asymmetric one, and passed over.
const VERSION: &[u8] = b"v1,";

/// The fields' names: those of Standard Webhooks, and those of Svix, which it grew from and which sends them still.
struct FieldNames {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}
const STANDARD: FieldNames =
    FieldNames { id: "webhook-id", timestamp: "webhook-timestamp", signature: "webhook-signature" };
const SVIX: FieldNames =
    FieldNames { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };

/// A secret to sign with.
#[derive(Clone, Debug)]
pub struct StandardKey(hmac::Key);

impl StandardKey {
    /// Reads `whsec_<base64>`, or the base64 alone; `None` where it is neither, or empty.
    #[must_use]
    pub fn parse(secret: &str) -> Option<StandardKey> {
        key(secret).ok().map(StandardKey)
    }

    /// The value of `webhook-signature`: `v1,<base64>`, for these values of `webhook-id` and `webhook-timestamp` and
    /// this body.
    #[must_use]
    pub fn sign(&self, id: &str, unix_seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [id.as_bytes(), b".", unix_seconds.to_string().as_bytes(), b".", body] {
            context.update(part);
        }
        let mut value = VERSION.to_vec();
        base64_into(&mut value, context.sign().as_ref());
        String::from_utf8(value).expect("base64 is ASCII")
    }
}

pub(super) fn key(secret: &str) -> Result<hmac::Key, &'static str> {
    let encoded = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    match base64_decode(encoded.as_bytes()) {
        Some(bytes) if !bytes.is_empty() => Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
        _ => Err("must be base64, with or without whsec_ before it"),
    }
}

/// The fields that make a request genuine; `None` where there is no key to sign with.
pub(super) fn sign(keys: &SignatureKeys, request: &Unsigned<'_>, now: Now) -> Option<Vec<(String, String)>> {
    let seconds = now.unix_seconds().to_string();
    let tag = keys.sign_parts(&[request.id.as_bytes(), b".", seconds.as_bytes(), b".", request.body])?;
    let mut value = VERSION.to_vec();
    base64_into(&mut value, tag.as_ref());
    Some(vec![
        (STANDARD.id.to_owned(), request.id.to_owned()),
        (STANDARD.timestamp.to_owned(), seconds),
        // Base64 is ASCII.
        (STANDARD.signature.to_owned(), String::from_utf8(value).unwrap_or_default()),
    ])
}

pub(super) fn check(
    keys: &SignatureKeys,
    request: &SignedRequest<'_>,
    now: Now,
) -> Result<usize, Mismatch<'static>> {
    let sent = |field: &'static str| request.fields.once(field).map_err(Mismatch::not_once(field));
    let svix = request.fields.once(STANDARD.signature) == Err(NotOnce::Missing)
        && request.fields.once(SVIX.signature) != Err(NotOnce::Missing);
    let names = if svix { &SVIX } else { &STANDARD };
    let (id, seconds, signatures) = (sent(names.id)?, sent(names.timestamp)?, sent(names.signature)?);
    timestamp(names.timestamp, seconds, now)?;
    let tags: SmallVec<[Tag; 2]> = signatures
        .split(|&byte| byte == b' ')
        .filter_map(|signature| signature.strip_prefix(VERSION))
        .filter_map(from_base64)
        .collect();
    if tags.is_empty() {
        return Err(Mismatch::Malformed {
            field: names.signature,
            must: "v1,<base64>, or several with spaces between",
        });
    }
    keys.matching(&[id, b".", seconds, b".", request.body], &tags).ok_or(Mismatch::Wrong(names.signature))
}
