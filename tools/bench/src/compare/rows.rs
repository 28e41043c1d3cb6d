//! The rows of the table: which servers are asked for what, and which ratio must be reached.

use super::cell;
use super::servers::Peer;

/// Every row, in the order of the table.
pub const NAMES: [&str; 16] = [
    "plain",
    "two-cpus",
    "pipelined",
    "reply",
    "bodies",
    "many",
    "flood",
    "durable",
    "worker",
    "ws-1",
    "ws-16",
    "idle",
    "waiting",
    "start",
    "binary",
    "generator",
];

/// Which webhook of Tidegate, or which other server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Peer(Peer),
    Plain,
    Flooded,
    Replying,
    /// One of many webhooks, always the same.
    OneOfMany,
    /// All of many, at random.
    AllOfMany,
    Socket,
    /// A worker is attached; the durability, if it is not the default.
    Worked(Option<&'static str>),
}

/// Where server and generator run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Same,
    Two,
    /// The server has two cores and goes where it likes.
    TwoCores,
}

/// What is measured in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Series {
    pub(super) who: Who,
    pub(super) place: Place,
    pub(super) depth: usize,
    pub(super) body_bytes: usize,
    pub(super) connections: usize,
}

/// What of two series is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// CPU of the server for an answer.
    Cpu,
    /// Answers a second.
    Rate,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// One line: a ratio of two series.
pub(super) struct Ratio {
    pub(super) row: &'static str,
    pub(super) what: &'static str,
    pub(super) of: Series,
    pub(super) to: Series,
    pub(super) figure: Figure,
    pub(super) target: Target,
}

const LARGE_BODY_BYTES: usize = 262_144;
const MESSAGE_BYTES: usize = 100;
/// Connections of the row with a journal.
const DURABLE_CONNECTIONS: usize = 256;

fn series(who: Who, place: Place) -> Series {
    Series { who, place, depth: 1, body_bytes: cell::BODY_BYTES, connections: cell::CONNECTIONS }
}

pub(super) fn ratios(others: bool) -> Vec<Ratio> {
    use Figure::{Cpu, Rate};
    use Peer::{EchoEpoll, EchoTungstenite, Floor, Hyper, Nginx, NodeRed, Webhook};
    use Place::{Same, Two, TwoCores};
    use Target::{AtLeast, AtMost};
    let same = |who| series(who, Same);
    let peer = |peer| same(Who::Peer(peer));
    let piped = |who| Series { depth: 16, ..same(who) };
    let large = |who| Series { body_bytes: LARGE_BODY_BYTES, ..same(who) };
    let socket = |who, depth| Series { depth, body_bytes: MESSAGE_BYTES, ..same(who) };
    let durable =
        |durability| Series { connections: DURABLE_CONNECTIONS, ..series(Who::Worked(durability), Two) };
    let ratio = |row, what, of, to, figure, target| Ratio { row, what, of, to, figure, target };
    let mut all = vec![
        ratio("plain", "POST, same CPU, to floor", same(Who::Plain), peer(Floor), Cpu, AtMost(1.10)),
        ratio("plain", "POST, same CPU, to hyper", same(Who::Plain), peer(Hyper), Cpu, AtMost(0.78)),
        ratio("plain", "POST, same CPU, to nginx", same(Who::Plain), peer(Nginx), Cpu, AtMost(0.78)),
        ratio(
            "two-cpus",
            "POST, two CPUs, to floor",
            series(Who::Plain, Two),
            series(Who::Peer(Floor), Two),
            Cpu,
            AtMost(1.10),
        ),
        ratio(
            "pipelined",
            "16 pipelined, to floor",
            piped(Who::Plain),
            piped(Who::Peer(Floor)),
            Cpu,
            AtMost(1.6),
        ),
        ratio(
            "pipelined",
            "hyper, to floor",
            piped(Who::Peer(Hyper)),
            piped(Who::Peer(Floor)),
            Cpu,
            Target::None,
        ),
        ratio(
            "pipelined",
            "nginx, to floor",
            piped(Who::Peer(Nginx)),
            piped(Who::Peer(Floor)),
            Cpu,
            Target::None,
        ),
        ratio(
            "reply",
            "waitForReply with a template, to plain",
            same(Who::Replying),
            same(Who::Plain),
            Cpu,
            AtMost(1.35),
        ),
        ratio(
            "bodies",
            "262,144-byte bodies a CPU second, to hyper",
            large(Who::Peer(Hyper)),
            large(Who::Plain),
            Cpu,
            AtLeast(0.9),
        ),
        ratio(
            "many",
            "many webhooks at random, to one",
            same(Who::AllOfMany),
            same(Who::OneOfMany),
            Cpu,
            AtMost(1.15),
        ),
        ratio("flood", "over the rate, to accepted", same(Who::Flooded), same(Who::Plain), Cpu, AtMost(1.0)),
        ratio(
            "flood",
            "over the rate, two cores to one",
            series(Who::Flooded, TwoCores),
            series(Who::Flooded, Two),
            Cpu,
            AtMost(1.0),
        ),
        ratio(
            "flood",
            "accepted, two cores to one",
            series(Who::Plain, TwoCores),
            series(Who::Plain, Two),
            Cpu,
            Target::None,
        ),
        ratio(
            "flood",
            "over the rate, to accepted, two cores",
            series(Who::Flooded, TwoCores),
            series(Who::Plain, TwoCores),
            Cpu,
            Target::None,
        ),
        ratio(
            "durable",
            "fsync, to memory, answers a second",
            durable(Some("fsync")),
            durable(Some("memory")),
            Rate,
            AtLeast(0.6),
        ),
        ratio(
            "worker",
            "to a worker and acked, to plain",
            same(Who::Worked(None)),
            same(Who::Plain),
            Cpu,
            AtMost(2.5),
        ),
        ratio(
            "ws-1",
            "message and reply, depth 1, to epoll echo",
            socket(Who::Socket, 1),
            socket(Who::Peer(EchoEpoll), 1),
            Cpu,
            AtMost(1.3),
        ),
        ratio(
            "ws-1",
            "tungstenite, to epoll echo",
            socket(Who::Peer(EchoTungstenite), 1),
            socket(Who::Peer(EchoEpoll), 1),
            Cpu,
            Target::None,
        ),
        ratio(
            "ws-16",
            "message and reply, depth 16, to epoll echo",
            socket(Who::Socket, 16),
            socket(Who::Peer(EchoEpoll), 16),
            Cpu,
            AtMost(2.5),
        ),
        ratio(
            "ws-16",
            "tungstenite, to epoll echo",
            socket(Who::Peer(EchoTungstenite), 16),
            socket(Who::Peer(EchoEpoll), 16),
            Cpu,
            Target::None,
        ),
    ];
    if others {
        all.push(ratio(
            "plain",
            "POST, same CPU, to Node-RED",
            same(Who::Plain),
            peer(NodeRed),
            Cpu,
            Target::None,
        ));
        all.push(ratio(
            "plain",
            "POST, same CPU, to webhook",
            same(Who::Plain),
            peer(Webhook),
            Cpu,
            Target::None,
        ));
    }
    all
}
