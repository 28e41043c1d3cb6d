//! Which certificate a client is shown, and what is said of files that are wrong.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use rustls::SignatureScheme;

use crate::authority::{Authority, Pair};
use crate::client::{Client, config, socket};

#[test]
fn a_client_is_shown_the_certificate_for_the_name_it_asks_for() {
    let authority = Authority::new();
    let first = authority.give("first", &["localhost", "first.example"]);
    let second = authority.give("second", &["second.example", "Also.Second.Example"]);
    let wild = authority.give("wild", &["*.wild.example"]);
    let one = authority.give("one", &["one.wild.example"]);
    let server = authority.server_with("auto", 1, &[&first, &second, &wild, &one]);
    let config = Arc::new(config(&authority));
    for (name, expected) in [
        ("localhost", &first),
        ("first.example", &first),
        ("second.example", &second),
        ("SECOND.example", &second),
        ("also.second.example", &second),
        ("any.wild.example", &wild),
        ("one.wild.example", &one),
    ] {
        assert_eq!(Client::connect(server.ingress, name, &config).shown(), expected.der, "{name}");
    }
    // No name that fits, or none at all: the first one, which the client may not like.
    for name in ["unknown.example", "a.b.wild.example", "wild.example", "127.0.0.1"] {
        let error = Client::try_on(socket(server.ingress), name, &config).err().expect("not for that name");
        assert!(error.to_string().contains("not valid for name"), "{name}: {error}");
        assert!(error.to_string().contains("first.example"), "{name} is shown another: {error}");
    }
}

#[test]
fn of_two_certificates_for_a_name_the_client_gets_the_one_whose_key_it_knows() {
    let authority = Authority::new();
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let ecdsa = authority.give_with("ecdsa", &["localhost"], &ecdsa);
    let rsa = authority.give_with("rsa", &["localhost"], &rsa);
    let server = authority.server_with("auto", 1, &[&ecdsa, &rsa]);
    let usual = Arc::new(config(&authority));
    assert_eq!(Client::connect(server.ingress, "localhost", &usual).shown(), ecdsa.der);
    let mut only_rsa = config(&authority);
    only_rsa.dangerous().set_certificate_verifier(Arc::new(OnlyRsa));
    assert_eq!(Client::connect(server.ingress, "localhost", &Arc::new(only_rsa)).shown(), rsa.der);
}

/// A client that knows no keys but RSA's, and believes everything.
#[derive(Debug)]
struct OnlyRsa;

impl rustls::client::danger::ServerCertVerifier for OnlyRsa {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256]
    }
}

/// What a command says that must fail.
fn refused(command: &str, data: &Path, certificate: &Path, key: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .env_clear()
        .arg(command)
        .env("TIDEGATE_DATA", data)
        .env("TIDEGATE_INGRESS_LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_WORKERS_LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_INGRESS_TLS_CERTIFICATE", certificate)
        .env("TIDEGATE_INGRESS_TLS_KEY", key)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1), "{command}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_file_that_is_wrong_stops_the_start_and_the_check_with_its_name() {
    let authority = Authority::new();
    let Pair { certificate, key, .. } = authority.give("right", &["localhost"]);
    let other = authority.give("other", &["localhost"]);
    let file = |name: &str, text: &str| {
        let path = authority.path(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let secret = fs::read_to_string(&key).expect("a key");
    let missing = authority.path("missing.pem");
    let empty = file("empty.pem", "");
    let cut = file("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let garbled = file("garbled.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    let hollow = file("hollow.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    let cut_key = file("cut.key", &secret.replace("-----END", "-----AND"));
    let hollow_key = file("hollow.key", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
    let encrypted = file(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let folder = tempfile::tempdir().expect("a folder");
    for (certificate, key, file, what) in [
        (&missing, &key, &missing, "cannot be read: No such file"),
        (&certificate, &missing, &missing, "cannot be read: No such file"),
        (&empty, &key, &empty, "holds no certificate"),
        (&key, &key, &key, "holds no certificate"),
        (&cut, &key, &cut, "a BEGIN line without its END line"),
        (&garbled, &key, &garbled, "is not base64"),
        (&hollow, &key, &hollow, "the first certificate in"),
        (&certificate, &empty, &empty, "holds no private key"),
        (&certificate, &certificate, &certificate, "holds no private key"),
        (&certificate, &encrypted, &encrypted, "not an encrypted one"),
        (&certificate, &cut_key, &cut_key, "a BEGIN line without its END line"),
        (&certificate, &hollow_key, &hollow_key, "the private key in"),
        (&certificate, &other.key, &other.key, "is not that of the first certificate in"),
    ] {
        for command in ["serve", "check"] {
            let said = refused(command, &folder.path().join("data"), certificate, key);
            assert!(said.contains(&file.display().to_string()) && said.contains(what), "{command}: {said}");
            for line in secret.lines().filter(|line| !line.starts_with("-----")) {
                assert!(!said.contains(line), "the key is shown: {said}");
            }
        }
    }
    let said = refused("serve", &folder.path().join("data"), &missing, &key);
    assert!(said.contains("set by ingress.tls.certificate, TIDEGATE_INGRESS_TLS_CERTIFICATE"), "{said}");
}
