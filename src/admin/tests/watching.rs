//! Routes that only read: series, settings, usage, the stream of records.

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use super::super::record_stream::WATCHES_MAX;
use super::*;
use crate::model::Application;
use crate::record::Entry;

#[test]
fn the_settings_tell_where_webhooks_are_called_and_what_they_fall_back_to() {
    let server = Server::new();
    let shown = server.get("/settings").json;
    assert_eq!(shown["ingressUrl"], "http://127.0.0.1:8080");
    assert_eq!(shown["limits"]["requestsPerWindow"], 100);
    assert_eq!(shown["version"], env!("CARGO_PKG_VERSION"));
    let types: Vec<&str> = shown["nodeTypes"].as_array().expect("a list").iter().map(text_of).collect();
    assert!(types.contains(&"ConditionalNode") && types.len() >= 6, "{types:?}");
    let socket = Server::with(|state| state.about.ingress = Address::Unix("/run/in.sock".into()));
    let shown = socket.get("/settings").json;
    assert_eq!((&shown["ingressUrl"], &shown["ingressListen"]), (&Value::Null, &json!("unix:/run/in.sock")));
}

#[test]
fn usage_is_told_of_the_webhooks_of_the_application_only() {
    let server = Server::new();
    let (mine, other) = (server.application(), server.application());
    let hook = server.webhook(&mine, &json!({"name": "h"}));
    let foreign = server.webhook(&other, &json!({"name": "f"}));
    let ids = format!("{},{},{NOBODY}", id_of(&hook), id_of(&foreign));
    let answered = server.get(&format!("{mine}/webhooks/usage?ids={ids}")).json;
    assert_eq!((&answered["count"], &answered["applicationId"]), (&json!(1), &json!(id_of(&mine))));
    assert_eq!(
        answered["items"][0],
        json!({
            "webhookId": id_of(&hook), "calls": 3, "callsMax": 100, "windowSeconds": 10, "concurrent": 1,
            "concurrentMax": null, "payloadBytesMax": 262_144, "replyTimeoutSeconds": 60,
            "lastCall": "2026-02-19T17:26:00.123Z",
        })
    );
    assert_eq!(server.get(&format!("{mine}/webhooks/usage")).json["count"], 0);
    for bad in ["x".to_owned(), vec![NOBODY; 1_001].join(",")] {
        check_error(&server.get(&format!("{mine}/webhooks/usage?ids={bad}")), 400, "Validation", "ids");
    }
}

