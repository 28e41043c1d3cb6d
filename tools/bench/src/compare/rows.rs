//! The rows of the table: which servers are asked for what, in which ways, and which ratio must be reached.

use super::cell;
use super::servers::Peer;
use super::way::Way;

/// Every row, in the order of the table.
pub const NAMES: [&str; 18] = [
    "plain",
    "pipelined",
    "reply",
    "bodies",
    "many",
    "flood",
    "two-cores",
    "records",
    "durable",
    "forward",
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
    /// The caller waits for what an `HttpForwardNode` gets from another server.
    Forwarding,
    /// The plain POST with records switched off.
    Unrecorded,
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Who::Peer(peer) => peer.name(),
            Who::Plain => "Tidegate",
            Who::Flooded => "Tidegate, over the rate",
            Who::Replying => "Tidegate, template reply",
            Who::OneOfMany => "Tidegate, one of many",
            Who::AllOfMany => "Tidegate, many at random",
            Who::Socket => "Tidegate, WebSocket",
            Who::Worked(Some("fsync")) => "Tidegate, worker, fsync",
            Who::Worked(Some(_)) => "Tidegate, worker, memory",
            Who::Worked(None) => "Tidegate, worker",
            Who::Forwarding => "Tidegate, forwarding",
            Who::Unrecorded => "Tidegate, no records",
        }
    }
}

/// The requests that a server is asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Load {
    pub(super) who: Who,
    pub(super) depth: usize,
    pub(super) body_bytes: usize,
    pub(super) connections: usize,
}

/// A load in one way: measured once in each round.
pub(super) type Series = (Load, Way);

/// The figure of two series that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// CPU of the server for an answer, as a ratio.
    Cpu,
    /// Answers a second, as a ratio.
    Rate,
    /// The 99th percentile of latency, as a difference in milliseconds.
    P99,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    pub(super) fn is_met(self, value: f64) -> bool {
        match self {
            Target::AtMost(most) => value <= most,
            Target::AtLeast(least) => value >= least,
        }
    }

    /// How far a value is from the target, as a factor: over 1 it is missed.
    pub(super) fn distance(self, value: f64) -> f64 {
        match self {
            Target::AtMost(most) => value / most,
            Target::AtLeast(least) => least / value,
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Target::AtMost(most) => format!("≤ {most:.2}"),
            Target::AtLeast(least) => format!("≥ {least:.2}"),
        }
    }
}

/// One line: a figure of one load to that of another, in each of the ways.
pub(super) struct Ratio {
    pub(super) row: &'static str,
    pub(super) what: &'static str,
    pub(super) of: Load,
    pub(super) to: Load,
    pub(super) figure: Figure,
    pub(super) ways: Vec<(Way, Option<Target>)>,
    /// The way of `to`, where it is not that of `of`.
    pub(super) base: Option<Way>,
}

impl Ratio {
    fn new(row: &'static str, what: &'static str, of: Load, to: Load) -> Ratio {
        let ways = Way::HTTP.map(|way| (way, None)).to_vec();
        Ratio { row, what, of, to, figure: Figure::Cpu, ways, base: None }
    }

    /// In these ways alone.
    fn only(mut self, ways: &[Way]) -> Ratio {
        self.ways = ways.iter().map(|way| (*way, None)).collect();
        self
    }

    /// The same target in every way.
    fn target(self, target: Target) -> Ratio {
        let ways: Vec<Way> = self.ways.iter().map(|(way, _)| *way).collect();
        ways.into_iter().fold(self, |ratio, way| ratio.target_in(way, target))
    }

    fn target_in(mut self, way: Way, target: Target) -> Ratio {
        self.ways.iter_mut().filter(|(known, _)| *known == way).for_each(|(_, slot)| *slot = Some(target));
        self
    }

    fn figure(mut self, figure: Figure) -> Ratio {
        self.figure = figure;
        self
    }

    fn base(mut self, way: Way) -> Ratio {
        self.base = Some(way);
        self
    }

