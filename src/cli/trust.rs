//! Servers that the client commands trust over TLS: those whose certificate is the very one that a file holds, and those
//! whose chain leads to a root.
//!
//! A server on this machine is known by the certificate's file that it wrote into its data folder: its certificate is for
//! the name that others use, not for the address that it is reached at here.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Bytes of a file of certificates: many times those of all public roots.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Spoken inside (RFC 7301).
const PROTOCOL: &[u8] = b"http/1.1";

/// Whom to trust.
pub(super) enum Trust<'a> {
    /// The certificates that a server on this machine shows: the first of each file.
    Shown(&'a [PathBuf]),
    /// The certificates of a file, as roots and each for itself.
    File(&'a Path),
    /// The system's roots.
    System,
}

impl Trust<'_> {
    /// The configuration of a client.
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate.
    pub(super) fn config(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        let mut known = Vec::new();
        match self {
            Trust::Shown(files) => {
                for file in *files {
                    known.extend(certificates(file)?.into_iter().next());
                }
            }
            Trust::File(file) => {
                known = certificates(file)?;
                // One that is no authority's is none of the roots, and known all the same.
                roots.add_parsable_certificates(known.iter().cloned());
            }
            Trust::System => {
                let (added, _) =
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if added == 0 {
                    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                }
            }
        }
        let chains = match roots.is_empty() {
            true => None,
            false => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()?,
            ),
        };
        let verifier = Verifier { known, chains, provider: Arc::clone(&provider) };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }
}

/// The certificates of a PEM file, at least one.
fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = file.display();
    let mut pem = Vec::new();
    let read = File::open(file).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut pem));
    let read = read.with_context(|| format!("the certificates in {shown} cannot be read"))?;
    ensure!(read as u64 <= FILE_BYTES_MAX, "{shown} has more than {FILE_BYTES_MAX} bytes");
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    // The library's own words would show lines of the file, which may be a key's.
    let found = found.map_err(|_| anyhow!("{shown} is not a PEM file of certificates"))?;
    ensure!(!found.is_empty(), "{shown} holds no certificate (BEGIN CERTIFICATE)");
    Ok(found)
}

/// Accepts a certificate that is known, whatever its names; any other as its chain says.
#[derive(Debug)]
struct Verifier {
    known: Vec<CertificateDer<'static>>,
    chains: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.known.iter().any(|known| known == leaf) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.chains {
            Some(chains) => chains.verify_server_cert(leaf, intermediates, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_must_hold_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let error = |file: &Path| format!("{:#}", Trust::File(file).config().unwrap_err());
        assert!(error(&file).contains("cannot be read: No such file"), "{}", error(&file));
        for (text, why) in [
            ("", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\n", "is not a PEM file of certificates"),
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(error(&file).contains(why), "{}", error(&file));
        }
        let own = rcgen::generate_simple_self_signed(vec!["console.example.org".to_owned()]).unwrap();
        std::fs::write(&file, own.cert.pem()).unwrap();
        assert!(Trust::File(&file).config().is_ok());
        assert!(Trust::Shown(&[file]).config().is_ok());
    }
}
