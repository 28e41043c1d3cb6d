//! The frames of an attached worker ([workers](crate::guide::workers)): `tidegate.worker.v1`, JSON text both ways.

use std::fmt;

use crate::base::json::{self, Kind, Raw};
use crate::reply::{self, Reply};
use crate::trigger::Payload;

/// How deep a frame may be nested: a reply's body may be a payload sent back.
const DEPTH_MAX: usize = json::DOCUMENT_DEPTH_MAX;
/// Seqs that one `ack` may name: what a frame of the largest size can hold of short numbers is bounded by this.
pub const SEQS_MAX: usize = 65_536;

/// A frame from a worker.
#[derive(Debug)]
pub enum WorkerFrame {
    /// It takes so many more triggers.
    Ready { credit: u32 },
    /// It is done with these.
    Ack { seqs: Vec<u64> },
    /// It does not want this one.
    Nack { seq: u64 },
    /// A reply, which also acks the trigger that it answers: that of `seq`, where it names one.
    Reply { reply_id: String, seq: Option<u64>, reply: Box<Reply> },
}

/// The fault of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Binary, which the protocol does not have.
    Binary,
    /// Not JSON, nested too deep, or no object.
    NotAnObject,
    /// `type` is missing or unknown.
    Type,
    /// A field that is not what it must be: its name, and what that is.
    Field(&'static str, &'static str),
    /// A reply that is malformed: which field, and why.
    Reply(String),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Binary => f.write_str("a frame must be a text message"),
            FrameError::NotAnObject => f.write_str("a frame must be a JSON object"),
            FrameError::Type => f.write_str("type must be one of ready, ack, nack, reply"),
            FrameError::Field(field, must) => write!(f, "{field} {must}"),
            FrameError::Reply(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for FrameError {}

/// Reads a worker's frame.
///
/// # Errors
/// [`FrameError`], in words for the worker's developer.
pub fn parse(text: &[u8]) -> Result<WorkerFrame, FrameError> {
    if !json::validate(text, DEPTH_MAX) {
        return Err(FrameError::NotAnObject);
    }
    let frame = Raw::trusted(text);
    if frame.kind() != Kind::Object {
        return Err(FrameError::NotAnObject);
    }
    let kind = frame.get("type").and_then(|kind| kind.as_str()).ok_or(FrameError::Type)?;
    match &*kind {
        "ready" => {
            let credit = frame.get("credit").and_then(whole).and_then(|credit| u32::try_from(credit).ok());
            let must = "must be a whole number from 1 to 4294967295";
            credit
                .filter(|credit| *credit > 0)
                .map(|credit| WorkerFrame::Ready { credit })
                .ok_or(FrameError::Field("credit", must))
        }
        "ack" => {
            let must = FrameError::Field("seqs", "must be a list of at most 65536 seqs");
            let list = frame.get("seqs").filter(|seqs| seqs.kind() == Kind::Array).ok_or(must.clone())?;
            let seqs: Option<Vec<u64>> = list.items().take(SEQS_MAX + 1).map(whole).collect();
            seqs.filter(|seqs| seqs.len() <= SEQS_MAX).map(|seqs| WorkerFrame::Ack { seqs }).ok_or(must)
        }
        "nack" => frame
            .get("seq")
            .and_then(whole)
            .map(|seq| WorkerFrame::Nack { seq })
            .ok_or(FrameError::Field("seq", "must be a seq")),
        "reply" => reply(frame),
        _ => Err(FrameError::Type),
    }
}

/// The rest of the frame is a reply as it comes from anywhere else ([replies and
/// templates](crate::guide::replies_and_templates)).
fn reply(frame: Raw<'_>) -> Result<WorkerFrame, FrameError> {
    let reply_id = frame
        .get("replyId")
        .and_then(|id| id.as_str())
        .ok_or(FrameError::Field("replyId", "must be the replyId of a trigger"))?
        .into_owned();
    let seq = match frame.get("seq") {
        None => None,
        Some(seq) => Some(whole(seq).ok_or(FrameError::Field("seq", "must be a seq"))?),
    };
    let reply = reply::parse_frame(frame).map_err(|error| FrameError::Reply(error.to_string()))?;
    Ok(WorkerFrame::Reply { reply_id, seq, reply: Box::new(reply) })
}

/// A number without sign, fraction or exponent.
fn whole(value: Raw<'_>) -> Option<u64> {
    value.as_number()?.parse().ok()
}

/// Writes a trigger.
pub fn trigger(out: &mut Vec<u8>, seq: u64, attempt: u32, node_id: &str, payload: &Payload) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b"{\"type\":\"trigger\",\"seq\":");
    out.extend_from_slice(number.format(seq).as_bytes());
    out.extend_from_slice(b",\"attempt\":");
    out.extend_from_slice(number.format(attempt).as_bytes());
    out.extend_from_slice(b",\"nodeId\":");
    json::escape_into(out, node_id);
    out.extend_from_slice(b",\"payload\":");
    payload.write(out);
    out.push(b'}');
}

