//! Section 14: how a process stops, and that a data folder has one process.

use std::io::ErrorKind;
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::json;

use crate::common::{ACCESS_TOKEN, Server, Wire, eventually, request};

on_each_driver! {
    what_is_in_flight_is_answered_and_the_process_ends_well,
    an_idle_server_ends_at_once,
    new_connections_are_refused_while_what_waits_is_finished,
    load_balancers_are_told_before_connections_are_refused,
}

const SUCCESS: &str = r#"{"success":true}"#;

fn server(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).cores(2);
    })
}

/// Asks it to stop, and waits until it says that it does.
fn terminate(server: &Server) {
    assert_eq!(server.call_raw("GET", "/readyz", "").status, 200);
    server.terminate();
    eventually("load balancers are told", || {
        (server.call_raw("GET", "/readyz", "").status == 503).then_some(())
    });
}

fn what_is_in_flight_is_answered_and_the_process_ends_well(driver: &str) {
    let mut server = server(driver);
    let waiting = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 3}}));
    let hook = server.webhook(json!({}));
    let post = hook.post(b"a body");
    let (sent, unsent) = post.split_at(post.len() - 2);
    let mut idle = server.wire();
    idle.ask(hook.get()).is(200, SUCCESS);
    let mut fresh = server.wire();
    let mut half_sent = server.wire();
    half_sent.ask([hook.get(), sent.to_vec()].concat()).is(200, SUCCESS);
    let mut held = server.hold(&waiting).expect("it waits");
    let mut held_with_more = server.hold(&waiting).expect("it waits");
    held_with_more.send(hook.get());

    terminate(&server);
    // Connections without a request end.
    idle.closed();
    fresh.closed();
    half_sent.ask(unsent).is(200, SUCCESS);
    half_sent.closed();
    let time_out = r#"{"error":"Time out waiting for workflow reply"}"#;
    held.response().is(504, time_out);
    held.closed();
    // What had come behind it is served too, and is the last.
    held_with_more.response().is(504, time_out);
    held_with_more.response().is(200, SUCCESS);
    held_with_more.closed();
    let status = server.ended();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    // The folder is free again.
    server.restart();
    server.wire().ask(hook.get()).is(200, SUCCESS);
}

fn an_idle_server_ends_at_once(driver: &str) {
    let mut server = server(driver);
    assert_eq!(server.call_raw("GET", "/readyz", "").status, 200);
    server.terminate();
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = server("auto");
    let waiting = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 3600}}));
    let held = server.hold(&waiting).expect("it waits");
    terminate(&server);
    assert!(!held.is_readable(), "the one that waits waits still");
    server.terminate();
    let status = server.ended();
    assert!(!status.success(), "{status}: what was cut off was not finished");
}

#[test]
fn an_interrupt_ends_it_as_well_and_a_second_one_at_once() {
    let mut server = server("auto");
    // Without certificates there is nothing to read again, and nothing else happens.
    server.signal(Signal::HUP);
    eventually("the log tells of it", || server.log().contains("no certificates").then_some(()));
    server.signal(Signal::INT);
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    server.restart();
    let waiting = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 3600}}));
    let held = server.hold(&waiting).expect("it waits");
    server.signal(Signal::INT);
    eventually("it drains", || (server.call_raw("GET", "/readyz", "").status == 503).then_some(()));
    server.signal(Signal::HUP);
    assert!(!held.is_readable(), "the one that waits waits still");
    server.signal(Signal::INT);
    assert_eq!(server.ended().code(), Some(1), "{}", server.log());
}

#[test]
fn a_second_signal_does_not_wait_for_the_admin_listener_either() {
    let mut server = server("auto");
    let mut slow = Wire::connect(server.admin);
    let bearer = format!("Bearer {ACCESS_TOKEN}");
    let headers = [("Authorization", bearer.as_str()), ("Expect", "100-continue")];
    let body = b"{\"name\":\"slow\"}";
    let call = request("POST", "/applications", &headers, body);
    let (head, _) = call.split_at(call.len() - body.len());
    // It is asked for its body, so it is in.
    assert_eq!(slow.ask(head).status, 100);
    server.terminate();
    // The cores are done, and no one else comes in; what came before may go on for some seconds.
    eventually("the admin listener is closed", || TcpStream::connect(server.admin).err());
    server.terminate();
    let status = server.ended();
    assert_eq!(status.code(), Some(1), "{status}: {}", server.log());
}

#[test]
fn a_second_process_on_the_same_folder_refuses_to_start() {
    let server = server("auto");
    let hook = server.webhook(json!({}));
    let (status, log) = server.run_second();
    assert!(!status.success(), "{log}");
    let folder = "data";
    assert!(log.contains(folder) && log.contains("process"), "it says which folder and why: {log}");
    server.wire().ask(hook.get()).is(200, SUCCESS);
}

fn new_connections_are_refused_while_what_waits_is_finished(driver: &str) {
    let mut server = server(driver);
    let waiting = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 3}}));
    let mut held = server.hold(&waiting).expect("it waits");
    terminate(&server);
    eventually("new connections are refused", || {
        assert!(!held.is_readable(), "the one that waits was answered before");
        match TcpStream::connect(server.ingress) {
            Ok(_) => None,
            Err(error)
                if [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset].contains(&error.kind()) =>
            {
                Some(())
            }
            Err(error) => panic!("{error}"),
        }
    });
    assert_eq!(held.response().status, 504);
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

#[test]
fn a_server_that_has_just_begun_to_serve_ends_well() {
    for _ in 0..10 {
        let mut server = server("auto");
        // It said where it serves, and nothing else has happened since.
        server.terminate();
        let status = server.ended();
        assert_eq!(status.code(), Some(0), "{status}: {}", server.log());
    }
}

fn load_balancers_are_told_before_connections_are_refused(driver: &str) {
    let mut server = Server::start(|settings| {
        // Longer than the test: the second signal ends it.
        settings.driver(driver).cores(2).set("TIDEGATE_DRAIN_DELAY_SECONDS", 600);
    });
    let hook = server.webhook(json!({}));
    let ready = |server: &Server| server.wire().ask(request("GET", "/readyz", &[], b"")).status;
    assert_eq!(ready(&server), 200);
    assert_eq!(server.wire().send(request("HEAD", "/readyz", &[], b"")).response_to_head().status, 200);
    terminate(&server);
    eventually("the ingress says so too", || (ready(&server) == 503).then_some(()));
    server.wire().ask(hook.post(b"{}")).is(200, SUCCESS);
    server.terminate();
    assert_eq!(server.ended().code(), Some(1));
}
