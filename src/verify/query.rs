//! Parameters of a query or a form (`a=1&b=2`), as verification reads them.

use crate::base::text::percent_decode_into;

/// How often a parameter was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    /// Not at all.
    Missing,
    /// Once, with this value, decoded.
    Once(Vec<u8>),
    /// More than once. Senders that verify never do so, and which of the values would count is anybody's guess.
    Repeated,
}

/// All parameters in the order of the text, names and values decoded (`+` is a space). A part without `=` is a name
/// with an empty value; an empty part is nothing.
pub(crate) fn parameters(text: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    text.split(|&byte| byte == b'&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = match memchr::memchr(b'=', part) {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, &b""[..]),
        };
        (decoded(name), decoded(value))
    })
}

/// The parameter of this name.
#[must_use]
pub(crate) fn parameter(text: &[u8], name: &str) -> Parameter {
    let mut found = Parameter::Missing;
    for (_, value) in parameters(text).filter(|(given, _)| given == name.as_bytes()) {
        if found != Parameter::Missing {
            return Parameter::Repeated;
        }
        found = Parameter::Once(value);
    }
    found
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    percent_decode_into(&mut out, text, true);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(value: &str) -> Parameter {
        Parameter::Once(value.as_bytes().to_vec())
    }

    #[test]
    fn a_parameter_is_found_by_its_decoded_name_and_decoded() {
        assert_eq!(parameter(b"a=1&hub.mode=subscribe", "hub.mode"), once("subscribe"));
        assert_eq!(parameter(b"hub%2Emode=sub%73cribe", "hub.mode"), once("subscribe"));
        assert_eq!(parameter(b"a=b+c%2B&", "a"), once("b c+"));
        assert_eq!(parameter(b"a=b=c", "a"), once("b=c"));
        assert_eq!(parameter(b"a", "a"), once(""));
        assert_eq!(parameter(b"a=%zz%4", "a"), once("%zz%4"));
    }

    #[test]
    fn a_missing_and_a_repeated_parameter_have_no_value() {
        assert_eq!(parameter(b"", "a"), Parameter::Missing);
        assert_eq!(parameter(b"&&=x&aa=1&A=1", "a"), Parameter::Missing);
        assert_eq!(parameter(b"a=1&b=2&a=1", "a"), Parameter::Repeated);
        assert_eq!(parameter(b"a=1&%61=1", "a"), Parameter::Repeated);
    }
}
