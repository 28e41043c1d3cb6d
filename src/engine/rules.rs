//! The settings that connections read.

use crate::base::clock::NANOS_PER_SECOND;
use std::sync::Arc;

use crate::connection::context::Rules;
use crate::connection::timeouts::Timeouts;
use crate::settings::{Address, Settings};
use crate::verify::access::AccessTokens;

/// Resolves the settings that connections read. `ingress` is the address that was bound.
pub(super) fn rules(settings: &Settings, ingress: &Address, access_tokens: Arc<AccessTokens>) -> Rules {
    Rules {
        cors: settings.ingress.cors,
        has_request_ids: settings.ingress.request_id,
        public_url: settings.ingress.called_url(ingress),
        proxy_protocol: settings.ingress.proxy_protocol,
        trusted_proxies: settings.ingress.trusted_proxies.clone(),
        connections: settings.limits.connections as usize,
        body_bytes: usize::try_from(settings.limits.body_bytes).unwrap_or(usize::MAX),
        access_tokens,
        timeouts: Timeouts::from(&settings.timeouts),
        context_takeover: settings.websocket.context_takeover,
        record_events: settings.record.events,
        retention_nanos: u64::from(settings.journal.retention_seconds) * NANOS_PER_SECOND,
    }
}
