//! Feeds bytes to the machine, cut into pieces in any way, as the engine does, and says what came of them.
//!
//! A file that includes this one names the machine `machine` and the module of its buffer `buffer`.

use super::buffer::ReceiveBuffer;
use super::machine::{Connection, Framing, Limits, Refusal, Request, Step, Version};

/// A request's head as the machine read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub path: Vec<u8>,
    pub query: Option<Vec<u8>>,
    pub is_http11: bool,
    pub framing: Framing,
    pub expects_continue: bool,
    pub upgrade_websocket: bool,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Read {
    fn of(request: &Request<'_>) -> Read {
        Read {
            method: request.method_bytes().to_vec(),
            target: request.target().to_vec(),
            path: request.path().to_vec(),
            query: request.query().map(<[u8]>::to_vec),
            is_http11: request.version() == Version::Http11,
            framing: request.framing(),
            expects_continue: request.expects_continue(),
            upgrade_websocket: request.upgrade_websocket(),
            fields: request.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        }
    }
}

/// The machine's events, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A request and its body.
    Request(Read, Vec<u8>),
    /// A request whose body was dropped.
    Dropped(Read),
    /// The body was over its limit; the end.
    TooLarge(Read),
    /// A rule was broken; the end.
    Refused(Refusal),
    /// The client does not want to go on; the end.
    Close,
}

/// The treatment of the requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub limits: Limits,
    pub body_bytes_max: usize,
    /// Drop bodies instead of taking them.
    pub is_dropping: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { limits: Limits::default(), body_bytes_max: 262_144, is_dropping: false }
    }
}

/// Feeds the pieces one after the other, and polls in between until the machine wants more.
pub(super) fn drive<'p>(pieces: impl IntoIterator<Item = &'p [u8]>, plan: &Plan) -> Vec<Seen> {
    let mut connection = Connection::new(plan.limits);
    let mut buffer = ReceiveBuffer::default();
    let mut seen = Vec::new();
    let mut head = None;
    for piece in pieces {
        buffer.extend(piece);
        if !step_on(&mut connection, &mut buffer, &mut head, &mut seen, plan) {
            let end = connection.poll(&mut buffer);
            if matches!(seen.last(), Some(Seen::Refused(_) | Seen::TooLarge(_))) {
                // Whatever follows, the machine says the same and gives out nothing more.
                buffer.extend(b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(connection.poll(&mut buffer), end);
            }
            break;
        }
    }
    seen
}

/// Polls until more bytes are needed (true) or the connection is over.
fn step_on(
    connection: &mut Connection,
    buffer: &mut ReceiveBuffer,
    head: &mut Option<Read>,
    seen: &mut Vec<Seen>,
    plan: &Plan,
) -> bool {
    loop {
        match connection.poll(buffer) {
            Step::NeedData => return true,
            Step::Head => {
                *head = Some(Read::of(&connection.request(buffer)));
                assert_eq!(connection.poll(buffer), Step::Paused);
                match plan.is_dropping {
                    true => connection.drop_body(plan.body_bytes_max as u64),
                    false => connection.take_body(plan.body_bytes_max),
                }
            }
            Step::Request => {
                let head = head.take().expect("a head comes before its body");
                // The body was decoded in place, and the head is where it was.
                assert_eq!(Read::of(&connection.request(buffer)), head);
                let body = connection.body(buffer).to_vec();
                assert!(body.len() <= plan.body_bytes_max);
                assert_eq!(connection.buffered_body(), body.len());
                assert_eq!(connection.poll(buffer), Step::Paused);
                seen.push(Seen::Request(head, body));
                connection.finish(buffer);
                if !connection.keep_alive() {
                    seen.push(Seen::Close);
                    return false;
                }
            }
            Step::Dropped => {
                seen.push(Seen::Dropped(head.take().expect("a head comes before its body")));
                if !connection.keep_alive() {
                    seen.push(Seen::Close);
                    return false;
                }
            }
            Step::TooLarge => {
                seen.push(Seen::TooLarge(head.take().expect("a head comes before its body")));
                return false;
            }
            Step::Refused(refusal) => {
                seen.push(Seen::Refused(refusal));
                return false;
            }
            Step::Paused => unreachable!("every request is finished here"),
        }
    }
}

/// Inputs up to this are read byte by byte under Miri, which takes a thousand times as long.
const EACH_BYTE_BYTES_UNDER_MIRI: usize = 200;
/// Inputs up to this are cut in two at every place, longer ones at some.
const EVERY_CUT_BYTES: usize = if cfg!(miri) { 0 } else { 700 };
/// At how many.
const CUTS: usize = if cfg!(miri) { 2 } else { 61 };

/// The machine's events, checked to be the same for the whole input, byte by byte, and cut in two anywhere.
pub(super) fn drive_cut(bytes: &[u8], plan: &Plan) -> Vec<Seen> {
    let whole = drive([bytes], plan);
    if !cfg!(miri) || bytes.len() <= EACH_BYTE_BYTES_UNDER_MIRI {
        assert_eq!(drive(bytes.chunks(1), plan), whole, "byte by byte: {}", bytes.escape_ascii());
    }
    let stride = if bytes.len() <= EVERY_CUT_BYTES { 1 } else { (bytes.len() / CUTS).max(1) };
    for at in (1..bytes.len()).step_by(stride) {
        let (left, right) = bytes.split_at(at);
        assert_eq!(drive([left, right], plan), whole, "cut at {at}: {}", bytes.escape_ascii());
    }
    whole
}
