//! Section 6: a WebSocket that says nothing for 30 s is pinged, and one that leaves the ping without an answer for
//! another 30 s is broken, which its flow learns of as 1006.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::start;
use crate::common::PATIENCE;
use crate::sockets::{FIN, PING, PONG, Socket, Worker};

/// The limits, in seconds: until the ping, and until its answer.
const PING_AFTER: u64 = 30;
const PONG_WITHIN: u64 = 30;
/// Who talks says something this often.
const TALK: Duration = Duration::from_secs(10);

#[track_caller]
fn came_after(begun: Instant, seconds: u64, what: &str) {
    let after = begun.elapsed();
    assert!(after >= Duration::from_secs(seconds), "{what}: after {after:?} already");
    assert!(after < Duration::from_secs(seconds) + PATIENCE, "{what}: only after {after:?}");
    println!("{what}: {:.1} s of {seconds}", after.as_secs_f64());
}

pub fn silence_is_pinged_and_then_broken(driver: &str) {
    let server = start(driver);
    // Before the first of them is open: no limit can be over sooner.
    let begun = Instant::now();
    let [dead, alive, talking] = [(); 3].map(|()| {
        let hook = server.webhook(json!({"isWebsocket": true}));
        let flow = server.flow(&hook, json!([{"type": "WorkerNode"}]));
        let mut worker = Worker::attach(&server, &flow, 100);
        worker.socket.wait_at_most(Duration::from_secs(PING_AFTER + PONG_WITHIN) + PATIENCE);
        let mut client = Socket::open(&server, &hook);
        client.wait_at_most(Duration::from_secs(PING_AFTER + PONG_WITHIN) + PATIENCE);
        worker.take_event("connect");
        (client, worker)
    });
    let say = |what: &str| format!("{driver}: {what}");
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, mut worker) = dead;
            client.expect(FIN | PING, b"");
            came_after(begun, PING_AFTER, &say("the ping to one that is dead"));
            // Its worker is as silent, and answers.
            worker.socket.expect(FIN | PING, b"").send(FIN | PONG, b"");
            // Its next ping shall not come together with what this is about.
            thread::sleep(TALK);
            worker.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
            // No Close: nobody is there to read it.
            client.ended();
            came_after(begun, PING_AFTER + PONG_WITHIN, &say("its end"));
            assert_eq!(worker.take_event("disconnect")["statusCode"], json!(1006));
        });
        scope.spawn(|| {
            let (mut client, _worker) = alive;
            for ping in 1..=2 {
                client.expect(FIN | PING, b"");
                came_after(begun, ping * PING_AFTER, &say("a ping to one that answers"));
                client.send(FIN | PONG, b"");
            }
            assert_eq!(client.close(1000, "").closed().0, 1000);
        });
        scope.spawn(|| {
            let (mut client, mut worker) = talking;
            while begun.elapsed() < Duration::from_secs(PING_AFTER + PONG_WITHIN) {
                thread::sleep(TALK);
                client.say("here");
                assert_eq!(worker.take_event("message")["data"], json!("here"));
            }
            assert!(!client.is_readable(), "who talks is not pinged");
            assert_eq!(client.close(1000, "").closed().0, 1000);
        });
    });
}
