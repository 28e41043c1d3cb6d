//! TLS of each listener: the certificates as they are now, and their renewal, which is of all listeners or of none.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;

use super::config::{CertificateEnd, Certified, TlsError};
use crate::connection::listener::ListenerKind;
use crate::settings::Settings;

/// Why the certificates of a listener cannot be used.
#[derive(Debug)]
pub struct ListenerTlsError {
    /// `ingress`, `admin` or `workers`.
    pub listener: &'static str,
    pub error: TlsError,
}

impl fmt::Display for ListenerTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for ListenerTlsError {}

/// The present TLS of the listeners that cores serve.
#[derive(Clone, Default)]
pub(crate) struct CoreTls {
    ingress: Option<Arc<ServerConfig>>,
    workers: Option<Arc<ServerConfig>>,
}

impl CoreTls {
    /// TLS of the ingress alone.
    pub(crate) fn of_ingress(ingress: Option<Arc<ServerConfig>>) -> CoreTls {
        CoreTls { ingress, workers: None }
    }

    /// The configuration of a listener; `None` if it is plain.
    pub(crate) fn of(&self, listener: ListenerKind) -> Option<&Arc<ServerConfig>> {
        match listener {
            ListenerKind::Ingress => self.ingress.as_ref(),
            ListenerKind::Workers => self.workers.as_ref(),
        }
    }
}

/// The certificates of all listeners.
pub struct ListenersTls {
    ingress: Certified,
    admin: Certified,
    workers: Certified,
}

impl ListenersTls {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(settings: &Settings) -> Result<ListenersTls, ListenerTlsError> {
        let of = |listener| move |error| ListenerTlsError { listener, error };
        Ok(ListenersTls {
            ingress: Certified::load(&settings.ingress.tls).map_err(of("ingress"))?,
            admin: Certified::load(&settings.admin.tls).map_err(of("admin"))?,
            workers: Certified::load(&settings.workers.tls).map_err(of("workers"))?,
        })
    }

    /// Reads the files again. Returns `false` if there are none.
    ///
    /// # Errors
    /// As [`Self::load`]; every listener keeps its certificates then.
    pub fn reload(&self) -> Result<bool, ListenerTlsError> {
        let read = |(listener, certified): (&'static str, &Certified)| {
            certified.read().map_err(|error| ListenerTlsError { listener, error })
        };
        let [ingress, admin, workers] = self.named();
        let (ingress, admin, workers) = (read(ingress)?, read(admin)?, read(workers)?);
        let is_any = ingress.is_some() || admin.is_some() || workers.is_some();
        self.ingress.replace(ingress);
        self.admin.replace(admin);
        self.workers.replace(workers);
        Ok(is_any)
    }

    /// When the present certificates end, with the name of their listener.
    #[must_use]
    pub fn ends(&self) -> Vec<(&'static str, CertificateEnd)> {
        let named = self.named().into_iter();
        named
            .flat_map(|(listener, certified)| {
                certified.ends().iter().map(|end| (listener, end.clone())).collect::<Vec<_>>()
            })
            .collect()
    }

    /// The present configuration of the admin listener; `None` if it is plain.
    #[must_use]
    pub fn admin(&self) -> Option<Arc<ServerConfig>> {
        self.admin.config()
    }

    /// The present configurations of the cores' listeners.
    pub(crate) fn of_cores(&self) -> CoreTls {
        CoreTls { ingress: self.ingress.config(), workers: self.workers.config() }
    }

    fn named(&self) -> [(&'static str, &Certified); 3] {
        [("ingress", &self.ingress), ("admin", &self.admin), ("workers", &self.workers)]
    }
}
