//! What `tools/deploy` says of the program: the settings and metrics that it names are those that there are; a service
//! manager is told of the start and the end.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tidegate::settings::{ENTRIES, Settings};

use common::Server;

fn metrics(server: &Server) -> String {
    String::from_utf8(server.call_raw("GET", "/metrics", "").body).expect("text")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/deploy")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Words of a text that begin so.
fn words<'t>(text: &'t str, prefix: &str) -> BTreeSet<&'t str> {
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    text.split(|sign| !is_part(sign)).filter(|word| word.starts_with(prefix)).collect()
}

#[test]
fn every_variable_that_is_named_is_a_setting() {
    let mut seen = 0;
    for name in
        ["Containerfile", "compose.yaml", "kubernetes.yaml", "tidegate.service", "Caddyfile", "nginx.conf"]
    {
        let text = text(name);
        for variable in words(&text, "TIDEGATE_") {
            seen += 1;
            assert!(ENTRIES.iter().any(|entry| entry.variable == variable), "{name}: {variable}");
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn the_file_of_settings_is_taken_as_it_is_and_with_its_examples() {
    let file = text("tidegate.toml");
    assert!(Settings::resolve(1, Some(("tidegate.toml", &file)), &[], &[]).is_ok());
    let with_examples = file.replace("# public_url", "public_url").replace("# trusted", "trusted");
    assert_ne!(file, with_examples);
    Settings::resolve(1, Some(("tidegate.toml", &with_examples)), &[], &[])
        .expect("the examples are settings");
}

#[test]
fn the_files_of_yaml_and_json_can_be_read() {
    for name in ["compose.yaml", "prometheus.yaml", "alerts.yaml", "alerts-test.yaml"] {
        let read: Result<Value, _> = serde_saphyr::from_str(&text(name));
        assert!(read.is_ok_and(|value| value.is_object()), "{name}");
    }
    for document in text("kubernetes.yaml").split("\n---\n") {
        let read: Value = serde_saphyr::from_str(document).expect("YAML");
        assert!(read["kind"].is_string() && read["metadata"]["name"].is_string(), "{document}");
    }
    let dashboard: Value = serde_json::from_str(&text("grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
}

#[test]
fn every_source_that_the_container_copies_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for line in
        text("Containerfile").lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from"))
    {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        for source in &words[..words.len() - 1] {
            seen += 1;
            assert!(root.join(source).exists(), "{source}");
        }
    }
    assert!(seen >= 4);
}

#[test]
fn every_metric_that_is_drawn_or_alerts_is_on_the_page() {
    let certificate =
        rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
    let files = tempfile::tempdir().expect("a folder");
    let (pem, key) = (files.path().join("c.pem"), files.path().join("k.pem"));
    fs::write(&pem, certificate.cert.pem()).expect("written");
    fs::write(&key, certificate.signing_key.serialize_pem()).expect("written");
    let server = Server::start(|settings| {
        settings
            .set("TIDEGATE_INGRESS_TLS_CERTIFICATE", pem.display())
            .set("TIDEGATE_INGRESS_TLS_KEY", key.display());
    });
    let page = metrics(&server);
    let shown: BTreeSet<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let mut missing = Vec::new();
    for name in ["grafana.json", "alerts.yaml"] {
        let text = text(name);
        let used = words(&text, "tidegate_").into_iter().chain(words(&text, "process_"));
        missing
            .extend(used.filter(|metric| !shown.contains(metric)).map(|metric| format!("{name}: {metric}")));
    }
    assert!(missing.is_empty(), "not on the page: {missing:?} of {shown:?}");
    let expiry =
        page.lines().find(|line| line.starts_with("tidegate_certificate_expiry_seconds")).expect("a line");
    let seconds: f64 = expiry.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number");
    assert!(seconds > 1.7e9, "{expiry}");
}

#[test]
fn a_service_manager_is_told_and_signals_that_mean_nothing_end_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    // A test that hangs fails instead.
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    let told = || {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).expect("it is told");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let mut server = Server::start(|settings| {
        settings.set("NOTIFY_SOCKET", path.display());
    });
    assert!(told().starts_with("READY=1"));
    for signal in [rustix::process::Signal::USR1, rustix::process::Signal::USR2] {
        server.signal(signal);
    }
    assert!(metrics(&server).contains("tidegate_build_info"), "it serves on");
    server.signal(rustix::process::Signal::TERM);
    assert!(told().starts_with("STOPPING=1"));
    assert!(server.ended().success());
}
