//! Targets that speak TLS: HTTP/2 where they offer it, and certificates that are checked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::node;
use crate::common::Server;

/// Version and authority of the requests that were received.
type Seen = Arc<Mutex<Vec<(Version, Option<String>)>>>;

/// A target with TLS that offers these protocols.
struct SecureTarget {
    address: SocketAddr,
    seen: Seen,
    connections: Arc<Mutex<usize>>,
}

fn start(key: &CertifiedKey<rcgen::KeyPair>, protocols: &'static [&'static [u8]]) -> SecureTarget {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let (tell, told) = std::sync::mpsc::channel();
    let seen = Seen::default();
    let connections: Arc<Mutex<usize>> = Arc::default();
    let (all, count) = (Arc::clone(&seen), Arc::clone(&connections));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, all, count) = (acceptor.clone(), Arc::clone(&all), Arc::clone(&count));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    *count.lock().unwrap() += 1;
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = service_fn(move |request: Request<Incoming>| {
                        let all = Arc::clone(&all);
                        async move {
                            let authority = request.uri().authority().map(ToString::to_string);
                            all.lock().unwrap().push((request.version(), authority));
                            let _ = request.into_body().collect().await;
                            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"safe"))))
                        }
                    });
                    // A client that goes away ends its connection.
                    let _ = if is_h2 {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .await
                    } else {
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await
                    };
                });
            }
        });
    });
    SecureTarget { address: told.recv().unwrap(), seen, connections }
}

/// A server that trusts this certificate alone.
fn trusting(key: &CertifiedKey<rcgen::KeyPair>) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    std::fs::write(&path, key.cert.pem()).unwrap();
    let server = Server::start(|settings| {
        settings
            .set("TIDEGATE_FORWARD_ROOTS", path.display())
            .set("TIDEGATE_FORWARD_THREADS", 1)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    (server, folder)
}

fn certificate(name: &str) -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

#[test]
fn http2_is_spoken_where_it_is_offered_and_connections_are_kept() {
    let key = certificate("localhost");
    let (server, _folder) = trusting(&key);
    const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
    const OLD: &[&[u8]] = &[b"http/1.1"];
    for (protocols, version) in [(BOTH, Version::HTTP_2), (OLD, Version::HTTP_11), (&[], Version::HTTP_11)] {
        let target = start(&key, protocols);
        let url = format!("https://localhost:{}/a", target.address.port());
        let hook = server.webhook(json!({"waitForReply": true}));
        server.flow(&hook, json!([node(&url, json!({}))]));
        let mut wire = server.wire();
        for _ in 0..5 {
            wire.ask(hook.post(b"x")).is(200, "safe");
        }
        let seen = target.seen.lock().unwrap();
        assert!(seen.iter().all(|(seen, _)| *seen == version), "{seen:?}");
        assert_eq!((seen.len(), *target.connections.lock().unwrap()), (5, 1));
        if version == Version::HTTP_2 {
            let authority = format!("localhost:{}", target.address.port());
            assert_eq!(seen[0].1.as_deref(), Some(authority.as_str()));
        }
    }
}

#[test]
fn a_certificate_that_is_not_the_targets_or_not_trusted_is_refused() {
    let trusted = certificate("localhost");
    let (server, _folder) = trusting(&trusted);
    let other_name = start(&certificate("other.example"), &[]);
    let unknown = start(&certificate("localhost"), &[]);
    let by_address = start(&trusted, &[]);
    for url in [
        format!("https://localhost:{}/", other_name.address.port()),
        format!("https://localhost:{}/", unknown.address.port()),
        format!("https://{}/", by_address.address),
    ] {
        let hook = server.webhook(json!({"waitForReply": true}));
        server.flow(&hook, json!([node(&url, json!({}))]));
        server.wire().ask(hook.post(b"x")).is(502, "{\"error\":\"TLS with the target failed\"}");
    }
    assert!(unknown.seen.lock().unwrap().is_empty());
}
