//! The parts of a request as payloads and records show them.

use std::borrow::Cow;

use crate::base::request_id::{REQUEST_ID_FIELD, RequestId};
use crate::base::trace::TRACEPARENT_FIELD;
use crate::http::{Fields, Request};
use crate::registry::Hook;
use crate::trigger::masked_query;

/// The query of a request as it may be shown: without the value of a parameter that is a credential.
#[must_use]
pub fn shown_query<'r>(hook: &Hook, request: &Request<'r>) -> Option<Cow<'r, [u8]>> {
    let query = request.query()?;
    Some(match hook.hidden().parameter {
        None => Cow::Borrowed(query),
        Some(parameter) => Cow::Owned(masked_query(query, parameter)),
    })
}

/// The fields of a request as payloads show them: with the id that was made for it, and the `traceparent` of its span,
/// in the place of its caller's.
#[must_use]
pub fn shown_fields<'r>(
    request: &Request<'r>,
    id: Option<&'r RequestId<'_>>,
    traceparent: Option<&'r str>,
) -> ShownFields<'r> {
    let id = match id {
        Some(RequestId::Made(id)) => Some(&id[..]),
        Some(RequestId::Given(_)) | None => None,
    };
    let traceparent = traceparent.map(str::as_bytes);
    ShownFields {
        fields: request.fields(),
        is_changed: id.is_some() || traceparent.is_some(),
        id,
        traceparent,
        place: 0,
    }
}

/// Iterator of [`shown_fields`].
#[derive(Clone, Debug)]
pub struct ShownFields<'r> {
    fields: Fields<'r>,
    is_changed: bool,
    /// The values of our own.
    id: Option<&'r [u8]>,
    traceparent: Option<&'r [u8]>,
    /// Of our own fields, the next one.
    place: u8,
}

impl<'r> ShownFields<'r> {
    fn is_replaced(&self, name: &[u8]) -> bool {
        let is = |own: Option<&[u8]>, own_name: &str| {
            own.is_some() && name.len() == own_name.len() && name.eq_ignore_ascii_case(own_name.as_bytes())
        };
        is(self.id, REQUEST_ID_FIELD) || is(self.traceparent, TRACEPARENT_FIELD)
    }

    /// The fields of our own, behind the others.
    fn next_own(&mut self) -> Option<(&'r [u8], &'r [u8])> {
        loop {
            let (name, value) = match self.place {
                0 => (REQUEST_ID_FIELD, self.id),
                1 => (TRACEPARENT_FIELD, self.traceparent),
                _ => return None,
            };
            self.place += 1;
            if let Some(value) = value {
                return Some((name.as_bytes(), value));
            }
        }
    }
}

impl<'r> Iterator for ShownFields<'r> {
    type Item = (&'r [u8], &'r [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.fields.next() {
                Some((name, _)) if self.is_changed && self.is_replaced(name) => {}
                Some(field) => return Some(field),
                None => return self.next_own(),
            }
        }
    }
}
