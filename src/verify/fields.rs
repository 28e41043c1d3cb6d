//! The header fields of a request, as verification reads them: a field that decides is there exactly once.
//!
//! Two fields of one name are ambiguous (what is checked here may not be what somebody behind reads), so they are
//! refused rather than joined.

/// Header fields that can be looked up. Any cloneable iterator over names (as sent) and values is one.
pub trait Fields<'a> {
    /// The value of the one field of this name, compared without case.
    ///
    /// # Errors
    /// [`NotOnce`] where the name is missing or repeated.
    fn once(&self, name: &str) -> Result<&'a [u8], NotOnce>;
}

/// Why a field has no one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOnce {
    /// No field has the name.
    Missing,
    /// More than one has.
    Repeated,
}

impl<'a, F> Fields<'a> for F
where
    F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    fn once(&self, name: &str) -> Result<&'a [u8], NotOnce> {
        let mut found = self.clone().filter(|(sent, _)| sent.eq_ignore_ascii_case(name.as_bytes()));
        match (found.next(), found.next()) {
            (None, _) => Err(NotOnce::Missing),
            (Some((_, value)), None) => Ok(value),
            (Some(_), Some(_)) => Err(NotOnce::Repeated),
        }
    }
}

/// Returns what follows the scheme in the value of `Authorization`, without the spaces around it: `credentials =
/// auth-scheme 1*SP token68` (RFC 9110, 11.4). The scheme is given in lower case and compared without case.
#[must_use]
pub(crate) fn credentials<'a>(authorization: &'a [u8], lower_scheme: &[u8]) -> Option<&'a [u8]> {
    let (scheme, rest) = authorization.split_at_checked(lower_scheme.len())?;
    if !scheme.eq_ignore_ascii_case(lower_scheme) || rest.first() != Some(&b' ') {
        return None;
    }
    Some(rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_a_value_where_its_name_is_there_once_in_any_case() {
        let list: [(&[u8], &[u8]); 3] = [(b"X-One", b"1"), (b"x-two", b"2"), (b"X-Two", b"2")];
        let fields = list.iter().copied();
        assert_eq!(fields.once("x-one"), Ok(&b"1"[..]));
        assert_eq!(fields.once("X-ONE"), Ok(&b"1"[..]));
        assert_eq!(fields.once("X-Two"), Err(NotOnce::Repeated));
        assert_eq!(fields.once("X-Three"), Err(NotOnce::Missing));
        assert_eq!(fields.once("X-On"), Err(NotOnce::Missing));
    }
}
