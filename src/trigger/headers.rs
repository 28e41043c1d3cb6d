//! The `headers` of a payload: which fields it shows and how.

use std::io::Write as _;
use std::net::IpAddr;

use super::request::{Hidden, Peer};
use crate::base::json;

/// The rules for which header fields are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visibility<'a> {
    pub(super) peer: Peer,
    pub(super) peer_is_trusted: bool,
    pub(super) hidden: Hidden<'a>,
}

impl Visibility<'_> {
    fn shows(&self, name: &[u8]) -> bool {
        let is_shown = match name.len() {
            6 => !name.eq_ignore_ascii_case(b"cookie"),
            13 => !(self.hidden.authorization && name.eq_ignore_ascii_case(b"authorization")),
            15 => !name.eq_ignore_ascii_case(FORWARDED_FOR),
            _ => true,
        };
        is_shown && self.hidden.header.is_none_or(|header| !name.eq_ignore_ascii_case(header.as_bytes()))
    }
}

/// Written last, because the engine has the last word in it.
const FORWARDED_FOR: &[u8] = b"x-forwarded-for";

/// The value of the first field of that name (in lower case).
pub(super) fn first<'a>(
    mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    lower_name: &[u8],
) -> Option<&'a [u8]> {
    fields.find(|(name, _)| name.eq_ignore_ascii_case(lower_name)).map(|(_, value)| value)
}

/// Writes the fields as an object: names in lower case, the values of a repeated name joined by `, `.
///
/// Takes time in the square of the number of repeated fields; a head has 100 fields at most.
pub(super) fn write<'a, F>(out: &mut Vec<u8>, fields: F, visibility: &Visibility<'_>)
where
    F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    let repeated = repeated(fields.clone());
    out.push(b'{');
    let mut comma = false;
    for (place, (name, value)) in fields.clone().enumerate() {
        if !visibility.shows(name) {
            continue;
        }
        let same = |(other, _): &(&[u8], &[u8])| other.eq_ignore_ascii_case(name);
        let may_repeat = repeated & mark(name) != 0;
        if may_repeat && fields.clone().take(place).any(|field| same(&field)) {
            continue;
        }
        if comma {
            out.push(b',');
        }
        comma = true;
        write_name(out, name);
        out.extend_from_slice(b":\"");
        json::escape_latin1_fragment_into(out, value);
        if may_repeat {
            for (_, value) in fields.clone().skip(place + 1).filter(same) {
                out.extend_from_slice(b", ");
                json::escape_latin1_fragment_into(out, value);
            }
        }
        out.push(b'"');
    }
    write_forwarded_for(out, comma, fields, visibility);
    out.push(b'}');
}

/// Writes `x-forwarded-for`: what a trusted peer says, then the peer itself. A Unix socket has no address to add, so
/// there may be nothing to write.
fn write_forwarded_for<'a>(
    out: &mut Vec<u8>,
    comma: bool,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    visibility: &Visibility<'_>,
) {
    let start = out.len();
    if comma {
        out.push(b',');
    }
    write_name(out, FORWARDED_FOR);
    out.extend_from_slice(b":\"");
    let empty = out.len();
    if visibility.peer_is_trusted {
        let said = fields.filter(|(name, _)| name.eq_ignore_ascii_case(FORWARDED_FOR));
        for (_, value) in said.filter(|(_, value)| !value.is_empty()) {
            if out.len() > empty {
                out.extend_from_slice(b", ");
            }
            json::escape_latin1_fragment_into(out, value);
        }
    }
    if let Peer::Ip(address) = visibility.peer {
        if out.len() > empty {
            out.extend_from_slice(b", ");
        }
        write_address(out, address.to_canonical());
    }
    if out.len() > empty {
        out.push(b'"');
    } else {
        out.truncate(start);
    }
}

fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, part) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(part).as_bytes());
            }
        }
        IpAddr::V6(address) => {
            write!(out, "{address}").expect("appending to a vector does not fail");
        }
    }
}

fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    let start = out.len();
    json::escape_bytes_latin1_into(out, name);
    // Escapes have lower-case letters only, so this reaches the name's own and nothing else.
    out[start..].make_ascii_lowercase();
}

/// Marks of the names that may occur more than once. A mark is one of 64, so that different names may share it; a name
/// without its mark here is alone.
fn repeated<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> u64 {
    let (mut seen, mut repeated) = (0, 0);
    for (name, _) in fields {
        let mark = mark(name);
        repeated |= seen & mark;
        seen |= mark;
    }
    repeated
}

/// One of 64 bits, the same for names that differ in case only.
fn mark(name: &[u8]) -> u64 {
    let letter = |place: usize| name.get(place).map_or(0, |byte| usize::from(byte | 0x20));
    let last = letter(name.len().wrapping_sub(1));
    1 << ((name.len() * 7 + letter(0) * 5 + letter(name.len() / 2) * 3 + last) % 64)
}
