//! Schemes that put a tag of the body alone into one field: github, meta, shopify, fitbit and `hmac`.

use super::tag::{any_matches, from_base64, from_hex};
use super::{Mismatch, SignedRequest};
use crate::base::text::percent_decode_into;
use crate::model::{HmacAlgorithm, HmacEncoding, HmacScheme};
use aws_lc_rs::hmac;
use std::borrow::Cow;

/// Where the tag stands and how it is written.
#[derive(Clone, Debug)]
pub(super) struct BodyTag {
    field: Cow<'static, str>,
    prefix: Cow<'static, str>,
    encoding: Encoding,
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    Hex,
    Base64,
    /// Base64 that may be percent-encoded: Fitbit documents that it is, and sends it as it is.
    PercentBase64,
}

impl BodyTag {
    /// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>, and Meta's, which is the
    /// same: <https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads>
    pub(super) fn github() -> BodyTag {
        BodyTag::fixed("X-Hub-Signature-256", "sha256=", Encoding::Hex)
    }

    /// <https://shopify.dev/docs/apps/build/webhooks/subscribe/https#step-2-validate-the-origin-of-your-webhook>
    pub(super) fn shopify() -> BodyTag {
        BodyTag::fixed("X-Shopify-Hmac-Sha256", "", Encoding::Base64)
    }

    /// <https://dev.fitbit.com/build/reference/web-api/developer-guide/best-practices/#Subscriber-Security>
    pub(super) fn fitbit() -> BodyTag {
        BodyTag::fixed("X-Fitbit-Signature", "", Encoding::PercentBase64)
    }

    pub(super) fn hmac(scheme: &HmacScheme) -> BodyTag {
        BodyTag {
            field: Cow::Owned(scheme.header.clone()),
            prefix: Cow::Owned(scheme.prefix.clone()),
            encoding: match scheme.encoding {
                HmacEncoding::Hex => Encoding::Hex,
                HmacEncoding::Base64 => Encoding::Base64,
            },
        }
    }

    fn fixed(field: &'static str, prefix: &'static str, encoding: Encoding) -> BodyTag {
        BodyTag { field: Cow::Borrowed(field), prefix: Cow::Borrowed(prefix), encoding }
    }

    pub(super) fn check(&self, keys: &[hmac::Key], request: &SignedRequest<'_>) -> Result<(), Mismatch<'_>> {
        let value = request.fields.once(&self.field).map_err(Mismatch::not_once(&self.field))?;
        let malformed = |must| Mismatch::Malformed { field: &self.field, must };
        let Some(text) = value.strip_prefix(self.prefix.as_bytes()) else {
            return Err(malformed("the prefix of the scheme and a tag"));
        };
        let tag = match self.encoding {
            Encoding::Hex => from_hex(text).ok_or_else(|| malformed("a tag in hex digits")),
            Encoding::Base64 => from_base64(text).ok_or_else(|| malformed("a tag in base64")),
            Encoding::PercentBase64 => {
                let mut decoded = Vec::new();
                percent_decode_into(&mut decoded, text, false);
                from_base64(&decoded).ok_or_else(|| malformed("a tag in base64"))
            }
        }?;
        if any_matches(keys, &[request.body], &[tag]) { Ok(()) } else { Err(Mismatch::Wrong(&self.field)) }
    }
}

/// Fitbit signs as OAuth 1.0 does with no token: the client's secret and `&` are the key.
pub(super) fn fitbit_key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, format!("{secret}&").as_bytes())
}

pub(super) fn algorithm(algorithm: HmacAlgorithm) -> hmac::Algorithm {
    match algorithm {
        HmacAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HmacAlgorithm::Sha256 => hmac::HMAC_SHA256,
        HmacAlgorithm::Sha512 => hmac::HMAC_SHA512,
    }
}