    /// The two series of a way.
    pub(super) fn series(&self, way: Way) -> [Series; 2] {
        [(self.to, self.base.unwrap_or(way)), (self.of, way)]
    }
}

const LARGE_BODY_BYTES: usize = 262_144;
const MESSAGE_BYTES: usize = 100;
const PIPELINED: usize = 16;
/// Connections of the row with a journal.
const DURABLE_CONNECTIONS: usize = 256;

fn load(who: Who) -> Load {
    Load { who, depth: 1, body_bytes: cell::BODY_BYTES, connections: cell::CONNECTIONS }
}

/// Every ratio. The targets are those of a quiet machine; the most expensive way counts.
pub(super) fn ratios(others: bool) -> Vec<Ratio> {
    let mut all = plain();
    all.extend(webhooks());
    all.extend(deliveries());
    all.extend(sockets());
    if others {
        let to = |peer| load(Who::Peer(peer));
        all.push(
            Ratio::new("plain", "POST, to Node-RED", load(Who::Plain), to(Peer::NodeRed)).only(&[Way::Batch]),
        );
        all.push(
            Ratio::new("plain", "POST, to webhook", load(Who::Plain), to(Peer::Webhook)).only(&[Way::Batch]),
        );
    }
    all
}

/// A POST to a webhook without a flow, beside servers that do nothing but answer.
fn plain() -> Vec<Ratio> {
    use Peer::{Floor, Hyper, Monoio, Nginx};
    use Target::AtMost;
    let peer = |peer| load(Who::Peer(peer));
    let plain = load(Who::Plain);
    let piped = |load: Load| Load { depth: PIPELINED, ..load };
    let same_cpu =
        |ratio: Ratio, most| ratio.target_in(Way::Wrk, AtMost(most)).target_in(Way::Batch, AtMost(most));
    let to = |what, of, to| Ratio::new("plain", what, of, to);
    let piped_to = |what, of, to| Ratio::new("pipelined", what, piped(of), piped(to));
    vec![
        same_cpu(to("POST to a webhook, to the floor", plain, peer(Floor)), 1.08)
            .target_in(Way::Rate, AtMost(1.05))
            .target_in(Way::TwoCpus, AtMost(1.05)),
        same_cpu(to("… to hyper", plain, peer(Hyper)), 0.65),
        same_cpu(to("… to nginx", plain, peer(Nginx)), 0.68)
            .target_in(Way::Rate, AtMost(0.90))
            .target_in(Way::TwoCpus, AtMost(0.85)),
        to("… to bare monoio", plain, peer(Monoio)),
        piped_to("16 pipelined, to the floor", plain, peer(Floor)).target(AtMost(1.18)),
        piped_to("… hyper, to the floor", peer(Hyper), peer(Floor)),
        piped_to("… nginx, to the floor", peer(Nginx), peer(Floor)),
        piped_to("… bare monoio, to the floor", peer(Monoio), peer(Floor)),
    ]
}

/// Other requests to webhooks, most of them beside the plain one.
fn webhooks() -> Vec<Ratio> {
    use Target::{AtLeast, AtMost};
    let plain = load(Who::Plain);
    let large = |who| Load { body_bytes: LARGE_BODY_BYTES, ..load(who) };
    let two = |what, who| {
        Ratio::new("two-cores", what, load(who), load(who)).only(&[Way::TwoCores]).base(Way::TwoServers)
    };
    vec![
        Ratio::new(
            "reply",
            "`waitForReply` with a template reply, to the plain POST",
            load(Who::Replying),
            plain,
        )
        .target(AtMost(1.15)),
        Ratio::new(
            "bodies",
            "bodies of 262,144 bytes, bytes a CPU second, to hyper",
            large(Who::Peer(Peer::Hyper)),
            large(Who::Plain),
        )
        .target(AtLeast(1.1))
        .target_in(Way::Batch, AtLeast(1.0)),
        Ratio::new("many", "many webhooks hit at random, to one", load(Who::AllOfMany), load(Who::OneOfMany))
            .target(AtMost(1.25)),
        Ratio::new("flood", "a flood over the rate, to accepted requests", load(Who::Flooded), plain)
            .target(AtMost(1.0)),
        two("accepted on two cores, to two servers of one core", Who::Plain).target(AtMost(1.10)),
        two("… over the rate", Who::Flooded),
        Ratio::new("records", "records on, to off", plain, load(Who::Unrecorded)).target(AtMost(1.02)),
    ]
}

