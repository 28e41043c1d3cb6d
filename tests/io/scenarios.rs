//! What holds for every backend.

use std::net::IpAddr;

use tidegate::io::{BUFFER_BYTES, BUFFERS, CloseHow, End, Io, Operation, SendReport, SocketId};

pub use crate::files::{
    a_read_beyond_the_end_is_an_error, blocks_that_were_written_are_read_back,
    transfers_of_a_closed_file_are_reported,
};
use crate::host::{Client, Heard, Host, Random, World, pattern};
use crate::operations;

pub fn bytes_are_echoed_however_they_are_cut<W: World>() {
    let mut host = Host::<W>::new();
    let (socket, mut client) = host.connection();
    assert_eq!(host.seen(socket).peer, Some(IpAddr::from([127, 0, 0, 1])));
    host.receive(socket);
    let text = pattern(1, 40);
    for cut in 0..=text.len() {
        host.seen(socket).received.clear();
        host.feed(&mut client, &text[..cut]);
        host.until("the first part arrives", |host| host.seen(socket).received.len() == cut);
        host.feed(&mut client, &text[cut..]);
        host.until("the rest arrives", |host| host.seen(socket).received.len() == text.len());
        let received = host.seen(socket).received.clone();
        assert_eq!(received, text);
        host.send(socket, &received);
        assert_eq!(host.drain(&mut client, text.len()), text);
        host.until("the send is reported", |host| host.seen(socket).sending.is_none());
    }
    assert_eq!(host.seen(socket).sent, 41);
    host.close(socket, CloseHow::Graceful);
    assert_eq!(host.hear_end(&mut client, &mut Vec::new()), Heard::End);
}

pub fn an_empty_send_is_reported<W: World>() {
    let mut host = Host::<W>::new();
    let (socket, _client) = host.connection();
    host.send(socket, b"");
    host.until("it is sent", |host| host.seen(socket).sent == 1);
}

pub fn a_socket_closes_in_every_state<W: World>() {
    let mut host = Host::<W>::new();
    // Receiving: not at all, armed, resting, resting after bytes, stopped, ended. Sending: nothing, what fits, what does
    // not fit, with its write side to be shut down.
    for receiving in 0..6 {
        for sending in 0..4 {
            for how in [CloseHow::Graceful, CloseHow::Reset] {
                for turns in 0..3 {
                    close_in(&mut host, (receiving, sending, how, turns));
                }
            }
        }
    }
}

fn close_in<W: World>(host: &mut Host<W>, state: (u32, u32, CloseHow, u32)) {
    let (receiving, sending, how, turns) = state;
    let (socket, mut client) = host.connection();
    match receiving {
        1 => host.receive(socket),
        2 => host.rest(socket),
        3 => {
            host.rest(socket);
            host.feed(&mut client, b"hello");
            host.until("bytes arrive", |host| host.seen(socket).received == b"hello");
            host.rest(socket);
        }
        4 => {
            host.receive(socket);
            host.turn();
            host.stop(socket);
        }
        5 => {
            host.receive(socket);
            client.shutdown_write();
            host.until("the end arrives", |host| host.seen(socket).ended.is_some());
        }
        _ => {}
    }
    let bytes = pattern(2, [0, 100, W::MORE_THAN_FITS, 100][sending as usize]);
    if sending > 0 {
        host.send(socket, &bytes);
    }
    if sending == 3 {
        host.start(Operation::ShutdownWrite { socket });
    }
    (0..turns).for_each(|_| host.turn());
    host.close(socket, how);
    let seen = host.seen(socket);
    assert_eq!(seen.sent + seen.failed, u32::from(sending > 0), "{state:?}");
    if sending == 2 {
        assert_eq!(seen.failed, 1, "{state:?}");
    }
    let sent = seen.sent;
    let mut heard = Vec::new();
    let end = host.hear_end(&mut client, &mut heard);
    assert!(bytes.starts_with(&heard), "{state:?}");
    if how == CloseHow::Graceful && sending != 2 {
        assert_eq!(end, Heard::End, "{state:?}");
        assert!(sent == 0 || heard == bytes, "what was sent is delivered, {state:?}");
    }
    if how == CloseHow::Reset && sending == 2 {
        assert_eq!(end, Heard::Reset, "{state:?}");
    }
}

