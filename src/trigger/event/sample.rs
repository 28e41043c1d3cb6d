//! The event of a payload that is given, for a dry run of a flow.

use super::{BEFORE_DATA, Draft, Event, Kind, Parts, TIME, part_named};
use crate::base::clock::Now;
use crate::base::json::{self, Raw};

impl Event {
    /// Makes the event of a payload: `data` as it is given, `time` if it has the length of one, else `now`. `None` if
    /// `data` is not an object.
    #[must_use]
    pub fn sample(payload: Raw<'_>, now: Now) -> Option<Event> {
        let data = payload.get("data").filter(|data| data.kind() == json::Kind::Object)?;
        let is_socket = data.get("type").is_some() && data.get("method").is_none();
        let kind = if is_socket { Kind::WebSocket } else { Kind::Http };
        let mut out = Vec::new();
        let room = TIME.end + BEFORE_DATA.len() + data.bytes().len();
        let mut draft = Draft::begin(&mut out, now, room, Parts::ALL, kind);
        if let Some(time) = payload.get("time").filter(|time| time.bytes().len() == TIME.len()) {
            draft.out[TIME].copy_from_slice(time.bytes());
        }
        let mut key = Vec::new();
        for (name, value) in data.entries() {
            key.clear();
            json::escape_into(&mut key, &name);
            key.push(b':');
            if let Some(part) = part_named(kind, &name) {
                draft.part(part, &key, |out| out.extend_from_slice(value.bytes()));
            } else {
                // Not a part of any event: it is in the text, and a path does not lead to it.
                draft.out.extend_from_slice(&key);
                draft.out.extend_from_slice(value.bytes());
                draft.out.push(b',');
            }
        }
        Some(draft.finish().keep())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { nanos: 0, unix_millis: 1_771_521_960_000 };

    fn sample(text: &str) -> Option<Event> {
        Event::sample(Raw::document(text.as_bytes()).expect("JSON"), NOW)
    }

    #[test]
    fn a_payload_becomes_the_event_that_it_came_from() {
        let text =
            r#"{"time":"2020-01-02T03:04:05.678Z","data":{"method":"post","body":{"n":1.00},"odd":"é"}}"#;
        let event = sample(text).expect("an event");
        assert_eq!(event.time().bytes(), br#""2020-01-02T03:04:05.678Z""#);
        assert_eq!(event.body().bytes(), br#"{"n":1.00}"#);
        let (data, odd) = (event.data(), r#"{"method":"post","body":{"n":1.00},"odd":"é"}"#);
        assert_eq!(data.bytes(), odd.as_bytes());
    }

    #[test]
    fn a_time_of_another_length_is_that_of_now_and_a_message_is_a_websockets() {
        let event =
            sample(r#"{"time":"soon","data":{"type":"message","message":{"data":"x"}}}"#).expect("an event");
        assert_eq!(event.time().bytes(), br#""2026-02-19T17:26:00.000Z""#);
        assert_eq!(event.body().bytes(), br#"{"data":"x"}"#);
        assert!(sample(r#"{"data":{}}"#).is_some_and(|event| event.data().bytes() == b"{}"));
        assert!(sample(r#"{"data":[]}"#).is_none() && sample("{}").is_none());
    }
}
