//! The head of a request: httparse for the tokens, and every rule that it leaves to its caller.
//!
//! httparse takes a bare LF, empty lines before a request and `#` in a target; it knows nothing of framing. Line ends
//! are checked while the end of the head is looked for (`scan`), targets and hosts in `target`, what the fields mean
//! in `framing`.

use std::mem::MaybeUninit;

use super::framing::FramingFields;
use super::limits::{FIELDS_MAX, Limits};
use super::message::{Framing, Method, Version};
use super::refusal::Refusal;
use super::target;
use crate::base::request_id::RequestId;

/// Bytes that a head may have at the very most, whatever the limits: [`Span`] counts with 16 bits.
pub(super) const HEAD_BYTES_MAX: u32 = u16::MAX as u32;

/// A piece of the head, counted from its first byte. [`HEAD_BYTES_MAX`] says that 16 bits do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u16,
    length: u16,
}

impl Span {
    fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Span { start: start as u16, length: part.len() as u16 }
    }

    pub(super) fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// A span of this length that begins at `start`.
    pub(super) fn at(start: usize, length: usize) -> Span {
        Span { start: start as u16, length: length as u16 }
    }

    pub(super) fn in_bytes<'b>(&self, whole: &'b [u8]) -> &'b [u8] {
        let start = usize::from(self.start);
        &whole[start..start + usize::from(self.length)]
    }
}

/// A field line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    name: Span,
    value: Span,
}

/// State kept of a head: places in the buffer, and the meaning of its fields for the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) upgrade_websocket: bool,
    /// Bytes of the method, with which the head begins.
    method_length: u16,
    target: Span,
    path: Span,
    /// It begins at 0 where there is none: the method stands there.
    query: Span,
    /// Empty: the caller gave none.
    pub(super) request_id: Span,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            method: Method::Other,
            version: Version::Http11,
            framing: Framing::None,
            keep_alive: false,
            expects_continue: false,
            upgrade_websocket: false,
            method_length: 0,
            target: Span::default(),
            path: Span::default(),
            query: Span::default(),
            request_id: Span::default(),
        }
    }
}

impl Head {
    /// Where the target ends: what else is remembered of the request line lies before.
    pub(super) fn line_end(&self) -> usize {
        usize::from(self.target.start) + usize::from(self.target.length)
    }
}

/// A look at the request at hand: everything it gives out is a slice of the receive buffer.
#[derive(Clone, Copy, Debug)]
pub struct Request<'b> {
    pub(super) head: &'b Head,
    pub(super) fields: &'b [Field],
    pub(super) bytes: &'b [u8],
}

impl<'b> Request<'b> {
    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.head.method
    }

    /// The method as it was sent.
    #[must_use]
    pub fn method_bytes(&self) -> &'b [u8] {
        &self.bytes[..usize::from(self.head.method_length)]
    }

    /// The request target as it was sent.
    #[must_use]
    pub fn target(&self) -> &'b [u8] {
        self.head.target.in_bytes(self.bytes)
    }

    /// The path of the target, also where that is a whole URL; not decoded. `/` where a URL has none.
    #[must_use]
    pub fn path(&self) -> &'b [u8] {
        match self.head.path.in_bytes(self.bytes) {
            [] => b"/",
            path => path,
        }
    }

    /// The bytes after the first `?`, not decoded. `None` if there is no `?`.
    #[must_use]
    pub fn query(&self) -> Option<&'b [u8]> {
        let query = self.head.query;
        (query.start != 0).then(|| query.in_bytes(self.bytes))
    }

    /// The id that the caller gave: visible ASCII of a bounded length.
    #[must_use]
    pub fn request_id(&self) -> Option<RequestId<'b>> {
        let id = self.head.request_id.in_bytes(self.bytes);
        (!id.is_empty()).then_some(RequestId::Given(id))
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// How the body ends.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.head.framing
    }

    /// Bytes of the body, where the head says how many.
    #[must_use]
    pub fn declared_length(&self) -> usize {
        match self.head.framing {
            Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Framing::None | Framing::Chunked => 0,
        }
    }

    /// Whether the client waits for `100 Continue` before it sends its body.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.head.expects_continue
    }

    /// Whether it asks to become a WebSocket: HTTP/1.1, `Upgrade: websocket`, `Connection: upgrade`.
    #[must_use]
    pub fn upgrade_websocket(&self) -> bool {
        self.head.upgrade_websocket
    }

    /// The head from its first field line on, as it was sent; the empty line ends it. Bytes of the body may follow.
    #[must_use]
    pub fn field_lines(&self) -> &'b [u8] {
        let behind = self.bytes.get(self.head.line_end()..).unwrap_or_default();
        memchr::memchr(b'\n', behind).map_or(&[], |end| &behind[end + 1..])
    }

    /// The fields in their order: name as sent, value without the white space around it. `Host` has the authority of
    /// the target where that is a URL.
    #[must_use]
    pub fn fields(&self) -> Fields<'b> {
        Fields { fields: self.fields.iter(), bytes: self.bytes }
    }

    /// The first field of this name, which is given in lower case.
    #[must_use]
    pub fn field(&self, lower_name: &str) -> Option<&'b [u8]> {
        self.fields()
            .find(|(name, _)| name.eq_ignore_ascii_case(lower_name.as_bytes()))
            .map(|(_, value)| value)
    }
}

