//! The inputs of a signature.

use crate::verify::fields::Fields;

/// The parts of a request that its signature may cover.
#[derive(Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The URL as the sender knows it, query included: `ingress.public_url` and the target.
    pub url: &'a [u8],
    /// The header fields.
    pub fields: &'a dyn Fields<'a>,
    /// The body as it came, before any content coding is undone.
    pub body: &'a [u8],
}

/// A request that is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// The URL as the sender knows it, query included.
    pub url: &'a [u8],
    /// The value of `Content-Type`; empty for none.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// An id that no other request has, for schemes that sign one.
    pub id: &'a str,
}
