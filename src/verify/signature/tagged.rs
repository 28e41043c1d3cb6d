//! Schemes with a tag in one field: of the body alone, or of the body with a timestamp, an id or the URL.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::keys::SignatureKeys;
use super::mismatch::Mismatch;
use super::request::{SignedRequest, Unsigned};
use super::tag::{Tag, from_base64, from_hex};
use super::timed::{self, TIMESTAMP_TOLERANCE_SECONDS, Written};
use crate::base::clock::Now;
use crate::base::text::{base64_into, hex_into, percent_decode_into};
use crate::model::{HeaderScheme, HmacEncoding, SignedPart, TimestampSource};

/// Where the tag is, how it is written, and what is signed.
#[derive(Clone, Debug)]
pub(super) struct Tagged {
    field: Cow<'static, str>,
    /// The text before each tag.
    prefix: Cow<'static, str>,
    /// The separator of the members of the field; `None`: it holds one tag.
    separator: Option<Cow<'static, str>>,
    encoding: TagEncoding,
    timestamp: Option<Timestamp>,
    id_field: Cow<'static, str>,
    signed: Cow<'static, [SignedPart]>,
}

#[derive(Clone, Copy, Debug)]
enum TagEncoding {
    Hex,
    Base64,
    /// Base64 that may be percent-encoded: Fitbit documents that it is, and sends it as it is.
    PercentBase64,
}

#[derive(Clone, Debug)]
struct Timestamp {
    field: Cow<'static, str>,
    /// It is the member of `field` that begins so; none: the whole of `field`.
    prefix: Option<Cow<'static, str>>,
    written: Written,
    tolerance_seconds: u64,
}

const BODY: &[SignedPart] = &[SignedPart::Body];

impl Tagged {
    /// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>, and Meta's, which is the
    /// same: <https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads>
    pub(super) fn github() -> Tagged {
        Tagged::of_body("X-Hub-Signature-256", "sha256=", TagEncoding::Hex)
    }

    /// <https://shopify.dev/docs/apps/build/webhooks/subscribe/https#step-2-validate-the-origin-of-your-webhook>
    pub(super) fn shopify() -> Tagged {
        Tagged::of_body("X-Shopify-Hmac-Sha256", "", TagEncoding::Base64)
    }

    /// <https://dev.fitbit.com/build/reference/web-api/developer-guide/best-practices/#Subscriber-Security>
    pub(super) fn fitbit() -> Tagged {
        Tagged::of_body("X-Fitbit-Signature", "", TagEncoding::PercentBase64)
    }

    /// Several tags while secrets are rotated: <https://developer.pagerduty.com/docs/verifying-signatures>
    pub(super) fn pagerduty() -> Tagged {
        let one = Tagged::of_body("X-PagerDuty-Signature", "v1=", TagEncoding::Hex);
        Tagged { separator: Some(Cow::Borrowed(",")), ..one }
    }

    /// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
    pub(super) fn slack() -> Tagged {
        Tagged::of_version_0("X-Slack-Signature", "X-Slack-Request-Timestamp")
    }

    /// <https://developers.zoom.us/docs/api/webhooks/#verify-webhook-events>
    pub(super) fn zoom() -> Tagged {
        Tagged::of_version_0("x-zm-signature", "x-zm-request-timestamp")
    }

    /// <https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint-validating-security-request-headers>
    pub(super) fn discord() -> Tagged {
        Tagged {
            timestamp: Some(Timestamp::seconds("X-Signature-Timestamp")),
            signed: Cow::Borrowed(&[SignedPart::Timestamp, SignedPart::Body]),
            ..Tagged::of_body("X-Signature-Ed25519", "", TagEncoding::Hex)
        }
    }

    /// <https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features>
    pub(super) fn sendgrid() -> Tagged {
        Tagged {
            timestamp: Some(Timestamp::seconds("X-Twilio-Email-Event-Webhook-Timestamp")),
            signed: Cow::Borrowed(&[SignedPart::Timestamp, SignedPart::Body]),
            ..Tagged::of_body("X-Twilio-Email-Event-Webhook-Signature", "", TagEncoding::Base64)
        }
    }