/// Triggers that leave the process.
fn deliveries() -> Vec<Ratio> {
    use Target::{AtLeast, AtMost};
    let fsync = |what, connections, figure| {
        let durable = |durability| Load { connections, ..load(Who::Worked(Some(durability))) };
        let ratio = Ratio::new("durable", what, durable("fsync"), durable("memory"));
        ratio.only(&[Way::TwoCpus]).figure(figure)
    };
    let what = "`durability = fsync` to `memory`, worker, 256 connections: answers a second";
    vec![
        fsync(what, DURABLE_CONNECTIONS, Figure::Rate).target(AtLeast(0.85)),
        fsync("… CPU", DURABLE_CONNECTIONS, Figure::Cpu).target(AtMost(1.15)),
        fsync("… p99, difference in ms", DURABLE_CONNECTIONS, Figure::P99).target(AtMost(1.0)),
        fsync("… 64 connections: CPU", 64, Figure::Cpu).target(AtMost(1.35)),
        // Of `memory` it is a tenth of a millisecond.
        fsync("… one connection: p99, difference in ms", 1, Figure::P99).target(AtMost(0.6)),
        Ratio::new(
            "forward",
            "`HttpForwardNode`, caller waiting, to nginx `proxy_pass`",
            load(Who::Forwarding),
            load(Who::Peer(Peer::NginxProxy)),
        )
        .target(AtMost(2.0)),
        Ratio::new(
            "worker",
            "a trigger to a worker, acked, to the plain POST",
            load(Who::Worked(None)),
            load(Who::Plain),
        )
        .target(AtMost(1.5)),
    ]
}

fn sockets() -> Vec<Ratio> {
    use Peer::{EchoEpoll, EchoTungstenite};
    let socket = |who, depth| Load { depth, body_bytes: MESSAGE_BYTES, ..load(who) };
    let at = |row, what, who, depth| {
        Ratio::new(row, what, socket(who, depth), socket(Who::Peer(EchoEpoll), depth)).only(&Way::SOCKET)
    };
    vec![
        at("ws-1", "WebSocket message and template reply, depth 1, to the epoll echo", Who::Socket, 1)
            .target(Target::AtMost(1.0)),
        at("ws-1", "… tungstenite, to the epoll echo", Who::Peer(EchoTungstenite), 1),
        at("ws-16", "… depth 16, to the epoll echo", Who::Socket, PIPELINED).target(Target::AtMost(1.4)),
        at("ws-16", "… tungstenite, depth 16, to the epoll echo", Who::Peer(EchoTungstenite), PIPELINED),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_http_row_is_measured_in_all_four_ways() {
        let exempt = ["two-cores", "durable", "ws-1", "ws-16"];
        for ratio in ratios(false).iter().filter(|ratio| !exempt.contains(&ratio.row)) {
            let ways: Vec<Way> = ratio.ways.iter().map(|(way, _)| *way).collect();
            assert_eq!(ways, Way::HTTP, "{}", ratio.what);
        }
    }

    #[test]
    fn every_row_has_a_name() {
        assert!(ratios(true).iter().all(|ratio| NAMES.contains(&ratio.row)));
    }

    #[test]
    fn a_target_tells_how_far_a_value_is_from_it() {
        assert!(Target::AtMost(2.0).distance(1.0) < 1.0 && Target::AtLeast(2.0).distance(1.0) > 1.0);
        assert!(Target::AtMost(2.0).is_met(2.0) && !Target::AtLeast(2.0).is_met(1.9));
    }
}
