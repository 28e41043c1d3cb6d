//! Every lock of a webhook, put on and taken off while connections are open: the next call on each obeys it.

use serde_json::{Value, json};

use crate::common::{Hook, Response, Wire, request};
use crate::server;

/// A lock: the fields that put it on and take it off, a call that it refuses or changes, and what becomes of it.
struct Lock {
    on: Value,
    off: Value,
    call: fn(&Hook) -> Vec<u8>,
    /// Whether the answer is one with the lock on.
    is_locked: fn(&Response) -> bool,
    /// The same call as it is let in nevertheless.
    with_key: Option<fn(&Hook) -> Vec<u8>>,
}

fn get(hook: &Hook) -> Vec<u8> {
    hook.get()
}

fn with(hook: &Hook, path: &str, header: (&str, &str)) -> Vec<u8> {
    request("GET", &hook.target(path), &[header], b"")
}

fn locks() -> Vec<Lock> {
    let refused =
        |on: Value, off: Value, is_locked, with_key| Lock { on, off, call: get, is_locked, with_key };
    vec![
        refused(
            json!({"methods": ["POST"]}),
            json!({"methods": null}),
            |answer| answer.status == 405,
            Some(|hook| request("POST", &hook.target(""), &[], b"")),
        ),
        refused(
            json!({"allowedNetworks": ["10.0.0.0/8"]}),
            json!({"allowedNetworks": null}),
            |answer| answer.status == 403,
            None,
        ),
        refused(
            json!({"auth": {"type": "header", "name": "X-Key", "value": "k"}}),
            json!({"auth": null}),
            |answer| answer.status == 401,
            Some(|hook| with(hook, "", ("X-Key", "k"))),
        ),
        refused(
            json!({"auth": {"type": "query", "name": "key", "value": ["old", "new"]}}),
            json!({"auth": null}),
            |answer| answer.status == 401,
            Some(|hook| with(hook, "?key=old", ("X-Any", "x"))),
        ),
        refused(
            json!({"basicAuthUsername": "u", "basicAuthPassword": "p"}),
            json!({"basicAuthUsername": "", "basicAuthPassword": ""}),
            |answer| answer.status == 401,
            Some(|hook| with(hook, "", ("Authorization", "Basic dTpw"))),
        ),
        refused(
            json!({"signature": {"scheme": "github", "secret": "s"}}),
            json!({"signature": null}),
            |answer| answer.status == 401,
            None,
        ),
        refused(
            json!({"responseBody": {"contentType": "text/plain", "body": "mine"}}),
            json!({"responseBody": null}),
            |answer| answer.text() == "mine",
            None,
        ),
        refused(
            json!({"cors": false}),
            json!({"cors": null}),
            |answer| answer.header("access-control-allow-origin").is_none(),
            None,
        ),
        refused(
            json!({"cors": ["https://a.example"]}),
            json!({"cors": true}),
            |answer| answer.header("access-control-allow-origin").is_none(),
            None,
        ),
        refused(
            json!({"responseCode": 202}),
            json!({"responseCode": 200}),
            |answer| answer.status == 202,
            None,
        ),
        Lock {
            on: json!({"deduplicate": {"key": "the same"}}),
            off: json!({"deduplicate": null}),
            call: get,
            is_locked: |answer| answer.header("tidegate-duplicate") == Some("true"),
            with_key: None,
        },
        Lock {
            on: json!({"enabled": false}),
            off: json!({"enabled": true}),
            // One that is off does not answer with a body of its own.
            call: |hook| request("GET", &hook.target(""), &[], b""),
            is_locked: |answer| answer.text() == "{\"success\":true}",
            with_key: None,
        },
    ]
}

#[test]
fn a_lock_counts_for_connections_that_are_open_once_it_is_put_on_or_taken_off() {
    for cores in [1, 2] {
        let server = server(cores);
        for lock in locks() {
            let hook = server.webhook(json!({"responseBody": {"contentType": "text/plain", "body": "yes"}}));
            if lock.on.get("responseBody").is_some() {
                server.patch(&hook, &json!({"responseBody": null}));
            }
            let said = lock.on.to_string();
            let mut open: Vec<Wire> = (0..2 * cores).map(|_| server.wire()).collect();
            let mut all = |is_locked: bool| {
                for wire in &mut open {
                    let answer = wire.ask((lock.call)(&hook));
                    assert_eq!((lock.is_locked)(&answer), is_locked, "{said}: {answer:?}");
                }
            };
            all(false);
            for _ in 0..2 {
                server.patch(&hook, &lock.on);
                if lock.on.get("deduplicate").is_some() {
                    // The first call takes the key.
                    server.wire().ask(hook.get());
                }
                all(true);
                if let Some(with_key) = lock.with_key {
                    let answer = server.wire().ask(with_key(&hook));
                    assert_eq!(answer.status, 200, "{said}: {answer:?}");
                }
                server.patch(&hook, &lock.off);
                all(false);
            }
        }
    }
}
