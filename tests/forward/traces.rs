//! Spans of calls and of attempts, as a collector gets them by OTLP.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use crate::common::{Server, eventually, request};
use crate::node;
use crate::target::{Answer, Target};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(of: &[KeyValue]) -> HashMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        Any::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    };
    of.iter().filter_map(|attribute| Some((attribute.key.clone(), text(attribute)?))).collect()
}

/// The spans that a collector has, and what they are of.
fn spans(collector: &Target) -> Vec<Span> {
    let mut spans = Vec::new();
    for received in collector.wait_for(0) {
        assert_eq!(received.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(received.header("content-type"), "application/x-protobuf");
        let export = ExportTraceServiceRequest::decode(received.body.as_slice()).expect("what OTLP says");
        for of_resource in export.resource_spans {
            let resource = attributes(&of_resource.resource.expect("a resource").attributes);
            assert_eq!(resource["service.name"], "tidegate");
            assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
            spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans
}

fn serve(driver: &str, collector: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).set("TIDEGATE_TRACING_OTLP", collector);
    })
}

#[test]
fn a_call_and_the_attempts_to_deliver_it_are_one_trace() {
    for driver in ["io_uring", "epoll"] {
        let collector = Target::fine();
        let target = Target::start(|number, _| Answer::status(if number == 0 { 503 } else { 200 }));
        let server = serve(driver, &collector.url(""));
        let hook = server.webhook(json!({}));
        let retry = json!({"retry": {"backoffSeconds": 0.01}});
        server.flow(&hook, json!([node(&target.url("/in"), retry)]));
        let caller = format!("00-{TRACE}-{CALLER}-01");
        let headers = [("Traceparent", caller.as_str()), ("X-Request-Id", "an-id")];
        server
            .wire()
            .ask(request("POST", &hook.target("/a?secret=1"), &headers, b"x"))
            .is(200, "{\"success\":true}");
        let found = eventually("three spans", || Some(spans(&collector)).filter(|spans| spans.len() == 3));
        assert!(found.iter().all(|span| hex(&span.trace_id) == TRACE), "{found:?}");
        let call = found.iter().find(|span| span.kind == 2).expect("a server's span");
        assert_eq!(
            (call.name.as_str(), hex(&call.parent_span_id)),
            ("POST /webhooks/{token}", CALLER.to_owned())
        );
        let said = attributes(&call.attributes);
        for (key, value) in [
            ("http.request.method", "POST"),
            ("http.response.status_code", "200"),
            ("http.route", "/webhooks/{token}"),
            ("client.address", "127.0.0.1"),
            ("tidegate.webhook", &hook.id),
            ("tidegate.request_id", "an-id"),
            ("tidegate.path", "/a"),
        ] {
            assert_eq!(said.get(key).map(String::as_str), Some(value), "{key} in {said:?}");
        }
        assert!(call.end_time_unix_nano >= call.start_time_unix_nano);
        // What the target got names the attempt's span, whose parent the call's is.
        let mut statuses = Vec::new();
        for (attempt, received) in found.iter().filter(|span| span.kind == 3).zip(target.wait_for(2)) {
            assert_eq!(attempt.parent_span_id, call.span_id);
            let expected = format!("00-{TRACE}-{}-01", hex(&attempt.span_id));
            assert_eq!(received.header("traceparent"), expected);
            let in_payload = &received.json()["data"]["headers"]["traceparent"];
            assert_eq!(in_payload, &json!(format!("00-{TRACE}-{}-01", hex(&call.span_id))));
            let said = attributes(&attempt.attributes);
            assert_eq!(said["tidegate.delivery"], received.header("webhook-id"));
            statuses.push((
                said["http.response.status_code"].clone(),
                attempt.status.as_ref().map_or(0, |status| status.code),
            ));
        }
        assert_eq!(statuses, [("503".to_owned(), 2), ("200".to_owned(), 0)]);
        let shown = format!("{found:?}");
        assert!(!shown.contains("secret") && !shown.contains(&hook.token));
    }
}

