//! TLS on the admin and the workers' listener: with certificates of their own, renewed with those of the ingress, and
//! the commands that reach them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::authority::{Authority, Pair};
use crate::client::{Client, config};
use crate::common::{ACCESS_TOKEN, Server, eventually, request};
use crate::reload::hang_up;

on_each_driver!(
    a_worker_attaches_over_tls_and_none_without,
    new_certificates_are_those_of_all_listeners_or_of_none,
);

/// A server on one core whose listeners of these names show a certificate.
fn server(driver: &str, listeners: &[&'static str], pair: &Pair) -> Server {
    Server::start(|settings| {
        settings.driver(driver);
        for listener in listeners {
            let (certificate, key) = match *listener {
                "ingress" => ("TIDEGATE_INGRESS_TLS_CERTIFICATE", "TIDEGATE_INGRESS_TLS_KEY"),
                "admin" => ("TIDEGATE_ADMIN_TLS_CERTIFICATE", "TIDEGATE_ADMIN_TLS_KEY"),
                _ => ("TIDEGATE_WORKERS_TLS_CERTIFICATE", "TIDEGATE_WORKERS_TLS_KEY"),
            };
            settings.set(certificate, pair.certificate.display()).set(key, pair.key.display());
        }
    })
}

fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .args(arguments)
        .env_clear()
        .env("TIDEGATE_DATA", server.folder().join("data"))
        .env("TIDEGATE_ACCESS_TOKEN", ACCESS_TOKEN)
        .stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_admin_listener_speaks_tls_and_tells_plain_http_so() {
    let authority = Authority::new();
    // For the name that others use: the commands on this machine reach it by its address.
    let pair = authority.give("console", &["localhost", "console.example.org"]);
    let server = server("auto", &["admin"], &pair);
    let mut client = Client::connect(server.admin, "localhost", &Arc::new(config(&authority)));
    let health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(client.ask(health).status, 200);
    assert_eq!(client.ask(health).status, 200);
    assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));

    let refusal = crate::common::Wire::connect(server.admin).ask(request("GET", "/healthz", &[], b""));
    assert_eq!(refusal.status, 400);
    assert!(String::from_utf8_lossy(&refusal.body).contains("https://"), "{:?}", refusal.body);

    let port = server.admin.port();
    let (by_name, root) = (format!("https://localhost:{port}"), authority.root_file());
    let root = root.to_str().expect("a path");
    let own = pair.certificate.to_str().expect("a path");
    for arguments in [
        &["app", "create", "by-folder"][..],
        &["app", "--server", &by_name, "--ca", root, "list"],
        &["app", "list", "--server", &by_name, "--ca", own],
    ] {
        let output = command(&server, arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("by-folder"), "{output:?}");
    }
    for (arguments, why) in [
        // The system's roots do not know it.
        (&["app", "list", "--server", &by_name][..], "UnknownIssuer"),
        // The address is not among its names.
        (
            &["app", "list", "--server", &format!("https://127.0.0.1:{port}"), "--ca", root],
            "not valid for name",
        ),
        (&["app", "list", "--server", &format!("http://localhost:{port}")], "This port speaks TLS"),
        (&["app", "list", "--server", &by_name, "--ca", "/none.pem"], "/none.pem cannot be read"),
    ] {
        let output = command(&server, arguments).output().expect("it runs");
        let said = said(&output);
        assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

fn a_worker_attaches_over_tls_and_none_without(driver: &str) {
    let authority = Authority::new();
    let pair = authority.give("workers", &["localhost"]);
    let server = server(driver, &["workers"], &pair);
    let hook = server.webhook(json!({}));
    let flow = server.flow(&hook, json!([{"type": "WorkerNode"}]));
    let by_name = format!("wss://localhost:{}", server.workers.port());
    let root = authority.root_file();
    let arguments = [
        &["worker", &flow][..],
        &["worker", &flow, "--workers", &by_name, "--ca", root.to_str().expect("a path")],
    ];
    for (call, arguments) in arguments.into_iter().enumerate() {
        let mut child = command(&server, arguments).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let (fields, body) = ([("Content-Type", "application/json")], format!("{{\"call\":{call}}}"));
        let post = request("POST", &hook.target(""), &fields, body.as_bytes());
        assert_eq!(server.wire().ask(post).status, 200);
        let mut line = String::new();
        lines.read_line(&mut line).expect("text");
        assert!(line.contains(&format!("\"call\":{call}")), "{line}");
        kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
        let status = eventually("it ends", || child.try_wait().expect("a child"));
        assert!(status.success(), "{status}");
    }
    assert!(server.metric("tidegate_tls_handshakes_total", "full") >= 1);

    let plain = format!("ws://localhost:{}", server.workers.port());
    let output = command(&server, &["worker", &flow, "--workers", &plain]).output().expect("it runs");
    assert!(!output.status.success() && said(&output).contains("This port speaks TLS"), "{}", said(&output));
    // The ingress and the admin listener stay plain.
    assert_eq!(server.wire().ask(hook.get()).status, 200);
}

fn new_certificates_are_those_of_all_listeners_or_of_none(driver: &str) {
    let authority = Authority::new();
    let old = authority.give("localhost", &["localhost"]);
    let listeners = ["ingress", "admin", "workers"];
    let server = server(driver, &listeners, &old);
    let shown = || {
        let addresses = [server.ingress, server.admin, server.workers];
        // A client without tickets: one that resumes is not shown a certificate again.
        addresses.map(|address| Client::connect(address, "localhost", &Arc::new(config(&authority))).shown())
    };
    assert!(shown().iter().all(|shown| *shown == old.der));
    let mut open = Client::connect(server.admin, "localhost", &Arc::new(config(&authority)));
    assert_eq!(open.ask(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);

    let bad = |file: &Path| fs::write(file, "-----BEGIN CERTIFICATE-----\n").expect("a file");
    bad(&old.certificate);
    hang_up(&server);
    assert!(shown().iter().all(|shown| *shown == old.der));
    let new = authority.give("localhost", &["localhost"]);
    hang_up(&server);
    eventually("the new one is shown", || shown().iter().all(|shown| *shown == new.der).then_some(()));
    assert_eq!(open.ask(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);

    let metrics =
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ACCESS_TOKEN}\r\n\r\n");
    let page = open.ask(metrics.as_bytes());
    let page = String::from_utf8_lossy(&page.body).into_owned();
    for listener in listeners {
        let family = format!("tidegate_certificate_expiry_seconds{{listener=\"{listener}\",");
        assert!(page.contains(&family), "{family} in {page}");
    }
}

#[test]
fn a_listener_beyond_loopback_without_tls_is_warned_of() {
    let authority = Authority::new();
    let pair = authority.give("localhost", &["localhost"]);
    for has_tls in [false, true] {
        let server = Server::start(|settings| {
            settings.set("TIDEGATE_ADMIN_LISTEN", "0.0.0.0:0").set("TIDEGATE_WORKERS_LISTEN", "0.0.0.0:0");
            if has_tls {
                settings
                    .set("TIDEGATE_ADMIN_TLS_CERTIFICATE", pair.certificate.display())
                    .set("TIDEGATE_ADMIN_TLS_KEY", pair.key.display())
                    .set("TIDEGATE_WORKERS_TLS_CERTIFICATE", pair.certificate.display())
                    .set("TIDEGATE_WORKERS_TLS_KEY", pair.key.display());
            }
        });
        // Serving is logged, then this; the line is there when the next request is answered.
        let warned = || server.log().matches("access tokens can be read on the way").count();
        if has_tls {
            assert_eq!(warned(), 0, "{}", server.log());
        } else {
            eventually("it warns", || (warned() == 2).then_some(()));
        }
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_setting() {
    let authority = Authority::new();
    let pair = authority.give("localhost", &["localhost"]);
    let key = pair.key.display().to_string();
    for listener in ["ADMIN", "WORKERS"] {
        for command in ["serve", "check"] {
            let folder = tempfile::tempdir().expect("a folder");
            let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
                .arg(command)
                .env_clear()
                .env("TIDEGATE_DATA", folder.path().join("data"))
                .env("TIDEGATE_INGRESS_LISTEN", "127.0.0.1:0")
                .env("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:0")
                .env("TIDEGATE_WORKERS_LISTEN", "127.0.0.1:0")
                .env(format!("TIDEGATE_{listener}_TLS_CERTIFICATE"), "/none.pem")
                .env(format!("TIDEGATE_{listener}_TLS_KEY"), &key)
                .output()
                .expect("it runs");
            let said = said(&output);
            assert!(!output.status.success() && said.contains("/none.pem cannot be read"), "{said}");
            let setting = format!("{}.tls.certificate", listener.to_lowercase());
            assert!(command == "check" || said.contains(&setting), "{said}");
        }
    }
}
