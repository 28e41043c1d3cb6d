//! A caller's end of a connection: plain, or with a PROXY header, or with TLS, or with both.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme};

use crate::kernel::{Heard, SimClient};

/// Both ends' configuration. The key is one whose signatures are all equally long, so that a seed replays.
pub struct Tls {
    pub server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    pub fn new() -> Tls {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let parameters = rcgen::CertificateParams::new(["a".to_owned()]).expect("a name");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a pair");
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
            .with_no_client_auth();
        Tls { server: Arc::new(server), client: Arc::new(client) }
    }
}

/// Takes every certificate: what is simulated has no other end to be taken for.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection.
pub struct Transport {
    client: SimClient,
    /// Bytes for the network.
    out: VecDeque<u8>,
    tls: Option<ClientConnection>,
}

impl Transport {
    /// Says `header` first, and then begins TLS.
    pub fn new(client: SimClient, header: &[u8], tls: Option<&Tls>) -> Transport {
        let tls = tls.map(|tls| {
            let name = ServerName::try_from("a").expect("a name");
            ClientConnection::new(Arc::clone(&tls.client), name).expect("a client")
        });
        Transport { client, out: header.iter().copied().collect(), tls }
    }

    /// Has bytes sent, now or later.
    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes).expect("it keeps them"),
            None => self.out.extend(bytes),
        }
    }

    /// Sends what it may. `None`: the connection is gone.
    pub fn flush(&mut self) -> Option<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.out).expect("a queue");
            }
        }
        let sent = self.client.send(self.out.make_contiguous())?;
        self.out.drain(..sent);
        Some(())
    }

    /// Whether all that was to be sent is on its way.
    pub fn is_flushed(&self) -> bool {
        self.out.is_empty() && self.tls.as_ref().is_none_or(|tls| !tls.wants_write() && !tls.is_handshaking())
    }

    /// Receives what there is.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> Heard {
        let Some(tls) = &mut self.tls else { return self.client.receive(into) };
        let mut bytes = Vec::new();
        let heard = self.client.receive(&mut bytes);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            tls.read_tls(&mut rest).expect("a slice");
            tls.process_new_packets().expect("what a server says");
            let mut plain = [0; 4096];
            while let Ok(count @ 1..) = tls.reader().read(&mut plain) {
                into.extend_from_slice(&plain[..count]);
            }
        }
        heard
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.client.reset();
    }
}
