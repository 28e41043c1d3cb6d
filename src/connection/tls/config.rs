//! Certificates and keys from PEM files, and the configuration of TLS that they make. Everything that can be wrong
//! with a file is found here, before a connection depends on it, and is told with the file's name.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use webpki::EndEntityCert;

use super::expiry::not_after;
use crate::settings::TlsFiles;

/// The protocol inside TLS (RFC 7301). A client that offers other protocols alone is refused (RFC 7301, section 3.2).
const ALPN_PROTOCOL: &[u8] = b"http/1.1";
/// The largest certificate or key file that is read: hundreds of chains, and no surprise where a path is wrong.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why there is no TLS to be had from the files.
#[derive(Debug)]
pub enum TlsError {
    /// The file cannot be read.
    Read { file: PathBuf, error: io::Error },
    /// The file is larger than any chain or key.
    TooLarge { file: PathBuf },
    /// The file is no PEM: what is wrong with it.
    Pem { file: PathBuf, error: &'static str },
    /// There is no certificate in the file.
    NoCertificate { file: PathBuf },
    /// There is no private key in the file.
    NoKey { file: PathBuf },
    /// The first certificate is none, or not one for a server.
    Certificate { file: PathBuf, error: String },
    /// The key is none that TLS can use.
    Key { file: PathBuf, error: String },
    /// The key is another certificate's.
    Mismatch { certificate: PathBuf, key: PathBuf },
    /// The cryptographic library could not be initialised; its message.
    Library(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Read { file, error } => write!(f, "{} cannot be read: {error}", file.display()),
            TlsError::TooLarge { file } => {
                write!(f, "{} is larger than {FILE_BYTES_MAX} bytes", file.display())
            }
            TlsError::Pem { file, error } => write!(f, "{} is no PEM file: {error}", file.display()),
            TlsError::NoCertificate { file } => {
                write!(f, "{} holds no certificate (BEGIN CERTIFICATE)", file.display())
            }
            TlsError::NoKey { file } => write!(
                f,
                "{} holds no private key (BEGIN PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY; not an encrypted one)",
                file.display()
            ),
            TlsError::Certificate { file, error } => {
                write!(f, "the first certificate in {} cannot be used: {error}", file.display())
            }
            TlsError::Key { file, error } => {
                write!(f, "the private key in {} cannot be used: {error}", file.display())
            }
            TlsError::Mismatch { certificate, key } => write!(
                f,
                "the private key in {} is not that of the first certificate in {}",
                key.display(),
                certificate.display()
            ),
            TlsError::Library(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// The encryption of session tickets (RFC 5077, RFC 8446): keys of this process alone, which are replaced every six
/// hours. It outlives the configurations, so that clients resume after their certificate was renewed.
fn ticketer() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    aws_lc_rs::Ticketer::new().map_err(|error| TlsError::Library(error.to_string()))
}

/// The certificates of one listener, as they are now.
pub(super) struct Certified {
    files: TlsFiles,
    tickets: Option<Arc<dyn ProducesTickets>>,
    loaded: Mutex<Option<Loaded>>,
}

/// The configuration that files made.
pub(super) struct Loaded {
    config: Arc<ServerConfig>,
    ends: Arc<[CertificateEnd]>,
}

/// The end of a certificate's validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateEnd {
    /// The file of its chain.
    pub file: PathBuf,
    /// Seconds since 1970.
    pub unix_seconds: i64,
}

impl Certified {
    /// Reads the files.
    ///
    /// # Errors
    /// As [`check`].
    pub(super) fn load(files: &TlsFiles) -> Result<Certified, TlsError> {
        let tickets = if files.is_set() { Some(ticketer()?) } else { None };
        let certified = Certified { files: files.clone(), tickets, loaded: Mutex::default() };
        certified.replace(certified.read()?);
        Ok(certified)
    }

    /// Reads the files again, for [`Self::replace`]; `None` if there are none.
    ///
    /// # Errors
    /// As [`check`].
    pub(super) fn read(&self) -> Result<Option<Loaded>, TlsError> {
        let tickets = self.tickets.as_ref();
        tickets.map(|tickets| load(&self.files, Arc::clone(tickets))).transpose()
    }

    /// Has new connections get these certificates.
    pub(super) fn replace(&self, loaded: Option<Loaded>) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
    }

    /// When the present certificates end, in the order of the settings.
    pub(super) fn ends(&self) -> Arc<[CertificateEnd]> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().map_or_else(Arc::default, |loaded| Arc::clone(&loaded.ends))
    }