#[test]
fn the_series_is_sampled_and_its_span_is_checked() {
    let server = Server::new();
    let empty = server.get("/stats").json;
    assert_eq!((&empty["stepSeconds"], &empty["times"]), (&json!(10), &json!([])));
    for (second, state) in [(1, &server.state), (2, &server.state)] {
        let now = crate::base::clock::Now { nanos: second * 1_000_000_000, unix_millis: second * 1_000 };
        state.series().push(now, state.engine.snapshot());
    }
    let shown = server.get("/stats?seconds=60").json;
    assert_eq!((&shown["stepSeconds"], &shown["times"]), (&json!(1), &json!([2_000])));
    assert_eq!(shown["cores"].as_array().map(Vec::len), Some(2));
    assert_eq!(shown["total"]["status"]["2xx"], json!([0]));
    assert_eq!(shown["total"]["latencyMs"]["p999"], json!([null]));
    for bad in ["0", "3601", "x"] {
        check_error(&server.get(&format!("/stats?seconds={bad}")), 400, "Validation", "seconds");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_sampler_looks_at_the_counters_each_second() {
    let server = Server::new();
    let sampler = tokio::spawn(sample(Arc::clone(&server.state)));
    // Time is the runtime's own here, and jumps.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    sampler.abort();
    assert_eq!(
        server.state.series().points(3_600).times.len(),
        1,
        "the samples of one moment of the clock are one step"
    );
}

/// A webhook that is put into the store without a request, for tests that have a runtime of their own.
fn stored_webhook(server: &Server) -> String {
    let application = Application::create(&json!({"name": "shop"}), 1).expect("an application");
    let application = server.state.store.insert_application(application).expect("kept").value.id;
    let webhook = Webhook::create(&json!({"name": "h"}), application, 1).expect("a webhook");
    let kept =
        server.state.store.change(move |changes| changes.insert_webhook(webhook.clone())).expect("kept");
    format!("/applications/{application}/webhooks/{}", kept.value.id)
}

fn ask_for_stream(path: &str) -> Request<Body> {
    let request = Request::builder()
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(header::ACCEPT, "text/html, text/event-stream;q=0.9");
    request.body(Body::empty()).expect("a request")
}

async fn next(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.expect("whole");
    Some(String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text"))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_stream_tells_each_record_what_was_left_out_and_that_it_lives() {
    let server = Server::new();
    server.engine.ready.store(true, Ordering::Relaxed);
    let hook = stored_webhook(&server);
    let webhook: Id = id_of(&hook).parse().expect("an id");
    let response =
        server.router.clone().oneshot(ask_for_stream(&format!("{hook}/requests"))).await.expect("infallible");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await.as_deref(), Some(": open\n\n"));
    let seen = records::Seen { path: "/a", ..records::SEEN };
    let mut batch = seen.batch(webhook, 1);
    Entry::Count { webhook, unix_millis: 1, skipped: 4, folded: 0 }.write(&mut batch);
    // Another webhook's, and a change of what was told.
    batch.extend(seen.batch(NOBODY.parse().expect("an id"), 2));
    batch.extend(seen.answer(webhook, 1));
    server.state.shelf.take(&batch, 0);
    let event = next(&mut body).await.expect("an event");
    assert!(event.starts_with("data: {\"id\":\"") && event.ends_with("}\n\n"), "{event}");
    assert!(event.contains("\"path\":\"/a\"") && event.contains("\"payload\":{\"n\":1.00}"), "{event}");
    assert_eq!(next(&mut body).await.as_deref(), Some("event: skipped\ndata: 4\n\n"));
    let before = tokio::time::Instant::now();
    assert_eq!(next(&mut body).await.as_deref(), Some(": still here\n\n"));
    assert!((14..=15).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
    server.engine.ready.store(false, Ordering::Relaxed);
    assert_eq!(next(&mut body).await, None, "a server that drains ends its streams");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_stream_is_narrowed_and_tells_of_changes_where_that_is_asked_for() {
    let server = Server::new();
    server.engine.ready.store(true, Ordering::Relaxed);
    let hook = stored_webhook(&server);
    let webhook: Id = id_of(&hook).parse().expect("an id");
    let path = format!("{hook}/requests?status=4xx&updates=true&payload=false");
    let response = server.router.clone().oneshot(ask_for_stream(&path)).await.expect("infallible");
    let mut body = response.into_body();
    next(&mut body).await;
    let refused = records::Seen { status: 404, refusal: "Not found", ..records::SEEN };
    let mut batch = records::SEEN.batch(webhook, 1);
    batch.extend(refused.batch(webhook, 2));
    batch.extend(refused.answer(webhook, 2));
    server.state.shelf.take(&batch, 0);
    let first = next(&mut body).await.expect("an event");
    assert!(first.starts_with("data: ") && first.contains("\"payload\":null"), "{first}");
    let second = next(&mut body).await.expect("an event");
    assert_eq!(second, format!("event: update\n{first}"));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_stream_ends_with_its_webhook() {
    let server = Server::new();
    server.engine.ready.store(true, Ordering::Relaxed);
    let path = format!("{}/requests", stored_webhook(&server));
    let response = server.router.clone().oneshot(ask_for_stream(&path)).await.expect("infallible");
    let mut body = response.into_body();
    for comment in [": open\n\n", ": still here\n\n"] {
        assert_eq!(next(&mut body).await.as_deref(), Some(comment));
    }
    server.engine.emptied.store(true, Ordering::Relaxed);
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test(flavor = "current_thread")]
async fn streams_are_bounded_and_give_their_places_back() {
    let server = Server::new();
    let hook = stored_webhook(&server);
    let path = format!("{hook}/requests");
    let ask = async || server.router.clone().oneshot(ask_for_stream(&path)).await.expect("infallible");
    let mut open = Vec::new();
    for _ in 0..WATCHES_MAX {
        open.push(ask().await);
    }
    assert!(open.iter().all(|response| response.status() == 200));
    assert_eq!(ask().await.status(), 503);
    open.pop();
    assert_eq!(ask().await.status(), 200);
}
