//! An authority of the tests' own, the certificates that it gives, and servers that show them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::common::Server;

/// A root, and a folder for what it gives.
pub struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// What a client sees.
    pub der: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "The tests' authority");
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("root.pem"), root.pem()).expect("a file");
        Authority { root: root.der().clone(), issuer: Issuer::new(params, key), folder }
    }

    /// The root as a PEM file.
    pub fn root_file(&self) -> PathBuf {
        self.path("root.pem")
    }

    /// A certificate for these names, in files that begin with `file`.
    pub fn give(&self, file: &str, names: &[&str]) -> Pair {
        self.give_with(file, names, &KeyPair::generate().expect("a key"))
    }

    /// The same for a key.
    pub fn give_with(&self, file: &str, names: &[&str], key: &KeyPair) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, file);
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        let pair = Pair {
            certificate: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
            der: certificate.der().clone(),
        };
        fs::write(&pair.certificate, certificate.pem()).expect("a file");
        fs::write(&pair.key, key.serialize_pem()).expect("a file");
        pair
    }

    /// A file of the authority's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a client trusts who trusts this authority.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        Arc::new(roots)
    }

    /// A server that shows a certificate for `localhost`, on one core of this driver.
    pub fn server(&self, driver: &str) -> Server {
        let pair = self.give("localhost", &["localhost"]);
        self.server_with(driver, 1, &[&pair])
    }

    /// A server that shows these.
    pub fn server_with(&self, driver: &str, cores: usize, pairs: &[&Pair]) -> Server {
        let list = |file: fn(&Pair) -> &Path| {
            let files: Vec<String> = pairs.iter().map(|pair| file(pair).display().to_string()).collect();
            files.join(",")
        };
        Server::start(|settings| {
            settings
                .driver(driver)
                .cores(cores)
                .set("TIDEGATE_INGRESS_TLS_CERTIFICATE", list(|pair| &pair.certificate))
                .set("TIDEGATE_INGRESS_TLS_KEY", list(|pair| &pair.key));
        })
    }
}