    /// The present configuration; `None` without TLS.
    pub(super) fn config(&self) -> Option<Arc<ServerConfig>> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().map(|loaded| Arc::clone(&loaded.config))
    }
}

/// Checks certificates and keys as the start does.
///
/// # Errors
/// The first file that cannot be used, and why.
pub(crate) fn check(files: &TlsFiles) -> Result<(), TlsError> {
    Certificates::load(files, &aws_lc_rs::default_provider()).map(drop)
}

/// The configuration that the files make.
///
/// # Errors
/// As [`check`].
fn load(files: &TlsFiles, tickets: Arc<dyn ProducesTickets>) -> Result<Loaded, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificates = Certificates::load(files, &provider)?;
    let ends = certificates.ends.clone();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Library(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![ALPN_PROTOCOL.to_vec()];
    // Sessions are kept by clients, in tickets: nothing here grows, and any core can resume any session.
    config.ticketer = tickets;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Loaded { config: Arc::new(config), ends })
}

/// Which certificate for which name.
#[derive(Debug)]
struct Certificates {
    /// By name in lower case; a name may have one for each kind of key.
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// `*.example.org` by `example.org`: one label more, no less and no others (RFC 6125, 6.4.3).
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// For clients that name no name, or none of these.
    default: Arc<CertifiedKey>,
    /// When each ends.
    ends: Arc<[CertificateEnd]>,
}

impl Certificates {
    fn load(files: &TlsFiles, provider: &CryptoProvider) -> Result<Certificates, TlsError> {
        let mut loaded = Vec::new();
        for (certificate, key) in files.pairs() {
            loaded.push(load_pair(certificate, key, provider)?);
        }
        let leaves = loaded.iter().map(|certified: &Arc<CertifiedKey>| certified.cert.first());
        let ends = files.pairs().zip(leaves).filter_map(|((file, _), leaf)| {
            Some(CertificateEnd { file: file.to_owned(), unix_seconds: not_after(leaf?)? })
        });
        let ends = ends.collect();
        let default = loaded.first().cloned();
        let default = default.ok_or_else(|| TlsError::Library("there is no certificate".to_owned()))?;
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for certified in loaded {
            // It was parsed when it was loaded.
            let Some(names) = certified.cert.first().and_then(|leaf| EndEntityCert::try_from(leaf).ok())
            else {
                continue;
            };
            for name in names.valid_dns_names() {
                let name = name.to_ascii_lowercase();
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, &*name),
                };
                let of_name: &mut Vec<_> = names.entry(Box::from(name)).or_default();
                of_name.push(Arc::clone(&certified));
            }
        }
        Ok(Certificates { exact, wildcard, default, ends })
    }

    /// Those that are for a name, in the order of the settings.
    fn for_name(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let name = name.to_ascii_lowercase();
        let exact = self.exact.get(&*name);
        let found = exact.or_else(|| self.wildcard.get(name.split_once('.')?.1));
        found.map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let of_name = hello.server_name().map_or(&[][..], |name| self.for_name(name));
        // Of several for one name, the first whose kind of key the client knows.
        let signs =
            |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(hello.signature_schemes()).is_some();
        let chosen = of_name.iter().find(signs).or_else(|| of_name.first());
        Some(Arc::clone(chosen.unwrap_or(&self.default)))
    }
}

fn load_pair(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = load_chain(certificate)?;
    let text = read(key)?;
    let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey { file: key.to_owned() },
        other => TlsError::Pem { file: key.to_owned(), error: pem_words(&other) },
    })?;
    let secret = provider
        .key_provider
        .load_private_key(secret)
        .map_err(|error| TlsError::Key { file: key.to_owned(), error: error.to_string() })?;
    let certified = CertifiedKey::new(chain, secret);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() })
        }
        Err(error) => Err(TlsError::Certificate { file: certificate.to_owned(), error: error.to_string() }),
    }
}

fn load_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem { file: file.to_owned(), error: pem_words(&error) })?;
    let Some(leaf) = chain.first() else { return Err(TlsError::NoCertificate { file: file.to_owned() }) };
    EndEntityCert::try_from(leaf)
        .map_err(|error| TlsError::Certificate { file: file.to_owned(), error: error.to_string() })?;
    Ok(chain)
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::Read { file: file.to_owned(), error };
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge { file: file.to_owned() });
    }
    std::fs::read(file).map_err(failed)
}

/// The library's own words would show lines of the file, which may be a key's.
fn pem_words(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a BEGIN line without its END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line that is cut",
        pem::Error::Base64Decode(_) => "what stands between BEGIN and END is not base64",
        _ => "it cannot be read as one",
    }
}