    /// `v0=<hex>` over `v0:<timestamp>:<body>`.
    fn of_version_0(field: &'static str, timestamp: &'static str) -> Tagged {
        Tagged {
            timestamp: Some(Timestamp::seconds(timestamp)),
            signed: Cow::Owned(vec![
                SignedPart::Text("v0:".to_owned()),
                SignedPart::Timestamp,
                SignedPart::Text(":".to_owned()),
                SignedPart::Body,
            ]),
            ..Tagged::of_body(field, "v0=", TagEncoding::Hex)
        }
    }

    fn of_body(field: &'static str, prefix: &'static str, encoding: TagEncoding) -> Tagged {
        Tagged {
            field: Cow::Borrowed(field),
            prefix: Cow::Borrowed(prefix),
            separator: None,
            encoding,
            timestamp: None,
            id_field: Cow::Borrowed(""),
            signed: Cow::Borrowed(BODY),
        }
    }

    /// A scheme that is described by the webhook's `signature`.
    pub(super) fn configured(scheme: &HeaderScheme) -> Tagged {
        Tagged {
            field: Cow::Owned(scheme.header.clone()),
            prefix: Cow::Owned(scheme.prefix.clone()),
            separator: scheme.separator.clone().map(Cow::Owned),
            encoding: match scheme.encoding {
                HmacEncoding::Hex => TagEncoding::Hex,
                HmacEncoding::Base64 => TagEncoding::Base64,
            },
            timestamp: scheme.timestamp.as_ref().map(|source| Timestamp::configured(scheme, source)),
            id_field: Cow::Owned(scheme.id_header.clone()),
            signed: Cow::Owned(scheme.signed.parts().to_vec()),
        }
    }

    /// The number of the key that signed.
    pub(super) fn check(
        &self,
        keys: &SignatureKeys,
        request: &SignedRequest<'_>,
        now: Now,
    ) -> Result<usize, Mismatch<'_>> {
        let timestamp = match &self.timestamp {
            None => &b""[..],
            Some(timestamp) => timestamp.check(request, self.separator.as_deref(), now)?,
        };
        let value = request.fields.once(&self.field).map_err(Mismatch::not_once(&self.field))?;
        let tags = self.tags(value)?;
        let mut parts: SmallVec<[&[u8]; 4]> = SmallVec::new();
        for part in self.signed.iter() {
            parts.push(match part {
                SignedPart::Text(text) => text.as_bytes(),
                SignedPart::Timestamp => timestamp,
                SignedPart::Body => request.body,
                SignedPart::Url => request.url,
                SignedPart::Id => {
                    request.fields.once(&self.id_field).map_err(Mismatch::not_once(&self.id_field))?
                }
            });
        }
        keys.matching(&parts, &tags).ok_or(Mismatch::Wrong(&self.field))
    }

    /// The fields that make a request genuine under the first of `keys`; `None` where there is none to sign with.
    pub(super) fn sign(
        &self,
        keys: &SignatureKeys,
        request: &Unsigned<'_>,
        now: Now,
    ) -> Option<Vec<(String, String)>> {
        let seconds = now.unix_seconds().to_string();
        let mut fields = Vec::new();
        let mut parts: SmallVec<[&[u8]; 4]> = SmallVec::new();
        for part in self.signed.iter() {
            parts.push(match part {
                SignedPart::Text(text) => text.as_bytes(),
                SignedPart::Timestamp => seconds.as_bytes(),
                SignedPart::Body => request.body,
                SignedPart::Url => request.url,
                SignedPart::Id => {
                    fields.push((self.id_field.clone().into_owned(), request.id.to_owned()));
                    request.id.as_bytes()
                }
            });
        }
        let tag = self.written(keys.sign_parts(&parts)?.as_ref());
        let tag = match &self.timestamp {
            Some(Timestamp { field, prefix: None, .. }) => {
                fields.push((field.clone().into_owned(), seconds.clone()));
                tag
            }
            Some(Timestamp { prefix: Some(prefix), .. }) => {
                format!("{prefix}{seconds}{}{tag}", self.separator.as_deref().unwrap_or(","))
            }
            None => tag,
        };
        fields.push((self.field.clone().into_owned(), tag));
        Some(fields)
    }

    /// A tag as the field holds it.
    fn written(&self, tag: &[u8]) -> String {
        let mut text = self.prefix.clone().into_owned().into_bytes();
        match self.encoding {
            TagEncoding::Hex => hex_into(&mut text, tag),
            TagEncoding::Base64 | TagEncoding::PercentBase64 => base64_into(&mut text, tag),
        }
        // A prefix is text, hex and base64 are ASCII.
        String::from_utf8(text).unwrap_or_default()
    }

    /// The tags of the field, at least one. Members of a list that are no tags are passed over.
    fn tags(&self, value: &[u8]) -> Result<SmallVec<[Tag; 2]>, Mismatch<'_>> {
        let malformed = |must| Mismatch::Malformed { field: &self.field, must };
        let Some(separator) = &self.separator else {
            let Some(text) = value.strip_prefix(self.prefix.as_bytes()) else {
                return Err(malformed("the prefix of the scheme and a tag"));
            };
            let tag = self.tag(text).ok_or_else(|| malformed(self.encoding.must()))?;
            return Ok(SmallVec::from_iter([tag]));
        };
        let tags: SmallVec<[Tag; 2]> = members(value, separator)
            .filter_map(|member| self.tag(member.strip_prefix(self.prefix.as_bytes())?))
            .collect();
        if tags.is_empty() { Err(malformed("a list with a tag of the scheme's prefix")) } else { Ok(tags) }
    }

    fn tag(&self, text: &[u8]) -> Option<Tag> {
        match self.encoding {
            TagEncoding::Hex => from_hex(text),
            TagEncoding::Base64 => from_base64(text),
            TagEncoding::PercentBase64 => {
                let mut decoded = Vec::new();
                percent_decode_into(&mut decoded, text, false);
                from_base64(&decoded)
            }
        }
    }
}