/// The fields of a request.
#[derive(Clone, Debug)]
pub struct Fields<'b> {
    fields: std::slice::Iter<'b, Field>,
    bytes: &'b [u8],
}

impl<'b> Iterator for Fields<'b> {
    type Item = (&'b [u8], &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.fields.next()?;
        Some((field.name.in_bytes(self.bytes), field.value.in_bytes(self.bytes)))
    }
}

/// Parses a whole head, of which the end was found by `LineScan::find_end`.
pub(super) fn parse(bytes: &[u8], fields: &mut Vec<Field>, limits: &Limits) -> Result<Head, Refusal> {
    let mut storage = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; FIELDS_MAX];
    let slots = usize::from(limits.fields).min(FIELDS_MAX);
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut storage[..slots]) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Refusal::FieldLine),
        Err(error) => return Err(why(error, bytes)),
    }
    let (Some(method_name), Some(target), Some(version)) = (request.method, request.path, request.version)
    else {
        return Err(Refusal::RequestLine);
    };
    let mut head = Head {
        method: method(method_name.as_bytes()),
        version: if version == 0 { Version::Http10 } else { Version::Http11 },
        // Empty lines before it are gone.
        method_length: method_name.len() as u16,
        target: Span::of(target.as_bytes(), bytes),
        ..Head::default()
    };
    let parts = target::split(head.method, target.as_bytes())?;
    head.path = Span::of(parts.path, bytes);
    head.query = parts.query.map_or_else(Span::default, |query| Span::of(query, bytes));
    debug_assert!(bytes.starts_with(method_name.as_bytes()), "empty lines were consumed");
    fields.clear();
    let mut seen = FramingFields::default();
    for header in request.headers.iter() {
        let (name, value) = (header.name.as_bytes(), header.value.trim_ascii());
        seen.field(name, value)?;
        // RFC 9112, 3.2.2: the authority of a target that is a URL takes the place of the Host field.
        let value = match parts.authority {
            Some(authority) if name.eq_ignore_ascii_case(b"host") => authority,
            _ => value,
        };
        fields.push(Field { name: Span::of(name, bytes), value: Span::of(value, bytes) });
    }
    let meaning = seen.conclude(head.version)?;
    head.framing = meaning.framing;
    head.keep_alive = meaning.keep_alive;
    head.expects_continue = meaning.expects_continue;
    head.upgrade_websocket = meaning.upgrade_websocket;
    head.request_id = seen.request_id().map_or_else(Span::default, |id| Span::of(id, bytes));
    Ok(head)
}

/// The refusal that the RFC's rules give for httparse's error.
fn why(error: httparse::Error, bytes: &[u8]) -> Refusal {
    if error == httparse::Error::TooManyHeaders {
        return Refusal::TooManyFields;
    }
    // Two mistakes are named wherever they stand: the one is an attack as a rule, the other often made in earnest.
    if memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n')) {
        return Refusal::BareCr;
    }
    match error {
        httparse::Error::Version if asks_for_another_version(bytes) => Refusal::VersionUnsupported,
        httparse::Error::Token | httparse::Error::Version | httparse::Error::NewLine => Refusal::RequestLine,
        _ if bytes.windows(3).any(|three| matches!(three, [b'\r', b'\n', b' ' | b'\t'])) => Refusal::ObsFold,
        _ => Refusal::FieldLine,
    }
}

/// Whether the request line is right but for the version's digits.
fn asks_for_another_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    match line.splitn(3, |&byte| byte == b' ').nth(2) {
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    }
}

fn method(name: &[u8]) -> Method {
    match name {
        b"GET" => Method::Get,
        b"POST" => Method::Post,
        b"PUT" => Method::Put,
        b"PATCH" => Method::Patch,
        b"DELETE" => Method::Delete,
        b"OPTIONS" => Method::Options,
        b"HEAD" => Method::Head,
        b"CONNECT" => Method::Connect,
        b"TRACE" => Method::Trace,
        _ => Method::Other,
    }
}
