//! SIGHUP: new connections get the new certificates, open ones stay.

use std::fs;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::authority::Authority;
use crate::client::{Client, config};
use crate::common::{Server, eventually};

on_each_driver!(a_new_certificate_is_shown_and_no_connection_is_dropped);

/// Asks the server to read its certificates again, and waits until it says what came of it.
pub fn hang_up(server: &Server) {
    let said = || {
        let log = server.log();
        log.matches("the certificates were read again").count()
            + log.matches("certificates stay as they were").count()
    };
    let before = said();
    let pid = Pid::from_raw(server.id().cast_signed()).expect("a process");
    kill_process(pid, Signal::HUP).expect("the process is there");
    eventually("the certificates are read again", || (said() > before).then_some(()));
}

fn a_new_certificate_is_shown_and_no_connection_is_dropped(driver: &str) {
    let authority = Authority::new();
    let old = authority.give("localhost", &["localhost"]);
    let server = authority.server_with(driver, 2, &[&old]);
    let hook = server.webhook(json!({}));
    let socket_hook = server.webhook(json!({"isWebsocket": true}));
    let config = Arc::new(config(&authority));
    let mut clients: Vec<Client> =
        (0..8).map(|_| Client::connect(server.ingress, "localhost", &config)).collect();
    for client in &mut clients {
        client.ask(&hook.get()).is(200, "{\"success\":true}");
    }
    let mut halfway = Client::connect(server.ingress, "localhost", &config);
    let request = hook.post(b"a request that is on its way");
    halfway.send(&request[..request.len() / 2]);
    let mut socket = crate::websocket::open(&server, &authority, &socket_hook);

    let new = authority.give("localhost", &["localhost"]);
    assert_ne!(old.der, new.der);
    hang_up(&server);
    // Each core hears of it by its mailbox, a moment later.
    eventually("the new one is shown", || {
        (0..8)
            .all(|_| Client::connect(server.ingress, "localhost", &fresh(&authority)).shown() == new.der)
            .then_some(())
    });
    for client in &mut clients {
        client.ask(&hook.get()).is(200, "{\"success\":true}");
        assert_eq!(client.shown(), old.der);
    }
    halfway.send(&request[request.len() / 2..]).response().is(200, "{\"success\":true}");
    crate::websocket::is_alive(&mut socket);
}

/// A client that has no tickets: one that resumes is not shown a certificate again.
fn fresh(authority: &Authority) -> Arc<rustls::ClientConfig> {
    Arc::new(config(authority))
}

#[test]
fn a_bad_new_file_leaves_the_old_certificate_and_is_named_in_the_log() {
    let authority = Authority::new();
    let old = authority.give("localhost", &["localhost"]);
    let server = authority.server_with("auto", 1, &[&old]);
    let shown = || Client::connect(server.ingress, "localhost", &fresh(&authority)).shown();
    let stays = |what: &str| {
        hang_up(&server);
        assert_eq!(shown(), old.der);
        let log = server.log();
        assert!(log.contains("ERROR") && log.contains(what), "{log}");
    };
    let right = fs::read(&old.certificate).expect("a file");
    fs::write(&old.certificate, "-----BEGIN CERTIFICATE-----\n").expect("a file");
    stays("localhost.pem is no PEM file");
    fs::remove_file(&old.certificate).expect("a file");
    stays("localhost.pem cannot be read");
    let other = authority.give("other", &["localhost"]);
    fs::copy(&other.certificate, &old.certificate).expect("a file");
    stays("is not that of the first certificate");
    fs::write(&old.certificate, right).expect("a file");
    hang_up(&server);
    assert_eq!(shown(), old.der);
}

#[test]
fn without_tls_a_hangup_changes_nothing() {
    let server = Server::start(|_| {});
    let pid = Pid::from_raw(server.id().cast_signed()).expect("a process");
    kill_process(pid, Signal::HUP).expect("the process is there");
    eventually("it says so", || server.log().contains("no certificates to read again").then_some(()));
    assert_eq!(server.wire().ask(crate::common::request("GET", "/healthz", &[], b"")).status, 200);
}
