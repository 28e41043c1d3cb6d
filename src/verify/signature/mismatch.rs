//! Why a signature was refused, in words that help whoever sets a sender up.

use crate::verify::fields::NotOnce;
use std::fmt;

/// A request's signature is not right. Field names are spelt as their sender's documentation spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'s> {
    /// The field is not there.
    Missing(&'s str),
    /// The field is there more than once.
    Repeated(&'s str),
    /// The field is not of the form that its scheme gives it.
    Malformed {
        /// Its name.
        field: &'s str,
        /// The requirement that the field breaks.
        must: &'static str,
    },
    /// The timestamp lies too far in the past.
    TooOld(&'s str),
    /// The timestamp lies too far in the future.
    TooNew(&'s str),
    /// The tag in the field is not the one of this request and any of the secrets.
    Wrong(&'s str),
    /// Twilio: the signature says nothing of the body, which is neither a form nor hashed in the URL.
    BodyNotSigned,
    /// Twilio: the body is not the one whose hash the URL carries.
    BodyChanged,
}

impl<'s> Mismatch<'s> {
    /// The status that a refused request is answered with.
    pub const STATUS: u16 = 401;

    pub(super) fn not_once(field: &'s str) -> impl FnOnce(NotOnce) -> Mismatch<'s> {
        move |why| match why {
            NotOnce::Missing => Mismatch::Missing(field),
            NotOnce::Repeated => Mismatch::Repeated(field),
        }
    }
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Missing(field) => write!(f, "{field} is missing"),
            Mismatch::Repeated(field) => write!(f, "{field} is there more than once"),
            Mismatch::Malformed { field, must } => write!(f, "{field} must be {must}"),
            Mismatch::TooOld(field) => write!(f, "the timestamp in {field} is too old"),
            Mismatch::TooNew(field) => write!(f, "the timestamp in {field} is in the future"),
            Mismatch::Wrong(field) => write!(f, "{field} does not match the request and the secret"),
            Mismatch::BodyNotSigned => f.write_str(
                "X-Twilio-Signature does not cover the body: a form, or bodySHA256 in the URL is needed",
            ),
            Mismatch::BodyChanged => f.write_str("bodySHA256 in the URL does not match the body"),
        }
    }
}

impl std::error::Error for Mismatch<'_> {}
