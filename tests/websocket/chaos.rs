//! Connections that are opened, used, dropped and cut at random: nothing of them is left in the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Hook, Server, eventually, request};
use crate::sockets::{BINARY, CONTINUATION, FIN, PING, Socket, TEXT, Worker, frame, header, upgrade};

on_each_driver! {
    nothing_is_left_of_what_comes_and_goes_at_random,
}

const THREADS: u64 = 8;
/// How long they go on, in all.
const CHAOS: Duration = Duration::from_secs(20);
const SEED: u64 = 0x005e_ed0f_7e57;

/// xorshift64*: the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// File descriptors of the server.
fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.id())).expect("its descriptors").count()
}

/// One client's life.
fn live(server: &Server, hook: &Hook, waiting: &Hook, dice: &mut Dice) {
    if dice.roll(5) == 0 {
        // A request that waits, and perhaps goes away.
        let mut wire = server.wire();
        wire.send(waiting.get());
        match dice.roll(3) {
            0 => wire.reset(),
            1 => drop(wire),
            _ => assert!([200, 429, 504].contains(&wire.response().status)),
        }
        return;
    }
    if dice.roll(8) == 0 {
        // An upgrade that is not ended, or whose answer is not waited for.
        let whole = upgrade(&hook.target(""), &[]);
        let length = 1 + dice.roll(whole.len() as u64) as usize;
        let mut wire = server.wire();
        wire.send(&whole[..length]);
        if dice.roll(2) == 0 {
            wire.reset();
        }
        return;
    }
    let mut client = Socket::open_with(server.ingress, &hook.target(""), &[]);
    for _ in 0..dice.roll(20) {
        let size = [0, 5, 200, 5_000, 70_000][dice.roll(5) as usize];
        let bytes = match dice.roll(8) {
            0 => frame(FIN | BINARY, &vec![7; size]),
            1 => [frame(TEXT, &vec![b'x'; size]), frame(FIN | CONTINUATION, b"y")].concat(),
            2 => frame(FIN | PING, b"ping"),
            3 if dice.roll(10) == 0 => frame(FIN | 3, b"an opcode that there is not"),
            4 if dice.roll(10) == 0 => header(FIN | BINARY, u64::MAX >> 1),
            _ => frame(FIN | TEXT, &vec![b'x'; size]),
        };
        client.send_what_goes(&bytes);
        if dice.roll(2) == 0 && client.is_readable() {
            client.read_some();
        }
    }
    match dice.roll(5) {
        0 => client.cut(true),
        1 => client.cut(false),
        2 => {
            client.send_what_goes(&frame(FIN | 8, &1000u16.to_be_bytes()));
            client.read_to_end();
        }
        3 => {
            client.send_what_goes(&header(FIN | TEXT, 1000));
        }
        _ => drop(client),
    }
}

fn nothing_is_left_of_what_comes_and_goes_at_random(driver: &str) {
    let server = Server::start(|settings| {
        settings.driver(driver).cores(2).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({"isWebsocket": true, "limits": {"concurrency": 100}}));
    let waiting = server
        .webhook(json!({"waitForReply": true, "limits": {"concurrency": 20, "replyTimeoutSeconds": 1}}));
    let flow = server.echo_flow(&hook, &[json!({"type": "WorkerNode"})]);
    assert_eq!(server.wire().ask(request("GET", "/healthz", &[], b"")).status, 200);
    let before = descriptors(&server);
    let lives = AtomicUsize::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (server, hook, waiting, flow, lives) = (&server, &hook, &waiting, &flow, &lives);
            scope.spawn(move || {
                let mut dice = Dice(SEED + thread);
                while begun.elapsed() < CHAOS {
                    // Workers come and go as well.
                    if thread == 0 {
                        let mut worker = Worker::attach(server, flow, 1 + dice.roll(200) as u32);
                        let looks = dice.roll(2000);
                        for _ in 0..looks {
                            if worker.socket.is_readable() {
                                worker.take();
                            }
                        }
                        worker.socket.cut(dice.roll(2) == 0);
                        continue;
                    }
                    live(server, hook, waiting, &mut dice);
                    lives.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(lives.load(Ordering::Relaxed) > 100, "it was no chaos");
    // Every connection's connect and disconnect is there, once, for a worker that lasts.
    let mut last = Worker::attach(&server, &flow, 1_000_000);
    eventually("all are gone", || {
        while last.socket.is_readable() {
            last.take();
        }
        let open = |kind: &str| server.metric("tidegate_open_connections", kind);
        let waiting = server.metric("tidegate_waiting_requests", "");
        (open("websocket") == 0 && open("http") == 0 && open("worker") == 1 && waiting == 0).then_some(())
    });
    drop(last);
    eventually("no descriptor is left", || (descriptors(&server) <= before).then_some(()));
    assert_eq!(server.metric("tidegate_panics_total", ""), 0);
    // As many as may be at a time may be again.
    let open: Vec<Socket> = (0..100).map(|_| Socket::open(&server, &hook)).collect();
    assert_eq!(server.wire().ask(upgrade(&hook.target(""), &[])).status, 429);
    drop(open);
    let held: Vec<_> = (0..20).map(|_| server.hold(&waiting).expect("a place")).collect();
    assert!(server.hold(&waiting).is_none());
    drop(held);
}