#[test]
fn a_trace_begins_with_a_call_and_one_that_is_not_sampled_has_no_spans() {
    let collector = Target::fine();
    let server = serve("auto", &collector.url("/v1/traces"));
    let hook = server.webhook(json!({"methods": ["POST"]}));
    let not_sampled = format!("00-{TRACE}-{CALLER}-00");
    let mut wire = server.wire();
    assert_eq!(
        wire.ask(request("POST", &hook.target(""), &[("Traceparent", &not_sampled)], b"x")).status,
        200
    );
    assert_eq!(wire.ask(request("GET", &hook.target(""), &[("Traceparent", "00-0-0-01")], b"")).status, 405);
    assert_eq!(wire.ask(request("GET", "/webhooks/planted-token", &[], b"")).status, 404);
    let found = eventually("two spans", || Some(spans(&collector)).filter(|spans| spans.len() == 2));
    for (span, (status, webhook)) in found.iter().zip([("405", Some(&hook.id)), ("404", None)]) {
        assert!(span.parent_span_id.is_empty() && hex(&span.trace_id) != TRACE, "{span:?}");
        let said = attributes(&span.attributes);
        assert_eq!(
            (said["http.response.status_code"].as_str(), said.get("tidegate.webhook")),
            (status, webhook)
        );
    }
    assert!(!format!("{found:?}").contains("planted"));
    assert_eq!(server.metric("tidegate_calls_untold_total", "of=\"traces\""), 0);
}

#[test]
fn a_collector_that_is_not_there_costs_spans_alone_and_they_are_counted() {
    // A port that nothing listens on.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let mut server = serve("auto", &format!("http://127.0.0.1:{port}"));
    let hook = server.webhook(json!({}));
    assert_eq!(server.wire().ask(hook.get()).status, 200);
    eventually("it is counted", || {
        (server.metric("tidegate_calls_untold_total", "of=\"traces\"") == 1).then_some(())
    });
    assert!(server.log().contains("does not take spans"), "{}", server.log());
    server.terminate();
    assert!(server.ended().success());
}

#[test]
fn a_requests_id_is_in_the_response_the_payload_the_record_the_log_and_what_is_forwarded() {
    for driver in ["io_uring", "epoll"] {
        let target = Target::fine();
        let server = Server::start(|settings| {
            settings.driver(driver).set("TIDEGATE_LOG_REQUESTS", "all");
        });
        let hook = server.webhook(json!({}));
        server.flow(&hook, json!([node(&target.url("/in"), json!({}))]));
        let own = [("X-Request-Id", "7b0c6f0e-8a3d:given")];
        for (number, headers) in [&own[..], &[]].into_iter().enumerate() {
            let response = server.wire().ask(request("POST", &hook.target("/a"), headers, b"x"));
            let id = response.header("x-request-id").expect("an id").to_owned();
            assert!(headers.iter().all(|(_, given)| *given == id), "{response:?}");
            assert_eq!(response.header("access-control-expose-headers"), Some("x-request-id"));
            let forwarded = &target.wait_for(number + 1)[number];
            assert_eq!(forwarded.header("x-request-id"), id);
            let sent = forwarded.json();
            assert_eq!(sent["data"]["headers"]["x-request-id"], json!(id));
            // In its record, by which it is found, and in the payload that is made of the record.
            let path = hook.resource(&format!("/requests?search={id}"));
            let list = server.done("GET", &path, &serde_json::Value::Null);
            assert_eq!((&list["totalCount"], &list["items"][0]["requestId"]), (&json!(1), &json!(id)));
            assert_eq!(list["items"][0]["payload"]["data"]["headers"], sent["data"]["headers"]);
            eventually("its line of the log", || {
                let log = server.log();
                let mut lines = log.lines().filter(|line| line.contains("tidegate::requests"));
                lines.any(|line| line.contains(&format!("\"id\":\"{id}\""))).then_some(())
            });
        }
        let off = server.webhook(json!({"cors": false}));
        assert_eq!(server.wire().ask(off.get()).header("access-control-expose-headers"), None);
    }
}