pub fn operations_on_a_closed_socket_are_dropped<W: World>() {
    let mut host = Host::<W>::new();
    let (socket, _client) = host.connection();
    host.receive(socket);
    host.turn();
    host.start_close(socket, CloseHow::Graceful);
    drop_operations(&mut host, socket);
    host.until("it closes", |host| host.seen(socket).closed);
    let never = SocketId { index: 1_000_000, generation: 0 };
    drop_operations(&mut host, socket);
    drop_operations(&mut host, never);
    host.settle();
}

/// Starts each operation on a socket that is closing, or gone.
fn drop_operations<W: World>(host: &mut Host<W>, socket: SocketId) {
    host.start(Operation::Receive { socket });
    host.start(Operation::Rest { socket });
    host.start(Operation::StopReceiving { socket });
    host.start(Operation::Send { socket, bytes: b"late".to_vec(), report: SendReport::Prompt });
    host.start(Operation::ShutdownWrite { socket });
    host.start(Operation::Close { socket, how: CloseHow::Reset });
}

pub fn an_index_is_used_again_with_another_generation<W: World>() {
    let mut host = Host::<W>::new();
    let mut ids = Vec::new();
    for _ in 0..50 {
        let (socket, mut client) = host.connection();
        host.receive(socket);
        host.feed(&mut client, b"x");
        host.until("it arrives", |host| host.seen(socket).received == b"x");
        host.close(socket, CloseHow::Graceful);
        ids.push(socket);
    }
    assert!(ids.iter().all(|id| id.index == ids[0].index), "{ids:?}");
    // An operation on an earlier one does not reach the present one.
    let (socket, mut client) = host.connection();
    host.receive(socket);
    ids.iter().for_each(|id| {
        host.start(Operation::StopReceiving { socket: *id });
        host.start(Operation::Close { socket: *id, how: CloseHow::Reset });
    });
    host.settle();
    host.feed(&mut client, b"y");
    host.until("it arrives", |host| host.seen(socket).received == b"y");
}

pub fn a_reset_is_an_end_and_fails_the_send<W: World>() {
    let mut host = Host::<W>::new();
    for resting in [false, true] {
        let (socket, client) = host.connection();
        if resting {
            host.rest(socket)
        } else {
            host.receive(socket)
        }
        host.send(socket, &pattern(3, W::MORE_THAN_FITS));
        host.turn();
        client.reset();
        host.until("the end and the failure arrive", |host| {
            let seen = host.seen(socket);
            seen.ended.is_some() && seen.failed == 1
        });
        host.settle();
        assert_eq!(host.seen(socket).ended, Some(End::Broken));
        // What is sent now fails as well, and nothing more is received.
        host.send(socket, b"more");
        host.receive(socket);
        host.until("it fails", |host| host.seen(socket).failed == 2);
        host.close(socket, CloseHow::Graceful);
    }
}

pub fn either_side_ends_alone<W: World>() {
    let mut host = Host::<W>::new();
    for resting in [false, true] {
        let (socket, mut client) = host.connection();
        if resting {
            host.rest(socket)
        } else {
            host.receive(socket)
        }
        host.feed(&mut client, b"last words");
        client.shutdown_write();
        host.until("the end arrives", |host| host.seen(socket).ended.is_some());
        assert_eq!(host.seen(socket).received, b"last words");
        assert_eq!(host.seen(socket).ended, Some(End::HalfClosed));
        // It may still receive.
        host.send(socket, b"answer");
        assert_eq!(host.drain(&mut client, 6), b"answer");
        host.close(socket, CloseHow::Graceful);

        let (socket, mut client) = host.connection();
        if resting {
            host.rest(socket)
        } else {
            host.receive(socket)
        }
        let long = pattern(4, 3_000_000);
        host.send(socket, &long);
        // Once the send in flight has ended.
        host.start(Operation::ShutdownWrite { socket });
        let mut heard = Vec::new();
        assert_eq!(host.hear_end(&mut client, &mut heard), Heard::End);
        assert!(heard == long, "{} of {} bytes", heard.len(), long.len());
        host.feed(&mut client, b"still here");
        host.until("it arrives", |host| host.seen(socket).received == b"still here");
        host.close(socket, CloseHow::Graceful);
    }
}

