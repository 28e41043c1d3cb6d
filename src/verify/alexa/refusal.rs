//! All that can be wrong with an Alexa request, in words that help whoever sets a skill up.

use super::age::TOLERANCE_MILLIS;
use super::chain::ChainError;
use super::digest::Digest;
use super::rules::UrlRule;
use crate::verify::fields::NotOnce;
use std::fmt;

/// A request is not Amazon's, or cannot be shown to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlexaRefusal {
    /// A field that must be there once is not there, or is there several times.
    Field(&'static str, NotOnce),
    /// The signature is not base64, or longer than any key's.
    MalformedSignature(Digest),
    /// `SignatureCertChainUrl` breaks a rule.
    Url(UrlRule),
    /// The body is not JSON with one `request` object.
    NoRequest,
    /// `request.timestamp` is not there, not a time, or there more than once.
    Timestamp,
    /// The body was made too long ago for its type.
    TooOld {
        /// How old it may be.
        age_millis_max: u64,
    },
    /// The body says that it will be made.
    TooNew,
    /// The chain could not be had.
    Fetch(FetchError),
    /// The chain is not one that Amazon signs with.
    Chain(ChainError),
    /// The signature is not the leaf's, or not of this body.
    WrongSignature(Digest),
}

/// Why a chain could not be fetched. Copied to all who wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Too many wait already.
    Busy,
    /// The process is stopping.
    Stopped,
    /// Nothing answered there, or not with TLS that can be trusted.
    Connect,
    /// It took too long.
    TimedOut,
    /// The connection broke, or spoke no HTTP.
    Broken,
    /// The response was no 200. Redirects are not followed.
    Status(u16),
    /// The response was longer than any chain.
    TooLarge,
    /// The response is not a chain to trust.
    Chain(ChainError),
}

impl AlexaRefusal {
    /// The status that a refused request is answered with.
    pub const STATUS: u16 = 400;
}

impl fmt::Display for AlexaRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlexaRefusal::Field(name, NotOnce::Missing) => write!(f, "{name} header is missing"),
            AlexaRefusal::Field(name, NotOnce::Repeated) => {
                write!(f, "{name} header is there more than once")
            }
            AlexaRefusal::MalformedSignature(digest) => write!(f, "{} must be base64", digest.field()),
            AlexaRefusal::Url(rule) => write!(f, "SignatureCertChainUrl {rule}"),
            AlexaRefusal::NoRequest => f.write_str("the body must be JSON with one request object"),
            AlexaRefusal::Timestamp => {
                f.write_str("request.timestamp must be there once, as an ISO 8601 time")
            }
            AlexaRefusal::TooOld { age_millis_max } => {
                write!(f, "request.timestamp is more than {} seconds old", age_millis_max / 1000)
            }
            AlexaRefusal::TooNew => {
                write!(f, "request.timestamp is more than {} seconds in the future", TOLERANCE_MILLIS / 1000)
            }
            AlexaRefusal::Fetch(FetchError::Chain(error)) | AlexaRefusal::Chain(error) => {
                write!(f, "the certificate chain {error}")
            }
            AlexaRefusal::Fetch(error) => write!(f, "the certificate chain could not be fetched: {error}"),
            AlexaRefusal::WrongSignature(digest) => write!(f, "{} does not match the body", digest.field()),
        }
    }
}

impl std::error::Error for AlexaRefusal {}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Busy => f.write_str("too many are being fetched"),
            FetchError::Stopped => f.write_str("the server is stopping"),
            FetchError::Connect => f.write_str("no trusted connection"),
            FetchError::TimedOut => f.write_str("it took too long"),
            FetchError::Broken => f.write_str("the connection broke"),
            FetchError::Status(status) => write!(f, "the response was {status}"),
            FetchError::TooLarge => f.write_str("the response is too large"),
            FetchError::Chain(error) => write!(f, "it {error}"),
        }
    }
}

impl std::error::Error for FetchError {}
