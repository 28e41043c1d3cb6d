//! Writing responses into a buffer that already has room, as a rule.

use super::token::is_token;
use crate::base::text::write_http_date;

/// RFC 9110, 15.2.1.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes `HTTP/1.1 200 OK` and its CRLF. A code without a registered reason gets an empty one.
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a field line. Name and value are the caller's word: [`is_field_name`] and [`is_field_value`] check what
/// comes from outside.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(is_field_name(name) && is_field_value(value));
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes `content-length`.
pub fn content_length(out: &mut Vec<u8>, length: usize) {
    let mut digits = itoa::Buffer::new();
    field(out, b"content-length", digits.format(length).as_bytes());
}

/// Writes a chunk of a body in the chunked coding (RFC 9112, 7.1). One without bytes would end the body: nothing is
/// written for it.
pub fn chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let mut digits = [0; usize::BITS as usize / 4];
    let mut first = digits.len();
    let mut left = bytes.len();
    while left > 0 {
        first -= 1;
        digits[first] = b"0123456789abcdef"[left % 16];
        left /= 16;
    }
    out.extend_from_slice(&digits[first..]);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// The end of a body in the chunked coding, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes the empty line.
pub fn end_of_head(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Whether a response with this status has a body at all (RFC 9110, 6.4.1).
#[must_use]
pub fn has_body(status: u16) -> bool {
    status >= 200 && status != 204 && status != 304
}

/// RFC 9110, 5.1: a token.
#[must_use]
pub fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_token(byte))
}

/// RFC 9110, 5.5: no control characters but tab, so nothing that could end the line.
#[must_use]
pub fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7F))
}

/// Bytes of a `date: …` line with its CRLF.
const DATE_LINE_BYTES: usize = 6 + 29 + 2;

/// The `date` line (RFC 9110, 6.6.1), written once a second.
#[derive(Clone, Debug)]
pub struct DateField {
    second: u64,
    line: [u8; DATE_LINE_BYTES],
}

impl DateField {
    /// A line for 1970; the first use renews it.
    #[must_use]
    pub fn new() -> DateField {
        let mut field = DateField { second: 0, line: *b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" };
        field.renew(0);
        field
    }

    /// The whole line, CRLF included, for this moment.
    pub fn line(&mut self, unix_millis: u64) -> &[u8] {
        let second = unix_millis / 1000;
        if second != self.second {
            self.renew(second);
        }
        &self.line
    }

    fn renew(&mut self, second: u64) {
        let mut text = [0; 29];
        write_http_date(&mut text, second);
        self.line[6..35].copy_from_slice(&text);
        self.second = second;
    }
}

impl Default for DateField {
    fn default() -> DateField {
        DateField::new()
    }
}

/// The registered reasons (IANA, HTTP status codes).
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    #[test]
    fn reasons_are_those_that_hyper_has_and_the_newer_names_of_rfc_9110() {
        for status in 100..600 {
            let theirs = StatusCode::from_u16(status).unwrap().canonical_reason().unwrap_or("");
            let expected = match status {
                203 => "Non-Authoritative Information",
                413 => "Content Too Large",
                422 => "Unprocessable Content",
                // Unused, and obsolete.
                418 | 510 => "",
                _ => theirs,
            };
            assert_eq!(reason(status), expected, "{status}");
        }
    }
}
