//! The roots that targets' certificates chain to: the system's, or those of a file.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::base::log::bounded_log;

/// Bytes of the file of roots: many times those of all public ones.
const ROOTS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why the file of `forward.roots` cannot be used.
#[derive(Debug)]
pub(crate) enum RootsError {
    /// It cannot be read.
    Read(std::io::Error),
    /// It holds no certificate, or something that is none.
    NoRoots,
}

impl fmt::Display for RootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootsError::Read(error) => write!(f, "the file of forward.roots cannot be read: {error}"),
            RootsError::NoRoots => f.write_str("the file of forward.roots must hold certificates in PEM"),
        }
    }
}

impl std::error::Error for RootsError {}

/// Whether the file of `forward.roots` can be used, where one is set.
///
/// # Errors
/// Why not.
pub(crate) fn check_roots(path: Option<&Path>) -> Result<(), RootsError> {
    path.map_or(Ok(()), |path| read(path).map(drop))
}

/// The roots: those of the file, else the system's, else the public ones that the process was built with.
pub(super) fn load(path: Option<&Path>) -> Result<RootCertStore, RootsError> {
    if let Some(path) = path {
        return read(path);
    }
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        bounded_log!(
            warn,
            "the system has no root certificates: targets are checked against the public ones of this version"
        );
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(store)
}

fn read(path: &Path) -> Result<RootCertStore, RootsError> {
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(ROOTS_BYTES_MAX + 1).read_to_end(&mut pem));
    if read.map_err(RootsError::Read)? as u64 > ROOTS_BYTES_MAX {
        let message = format!("it has more than {ROOTS_BYTES_MAX} bytes");
        return Err(RootsError::Read(std::io::Error::other(message)));
    }
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| RootsError::NoRoots)?;
        store.add(certificate).map_err(|_| RootsError::NoRoots)?;
    }
    if store.is_empty() { Err(RootsError::NoRoots) } else { Ok(store) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_must_hold_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        assert!(matches!(load(Some(&path)), Err(RootsError::Read(_))));
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(check_roots(Some(&path)), Err(RootsError::NoRoots)), "{text}");
        }
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&path, key.cert.pem()).unwrap();
        assert_eq!(load(Some(&path)).unwrap().len(), 1);
        assert!(!load(None).unwrap().is_empty());
    }
}
