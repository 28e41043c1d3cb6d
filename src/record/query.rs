//! Which records a list, a stream or a replay is about.

use super::entry::Kind;
use super::stored::Record;
use crate::base::id::Id;

/// Statuses that a record may have: of one hundred, or one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// `4xx` is 4.
    Class(u16),
    Exact(u16),
}

impl StatusFilter {
    /// Reads `404` or `4xx`.
    #[must_use]
    pub fn parse(text: &str) -> Option<StatusFilter> {
        // Close codes have four digits.
        if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            return class.parse().ok().filter(|class| (1..=5).contains(class)).map(StatusFilter::Class);
        }
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|status| is_number && (100..=4_999).contains(status))
            .map(StatusFilter::Exact)
    }

    fn has(self, status: u16) -> bool {
        match self {
            StatusFilter::Class(class) => status / 100 == class,
            StatusFilter::Exact(exact) => status == exact,
        }
    }
}

/// Conditions that records must meet; there are none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordQuery {
    /// Any of these.
    pub statuses: Vec<StatusFilter>,
    /// Any of these, in upper case.
    pub methods: Vec<String>,
    /// Any of these.
    pub kinds: Vec<Kind>,
    /// Records of this WebSocket.
    pub connection: Option<Id>,
    pub since_unix_millis: Option<u64>,
    pub until_unix_millis: Option<u64>,
    /// In the path, a header, the body or the request's id.
    pub search: Option<String>,
    /// Replays of this record.
    pub replay_of: Option<Id>,
    /// These records alone.
    pub ids: Option<Vec<Id>>,
}

impl RecordQuery {
    /// Whether a record is one of those that are asked for.
    #[must_use]
    pub fn fits(&self, record: &Record) -> bool {
        let Some(call) = record.call() else { return false };
        let any = |is_one: bool, is_empty: bool| is_empty || is_one;
        let status = record.answer().map(|answer| answer.status);
        let last = record.last_millis();
        any(
            self.statuses.iter().any(|filter| status.is_some_and(|status| filter.has(status))),
            self.statuses.is_empty(),
        ) && any(
            self.methods.iter().any(|method| method.as_bytes().eq_ignore_ascii_case(call.method)),
            self.methods.is_empty(),
        ) && any(self.kinds.contains(&call.kind), self.kinds.is_empty())
            && self.connection.is_none_or(|connection| call.connection == Some(connection))
            && self.replay_of.is_none_or(|record| call.replay_of == Some(record))
            && self.since_unix_millis.is_none_or(|since| last >= since)
            && self.until_unix_millis.is_none_or(|until| call.unix_millis < until)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&call.id))
            && self.search.as_ref().is_none_or(|text| {
                let finder = Finder::new(text.as_bytes());
                [call.path, call.fields, call.body, call.request_id]
                    .into_iter()
                    .any(|part| finder.is_in(part))
            })
    }
}

/// Places that are compared with the text before the bytes are searched in another way: the byte that was taken for a rare
/// one is not rare in them.
const CANDIDATES_MAX: usize = 64;

/// Looks for a text, ASCII letters in either case.
struct Finder<'t> {
    text: &'t [u8],
    /// Place of the byte that is looked for first: the one that is likely the rarest.
    rare: usize,
}

impl<'t> Finder<'t> {
    fn new(text: &'t [u8]) -> Finder<'t> {
        // What JSON and headers are full of comes last.
        let commonness = |byte: u8| match byte {
            b' ' | b'"' | b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 3,
            b'a'..=b'z' | b'A'..=b'Z' | b':' | b',' | b'0' | b'1' => 2,
            b'0'..=b'9' | b'-' | b'/' | b'.' => 1,
            _ => 0,
        };
        let rare = (0..text.len()).min_by_key(|at| commonness(text[*at].to_ascii_lowercase())).unwrap_or(0);
        Finder { text, rare }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        let Some(&rare) = self.text.get(self.rare) else { return true };
        let (lower, upper) = (rare.to_ascii_lowercase(), rare.to_ascii_uppercase());
        for (number, at) in memchr::memchr2_iter(lower, upper, bytes).enumerate() {
            let start = at.checked_sub(self.rare);
            if number == CANDIDATES_MAX {
                return self.is_in_folded(&bytes[start.unwrap_or(0)..]);
            }
            let found = start.and_then(|start| bytes.get(start..start + self.text.len()));
            if found.is_some_and(|found| found.eq_ignore_ascii_case(self.text)) {
                return true;
            }
        }
        false
    }

    /// The same in a time that grows with the bytes alone, whatever they and the text are.
    fn is_in_folded(&self, bytes: &[u8]) -> bool {
        let (bytes, text) = (bytes.to_ascii_lowercase(), self.text.to_ascii_lowercase());
        memchr::memmem::find(&bytes, &text).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_either_case_wherever_it_stands() {
        for (text, bytes, is_in) in [
            ("Abc", "xxaBCxx", true),
            ("abc", "abc", true),
            ("abc", "ab", false),
            ("", "", true),
            ("a:1", "{\"A:1\"}", true),
            ("é", "caf\u{e9}", true),
            ("zz", "zxzaz", false),
        ] {
            assert_eq!(Finder::new(text.as_bytes()).is_in(bytes.as_bytes()), is_in, "{text} in {bytes}");
        }
    }

    #[test]
    fn a_text_is_found_where_its_rarest_byte_is_everywhere() {
        for before in [0, 1, CANDIDATES_MAX - 1, CANDIDATES_MAX, CANDIDATES_MAX + 1, 1_000] {
            for (text, end) in [("zzzA", "zzZa"), ("AzZz", "azzz"), ("zAz", "zaz"), ("z", "")] {
                let bytes = [&b"Z".repeat(before)[..], end.as_bytes(), b"zzz"].concat();
                assert!(Finder::new(text.as_bytes()).is_in(&bytes), "{text} behind {before}");
                let other = b"Z".repeat(before);
                let is_in = text == "z" && before > 0;
                assert_eq!(Finder::new(text.as_bytes()).is_in(&other), is_in, "{text} not in {before}");
            }
        }
    }

    #[test]
    fn statuses_are_numbers_and_classes() {
        assert_eq!(StatusFilter::parse("404"), Some(StatusFilter::Exact(404)));
        assert_eq!(StatusFilter::parse("4xx"), Some(StatusFilter::Class(4)));
        assert_eq!(StatusFilter::parse("1008"), Some(StatusFilter::Exact(1008)));
        for text in ["", "x", "40x", "6xx", "xx", "+404", "99", "4XXX"] {
            assert_eq!(StatusFilter::parse(text), None, "{text}");
        }
    }
}
