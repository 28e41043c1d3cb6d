//! Writers on a simulated stream, driven from a seed: acks that are lost, requests that arrive late, elections, watches
//! that lag.

use super::*;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::random::Random;

const SEEDS: u64 = 200;
const STEP: u64 = NANOS_PER_SECOND / 20;
const WRITES: u64 = 40;
/// `cluster.ack_timeout`.
const PATIENCE: u64 = 10 * NANOS_PER_SECOND;

/// A message of the stream: whose write, and which value of the counter that all nodes raise.
#[derive(Clone, Copy)]
struct Message {
    node: usize,
    write: u64,
    counter: u64,
}

/// A request on its way to the stream.
struct Request {
    at: u64,
    message: Message,
    base: u64,
    is_ack_lost: bool,
}

struct Node {
    attempt: Option<(WriteAttempt, Message)>,
    writes: u64,
    /// The sequence up to which the copy has applied writes.
    applied: u64,
    counter: u64,
    answers: Vec<(u64, u64, PublishAnswer)>,
    /// Writes that were told to be there.
    told: Vec<u64>,
    denied: Vec<u64>,
    unknown: u64,
}

fn at(time: u64) -> Now {
    Now { nanos: time, unix_millis: 0 }
}

#[test]
fn a_write_is_there_if_it_was_told_to_be_and_is_not_if_it_was_told_not_to_be() {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let mut stream: Vec<Message> = Vec::new();
        let mut requests: Vec<Request> = Vec::new();
        let mut election_until = 0;
        let mut nodes: Vec<Node> = (0..3)
            .map(|_| Node {
                attempt: None,
                writes: 0,
                applied: 0,
                counter: 0,
                answers: Vec::new(),
                told: Vec::new(),
                denied: Vec::new(),
                unknown: 0,
            })
            .collect();
        let mut time = 0;
        while nodes.iter().any(|node| node.writes < WRITES || node.attempt.is_some()) {
            time += STEP;
            if random.up_to(100) == 0 {
                election_until = time + random.up_to(9) * NANOS_PER_SECOND;
            }
            let due;
            (due, requests) = requests.into_iter().partition(|request| request.at <= time);
            for request in due {
                let node = &mut nodes[request.message.node];
                let is_known = stream.iter().rposition(|message| {
                    (message.node, message.write) == (request.message.node, request.message.write)
                });
                let answer = if election_until > time {
                    PublishAnswer::Unknown
                } else if let Some(known) = is_known {
                    // The stream drops what it has by the id of the message.
                    PublishAnswer::Stored(known as u64 + 1)
                } else if stream.len() as u64 == request.base {
                    stream.push(request.message);
                    PublishAnswer::Stored(stream.len() as u64)
                } else {
                    PublishAnswer::WrongLast
                };
                let answer = if request.is_ack_lost { PublishAnswer::Unknown } else { answer };
                let late = if request.is_ack_lost { 40 * STEP } else { STEP };
                node.answers.push((time + late, request.message.write, answer));
            }
            for (number, node) in nodes.iter_mut().enumerate() {
                // The watch lags.
                let seen_from = node.applied;
                if random.up_to(3) > 0 {
                    node.applied = stream.len() as u64;
                    node.counter = stream.last().map_or(0, |message| message.counter);
                }
                if node.attempt.is_none() && node.writes < WRITES && random.up_to(3) == 0 {
                    node.writes += 1;
                    let message = Message { node: number, write: node.writes, counter: node.counter + 1 };
                    node.attempt = Some((WriteAttempt::new(node.applied, 1, time + PATIENCE), message));
                }
                let Some((mut attempt, message)) = node.attempt.take() else { continue };
                for (sequence, seen) in (1..).zip(&stream).skip(usize::try_from(seen_from).unwrap()) {
                    if sequence <= node.applied {
                        attempt.on_seen(sequence, (seen.node, seen.write) == (number, message.write));
                    }
                }
                let (due, later) =
                    std::mem::take(&mut node.answers).into_iter().partition(|(at, ..)| *at <= time);
                node.answers = later;
                let due: Vec<(u64, u64, PublishAnswer)> = due;
                let mut awaits = node.answers.iter().any(|(_, write, _)| *write == message.write)
                    || requests.iter().any(|request| {
                        (request.message.node, request.message.write) == (number, message.write)
                    });
                for (_, write, answer) in due {
                    if write == message.write {
                        attempt.on_answer(answer, at(time));
                    }
                }
                match attempt.poll(at(time)) {
                    Step::Publish if !awaits => {
                        awaits = true;
                        // What lay in a client's channel while it was cut off is sent late.
                        let delay = if random.up_to(9) == 0 { random.up_to(100) * STEP } else { STEP };
                        let is_ack_lost = random.up_to(5) == 0;
                        requests.push(Request {
                            at: time + delay,
                            message,
                            base: attempt.base(),
                            is_ack_lost,
                        });
                        node.attempt = Some((attempt, message));
                    }
                    Step::Publish | Step::Wait(_) => node.attempt = Some((attempt, message)),
                    Step::Stored(_) => node.told.push(message.write),
                    Step::Conflict => node.denied.push(message.write),
                    Step::Unknown => node.unknown += 1,
                    Step::Refused(why) => panic!("refused: {why}"),
                }
                let _ = awaits;
            }
        }
        // What was on its way when nobody waited for it any more arrives, too.
        for request in requests {
            if stream.len() as u64 == request.base {
                stream.push(request.message);
            }
        }
        for (number, node) in nodes.iter().enumerate() {
            let has = |write: &u64| {
                stream.iter().filter(|message| (message.node, message.write) == (number, *write)).count()
            };
            assert!(
                node.told.iter().all(|write| has(write) == 1),
                "seed {seed}: a write that was told is lost"
            );
            assert!(
                node.denied.iter().all(|write| has(write) == 0),
                "seed {seed}: a write that was denied is there"
            );
        }
        // Every write was made on the one before it: none was lost.
        let counters: Vec<u64> = stream.iter().map(|message| message.counter).collect();
        assert!(counters.iter().copied().eq(1..=stream.len() as u64), "seed {seed}: {counters:?}");
        assert!(
            nodes.iter().map(|node| node.told.len()).sum::<usize>() > 10,
            "seed {seed}: hardly any was taken"
        );
    }
}
