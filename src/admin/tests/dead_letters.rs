//! Dead letters over the API: found, shown, delivered again and dropped.

use std::time::Duration;

use axum::body::Body;
use serde_json::{Value, json};

use super::{NOBODY, Server, check_error, id_of, text_of};
use crate::store::letters::{LOOKED_AT_MAX, Letter, WholeLetter};

/// The engine's answer to a replay.
pub(super) fn replayed(event: &[u8]) -> Result<(), (u16, String)> {
    match event {
        b"gone" => Err((404, "it is gone".to_owned())),
        b"busy" => Err((503, "too much waits".to_owned())),
        _ => Ok(()),
    }
}

fn letter(id: &str, event: &[u8]) -> WholeLetter {
    let letter = Letter {
        id: id.to_owned(),
        webhook: NOBODY.to_owned(),
        node: "n".to_owned(),
        reason: if id == "b" { "gone" } else { "attempts" }.to_owned(),
        attempts: 3,
        accepted_unix_millis: 1_700_000_000_000,
        died_unix_millis: 1_700_000_001_000,
        status: Some(500),
        error: Some("the target answered 500".to_owned()),
        answer: Some("no".to_owned()),
    };
    let payload = format!("{{\"data\":{{\"body\":12345678901234567890.10,\"of\":\"{id}\"}}}}").into_bytes();
    WholeLetter { letter, payload, event: event.to_vec() }
}

/// A server with a flow that has these letters, the oldest first; and the path of its letters.
fn with_letters(letters: &[WholeLetter]) -> (Server, String) {
    let server = Server::new();
    let app = server.application();
    let flow = server.send("POST", &format!("{app}/flows"), &json!({"name": "f"})).json;
    let id = text_of(&flow["id"]).parse().expect("an id");
    let kept = server.state.store.letters().expect("opens");
    let last = letters.iter().map(|letter| letter.letter.died_unix_millis).max().unwrap_or(0);
    kept.keep(letters.iter().map(|letter| (id, letter)), last).expect("kept");
    assert_eq!(id_of(&app), text_of(&flow["applicationId"]));
    (server, format!("{app}/flows/{id}/deadLetters"))
}

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().expect("items").iter().map(|item| text_of(&item["id"])).collect()
}

#[test]
fn letters_are_listed_narrowed_and_shown_with_all_digits() {
    let (server, path) = with_letters(&[letter("a", b""), letter("b", b""), letter("c", b"")]);
    let list = server.get(&path).json;
    assert_eq!(
        (ids(&list), &list["totalCount"], &list["replay"]),
        (vec!["c", "b", "a"], &json!(3), &Value::Null)
    );
    assert_eq!(list["items"][0]["time"], "2023-11-14T22:13:21.000Z");
    assert_eq!(list["items"][0]["lastStatus"], 500);
    assert!(list["items"][0].get("payload").is_none());
    let second = server.get(&format!("{path}?perPage=1&page=1")).json;
    assert_eq!((ids(&second), &second["totalCount"]), (vec!["b"], &json!(3)));
    for (narrowed, expected) in [
        ("reason=gone", vec!["b"]),
        ("search=%22of%22:%22a%22", vec!["a"]),
        ("since=2023-11-14T22:13:21Z", vec!["c", "b", "a"]),
        ("until=1700000001000", vec![]),
        ("nodeId=m", vec![]),
    ] {
        assert_eq!(ids(&server.get(&format!("{path}?{narrowed}")).json), expected, "{narrowed}");
    }
    check_error(&server.get(&format!("{path}?since=yesterday")), 400, "Validation", "`since`");
    check_error(&server.get(&format!("{path}?sortField=id")), 400, "Validation", "sortField");
    let shown = server.get(&format!("{path}/b"));
    assert!(shown.text.contains("12345678901234567890.10"), "{}", shown.text);
    assert_eq!((&shown.json["payload"]["data"]["of"], &shown.json["attempts"]), (&json!("b"), &json!(3)));
    check_error(&server.get(&format!("{path}/d")), 404, "NotFound", "no dead letter");
}

#[test]
fn a_letter_that_is_delivered_again_is_dropped_and_others_stay() {
    let (server, path) = with_letters(&[letter("a", b"event a"), letter("b", b"gone"), letter("c", b"busy")]);
    let replay = |id: &str| server.ask("POST", &format!("{path}/{id}/replay"), Body::empty());
    let replayed = replay("a");
    assert_eq!((replayed.status, &replayed.json["replayed"]), (200, &json!(1)), "{}", replayed.text);
    check_error(&replay("b"), 404, "NotFound", "it is gone");
    check_error(&replay("c"), 503, "Internal", "too much waits");
    check_error(&replay("d"), 404, "NotFound", "no dead letter");
    assert_eq!(ids(&server.get(&path).json), ["c", "b"]);
    let unknown = server.ask("POST", &format!("{path}/b/replay?reason=gone"), Body::empty());
    check_error(&unknown, 400, "Validation", "reason");
}

