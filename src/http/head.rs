//! The head of a request: httparse for the tokens, and every rule that it leaves to its caller.
//!
//! httparse takes a bare LF, empty lines before a request and `#` in a target; it knows nothing of framing. Line ends
//! are checked while the end of the head is looked for ([`find_end`]), the rest in [`parse`].

use std::mem::MaybeUninit;

use super::{Limits, Refusal};

/// Field lines that a head may have (section 4.1).
pub(super) const FIELDS_MAX: usize = 100;
/// Bytes of a method: the longest registered one is 17 (UPDATEREDIRECTREF).
const METHOD_BYTES_MAX: usize = 32;
/// Digits of a Content-Length: as many as always fit into 64 bits.
const LENGTH_DIGITS_MAX: usize = 18;

/// A request's method, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Connect,
    Delete,
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
    Trace,
    /// Any other token.
    Other,
}

/// The protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    Http10,
    Http11,
}

/// How the body's end is found (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// As many bytes as Content-Length says; never 0.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// A piece of the head, counted from its first byte. Heads are at most 16 KiB, so 16 bits do.
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

    fn in_bytes<'b>(&self, whole: &'b [u8]) -> &'b [u8] {
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

/// What is remembered of a head: places in the buffer and what its fields mean for the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) upgrade_websocket: bool,
    method_name: Span,
    target: Span,
    path: Span,
    query: Option<Span>,
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
            method_name: Span::default(),
            target: Span::default(),
            path: Span::default(),
            query: None,
        }
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
        self.head.method_name.in_bytes(self.bytes)
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

    /// What follows the first `?`, not decoded. None without one.
    #[must_use]
    pub fn query(&self) -> Option<&'b [u8]> {
        self.head.query.map(|query| query.in_bytes(self.bytes))
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

    /// The fields in their order: name as sent, value without the white space around it.
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

/// Where the head ends (behind its empty line), if it does. `scanned` bytes were looked at before. Line ends are
/// checked on the way, so that a head that can never be right is refused as soon as it shows.
pub(super) fn find_end(bytes: &[u8], scanned: usize, limits: &Limits) -> Result<Option<usize>, Refusal> {
    let mut from = scanned;
    while let Some(offset) = memchr::memchr(b'\n', &bytes[from..]) {
        let at = from + offset;
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(Refusal::BareLf);
        }
        if at >= 3 && bytes[at - 2] == b'\n' {
            return if at < limits.head_bytes as usize {
                Ok(Some(at + 1))
            } else {
                Err(too_large(bytes, limits))
            };
        }
        from = at + 1;
    }
    if scanned == 0 || bytes.len() - scanned > 64 || bytes.len() > limits.target_bytes as usize {
        check_beginning(bytes, limits)?;
    }
    if bytes.len() >= limits.head_bytes as usize { Err(too_large(bytes, limits)) } else { Ok(None) }
}

fn too_large(bytes: &[u8], limits: &Limits) -> Refusal {
    if target_too_long(bytes, limits) { Refusal::TargetTooLong } else { Refusal::HeadTooLarge }
}

fn target_too_long(bytes: &[u8], limits: &Limits) -> bool {
    let line = memchr::memchr(b'\n', bytes).map_or(bytes, |end| &bytes[..end]);
    let Some(space) = memchr::memchr(b' ', line) else { return false };
    let rest = &line[space + 1..];
    memchr::memchr(b' ', rest).unwrap_or(rest.len()) > limits.target_bytes as usize
}

/// A first line that is not whole, but wrong already: no method, or a target that is too long. So garbage and TLS
/// on a plain port get their answer at once instead of a time-out.
fn check_beginning(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let method = bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len());
    if method > METHOD_BYTES_MAX || (method < bytes.len() && (method == 0 || bytes[method] != b' ')) {
        return Err(Refusal::MethodName);
    }
    if target_too_long(bytes, limits) { Err(Refusal::TargetTooLong) } else { Ok(()) }
}

/// Parses a whole head.
pub(super) fn parse(bytes: &[u8], fields: &mut Vec<Field>, limits: &Limits) -> Result<Head, Refusal> {
    check_beginning(bytes, limits)?;
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
        method_name: Span::of(method_name.as_bytes(), bytes),
        target: Span::of(target.as_bytes(), bytes),
        ..Head::default()
    };
    split_target(&mut head, target.as_bytes(), bytes)?;
    fields.clear();
    let mut seen = Seen::default();
    for header in request.headers.iter() {
        let name = header.name.as_bytes();
        seen.field(name, header.value)?;
        fields.push(Field { name: Span::of(name, bytes), value: Span::of(header.value.trim_ascii(), bytes) });
    }
    seen.conclude(&mut head)?;
    Ok(head)
}

