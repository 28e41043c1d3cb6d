//! The inputs of a payload.

use std::net::IpAddr;

use crate::model::CastBuffersAs;

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address; one of IPv4 in IPv6's clothes is shown as IPv4.
    Ip(IpAddr),
    /// A Unix socket, which has none.
    Local,
}

/// The values of a request that `data` shows.
#[derive(Clone, Copy, Debug)]
pub struct HttpData<'a, F> {
    /// As it was sent: `POST`.
    pub method: &'a [u8],
    /// The path behind the token, without the query; `""` is shown as `/`.
    pub path: &'a [u8],
    /// The bytes after the `?`.
    pub query: Option<&'a [u8]>,
    /// Names as sent and trimmed values, in order.
    pub fields: F,
    /// The whole body, as it came.
    pub body: &'a [u8],
    /// Where the connection comes from.
    pub peer: Peer,
    /// Whether the peer may say in `x-forwarded-for` whom it speaks for.
    pub peer_is_trusted: bool,
    /// The credentials that stay out.
    pub hidden: Hidden<'a>,
    /// How bytes that are not text are shown.
    pub cast: CastBuffersAs,
    /// Whether a file of a form is shown with its name and type.
    pub annotate_multipart: bool,
    /// Whether `rawBody` is shown.
    pub raw_body: bool,
    /// The claims of the caller's token, a JSON object.
    pub claims: Option<&'a [u8]>,
    /// Bytes that a body may have after its `Content-Encoding` is undone.
    pub payload_limit: usize,
    /// `replyId`, where a reply can be used.
    pub reply_id: Option<&'a str>,
}

/// The places in a request's head that hold a credential of the webhook, which stays out of the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden<'a> {
    /// The header `authorization`.
    pub authorization: bool,
    /// Another header.
    pub header: Option<&'a str>,
    /// A parameter of the query.
    pub parameter: Option<&'a str>,
}