/// Writes what became of a reply.
pub fn reply_result(out: &mut Vec<u8>, reply_id: &str, accepted: bool) {
    out.extend_from_slice(b"{\"type\":\"replyResult\",\"replyId\":");
    json::escape_into(out, reply_id);
    out.extend_from_slice(if accepted { b",\"accepted\":true}" } else { b",\"accepted\":false}" });
}

/// Writes what was wrong.
pub fn error(out: &mut Vec<u8>, message: &str) {
    out.extend_from_slice(b"{\"type\":\"error\",\"message\":");
    json::escape_into(out, message);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match parse(text.as_bytes()) {
            Ok(WorkerFrame::Ready { credit }) => format!("ready {credit}"),
            Ok(WorkerFrame::Ack { seqs }) => format!("ack {seqs:?}"),
            Ok(WorkerFrame::Nack { seq }) => format!("nack {seq}"),
            Ok(WorkerFrame::Reply { reply_id, seq: None, .. }) => format!("reply {reply_id}"),
            Ok(WorkerFrame::Reply { reply_id, seq: Some(seq), .. }) => format!("reply {reply_id} to {seq}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn frames_are_read_and_what_is_wrong_is_named() {
        check(r#"{"type":"ready","credit":100}"#, "ready 100");
        check(r#"{"credit":4294967295,"type":"ready"}"#, "ready 4294967295");
        let credit = "credit must be a whole number from 1 to 4294967295";
        for value in ["0", "-1", "1.5", "4294967296", "\"1\"", "null", "1e3"] {
            check(&format!(r#"{{"type":"ready","credit":{value}}}"#), credit);
        }
        check(r#"{"type":"ready"}"#, credit);
        check(r#"{"type":"ack","seqs":[7,8]}"#, "ack [7, 8]");
        check(r#"{"type":"ack","seqs":[]}"#, "ack []");
        check(r#"{"type":"ack","seqs":[7,"8"]}"#, "seqs must be a list of at most 65536 seqs");
        check(r#"{"type":"ack","seq":7}"#, "seqs must be a list of at most 65536 seqs");
        check(r#"{"type":"nack","seq":9}"#, "nack 9");
        check(r#"{"type":"nack","seq":-9}"#, "seq must be a seq");
        check(r#"{"type":"reply","replyId":"a.b","body":"x"}"#, "reply a.b");
        check(r#"{"type":"reply","seq":7,"replyId":"a.b","body":"x"}"#, "reply a.b to 7");
        for seq in ["null", "\"7\"", "-1", "1.5", "[7]"] {
            check(&format!(r#"{{"type":"reply","replyId":"a.b","seq":{seq}}}"#), "seq must be a seq");
        }
        check(r#"{"type":"reply","body":"x"}"#, "replyId must be the replyId of a trigger");
        check(r#"{"type":"stop"}"#, "type must be one of ready, ack, nack, reply");
        check(r#"{"type":1}"#, "type must be one of ready, ack, nack, reply");
        check("[]", "a frame must be a JSON object");
        check("{", "a frame must be a JSON object");
        check("", "a frame must be a JSON object");
    }

    #[test]
    fn an_ack_has_a_bound() {
        let seqs = |count: usize| format!(r#"{{"type":"ack","seqs":[{}1]}}"#, "1,".repeat(count - 1));
        assert!(
            matches!(parse(seqs(SEQS_MAX).as_bytes()), Ok(WorkerFrame::Ack { seqs }) if seqs.len() == SEQS_MAX)
        );
        check(&seqs(SEQS_MAX + 1), "seqs must be a list of at most 65536 seqs");
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = format!(
            r#"{{"type":"reply","replyId":"a","body":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        check(&deep, "a frame must be a JSON object");
    }

    #[test]
    fn what_the_engine_says_is_json() {
        let mut out = Vec::new();
        reply_result(&mut out, "a\"b", true);
        assert_eq!(out, br#"{"type":"replyResult","replyId":"a\"b","accepted":true}"#);
        out.clear();
        error(&mut out, "line\nbreak");
        assert_eq!(out, br#"{"type":"error","message":"line\nbreak"}"#);
    }
}
