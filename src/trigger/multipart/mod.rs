//! `multipart/form-data` bodies (RFC 7578, RFC 2046): one pass over a body that is whole, nothing copied but names.
//!
//! A part that cannot be read (no name, another disposition, a broken header) is left out and the others stay. A body
//! without one readable part, without its last boundary, or with more parts than the bound is not a form, and nothing is
//! written.

mod disposition;

use std::borrow::Cow;

use memchr::memmem;

use encoding_rs::Encoding;

use self::disposition::Disposition;
use super::cast::{write_cast, write_text};
use super::content_type::ContentType;
use super::members::JsonMembers;
use crate::base::json;
use crate::model::CastBuffersAs;

/// Parts that a form may have; what has more is left unparsed. As many as Django takes by default
/// (`DATA_UPLOAD_MAX_NUMBER_FIELDS`).
pub const PARTS_MAX: usize = 1000;
/// Bytes of a part's header fields: as many as a target may have ([limits and
/// refusals](crate::guide::limits_and_refusals#limits)).
const PART_HEAD_BYTES_MAX: usize = 8 * 1024;
/// The type of a file that says none (RFC 7578, section 4.4, leaves it open; this is what Node's parsers say).
const FILE_TYPE: &[u8] = b"application/octet-stream";
/// The transfer encoding of a part that says none (RFC 2045, section 6.1).
const ENCODING: &[u8] = b"7bit";

/// A part's own header fields, and its content.
enum FormPart<'a> {
    Text { content_type: &'a [u8], data: &'a [u8] },
    File { filename: Cow<'a, str>, content_type: &'a [u8], encoding: &'a [u8], data: &'a [u8] },
}

/// The name of the field that tells the charset of the others (RFC 7578, section 4.6).
const CHARSET_FIELD: &str = "_charset_";

/// Writes a form as an object. Returns `false`, and writes nothing, if the body is not one.
pub(super) fn write(
    out: &mut Vec<u8>,
    body: &[u8],
    content_type: &ContentType<'_>,
    cast: CastBuffersAs,
    annotate: bool,
) -> bool {
    let Some(mut members) = content_type.boundary().and_then(|boundary| parse(body, &boundary)) else {
        return false;
    };
    let charset = content_type.charset().or_else(|| charset_field(&members));
    members.write(out, |out, part| write_part(out, part, charset, cast, annotate));
    true
}

/// The content of the first part of a form with a name; `None` if there is none, or the body is not a form.
#[must_use]
pub(crate) fn form_part<'a>(body: &'a [u8], content_type: &[u8], name: &str) -> Option<&'a [u8]> {
    let boundary = ContentType::parse(content_type).boundary()?;
    let members = parse(body, &boundary)?;
    members.first(name).map(|part| match part {
        FormPart::Text { data, .. } | FormPart::File { data, .. } => *data,
    })
}

fn charset_field(members: &JsonMembers<'_, FormPart<'_>>) -> Option<&'static Encoding> {
    match members.first(CHARSET_FIELD)? {
        FormPart::Text { data, .. } => Encoding::for_label(data),
        FormPart::File { .. } => None,
    }
}

/// `charset` is the form's; a part's own goes before it.
fn write_part(
    out: &mut Vec<u8>,
    part: &FormPart<'_>,
    charset: Option<&'static Encoding>,
    cast: CastBuffersAs,
    annotate: bool,
) {
    match part {
        FormPart::Text { content_type, data } => {
            let content_type = ContentType::parse(content_type);
            if content_type.is(FILE_TYPE) {
                write_cast(out, data, cast);
            } else {
                write_text(out, data, content_type.charset().or(charset), cast);
            }
        }
        FormPart::File { data, .. } if !annotate => write_cast(out, data, cast),
        FormPart::File { filename, content_type, encoding, data } => {
            out.extend_from_slice(b"{\"filename\":");
            json::escape_into(out, filename);
            out.extend_from_slice(b",\"contentType\":");
            json::escape_lossy_into(out, content_type);
            out.extend_from_slice(b",\"encoding\":");
            json::escape_lossy_into(out, encoding);
            out.extend_from_slice(b",\"data\":");
            write_cast(out, data, cast);
            out.push(b'}');
        }
    }
}

