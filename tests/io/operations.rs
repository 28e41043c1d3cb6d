//! Random operations on random connections, compared with a model: what each side has sent, the other receives, in
//! order, as far as nobody closed or reset it.

use tidegate::io::{CloseHow, Operation, SocketId};

use crate::host::{Client, Heard, Host, Random, World, pattern};

const STEPS: usize = 600;
const CONNECTIONS_MAX: usize = 6;
/// Bytes of a stream: more than is sent in so many steps.
const STREAM_BYTES: usize = 8 << 20;

struct Connection<C> {
    socket: SocketId,
    client: Option<C>,
    /// What the client sends, and how much of it has been taken.
    inbound: Vec<u8>,
    fed: usize,
    /// What the host sends, and how much it was told to send.
    outbound: Vec<u8>,
    sent: usize,
    heard: Vec<u8>,
    client_shut: bool,
    host_shut: bool,
    /// Bytes may be lost from here on.
    cut: bool,
}

pub fn run<W: World>(seed: u64) {
    let mut random = Random(seed);
    let mut host = Host::<W>::new();
    let mut connections: Vec<Connection<W::Client>> = Vec::new();
    for _ in 0..STEPS {
        if connections.len() < CONNECTIONS_MAX && random.one_in(8) {
            connections.push(open(&mut host, random.next() >> 33));
        }
        if !connections.is_empty() {
            let at = random.below(connections.len());
            step(&mut host, &mut connections[at], &mut random);
        }
        if random.one_in(3) {
            host.turn();
        }
        if random.one_in(40) {
            host.hold_leases = !host.hold_leases;
            host.sockets.values_mut().for_each(|seen| seen.leases.clear());
        }
        connections.iter().for_each(|connection| check(&host, connection));
        connections
            .retain(|connection| !host.sockets[&connection.socket].closed || connection.client.is_some());
        if random.one_in(100) {
            connections.retain(|connection| !host.sockets[&connection.socket].closed);
        }
    }
    host.hold_leases = false;
    host.sockets.values_mut().for_each(|seen| seen.leases.clear());
    connections.iter_mut().for_each(|connection| finish(&mut host, connection));
}

fn open<W: World>(host: &mut Host<W>, stream: u64) -> Connection<W::Client> {
    let (socket, client) = host.connection();
    Connection {
        socket,
        client: Some(client),
        inbound: pattern(stream, STREAM_BYTES / 8),
        fed: 0,
        outbound: pattern(stream + 1, STREAM_BYTES),
        sent: 0,
        heard: Vec::new(),
        client_shut: false,
        host_shut: false,
        cut: false,
    }
}

fn step<W: World>(host: &mut Host<W>, of: &mut Connection<W::Client>, random: &mut Random) {
    let socket = of.socket;
    let closing = host.seen(socket).closing;
    match random.below(24) {
        0..=4 => {
            let most = of.inbound.len().min(of.fed + random.below(40_000));
            if let Some(client) = &mut of.client
                && !of.client_shut
            {
                match client.send(&of.inbound[of.fed..most]) {
                    Some(count) => of.fed += count,
                    None => of.cut = true,
                }
            }
        }
        5..=8 => {
            hear(of);
        }
        9..=11 => host.receive(socket),
        12 | 13 => host.rest(socket),
        14 => host.stop(socket),
        15..=18 if !closing && !of.host_shut && host.seen(socket).sending.is_none() => {
            let count = if random.one_in(4) { random.below(400_000) } else { random.below(3_000) };
            let to = of.outbound.len().min(of.sent + count);
            host.send(socket, &of.outbound[of.sent..to]);
            of.sent = to;
        }
        19 if random.one_in(4) && !closing => {
            of.host_shut = true;
            host.start(Operation::ShutdownWrite { socket });
        }
        20 if random.one_in(4) && !of.client_shut => {
            if let Some(client) = &mut of.client
                && !of.cut
            {
                of.client_shut = true;
                client.shutdown_write();
            }
        }
        21 if random.one_in(6) && !closing => {
            of.cut = true;
            host.start_close(socket, if random.one_in(2) { CloseHow::Reset } else { CloseHow::Graceful });
        }
        22 if random.one_in(8) => {
            if let Some(client) = of.client.take() {
                of.cut = true;
                client.reset();
            }
        }
        _ => {}
    }
}

fn hear<C: Client>(of: &mut Connection<C>) -> Heard {
    let Some(client) = &mut of.client else { return Heard::Reset };
    client.receive(&mut of.heard)
}

/// Nobody has received what was not sent.
fn check<W: World>(host: &Host<W>, of: &Connection<W::Client>) {
    let seen = &host.sockets[&of.socket];
    assert!(of.inbound[..of.fed].starts_with(&seen.received), "{} received", seen.received.len());
    assert!(of.outbound[..of.sent].starts_with(&of.heard), "{} heard", of.heard.len());
}

/// What was not cut arrives whole, and every socket closes.
fn finish<W: World>(host: &mut Host<W>, of: &mut Connection<W::Client>) {
    let socket = of.socket;
    if !of.cut {
        host.receive(socket);
        host.until("all has arrived", |host| {
            hear(of);
            let seen = host.seen(socket);
            let ended = !of.client_shut || seen.ended.is_some();
            seen.received.len() == of.fed && of.heard.len() == of.sent && seen.sending.is_none() && ended
        });
        if of.host_shut {
            host.until("the client hears the end", |_| hear(of) == Heard::End);
        }
    }
    check(host, of);
    if !host.seen(socket).closing {
        host.start_close(socket, CloseHow::Graceful);
    }
    host.until("it closes", |host| host.seen(socket).closed);
}