impl TagEncoding {
    fn must(self) -> &'static str {
        match self {
            TagEncoding::Hex => "a tag in hex digits",
            TagEncoding::Base64 | TagEncoding::PercentBase64 => "a tag in base64",
        }
    }
}

impl Timestamp {
    /// Seconds since 1970 in a field of their own.
    fn seconds(field: &'static str) -> Timestamp {
        Timestamp {
            field: Cow::Borrowed(field),
            prefix: None,
            written: Written::Seconds,
            tolerance_seconds: TIMESTAMP_TOLERANCE_SECONDS,
        }
    }

    fn configured(scheme: &HeaderScheme, source: &TimestampSource) -> Timestamp {
        let (field, prefix) = match source {
            TimestampSource::Header(name) => (name.clone(), None),
            TimestampSource::Member(prefix) => (scheme.header.clone(), Some(Cow::Owned(prefix.clone()))),
        };
        Timestamp {
            field: Cow::Owned(field),
            prefix,
            written: Written::Any,
            tolerance_seconds: scheme.tolerance_seconds.into(),
        }
    }

    /// The timestamp as it was sent, if it lies near enough to now.
    fn check<'r>(
        &self,
        request: &SignedRequest<'r>,
        separator: Option<&str>,
        now: Now,
    ) -> Result<&'r [u8], Mismatch<'_>> {
        let value = request.fields.once(&self.field).map_err(Mismatch::not_once(&self.field))?;
        let text = match &self.prefix {
            None => value,
            Some(prefix) => {
                let mut found = members(value, separator.unwrap_or(","))
                    .filter_map(|member| member.strip_prefix(prefix.as_bytes()));
                // Which of two timestamps would count is not ours to guess.
                let one = (found.next(), found.next());
                let (Some(text), None) = one else {
                    let must = "a list with one timestamp and a tag";
                    return Err(Mismatch::Malformed { field: &self.field, must });
                };
                text
            }
        };
        timed::check(&self.field, text, self.written, self.tolerance_seconds, now)?;
        Ok(text)
    }
}

/// The members of a field, without the white space around them.
fn members<'v>(value: &'v [u8], separator: &str) -> impl Iterator<Item = &'v [u8]> {
    let separator = separator.as_bytes();
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        match memchr::memmem::find(text, separator).filter(|_| !separator.is_empty()) {
            Some(at) => {
                rest = Some(&text[at + separator.len()..]);
                Some(text[..at].trim_ascii())
            }
            None => {
                rest = None;
                Some(text.trim_ascii())
            }
        }
    })
}