pub fn receiving_goes_on_when_buffers_come_back<W: World>() {
    let mut host = Host::<W>::new();
    host.hold_leases = true;
    let bytes = pattern(5, BUFFER_BYTES * usize::from(BUFFERS) / 8);
    let mut connections: Vec<_> = (0..16).map(|_| host.connection()).collect();
    for (socket, _) in &connections {
        host.receive(*socket);
    }
    // Twice as much as all buffers hold.
    let mut fed = vec![0; connections.len()];
    host.until("all buffers are lent", |host| {
        for ((_, client), fed) in connections.iter_mut().zip(&mut fed) {
            *fed += client.send(&bytes[*fed..]).expect("connected");
        }
        host.world.io().counters().out_of_buffers > 0
    });
    host.settle();
    let lent: usize = host.sockets.values().map(|seen| seen.leases.len()).sum();
    assert_eq!(lent, usize::from(BUFFERS));
    // One at a time comes back, and every socket goes on; some storage is kept.
    let mut random = Random(5);
    host.until("all has arrived", |host| {
        for ((socket, client), fed) in connections.iter_mut().zip(&mut fed) {
            *fed += client.send(&bytes[*fed..]).expect("connected");
            if let Some(mut lease) = host.seen(*socket).leases.pop() {
                match random.below(3) {
                    0 => drop(std::mem::take(&mut *lease)),
                    1 => *lease = Vec::with_capacity(10),
                    _ => {}
                }
            }
        }
        connections.iter().all(|(socket, _)| host.sockets[socket].received.len() == bytes.len())
    });
    for (socket, _) in &connections {
        assert!(host.sockets[socket].received == bytes);
    }
    // Leases may outlive their socket, and the backend.
    let kept: Vec<_> =
        connections.iter().flat_map(|(socket, _)| std::mem::take(&mut host.seen(*socket).leases)).collect();
    connections.iter().for_each(|(socket, _)| host.close(*socket, CloseHow::Graceful));
    drop(host);
    drop(kept);
}

pub fn starved_sockets_that_are_closed_or_stopped_hold_nobody_up<W: World>() {
    let mut host = Host::<W>::new();
    host.hold_leases = true;
    let bytes = pattern(6, BUFFER_BYTES * usize::from(BUFFERS) / 2);
    let mut connections: Vec<_> = (0..6).map(|_| host.connection()).collect();
    connections.iter().for_each(|(socket, _)| host.receive(*socket));
    let mut fed = vec![0; connections.len()];
    host.until("all buffers are lent", |host| {
        for ((_, client), fed) in connections.iter_mut().zip(&mut fed) {
            *fed += client.send(&bytes[*fed..]).expect("connected");
        }
        host.world.io().counters().out_of_buffers > 3
    });
    host.stop(connections[0].0);
    host.rest(connections[1].0);
    host.close(connections[2].0, CloseHow::Reset);
    host.hold_leases = false;
    host.sockets.values_mut().for_each(|seen| seen.leases.clear());
    host.until("the others go on", |host| {
        for ((_, client), fed) in connections.iter_mut().zip(&mut fed) {
            // The one that is closed fails.
            *fed += client.send(&bytes[*fed..]).unwrap_or(0);
        }
        [1, 3, 4, 5].iter().all(|at: &usize| host.sockets[&connections[*at].0].received.len() == bytes.len())
    });
    host.receive(connections[0].0);
    host.until("it goes on as well", |host| {
        let (socket, client) = &mut connections[0];
        fed[0] += client.send(&bytes[fed[0]..]).expect("connected");
        host.sockets[socket].received.len() == bytes.len()
    });
    for at in [0, 1, 3, 4, 5] {
        assert!(host.sockets[&connections[at].0].received == bytes, "{at}");
    }
}

