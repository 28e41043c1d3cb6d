//! The settings that connections read.

use crate::base::clock::NANOS_PER_SECOND;
use crate::connection::context::Rules;
use crate::connection::timeouts::Timeouts;
use crate::settings::{Address, Settings};
use crate::verify::secret::Expected;

/// Resolves the settings that connections read. `ingress` is the address that was bound.
pub(super) fn rules(settings: &Settings, ingress: &Address, access_token: &str) -> Rules {
    Rules {
        cors: settings.ingress.cors,
        public_url: settings.ingress.called_url(ingress),
        proxy_protocol: settings.ingress.proxy_protocol,
        trusted_proxies: settings.ingress.trusted_proxies.clone(),
        connections: settings.limits.connections as usize,
        body_bytes: usize::try_from(settings.limits.body_bytes).unwrap_or(usize::MAX),
        access_token: Expected::secret(access_token.as_bytes()),
        timeouts: Timeouts::from(&settings.timeouts),
        context_takeover: settings.websocket.context_takeover,
        retention_nanos: u64::from(settings.journal.retention_seconds) * NANOS_PER_SECOND,
    }
}
