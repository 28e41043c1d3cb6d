//! How the servers of NATS know Tidegate, and the other way round: user, token, NKey, credentials file, TLS.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::common::nats::{Nats, NatsConfig};
use super::common::{Server, eventually};
use super::keys::{ACCOUNT, NKey, OPERATOR, USER};

/// A server of NATS that is configured so.
fn nats(more: String) -> Option<Nats> {
    Nats::start_with(&NatsConfig { more, ..NatsConfig::default() })
}

/// Tidegate with these settings.
fn serve(settings: &[(&'static str, &str)]) -> Server {
    Server::start(|all| {
        for (variable, value) in settings {
            all.set(variable, value);
        }
    })
}

/// The connection of Tidegate as the server tells it, once it is there.
fn connected(nats: &Nats) -> Value {
    eventually("Tidegate is connected", || {
        let page: Value = serde_json::from_str(&nats.page("/connz?auth=1").1).ok()?;
        page["connections"].as_array()?.iter().find(|one| one["name"] == "tidegate").cloned()
    })
}

/// Waits for a refusal, and checks that no secret is in the log.
fn refused(server: &Server, nats: &Nats, secret: &str) {
    eventually("Tidegate says that it cannot connect", || {
        server.log().contains("NATS cannot be reached").then_some(())
    });
    assert!(!server.log().contains(secret), "the log has a secret: {}", server.log());
    let page: Value = serde_json::from_str(&nats.page("/connz").1).expect("JSON");
    assert_eq!(page["num_connections"], 0);
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn a_user_and_a_password_with_any_characters() {
    let Some(nats) = nats("authorization { user: \"tide\", password: \"s3c ret/+@\" }".into()) else {
        return;
    };
    let url = format!("nats://tide:s3c%20ret%2F%2B%40@{}", nats.address);
    let server = serve(&[("TIDEGATE_NATS_URL", &url)]);
    assert_eq!(connected(&nats)["authorized_user"], "tide");
    assert!(!server.log().contains("s3c"));
    drop(server);
    eventually("it has left", || nats.page("/connz").1.contains("\"num_connections\": 0").then_some(()));
    let url = format!("nats://tide:wr0ng@{}", nats.address);
    refused(&serve(&[("TIDEGATE_NATS_URL", &url)]), &nats, "wr0ng");
}

#[test]
fn a_token() {
    let Some(nats) = nats("authorization { token: \"s3cret\" }".into()) else { return };
    let url = format!("nats://s3cret@{}", nats.address);
    let server = serve(&[("TIDEGATE_NATS_URL", &url)]);
    connected(&nats);
    assert!(!server.log().contains("s3cret"));
}

#[test]
fn an_nkey() {
    let key = NKey::new(USER, 7);
    let Some(nats) = nats(format!("authorization {{ users: [{{ nkey: {} }}] }}", key.public)) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let seed = write(&folder, "seed", &format!("{}\n", key.seed));
    let server = serve(&[("TIDEGATE_NATS_URL", &nats.url()), ("TIDEGATE_NATS_NKEY", &seed)]);
    connected(&nats);
    drop(server);
    eventually("it has left", || nats.page("/connz").1.contains("\"num_connections\": 0").then_some(()));
    let other = NKey::new(USER, 8);
    let seed = write(&folder, "other", &other.seed);
    let server = serve(&[("TIDEGATE_NATS_URL", &nats.url()), ("TIDEGATE_NATS_NKEY", &seed)]);
    refused(&server, &nats, &other.seed);
}

#[test]
fn a_credentials_file() {
    let [operator, system] = [NKey::new(OPERATOR, 1), NKey::new(ACCOUNT, 2)];
    let [account, user] = [NKey::new(ACCOUNT, 3), NKey::new(USER, 4)];
    let limits = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
    let plain = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1});
    let of_account = |limits: &Value| json!({"type": "account", "version": 2, "limits": limits});
    let more = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}",
        operator.jwt(&operator, json!({"type": "operator", "version": 2})),
        system.public,
        system.public,
        operator.jwt(&system, of_account(&plain)),
        account.public,
        operator.jwt(&account, of_account(&limits)),
    );
    let Some(nats) = nats(more) else { return };
    let of_user = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
    let credentials = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        account.jwt(&user, of_user),
        user.seed
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(&folder, "tide.creds", &credentials);
    let server = serve(&[("TIDEGATE_NATS_URL", &nats.url()), ("TIDEGATE_NATS_CREDENTIALS", &file)]);
    assert_eq!(connected(&nats)["account"], account.public);
    assert!(!server.log().contains(&user.seed));
}

/// A root, and certificates that it gives, as files of a folder.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root");
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder, "root.pem", &root.pem());
        Authority { folder, issuer: Issuer::new(params, key) }
    }

    fn give(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        write(&self.folder, &format!("{name}.pem"), &certificate.pem());
        write(&self.folder, &format!("{name}.key"), &key.serialize_pem());
    }

    fn path(&self, name: &str) -> String {
        Path::display(&self.folder.path().join(name)).to_string()
    }
}

#[test]
fn tls_with_an_authority_of_ones_own_and_a_client_certificate() {
    let authority = Authority::new();
    authority.give("server");
    authority.give("client");
    let file = |name: &str| authority.path(name);
    let more = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("server.pem"),
        file("server.key"),
        file("root.pem")
    );
    let Some(nats) = nats(more) else { return };
    let (root, certificate, key) = (file("root.pem"), file("client.pem"), file("client.key"));
    for scheme in ["tls", "nats"] {
        let url = format!("{scheme}://{}", nats.address);
        let server = serve(&[
            ("TIDEGATE_NATS_URL", &url),
            ("TIDEGATE_NATS_TLS_CA", &root),
            ("TIDEGATE_NATS_TLS_CERTIFICATE", &certificate),
            ("TIDEGATE_NATS_TLS_KEY", &key),
        ]);
        assert!(connected(&nats)["tls_version"].is_string(), "{scheme}");
        drop(server);
        eventually("it has left", || nats.page("/connz").1.contains("\"num_connections\": 0").then_some(()));
    }
    // Without a certificate of its own, and without the authority.
    let url = format!("tls://{}", nats.address);
    refused(&serve(&[("TIDEGATE_NATS_URL", &url), ("TIDEGATE_NATS_TLS_CA", &root)]), &nats, "PRIVATE");
    refused(&serve(&[("TIDEGATE_NATS_URL", &url)]), &nats, "PRIVATE");
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_set() {
    let authority = Authority::new();
    let Some(nats) = nats(String::new()) else { return };
    let root = authority.path("root.pem");
    let server = serve(&[("TIDEGATE_NATS_URL", &nats.url()), ("TIDEGATE_NATS_TLS_CA", &root)]);
    refused(&server, &nats, "PRIVATE");
}