pub fn a_stopped_socket_goes_on_in_order<W: World>() {
    let mut host = Host::<W>::new();
    let (socket, mut client) = host.connection();
    let bytes = pattern(7, 6 << 20);
    let (mut fed, mut random, mut stopped_at) = (0, Random(7), None);
    host.receive(socket);
    host.until("all has arrived", |host| {
        fed += client.send(&bytes[fed..]).expect("connected");
        let received = host.seen(socket).received.len();
        match (stopped_at, random.below(4)) {
            (None, 0) => {
                host.stop(socket);
                stopped_at = Some((received, 0));
            }
            (Some((at, turns)), choice) => {
                // What was under way arrives; then nothing.
                stopped_at = Some((if turns < 3 { received } else { at }, turns + 1));
                assert!(turns < 3 || received == at, "a stopped socket receives");
                if choice == 0 {
                    if random.one_in(2) {
                        host.receive(socket)
                    } else {
                        host.rest(socket)
                    }
                    stopped_at = None;
                }
            }
            (None, 1) => host.rest(socket),
            _ => {}
        }
        received == bytes.len()
    });
    assert!(host.seen(socket).received == bytes);
}

pub fn a_long_send_to_a_slow_reader_arrives_whole<W: World>() {
    let mut host = Host::<W>::new();
    for small in [false, true] {
        let (socket, mut client) = host.connection();
        if small {
            client.shrink_receive_buffer(8 * 1024);
        }
        host.receive(socket);
        let bytes = pattern(8, if small { 256 << 10 } else { W::MORE_THAN_FITS });
        host.send(socket, &bytes);
        let mut heard = Vec::new();
        host.until("all is received", |host| {
            // Received meanwhile: both directions are independent.
            let echoed = host.seen(socket).received.len();
            if echoed < 1_000 {
                client.send(b"z").expect("connected");
            }
            client.receive(&mut heard);
            heard.len() == bytes.len()
        });
        assert!(heard == bytes);
        host.until("it is reported", |host| host.seen(socket).sent == 1);
        if !small {
            assert!(host.seen(socket).progressed > 0);
        }
        host.close(socket, CloseHow::Graceful);
    }
    assert!(host.world.io().counters().partial_sends > 0);
}

pub fn a_peer_that_takes_nothing_is_reset<W: World>() {
    let mut host = Host::<W>::new();
    let (socket, mut client) = host.connection();
    host.receive(socket);
    host.send(socket, &pattern(9, W::MORE_THAN_FITS));
    host.settle();
    host.close(socket, CloseHow::Reset);
    assert_eq!(host.hear_end(&mut client, &mut Vec::new()), Heard::Reset);
}

pub fn many_sockets_are_served<W: World>(count: usize) {
    let mut host = Host::<W>::new();
    let mut clients = Vec::new();
    while clients.len() < count {
        for _ in 0..100.min(count - clients.len()) {
            clients.push(host.world.connect());
        }
        host.until("all are accepted", |host| host.accepted.len() == clients.len());
    }
    let sockets = std::mem::take(&mut host.accepted);
    for (at, socket) in sockets.iter().enumerate() {
        if at % 2 == 0 { host.receive(*socket) } else { host.rest(*socket) }
    }
    host.turn();
    for round in 0..3u8 {
        for (at, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.send(&[round, at as u8, (at >> 8) as u8]), Some(3));
        }
        host.until("all have received", |host| {
            sockets.iter().all(|socket| host.sockets[socket].received.len() == 3 * (usize::from(round) + 1))
        });
        for socket in &sockets {
            let received = host.sockets[socket].received.clone();
            host.send(*socket, &received);
            if round % 2 == 0 {
                host.rest(*socket);
            }
        }
        host.until("all is sent", |host| host.sockets.values().all(|seen| seen.sending.is_none()));
    }
    for (at, client) in clients.iter_mut().enumerate() {
        let heard = host.drain(client, 18);
        let rounds: Vec<u8> = heard.chunks(3).map(|chunk| chunk[0]).collect();
        assert_eq!(rounds, [0, 0, 1, 0, 1, 2]);
        assert!(heard.chunks(3).all(|chunk| chunk[1..] == [at as u8, (at >> 8) as u8]));
    }
    for socket in &sockets {
        host.start_close(*socket, CloseHow::Reset);
    }
    host.until("all are closed", |host| host.sockets.values().all(|seen| seen.closed));
}