/// What httparse's error means in the terms of the RFC.
fn why(error: httparse::Error, bytes: &[u8]) -> Refusal {
    let line_end = memchr::memchr(b'\r', bytes).unwrap_or(bytes.len());
    match error {
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::Token => Refusal::RequestLine,
        httparse::Error::NewLine => Refusal::BareCr,
        httparse::Error::Version => {
            let version = bytes[..line_end].rsplit(|&byte| byte == b' ').next().unwrap_or_default();
            match version {
                // A good version, but more before it than a target: the parser met that first.
                b"HTTP/1.0" | b"HTTP/1.1" => Refusal::RequestLine,
                [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                    if major.is_ascii_digit() && minor.is_ascii_digit() =>
                {
                    Refusal::VersionUnsupported
                }
                _ => Refusal::RequestLine,
            }
        }
        _ => {
            // A folded line is the one mistake that is often made in earnest: name it.
            let folded = bytes.windows(3).any(|three| matches!(three, [b'\r', b'\n', b' ' | b'\t']));
            let bare_cr = memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n'));
            match (bare_cr, folded) {
                (true, _) => Refusal::BareCr,
                (_, true) => Refusal::ObsFold,
                _ => Refusal::FieldLine,
            }
        }
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

/// RFC 9112, 3.2: the four forms of a target.
fn split_target(head: &mut Head, target: &[u8], bytes: &[u8]) -> Result<(), Refusal> {
    if target.iter().any(|&byte| !(0x21..=0x7E).contains(&byte) || byte == b'#') {
        return Err(Refusal::Target);
    }
    let local = match head.method {
        Method::Connect => {
            let has_port = target.iter().rposition(|&byte| byte == b':').is_some_and(|at| {
                target[at + 1..].iter().all(u8::is_ascii_digit) && at + 1 < target.len() && at > 0
            });
            if !has_port || !is_host(target) {
                return Err(Refusal::Target);
            }
            &target[target.len()..]
        }
        Method::Options if target == b"*" => target,
        _ if target.first() == Some(&b'/') => target,
        _ => {
            let scheme = [&b"http://"[..], b"https://"]
                .into_iter()
                .find(|scheme| {
                    target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme)
                })
                .ok_or(Refusal::Target)?;
            let rest = &target[scheme.len()..];
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            if end == 0 || !is_host(&rest[..end]) {
                return Err(Refusal::HostInvalid);
            }
            &rest[end..]
        }
    };
    let path = memchr::memchr(b'?', local).unwrap_or(local.len());
    head.path = Span::of(&local[..path], bytes);
    head.query = local.get(path + 1..).filter(|_| path < local.len()).map(|query| Span::of(query, bytes));
    Ok(())
}

/// What the fields say of the connection, gathered over all of them.
#[derive(Default)]
struct Seen {
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    websocket: bool,
    expects_continue: bool,
    other_expectation: bool,
    coding: Option<Refusal>,
}

impl Seen {
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts = self.hosts.saturating_add(1);
                if self.hosts > 1 {
                    return Err(Refusal::HostRepeated);
                }
                if !is_host(value.trim_ascii()) {
                    return Err(Refusal::HostInvalid);
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                let is_continue = value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
                self.expects_continue |= is_continue;
                self.other_expectation |= !is_continue;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.websocket |= has_token(value, b"websocket"),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.close |= has_token(value, b"close");
                self.keep_alive |= has_token(value, b"keep-alive");
                self.upgrade |= has_token(value, b"upgrade");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::LengthRepeated);
                }
                self.length = Some(length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let value = value.trim_ascii();
                if self.chunked || self.coding.is_some() {
                    self.coding = Some(Refusal::CodingRepeated);
                } else if value.eq_ignore_ascii_case(b"chunked") {
                    self.chunked = true;
                } else if value.split(|&byte| byte == b',').all(|coding| {
                    let coding = coding.trim_ascii();
                    coding.is_empty() || coding.eq_ignore_ascii_case(b"chunked")
                }) {
                    self.coding = Some(Refusal::CodingRepeated);
                } else {
                    self.coding = Some(Refusal::CodingUnsupported);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn conclude(&self, head: &mut Head) -> Result<(), Refusal> {
        let http11 = head.version == Version::Http11;
        if http11 && self.hosts == 0 {
            return Err(Refusal::HostMissing);
        }
        if self.chunked || self.coding.is_some() {
            // RFC 9112, 6.1: both lengths is an attack until proven otherwise; a coding in 1.0 is faulty framing.
            if self.length.is_some() {
                return Err(Refusal::LengthAndChunked);
            }
            if !http11 {
                return Err(Refusal::CodingInHttp10);
            }
            if let Some(refusal) = self.coding {
                return Err(refusal);
            }
        }
        if http11 && self.other_expectation {
            return Err(Refusal::Expectation);
        }
        head.framing = match self.length {
            _ if self.chunked => Framing::Chunked,
            None | Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        };
        head.keep_alive = !self.close && (http11 || self.keep_alive);
        head.expects_continue = http11 && self.expects_continue && head.framing != Framing::None;
        head.upgrade_websocket = http11 && self.upgrade && self.websocket;
        Ok(())
    }
}

/// RFC 9110, 8.6: `1*DIGIT`. No sign, no list, no white space inside.
fn length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = value.trim_ascii();
    if digits.is_empty() || digits.len() > LENGTH_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::LengthInvalid);
    }
    Ok(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// Whether the comma-separated list holds the token, in any case.
fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// RFC 3986, 3.2: a host and perhaps a port; no user information. Empty is allowed (RFC 9110, 7.2).
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host {
        [b'[', ..] => match host.iter().position(|&byte| byte == b']') {
            Some(end) => {
                if !host[1..end].iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
                    return false;
                }
                (&host[..0], &host[end + 1..])
            }
            None => return false,
        },
        _ => match host.iter().position(|&byte| byte == b':') {
            Some(colon) => (&host[..colon], &host[colon..]),
            None => (host, &host[host.len()..]),
        },
    };
    let is_name = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            )
    };
    name.iter().all(is_name)
        && (port.is_empty() || (port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit)))
}

/// RFC 9110, 5.6.2: the characters of a token.
pub(super) fn is_token(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let c = byte as u8;
            table[byte] = c.is_ascii_alphanumeric()
                || matches!(
                    c,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            byte += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}
