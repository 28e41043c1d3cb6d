//! A server of JSON Web Key Sets that can hang, rotate and lie.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// How it answers.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// With a set of these keys.
    Keys(Vec<Value>),
    /// With these bytes.
    Raw(String),
    /// With a body that does not end.
    Endless,
    /// Not at all: the connection stays open.
    Hang,
}

/// The server; its thread ends with the test's process.
pub struct KeyServer {
    address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    asked: Arc<AtomicUsize>,
    has_tls: bool,
}

impl KeyServer {
    pub fn start() -> KeyServer {
        KeyServer::start_with(None)
    }

    /// With TLS, by this certificate.
    pub fn with_tls(key: &CertifiedKey<KeyPair>) -> KeyServer {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![key.cert.der().clone()], private)
            });
        KeyServer::start_with(Some(Arc::new(config.expect("a certificate"))))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>) -> KeyServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let has_tls = tls.is_some();
        let behaviour = Arc::new(Mutex::new(Behaviour::Hang));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, counted) = (Arc::clone(&behaviour), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let behaviour = told.lock().expect("nobody panicked").clone();
                let stream = stream.expect("a connection");
                let tls = tls.clone().map(|tls| ServerConnection::new(tls).expect("a connection"));
                std::thread::spawn(move || match tls {
                    None => answer(stream, &behaviour),
                    Some(tls) => answer(StreamOwned::new(tls, stream), &behaviour),
                });
            }
        });
        KeyServer { address, behaviour, asked, has_tls }
    }

    pub fn url(&self) -> String {
        if self.has_tls {
            return format!("https://localhost:{}/keys?v=1", self.address.port());
        }
        format!("http://{}/keys?v=1", self.address)
    }

    pub fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("nobody panicked") = behaviour;
    }

    /// Connections so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: impl Read + Write, behaviour: &Behaviour) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    assert!(request.starts_with(b"GET /keys?v=1 HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&request));
    // Whoever asked may be gone.
    let _ = match behaviour {
        Behaviour::Keys(keys) => {
            let body = json!({"keys": keys}).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes())
        }
        Behaviour::Raw(bytes) => stream.write_all(bytes.as_bytes()),
        Behaviour::Endless => {
            let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while sent.is_ok() {
                sent = stream.write_all(b"4\r\n    \r\n".repeat(1024).as_slice());
            }
            sent
        }
        Behaviour::Hang => stream.read_to_end(&mut Vec::new()).map(drop),
    };
}