pub fn stopping_takes_those_who_are_through<W: World>() {
    let mut host = Host::<W>::new();
    let mut clients: Vec<W::Client> = (0..300).map(|_| host.world.connect()).collect();
    let listener = host.listener;
    host.start(Operation::StopAccepting { listener });
    // The kernel is not told before the next wait.
    clients.extend((0..20).filter_map(|_| host.world.try_connect()));
    host.until("accepting stops", |host| host.accept_stopped);
    let sockets = std::mem::take(&mut host.accepted);
    assert!(sockets.len() >= 300 && sockets.len() <= clients.len(), "{} accepted", sockets.len());
    assert!(host.world.try_connect().is_none(), "nobody listens any more");
    for socket in sockets {
        host.send(socket, b"served");
        host.until("it is sent", |host| host.seen(socket).sent == 1);
    }
    for client in clients.iter_mut().take(300) {
        assert_eq!(host.drain(client, 6), b"served");
    }
    // Nothing more is said of it.
    host.start(Operation::Accept { listener });
    host.start(Operation::StopAccepting { listener });
    host.settle();
}

pub fn a_listener_that_never_accepted_stops<W: World>() {
    let mut host = Host::<W>::new();
    let second = host.world.listener();
    let listener = host.world.io().add_listener(second).expect("a second listener");
    host.start(Operation::StopAccepting { listener });
    host.until("accepting stops", |host| host.accept_stopped);
    assert!(host.world.try_connect().is_none());
}

pub fn an_adopted_socket_is_as_one_that_was_accepted<W: World>() {
    let mut host = Host::<W>::new();
    let (socket, mut client) = host.adopt();
    host.rest(socket);
    host.feed(&mut client, b"in");
    host.until("it arrives", |host| host.seen(socket).received == b"in");
    host.send(socket, b"out");
    assert_eq!(host.drain(&mut client, 3), b"out");
    host.close(socket, CloseHow::Graceful);
    assert_eq!(host.hear_end(&mut client, &mut Vec::new()), Heard::End);
}

pub fn a_wake_ends_a_wait_and_is_reported<W: World>() {
    let mut host = Host::<W>::new();
    let waker = host.world.io().waker();
    for wakes in 1..50 {
        (0..wakes % 3 + 1).for_each(|_| waker.wake());
        let (before, now) = (host.woken, host.world.now());
        // Without a limit: it was woken before.
        host.wait(now, None);
        assert_eq!(host.woken, before + 1);
    }
    let (before, now) = (host.woken, host.world.now());
    host.wait(now, Some(now));
    assert_eq!(host.woken, before);
}

pub fn a_wait_ends_at_its_time<W: World>() {
    let mut host = Host::<W>::new();
    // Later, earlier, the same, past: no wait outlasts its time, and none is left behind by one before.
    for millis in [3, 50, 1, 1, 200, 2, 0, 1] {
        let until = host.world.now() + millis * 1_000_000;
        let mut waits = 0;
        while host.world.now() < until {
            let now = host.world.now();
            host.wait(now, Some(until));
            waits += 1;
        }
        assert!(waits <= 3, "a wait of {millis} ms is no loop: {waits} waits");
    }
}

pub fn random_operations_lose_no_byte<W: World>() {
    for seed in 0..4 {
        operations::run::<W>(seed);
    }
}