#[test]
fn letters_are_dropped_one_by_one_and_all() {
    let (server, path) = with_letters(&[letter("a", b""), letter("b", b""), letter("c", b"")]);
    let drop = |id: &str| server.ask("DELETE", &format!("{path}/{id}"), Body::empty());
    assert_eq!(drop("b").json, json!({"success": true, "dropped": 1}));
    check_error(&drop("b"), 404, "NotFound", "no dead letter");
    assert_eq!(drop("all").json, json!({"success": true, "dropped": 2}));
    assert_eq!(drop("all").json, json!({"success": true, "dropped": 0}));
    assert_eq!(server.get(&path).json["totalCount"], 0);
    let other = path.replace("/flows/", "/flows/0");
    assert_eq!(server.get(&other).status, 404);
}

#[test]
fn a_list_is_continued_where_it_ended_and_passes_over_so_many_at_most() {
    let (server, path) = with_letters(&[letter("a", b""), letter("b", b""), letter("c", b"")]);
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let list = server.get(&format!("{path}?perPage=1{before}")).json;
        assert_eq!(list["totalCount"], 3);
        seen.extend(ids(&list).into_iter().map(str::to_owned));
        let Some(next) = list["next"].as_u64() else { break };
        assert_eq!(next, list["items"][0]["place"], "the next one is older");
        before = format!("&before={next}");
    }
    assert_eq!(seen, ["c", "b", "a"]);
    assert_eq!(server.get(&format!("{path}?before=0")).json["items"], json!([]));
    check_error(&server.get(&format!("{path}?before=x")), 400, "Validation", "`before`");
    let far = server.get(&format!("{path}?page=1001&perPage=100"));
    check_error(&far, 400, "Validation", "continue with `before`");
    assert_eq!(server.get(&format!("{path}?page=1000&perPage=100")).status, 200);
}

/// The progress of a replay of all that `parameters` narrow, right after its begin and then after each of `pauses`, in
/// virtual time.
fn progress_of(server: &Server, path: &str, parameters: &str, pauses: &[Duration]) -> Vec<Value> {
    let flow = path.split('/').nth(4).expect("its id").parse().expect("an id");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let request = axum::http::Request::builder()
        .method("POST")
        .uri(format!("{path}/all/replay{parameters}"))
        .header("host", "localhost:8081")
        .header("authorization", format!("Bearer {}", super::TOKEN))
        .body(Body::empty())
        .expect("a request");
    let router = server.router.clone();
    runtime.block_on(async {
        let begun = tower::ServiceExt::oneshot(router, request).await.expect("infallible");
        assert_eq!(begun.status(), 200);
        let progress = || server.state.replays.of(flow).expect("it runs").shown();
        let mut seen = vec![progress()];
        for pause in pauses {
            tokio::time::sleep(*pause).await;
            seen.push(progress());
        }
        seen
    })
}

#[test]
fn all_letters_are_delivered_again_a_hundred_a_second_with_progress() {
    let all: Vec<WholeLetter> = (0..250).map(|number| letter(&format!("m{number}"), b"event")).collect();
    let (server, path) = with_letters(&all);
    let seconds = [Duration::from_secs(1), Duration::from_secs(1), Duration::from_secs(2)];
    let seen = progress_of(&server, &path, "", &seconds);
    assert!(seen.iter().all(|progress| progress["total"] == 250 && progress["failed"] == 0), "{seen:?}");
    let replayed: Vec<u64> =
        seen.iter().map(|progress| progress["replayed"].as_u64().expect("a number")).collect();
    assert!(replayed[1] > 50 && replayed[1] <= 101, "{replayed:?}");
    assert!(replayed[2] > 150 && replayed[2] <= 202, "{replayed:?}");
    assert_eq!((replayed[3], &seen[3]["isRunning"]), (250, &json!(false)));
    assert_eq!(server.get(&path).json["totalCount"], 0);
}

#[test]
fn what_a_replay_narrows_is_counted_and_found_beyond_one_look() {
    let count = LOOKED_AT_MAX + 20;
    let named = |number: u64| {
        let mut letter = letter(&format!("m{number}"), b"event");
        // The oldest ten and the newest ten.
        if number < 10 || number >= count - 10 {
            letter.letter.node = "other".to_owned();
        }
        letter
    };
    let (server, path) = with_letters(&(0..count).map(named).collect::<Vec<_>>());
    let first = server.get(&format!("{path}?nodeId=other")).json;
    assert_eq!((&first["count"], &first["totalCount"]), (&json!(10), &json!(10)));
    let next = first["next"].as_u64().expect("there is more to look at");
    let second = server.get(&format!("{path}?nodeId=other&before={next}")).json;
    assert_eq!((&second["count"], &second["next"]), (&json!(10), &Value::Null));
    let seen = progress_of(&server, &path, "?nodeId=other", &[Duration::from_secs(1)]);
    assert_eq!(
        seen[1],
        json!({"success": true, "total": 20, "replayed": 20, "failed": 0, "isRunning": false})
    );
    assert_eq!(server.get(&path).json["totalCount"], count - 20);
}
