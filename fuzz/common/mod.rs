//! What the targets share: choices read off the input, JSON as somebody else reads it, a payload to carry around.
#![allow(dead_code, reason = "no target uses all of it")]

use std::sync::Arc;

use serde::Deserialize as _;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tidegate::base::clock::Now;
use tidegate::base::id::Id;
use tidegate::model::CastBuffersAs;
use tidegate::trigger::{Event, Hidden, HttpData, Payload, Peer, Tail, http_event};

/// Decisions read off an input, one after the other; an input that is used up decides for the first of everything.
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(rest: &'a [u8]) -> Choices<'a> {
        Choices { rest }
    }

    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        first
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub fn truth(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Any number, small ones and neighbours of powers of two before others.
    pub fn number(&mut self) -> u64 {
        let scale = self.below(65);
        let one = 1u64.checked_shl(scale as u32).unwrap_or(0);
        match self.below(4) {
            0 => scale as u64,
            1 => one.wrapping_sub(1),
            2 => one,
            _ => u64::from(self.byte()).wrapping_mul(one) ^ u64::from(self.byte()),
        }
    }

    /// So many bytes, or those that are left.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Up to 255 bytes; their number is the first one read.
    pub fn some_bytes(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte());
        self.bytes(count)
    }

    /// All that is left.
    pub fn all(self) -> &'a [u8] {
        self.rest
    }
}

/// JSON with white space where it may stand: around the structural characters outside of texts, as the choices say.
/// Whatever reads the one reads the other, and finds the same in it.
pub fn spaced(json: &str, choices: &mut Choices<'_>) -> String {
    let (mut out, mut in_text, mut is_escaped) = (String::new(), false, false);
    for sign in json.chars() {
        let is_structural = !in_text && matches!(sign, '{' | '}' | '[' | ']' | ',' | ':');
        let mut space = |out: &mut String| {
            if is_structural {
                out.push_str(["", "", " ", "\n", "\t", "\r\n  "][choices.below(6)]);
            }
        };
        space(&mut out);
        out.push(sign);
        space(&mut out);
        in_text ^= sign == '"' && !is_escaped;
        is_escaped = in_text && sign == '\\' && !is_escaped;
    }
    out
}

/// Whether serde_json takes it, at any depth. Values are passed over, so that numbers of any size and escapes of half
/// a surrogate count as the grammar (RFC 8259) has them.
pub fn is_json(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    IgnoredAny::deserialize(&mut reader).is_ok() && reader.end().is_ok()
}

/// The members of an object as they stand in the text, in order, repeated ones too.
pub fn members(text: &str) -> Vec<(String, &str)> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, &'de str)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                members.push((name, value.get()));
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    serde::Deserializer::deserialize_map(&mut reader, Members).expect("an object with keys that are text")
}

/// The value of a member that stands once.
pub fn member<'t>(members: &[(String, &'t str)], name: &str) -> &'t str {
    let mut found = members.iter().filter(|(key, _)| key == name);
    let (Some((_, value)), None) = (found.next(), found.next()) else { panic!("{name} does not stand once") };
    value
}

pub const CASTS: [CastBuffersAs; 5] = [
    CastBuffersAs::Array,
    CastBuffersAs::Binary,
    CastBuffersAs::Utf8,
    CastBuffersAs::Base64,
    CastBuffersAs::Hex,
];

pub type Fields<'a> = std::iter::Copied<std::slice::Iter<'a, (&'a [u8], &'a [u8])>>;

/// A POST of a body with these fields, from nowhere in particular.
pub fn post<'a>(fields: &'a [(&'a [u8], &'a [u8])], body: &'a [u8]) -> HttpData<'a, Fields<'a>> {
    HttpData {
        method: b"POST",
        path: b"/",
        query: None,
        fields: fields.iter().copied(),
        body,
        peer: Peer::Local,
        peer_is_trusted: false,
        hidden: Hidden::default(),
        raw_body: false,
        claims: None,
        cast: CastBuffersAs::Array,
        annotate_multipart: false,
        payload_limit: 262_144,
        reply_id: None,
    }
}

pub const NOW: Now = Now { nanos: 1, unix_millis: 1_771_521_960_123 };

pub fn id(last: u8) -> Id {
    format!("0123456789abcdef012345{last:02x}").parse().expect("24 hex digits")
}

pub fn tail() -> Arc<Tail> {
    let globals: Arc<[u8]> = Arc::from(&br#"{"key":{"a":[1,2.50]},"other":"x"}"#[..]);
    Arc::new(Tail::new(id(1), "app \"A\"", id(2), id(3), "flow", globals))
}

/// The body of a payload as JSON, of what came with this content type.
pub fn body_of(event: &Event) -> &str {
    std::str::from_utf8(event.body().bytes()).expect("JSON is UTF-8")
}

/// A payload with a body of about so many bytes.
pub fn payload(bytes: usize) -> Payload {
    let body = vec![b'x'; bytes];
    let event = http_event(&mut Vec::new(), NOW, &post(&[], &body)).expect("a body without a coding");
    Payload { event, tail: tail() }
}
