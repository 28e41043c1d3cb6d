//! The result of signing a request.

use std::fmt;

/// The fields, and sometimes the body, that make a request genuine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedFields {
    /// Header fields to send along.
    pub fields: Vec<(String, String)>,
    /// The body in place of the one that was given, where the scheme signs within it.
    pub body: Option<Vec<u8>>,
}

/// Why a request cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotSign {
    /// The webhook has the sender's public key, which only verifies.
    PublicKey,
    /// Every secret renders empty.
    NoSecret,
    /// The scheme signs no such body.
    Body(&'static str),
}

impl fmt::Display for CannotSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CannotSign::PublicKey => "only the sender can sign: the webhook has its public key alone",
            CannotSign::NoSecret => "there is no secret to sign with: signature.secret renders empty",
            CannotSign::Body(must) => must,
        })
    }
}

impl std::error::Error for CannotSign {}
