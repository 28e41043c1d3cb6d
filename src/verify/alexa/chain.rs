//! A certificate chain that signs Alexa's requests: leaf first, up to a root that is trusted.

use super::digest::Digest;
use crate::base::clock::Now;
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

/// The name that a leaf must carry, as it stands: a wildcard that covers it is another certificate.
const SUBJECT: &str = "echo-api.amazon.com";
/// More certificates than any chain of the web has; what path building costs is bounded by it.
const CERTIFICATES_MAX: usize = 10;
/// No second of the clock: the chain was not found good yet.
const NEVER: u64 = u64::MAX;

/// The certificate authorities that are trusted.
#[derive(Clone, Debug)]
pub struct Roots(Vec<TrustAnchor<'static>>);

/// The fault of a file of roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlexaRootsError {
    /// It is not PEM.
    NotPem,
    /// It holds no certificate.
    Empty,
    /// A certificate in it, counted from 0, cannot be read.
    BadCertificate(usize),
}

/// The fault of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainError {
    /// It is not PEM, or holds no certificate.
    NotPem,
    /// It holds more than [`CERTIFICATES_MAX`] certificates.
    TooMany,
    /// A certificate cannot be read.
    BadCertificate,
    /// The leaf's key is not RSA.
    NotRsa,
    /// The leaf is not Alexa's.
    WrongName,
    /// A certificate of it is not valid yet.
    NotYetValid,
    /// A certificate of it has expired.
    Expired,
    /// It leads to no root that is trusted, over the certificates in it.
    UnknownIssuer,
    /// A certificate is used for what it is not for, or breaks another rule of the web's certificates.
    NotForThis,
}

/// A chain as it was fetched, and the roots that it is checked against.
pub struct Chain {
    /// The leaf, and what lies between it and a root.
    certificates: Vec<CertificateDer<'static>>,
    sha1: ParsedPublicKey,
    sha256: ParsedPublicKey,
    roots: Arc<Roots>,
    /// The second since 1970 in which the path was last found good. Dates of certificates are in whole seconds, so
    /// the answer holds for all of it, and a busy skill pays for one path a second.
    good_at: AtomicU64,
}

impl Roots {
    /// The public roots, as browsers trust them.
    #[must_use]
    pub fn public() -> Roots {
        Roots(webpki_roots::TLS_SERVER_ROOTS.to_vec())
    }

    /// The certificates of a PEM file; sections of other kinds are passed over.
    ///
    /// # Errors
    /// [`AlexaRootsError`] where it has none, or has one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Roots, AlexaRootsError> {
        let mut anchors = Vec::new();
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let certificate = certificate.map_err(|_| AlexaRootsError::NotPem)?;
            let anchor = webpki::anchor_from_trusted_cert(&certificate)
                .map_err(|_| AlexaRootsError::BadCertificate(index))?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() { Err(AlexaRootsError::Empty) } else { Ok(Roots(anchors)) }
    }

    /// As webpki and rustls take them.
    #[must_use]
    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.0
    }
}

impl Chain {
    /// Reads a chain. That says nothing of whether it may be trusted: see [`Chain::check`].
    ///
    /// # Errors
    /// [`ChainError`] where it is no chain with an RSA key at its end.
    pub fn parse(pem: &[u8], roots: &Arc<Roots>) -> Result<Chain, ChainError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .take(CERTIFICATES_MAX + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| ChainError::NotPem)?;
        if certificates.len() > CERTIFICATES_MAX {
            return Err(ChainError::TooMany);
        }
        let leaf = certificates.first().ok_or(ChainError::NotPem)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| ChainError::BadCertificate)?;
        let key = leaf.subject_public_key_info();
        let key = |algorithm| ParsedPublicKey::new(algorithm, &*key).map_err(|_| ChainError::NotRsa);
        Ok(Chain {
            sha1: key(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY)?,
            sha256: key(&RSA_PKCS1_2048_8192_SHA256)?,
            certificates,
            roots: Arc::clone(roots),
            good_at: AtomicU64::new(NEVER),
        })
    }

    /// Whether the chain is good at `now`: in date, up to a trusted root, for a server of the web, and Alexa's.
    ///
    /// # Errors
    /// [`ChainError`]: the first thing that is wrong.
    pub fn check(&self, now: Now) -> Result<(), ChainError> {
        let seconds = now.unix_seconds();
        if self.good_at.load(Ordering::Relaxed) == seconds {
            return Ok(());
        }
        self.check_path(seconds)?;
        self.good_at.store(seconds, Ordering::Relaxed);
        Ok(())
    }

    fn check_path(&self, unix_seconds: u64) -> Result<(), ChainError> {
        let (leaf, intermediates) = self.certificates.split_first().ok_or(ChainError::NotPem)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| ChainError::BadCertificate)?;
        if !leaf.valid_dns_names().any(|name| name.eq_ignore_ascii_case(SUBJECT)) {
            return Err(ChainError::WrongName);
        }
        let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_seconds));
        leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            self.roots.anchors(),
            intermediates,
            time,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map(drop)
        .map_err(|error| path_error(&error))
    }

    /// Whether `signature` is the leaf's signature of `body`: RSA with PKCS #1 v1.5 padding.
    #[must_use]
    pub fn leaf_signed(&self, digest: Digest, body: &[u8], signature: &[u8]) -> bool {
        let key = match digest {
            Digest::Sha1 => &self.sha1,
            Digest::Sha256 => &self.sha256,
        };
        key.verify_sig(body, signature).is_ok()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({} certificates)", self.certificates.len())
    }
}

fn path_error(error: &webpki::Error) -> ChainError {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => ChainError::Expired,
        Error::CertNotValidYet { .. } => ChainError::NotYetValid,
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => ChainError::BadCertificate,
        // A stranger may call itself as a trusted root is called; its signatures do not become the root's by that.
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => ChainError::UnknownIssuer,
        _ => ChainError::NotForThis,
    }
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainError::NotPem => f.write_str("is not certificates in PEM"),
            ChainError::TooMany => write!(f, "has more than {CERTIFICATES_MAX} certificates"),
            ChainError::BadCertificate => f.write_str("has a certificate that cannot be read"),
            ChainError::NotRsa => f.write_str("has a leaf without an RSA key"),
            ChainError::WrongName => write!(f, "has a leaf without the name {SUBJECT}"),
            ChainError::NotYetValid => f.write_str("is not valid yet"),
            ChainError::Expired => f.write_str("has expired"),
            ChainError::UnknownIssuer => f.write_str("does not lead to a trusted root"),
            ChainError::NotForThis => f.write_str("has a certificate that may not be used for this"),
        }
    }
}

impl std::error::Error for ChainError {}

impl fmt::Display for AlexaRootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlexaRootsError::NotPem => f.write_str("is not PEM"),
            AlexaRootsError::Empty => f.write_str("holds no certificate"),
            AlexaRootsError::BadCertificate(index) => write!(f, "certificate {} cannot be read", index + 1),
        }
    }
}

impl std::error::Error for AlexaRootsError {}
