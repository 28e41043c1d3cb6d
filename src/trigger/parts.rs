//! Which parts of an event are asked for.

use crate::template::PathRead;

/// A part of an event's `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Part {
    /// `method`, or `type` on a WebSocket; with it the `time` of the payload.
    Kind,
    Path,
    Headers,
    Query,
    /// `body`, or `message`.
    Body,
    ReplyId,
    RawBody,
    Claims,
}

/// How many parts there are.
pub(super) const PARTS: usize = 8;

/// A set of parts, by bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts(u16);

/// The text of a WebSocket's message, which is at hand without its JSON.
const TEXT: u16 = 1 << PARTS;

impl Parts {
    /// None.
    pub const NONE: Parts = Parts(0);
    /// All: the payload as others than templates get it.
    pub const ALL: Parts = Parts(u16::MAX);

    /// The parts that must be written for what a template or a path reads.
    #[must_use]
    pub fn of(read: PathRead<'_>) -> Parts {
        match read {
            PathRead::Whole | PathRead::Key("data") => Parts::ALL,
            PathRead::Key("time") | PathRead::Member("time", ..) => Parts::one(Part::Kind),
            PathRead::Member("data", "message", Some("data")) => Parts(TEXT),
            PathRead::Member("data", member, _) => match member {
                "method" | "type" => Parts::one(Part::Kind),
                "path" => Parts::one(Part::Path),
                "headers" => Parts::one(Part::Headers),
                "query" => Parts::one(Part::Query),
                "body" | "message" => Parts::one(Part::Body),
                "replyId" => Parts::one(Part::ReplyId),
                "rawBody" => Parts::one(Part::RawBody),
                "claims" => Parts::one(Part::Claims),
                // There is no such part.
                _ => Parts::NONE,
            },
            // The rest is the flow's own.
            PathRead::Key(_) | PathRead::Member(..) => Parts::NONE,
        }
    }

    const fn one(part: Part) -> Parts {
        Parts(1 << part as u8)
    }

    /// Those that are in either.
    #[must_use]
    pub const fn union(self, others: Parts) -> Parts {
        Parts(self.0 | others.0)
    }

    pub(super) const fn has(self, part: Part) -> bool {
        self.0 & Parts::one(part).0 != 0
    }

    /// Whether the `replyId` is among them: somebody may come to know it.
    #[must_use]
    pub const fn has_reply_id(self) -> bool {
        self.has(Part::ReplyId)
    }

    /// For a message that is not text: its JSON, where its text was asked for.
    pub(super) const fn without_text(self) -> Parts {
        if self.0 & TEXT == 0 { self } else { self.union(Parts::one(Part::Body)) }
    }

    /// Whether any of it is JSON.
    pub(super) const fn writes_something(self) -> bool {
        self.0 & !TEXT != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_of_data_asks_for_its_part_alone() {
        let all = [
            ("method", Part::Kind),
            ("type", Part::Kind),
            ("path", Part::Path),
            ("headers", Part::Headers),
            ("query", Part::Query),
            ("body", Part::Body),
            ("message", Part::Body),
            ("replyId", Part::ReplyId),
            ("rawBody", Part::RawBody),
            ("claims", Part::Claims),
        ];
        for (member, part) in all {
            for behind in [None, Some("x")] {
                assert_eq!(Parts::of(PathRead::Member("data", member, behind)), Parts::one(part), "{member}");
            }
        }
        assert_eq!(Parts::of(PathRead::Key("time")), Parts::one(Part::Kind));
        for nothing in [
            PathRead::Member("data", "other", None),
            PathRead::Member("globals", "body", None),
            PathRead::Key("x"),
        ] {
            assert_eq!(Parts::of(nothing), Parts::NONE, "{nothing:?}");
        }
        assert_eq!((Parts::of(PathRead::Whole), Parts::of(PathRead::Key("data"))), (Parts::ALL, Parts::ALL));
        let writes = [Parts::NONE, Parts(TEXT), Parts::one(Part::Path)].map(Parts::writes_something);
        assert_eq!(writes, [false, false, true]);
    }
}
