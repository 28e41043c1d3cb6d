//! Dead letters over the API: found, shown, delivered again and dropped.

use axum::body::Body;
use serde_json::{Value, json};

use super::{NOBODY, Server, check_error, id_of, text_of};
use crate::store::letters::{Letter, WholeLetter};

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

/// How long the replay of a great many letters is looked at.
const REPLAY_LOOK: std::time::Duration = std::time::Duration::from_secs(10);

/// Takes a minute or more: `cargo test --release --lib a_million_letters -- --ignored --nocapture`. `TIDEGATE_LETTERS` says
/// how many.
#[test]
#[ignore = "it is for measuring"]
fn a_million_letters_are_listed_searched_and_replayed_at_a_bounded_rate() {
    let count = std::env::var("TIDEGATE_LETTERS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let (server, path) = with_letters(&[]);
    let flow = path.split('/').nth(4).expect("its id").parse().expect("an id");
    let kept = server.state.store.letters().expect("opens");
    let clock = crate::base::clock::Clock::new();
    let timed = |what: &str, run: &mut dyn FnMut()| {
        let begun = clock.now().nanos;
        run();
        println!("{what}: {:?}", std::time::Duration::from_nanos(clock.now().nanos - begun));
    };
    timed("kept", &mut || {
        for start in (0..count).step_by(10_000) {
            let letters: Vec<WholeLetter> = (start..count.min(start + 10_000))
                .map(|number| letter(&format!("msg_{number:032}"), &[7; 300]))
                .collect();
            kept.keep(letters.iter().map(|letter| (flow, letter)), 1_700_000_001_000).expect("kept");
        }
    });
    let counts = kept.counts().expect("read");
    println!("{} letters, {} bytes, {} gone for want of room", counts.letters, counts.bytes, counts.evicted);
    let last_page = (counts.letters - 1) / 100;
    for (what, query, found) in [
        ("the first page", "perPage=100".to_owned(), 100),
        ("the last page", format!("perPage=100&page={last_page}"), counts.letters - 100 * last_page),
        ("a search that finds the newest", format!("search=msg_{:032}", count - 1), 1),
        ("a search that finds nothing", "search=nowhere".to_owned(), 0),
        ("a page of one reason", "reason=attempts&perPage=100".to_owned(), 100),
    ] {
        timed(what, &mut || {
            let list = server.get(&format!("{path}?{query}")).json;
            assert_eq!(ids(&list).len() as u64, found, "{query}");
        });
    }
    // A replay goes on while its runtime does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let request = axum::http::Request::builder()
        .method("POST")
        .uri(format!("{path}/all/replay"))
        .header("host", "localhost:8081")
        .header("authorization", format!("Bearer {}", super::TOKEN))
        .body(Body::empty())
        .expect("a request");
    let router = server.router.clone();
    let progress = runtime.block_on(async {
        let begun = tower::ServiceExt::oneshot(router, request).await.expect("infallible");
        assert_eq!(begun.status(), 200);
        tokio::time::sleep(REPLAY_LOOK).await;
        server.state.replays.of(flow).expect("it runs").shown()
    });
    println!("a replay after {REPLAY_LOOK:?}: {progress}");
    let replayed = progress["replayed"].as_u64().expect("a number");
    assert_eq!((&progress["total"], &progress["failed"]), (&json!(counts.letters), &json!(0)));
    assert!(replayed > 0 && replayed <= 100 * REPLAY_LOOK.as_secs() + 1, "{replayed}");
    assert_eq!(server.get(&format!("{path}?perPage=1")).json["totalCount"], counts.letters - replayed);
}