/// The readable parts of a body by their names, or `None` for a body that is not a form.
fn parse<'a>(body: &'a [u8], boundary: &[u8]) -> Option<JsonMembers<'a, FormPart<'a>>> {
    let needle = [b"\r\n--", boundary].concat();
    let delimiters = Delimiters { finder: memmem::Finder::new(&needle), length: needle.len(), body };
    let mut members = JsonMembers::new();
    let mut delimiter = delimiters.first()?;
    if delimiter.is_last && delimiter.start > 0 {
        // Nothing but a preamble: parts of another boundary or of bare line feeds, which would be lost.
        return None;
    }
    let mut parts = 0;
    while !delimiter.is_last {
        if parts == PARTS_MAX {
            return None;
        }
        parts += 1;
        let next = delimiters.behind(delimiter.end)?;
        if let Some((name, part)) = read_part(&body[delimiter.end..next.start]) {
            members.push(name, part);
        }
        delimiter = next;
    }
    // A form without any part is an empty one.
    (parts == 0 || members.len() > 0).then_some(members)
}

/// A line that separates parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delimiter {
    /// Where the CRLF in front of it begins: the end of the part before.
    start: usize,
    /// Just behind its own CRLF: the beginning of the part after.
    end: usize,
    /// Whether it is the closing one.
    is_last: bool,
}

/// Finds delimiters: `CRLF "--" boundary ["--"] *LWSP (CRLF | end)` (RFC 2046, section 5.1.1; the end of the body only
/// after the closing one). A line that goes on otherwise belongs to the content, as a boundary may be the beginning of
/// a nested one.
struct Delimiters<'a> {
    finder: memmem::Finder<'a>,
    /// Of the CRLF, the dashes and the boundary.
    length: usize,
    body: &'a [u8],
}

impl Delimiters<'_> {
    /// The first one: at the very beginning, or after a preamble.
    fn first(&self) -> Option<Delimiter> {
        let line = &self.finder.needle()[2..];
        let at_once = self.body.starts_with(line).then(|| self.line_end(line.len(), 0)).flatten();
        at_once.or_else(|| self.after(0))
    }

    /// The one that ends the part which begins at a position. A boundary that is sent twice leaves an empty part, whose
    /// delimiter has no CRLF of its own.
    fn behind(&self, from: usize) -> Option<Delimiter> {
        let line = &self.finder.needle()[2..];
        let doubled = self.body.get(from..).is_some_and(|rest| rest.starts_with(line));
        let at_once = doubled.then(|| self.line_end(from + line.len(), from)).flatten();
        at_once.or_else(|| self.after(from))
    }

    /// The next one at or after a position.
    fn after(&self, from: usize) -> Option<Delimiter> {
        let mut from = from;
        loop {
            let start = from + self.finder.find(self.body.get(from..)?)?;
            if let Some(delimiter) = self.line_end(start + self.length, start) {
                return Some(delimiter);
            }
            from = start + 2;
        }
    }

    /// The delimiter from `start`, if what follows its boundary, at `at`, ends the line.
    fn line_end(&self, at: usize, start: usize) -> Option<Delimiter> {
        let rest = &self.body[at..];
        let (rest, is_last) = rest.strip_prefix(b"--").map_or((rest, false), |rest| (rest, true));
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let rest = &rest[padding..];
        let line_ends = rest.starts_with(b"\r\n");
        let end = self.body.len() - rest.len() + if line_ends { 2 } else { 0 };
        (line_ends || is_last && rest.is_empty()).then_some(Delimiter { start, end, is_last })
    }
}

/// The name and the content of a part, between its delimiters; `None` if it cannot be read.
fn read_part(part: &[u8]) -> Option<(Cow<'_, str>, FormPart<'_>)> {
    let (head, data) = split_head(part)?;
    let mut disposition = None;
    let mut content_type = None;
    let mut encoding = ENCODING;
    for line in lines(head) {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-disposition") {
            if disposition.is_some() {
                return None;
            }
            disposition = Some(Disposition::parse(value)?);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            content_type = Some(value);
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            encoding = value;
        }
    }
    let disposition = disposition?;
    let part = match disposition.filename {
        None => FormPart::Text { content_type: content_type.unwrap_or_default(), data },
        Some(filename) => {
            FormPart::File { filename, content_type: content_type.unwrap_or(FILE_TYPE), encoding, data }
        }
    };
    Some((disposition.name, part))
}

/// Header fields and content. Fields without a content need no empty line: the delimiter's CRLF ends the last of them.
fn split_head(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let window = &part[..part.len().min(PART_HEAD_BYTES_MAX)];
    match memmem::find(window, b"\r\n\r\n") {
        Some(end) => Some((&part[..end], &part[end + 4..])),
        None if window.len() == part.len() => Some((part, &[])),
        None => None,
    }
}

/// The lines of a head; a line that begins with white space goes on the one before (RFC 5322, section 2.2.3).
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let folded = |end: &usize| matches!(rest.get(end + 2), Some(b' ' | b'\t'));
        let end = memmem::find_iter(rest, b"\r\n").find(|end| !folded(end)).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        Some(line)
    })
}
