//! What stands in for Amazon: an authority of the test's own, and an HTTPS server that holds its chains.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKey;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::PATIENCE;

/// The host that chains come from.
pub const HOST: &str = "s3.amazonaws.com";
/// The name that a leaf must have.
pub const SUBJECT: &str = "echo-api.amazon.com";
/// More than any chain: what an endless response sends before it gives up on its reader.
const ENDLESS_BYTES: u64 = 1 << 30;
/// Between two looks at a gate.
const LOOK: Duration = Duration::from_millis(2);

/// From which year to which a certificate is valid.
pub type Years = (i32, i32);
/// Valid now.
pub const NOW: Years = (2020, 2090);

/// A root, and an intermediate below it.
pub struct Authority {
    pub root_pem: String,
    pub intermediate_pem: String,
    intermediate: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let ca = || {
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let (root_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let mut root = ca();
        root.distinguished_name.push(rcgen::DnType::CommonName, "The test's root");
        let root_pem = root.self_signed(&root_key).expect("a root").pem();
        let mut params = ca();
        params.distinguished_name.push(rcgen::DnType::CommonName, "The test's intermediate");
        let root = Issuer::new(root, root_key);
        let intermediate_pem = params.signed_by(&key, &root).expect("an intermediate").pem();
        Authority { root_pem, intermediate_pem, intermediate: Issuer::new(params, key) }
    }

    /// A leaf alone.
    pub fn leaf(&self, key: &KeyPair, name: &str, years: Years) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        params.signed_by(key, &self.intermediate).expect("a leaf").pem()
    }

    /// A chain whose leaf ends at this second since 1970.
    pub fn chain_until(&self, key: &KeyPair, name: &str, unix_seconds: u64) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(NOW.0, 1, 1);
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_seconds);
        params.signed_by(key, &self.intermediate).expect("a leaf").pem() + &self.intermediate_pem
    }

    /// A leaf and the intermediate.
    pub fn chain(&self, key: &KeyPair, name: &str, years: Years) -> String {
        self.leaf(key, name, years) + &self.intermediate_pem
    }
}

/// A key that Amazon could sign with.
pub fn rsa_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key")
}

/// The value of `Signature-256`.
pub fn sign(key: &KeyPair, body: &[u8]) -> String {
    let key = RsaKey::from_pkcs8(key.serialized_der()).expect("an RSA key");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), body, &mut signature).expect("a signature");
    BASE64_STANDARD.encode(signature)
}

/// What the server does with a path.
#[derive(Clone)]
pub enum Act {
    /// Answers 200 with this body.
    Body(String),
    /// The same once the gate is open.
    BodyBehind(String, Arc<AtomicBool>),
    /// Answers with this status, fields included, and no body.
    Head(&'static str),
    /// Never answers.
    Hang,
    /// Answers 200 and a body without end; declared, or in chunks.
    Endless { declared: bool },
}

/// The HTTPS server. Its threads end with the process.
pub struct Chains {
    pub address: SocketAddr,
    acts: Arc<Mutex<HashMap<String, Act>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Chains {
    /// Serves with a certificate for `name`.
    pub fn start(authority: &Authority, name: &str) -> Chains {
        let key = KeyPair::generate().expect("a key");
        let chain = authority.chain(&key, name, NOW);
        let chain =
            CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().expect("a chain");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (acts, seen) =
            (Arc::<Mutex<HashMap<String, Act>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (known, noted) = (Arc::clone(&acts), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, known, noted) = (Arc::clone(&config), Arc::clone(&known), Arc::clone(&noted));
                // A client that gives up in the middle is what some of the tests are about.
                std::thread::spawn(move || serve(config, stream, &known, &noted).is_ok());
            }
        });
        Chains { address, acts, seen }
    }

    /// From now on a GET of this path does this.
    pub fn put(&self, path: &str, act: Act) {
        self.acts.lock().expect("a lock").insert(path.to_owned(), act);
    }

    /// How often this path was asked for.
    pub fn fetches(&self, path: &str) -> usize {
        self.seen.lock().expect("a lock").iter().filter(|seen| *seen == path).count()
    }

    /// How often any path was asked for.
    pub fn all_fetches(&self) -> usize {
        self.seen.lock().expect("a lock").len()
    }
}

fn serve(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    acts: &Mutex<HashMap<String, Act>>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    assert!(head.to_ascii_lowercase().contains(&format!("\r\nhost: {HOST}\r\n")), "{head}");
    seen.lock().expect("a lock").push(path.clone());
    let act = acts.lock().expect("a lock").get(&path).cloned().unwrap_or(Act::Head("404 Not Found"));
    match act {
        Act::BodyBehind(body, gate) => {
            while !gate.load(Ordering::Acquire) {
                std::thread::sleep(LOOK);
            }
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        }
        Act::Body(body) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        }
        Act::Head(status) => write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?,
        Act::Hang => {
            stream.read_exact(&mut [0])?;
        }
        Act::Endless { declared } => {
            if declared {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {ENDLESS_BYTES}\r\n\r\n")?;
            } else {
                write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{ENDLESS_BYTES:x}\r\n")?;
            }
            let block = [b'a'; 16 * 1024];
            for _ in 0..ENDLESS_BYTES / block.len() as u64 {
                stream.write_all(&block)?;
            }
        }
    }
    stream.conn.send_close_notify();
    stream.flush()
}
