//! Section 3: a crash loses nothing that was answered, also with many who write at the moment of the crash.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{ACCESS_TOKEN, PATIENCE, Server, request};
use crate::process::Started;

const ROUNDS: usize = 10;
const WRITERS: usize = 4;
/// Answers of a round before its crash, of all writers.
const ANSWERS_A_ROUND: usize = 40;

/// What one writer knows of its webhooks: by id, the last code that was answered and those that were asked for since.
#[derive(Default)]
struct Known {
    answered: HashMap<String, u64>,
    /// Asked for and not answered: it may be there or not.
    open: Option<(String, u64)>,
    deleted: Vec<String>,
    open_deletion: Option<String>,
}

/// One call over a connection of its own; none where the server went away before its answer was whole.
fn call(address: SocketAddr, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let bearer = format!("Bearer {ACCESS_TOKEN}");
    let headers = [("Authorization", bearer.as_str()), ("Connection", "close")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(&request(method, path, &headers, body.as_bytes())).ok()?;
    let mut bytes = Vec::new();
    // A reset after the whole answer leaves it whole.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.get(9..12)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

/// Creates, changes and deletes until the server is gone.
fn write(address: SocketAddr, webhooks: &str, known: &mut Known, answers: &AtomicUsize, stop: &AtomicBool) {
    for turn in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let code = 201 + turn % 300;
        let oldest = known.answered.keys().next().cloned();
        let done = match (turn % 5, oldest) {
            (1 | 3, Some(id)) => {
                known.open = Some((id.clone(), code));
                let path = format!("{webhooks}/{id}");
                call(address, "PATCH", &path, &json!({"responseCode": code})).map(|(status, _)| {
                    assert_eq!(status, 200);
                    known.open = None;
                    known.answered.insert(id, code);
                })
            }
            (4, Some(id)) => {
                known.open_deletion = Some(id.clone());
                call(address, "DELETE", &format!("{webhooks}/{id}"), &Value::Null).map(|(status, _)| {
                    assert_eq!(status, 200);
                    known.open_deletion = None;
                    known.answered.remove(&id);
                    known.deleted.push(id);
                })
            }
            _ => {
                let body = json!({"name": "A webhook", "responseCode": code});
                call(address, "POST", webhooks, &body).map(|(status, made)| {
                    assert_eq!(status, 201, "{made}");
                    known.answered.insert(made["id"].as_str().expect("an id").to_owned(), code);
                })
            }
        };
        if done.is_none() {
            return;
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_was_answered_to_many_writers_is_there_after_each_of_ten_crashes() {
    let mut server = Server::start(|_| {});
    let hook = server.webhook(json!({}));
    let webhooks = format!("/applications/{}/webhooks", hook.application);
    let mut writers: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    let (mut total, mut slowest) = (0, Duration::ZERO);
    for round in 0..ROUNDS {
        let (answers, stop, address) = (AtomicUsize::new(0), AtomicBool::new(false), server.admin);
        std::thread::scope(|scope| {
            for known in &mut writers {
                scope.spawn(|| write(address, &webhooks, known, &answers, &stop));
            }
            crate::common::eventually("many have an answer", || {
                (answers.load(Ordering::Relaxed) >= ANSWERS_A_ROUND).then_some(())
            });
            server.crash();
            stop.store(true, Ordering::Relaxed);
        });
        total += answers.into_inner();
        let begun = std::time::Instant::now();
        server.restart();
        slowest = slowest.max(begun.elapsed());
        let list = server.done("GET", &format!("{webhooks}?perPage=1000"), &Value::Null);
        assert!(list["totalCount"].as_u64().is_some_and(|count| count < 1_000), "all fit into a page");
        let mut there: HashMap<&str, u64> = HashMap::new();
        for item in list["items"].as_array().expect("items") {
            there.insert(item["id"].as_str().expect("an id"), item["responseCode"].as_u64().expect("a code"));
        }
        for known in &mut writers {
            if let Some(id) = known.open_deletion.take()
                && !there.contains_key(id.as_str())
            {
                known.answered.remove(&id);
                known.deleted.push(id);
            }
            if let Some((id, code)) = known.open.take()
                && there.get(id.as_str()) == Some(&code)
            {
                known.answered.insert(id, code);
            }
            for (id, code) in &known.answered {
                assert_eq!(there.get(id.as_str()), Some(code), "round {round}: {id} is lost");
            }
            for id in &known.deleted {
                assert!(!there.contains_key(id.as_str()), "round {round}: {id} is there again");
            }
        }
    }
    println!("{ROUNDS} crashes: answered {total}, lost 0, recovered in at most {slowest:?}");
}

/// First starts that are killed, each this much later than the one before: the last ones serve already.
const FIRST_STARTS: u32 = 40;
const LATER: Duration = Duration::from_millis(2);

#[test]
fn a_first_start_that_is_killed_at_any_moment_is_taken_up_by_the_next() {
    let mut served = 0;
    for number in 0..FIRST_STARTS {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        Started::killed_after(&data, LATER * number);
        served += u32::from(data.join("addresses.json").exists());
        let serving = Started::new(&data, |_| {}).serves();
        let list = serving.call("GET", "/applications", &Value::Null);
        let list: Value = serde_json::from_slice(&list.body).expect("JSON");
        assert_eq!(
            list["totalCount"],
            1,
            "killed after {:?}: the demonstration, once: {list}",
            LATER * number
        );
        assert!(!data.join("first-start").exists());
    }
    println!(
        "{FIRST_STARTS} first starts killed: {served} while they served, damaged 0, second demonstrations 0"
    );
}
