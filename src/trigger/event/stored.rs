//! Events and tails as bytes, for the journal: as they are, with the places of the parts, so that nothing is parsed to get
//! them back.

use std::sync::Arc;

use bytes::Bytes;

use super::{Event, Kind, PARTS, Payload, Places, Span, Tail};

const HTTP: u8 = 0;
const WEB_SOCKET: u8 = 1;

impl Event {
    /// Bytes of [`Event::write_places`].
    pub const PLACES_BYTES: usize = 1 + PARTS * 8;

    /// Appends where the parts of the event stand: always as many bytes.
    pub fn write_places(&self, out: &mut Vec<u8>) {
        out.push(match self.places.kind {
            Kind::Http => HTTP,
            Kind::WebSocket => WEB_SOCKET,
        });
        for span in &self.places.parts {
            out.extend_from_slice(&span.start.to_le_bytes());
            out.extend_from_slice(&span.end.to_le_bytes());
        }
    }

    /// Restores an event from its places and its text. `None` if they are not those of any event.
    #[must_use]
    pub fn restore(places: &[u8], bytes: Bytes) -> Option<Event> {
        if places.len() != Event::PLACES_BYTES {
            return None;
        }
        let (kind, spans) = places.split_first()?;
        let kind = match *kind {
            HTTP => Kind::Http,
            WEB_SOCKET => Kind::WebSocket,
            _ => return None,
        };
        let mut parts = [Span::default(); PARTS];
        for (part, span) in parts.iter_mut().zip(spans.chunks_exact(8)) {
            let number = |at: usize| {
                span.get(at..at + 4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            };
            *part = Span { start: number(0)?, end: number(4)? };
            if part.start > part.end || part.end as usize > bytes.len() {
                return None;
            }
        }
        Some(Event { bytes, places: Places { kind, parts }, raw: None })
    }
}

impl Payload {
    /// A payload that was written elsewhere, as [`Payload::write`] does: it is passed on as it is, and nothing of it is found.
    #[must_use]
    pub fn of_text(text: Bytes) -> Payload {
        let (mut event, end) = (text, b"}");
        let places = Places { kind: Kind::Http, parts: [Span::default(); PARTS] };
        event.truncate(event.len().saturating_sub(end.len()));
        Payload { event: Event { bytes: event, places, raw: None }, tail: Arc::new(Tail::restore(b"{", b"")) }
    }
}

impl Tail {
    /// Returns the two parts that a tail is restored from.
    #[must_use]
    pub fn stored(&self) -> (&[u8], &[u8]) {
        (&self.text, &self.globals)
    }

    /// Restores a tail.
    #[must_use]
    pub fn restore(text: &[u8], globals: &[u8]) -> Tail {
        Tail { text: text.into(), globals: Arc::from(globals) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::parts::Part;
    use super::super::{Draft, Payload};
    use super::*;
    use crate::base::clock::Now;
    use crate::template::Root;
    use crate::trigger::Parts;

    #[test]
    fn a_payload_is_restored_with_its_parts() {
        for (kind, key) in [(Kind::Http, "method"), (Kind::WebSocket, "type")] {
            check_restored(kind, key);
        }
    }

    fn check_restored(kind: Kind, kind_key: &str) {
        let mut out = Vec::new();
        let now = Now { nanos: 0, unix_millis: 1_771_521_960_000 };
        let mut draft = Draft::begin(&mut out, now, 100, Parts::ALL, kind);
        let key = format!("\"{kind_key}\":");
        draft.part(Part::Kind, key.as_bytes(), |out| out.extend_from_slice(b"\"post\""));
        draft.part(Part::Body, b"\"body\":", |out| out.extend_from_slice(b"{\"a\":[1,2]}"));
        let event = draft.finish().keep();
        let id = "0123456789abcdef01234567".parse().unwrap();
        let tail = Tail::new(id, "an application", id, id, "a flow", Arc::from(b"{\"g\":1}".as_slice()));
        let payload = Payload { event, tail: Arc::new(tail) };

        let mut places = Vec::new();
        payload.event.write_places(&mut places);
        let event = Event::restore(&places, payload.event.bytes().clone()).unwrap();
        let (text, globals) = payload.tail.stored();
        let restored = Payload { event, tail: Arc::new(Tail::restore(text, globals)) };
        assert_eq!(restored.whole(), payload.whole());
        assert!(restored.get_member("data", kind_key).is_some());
        for key in [kind_key, "body", "query"] {
            let member = |payload: &Payload| payload.get_member("data", key).map(|raw| raw.bytes().to_vec());
            assert_eq!(member(&restored), member(&payload), "{key}");
        }
        assert!(Event::restore(&places, Bytes::from_static(b"short")).is_none());
        assert!(Event::restore(&places[..10], payload.event.bytes().clone()).is_none());
    }
}
