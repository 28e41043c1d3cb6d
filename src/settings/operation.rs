//! The part of the table of settings about an operator's surroundings: certificates of the listeners that carry access
//! tokens, the log, metrics, traces.

use super::entry::{Entry, entry};
use super::names::check_collector_url;
use super::values::{list, truth, within};
use super::{LogFormat, LogRequests};

/// Most webhooks on the metrics page: five lines each, which Prometheus takes.
const METRICS_WEBHOOKS_MAX: usize = 10_000;

/// These settings, in the order of the guide's table.
pub(super) const OPERATION: &[Entry] = &[
    entry!(
        "ingress.request_id",
        "TIDEGATE_INGRESS_REQUEST_ID",
        Some("request-id"),
        "true",
        "Each request has an id, its X-Request-Id or else a made one: in the answer, the payload's headers, the record, what is forwarded, and the log",
        |s, v| {
            s.ingress.request_id = truth(v)?;
            Ok(())
        }
    ),
    entry!(
        "admin.tls.certificate",
        "TIDEGATE_ADMIN_TLS_CERTIFICATE",
        Some("admin-tls-certificate"),
        "none",
        "PEM file of the certificate chain, or several with commas: TLS on the admin listener; read again on SIGHUP",
        |s, v| {
            s.admin.tls.certificates = list(v).map(Into::into).collect();
            Ok(())
        }
    ),
    entry!(
        "admin.tls.key",
        "TIDEGATE_ADMIN_TLS_KEY",
        Some("admin-tls-key"),
        "none",
        "PEM file of its key, or as many in the same order",
        |s, v| {
            s.admin.tls.keys = list(v).map(Into::into).collect();
            Ok(())
        }
    ),
    entry!(
        "workers.tls.certificate",
        "TIDEGATE_WORKERS_TLS_CERTIFICATE",
        Some("workers-tls-certificate"),
        "none",
        "PEM file of the certificate chain, or several with commas: TLS on the workers' listener; read again on SIGHUP",
        |s, v| {
            s.workers.tls.certificates = list(v).map(Into::into).collect();
            Ok(())
        }
    ),
    entry!(
        "workers.tls.key",
        "TIDEGATE_WORKERS_TLS_KEY",
        Some("workers-tls-key"),
        "none",
        "PEM file of its key, or as many in the same order",
        |s, v| {
            s.workers.tls.keys = list(v).map(Into::into).collect();
            Ok(())
        }
    ),
    entry!(
        "log.requests",
        "TIDEGATE_LOG_REQUESTS",
        Some("log-requests"),
        "off",
        "A line of the log for each call: off, refused (only those that were refused) or all",
        |s, v| {
            s.log_requests = match v {
                "off" => LogRequests::Off,
                "refused" => LogRequests::Refused,
                "all" => LogRequests::All,
                _ => return Err("must be off, refused or all".into()),
            };
            Ok(())
        }
    ),
    entry!(
        "log.format",
        "TIDEGATE_LOG_FORMAT",
        Some("log-format"),
        "auto",
        "How lines look: auto (text on a terminal, else json), text or json",
        |s, v| {
            s.log_format = match v {
                "auto" => LogFormat::Auto,
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err("must be auto, text or json".into()),
            };
            Ok(())
        }
    ),
    entry!(
        "metrics.webhooks",
        "TIDEGATE_METRICS_WEBHOOKS",
        Some("metrics-webhooks"),
        "0",
        "Webhooks that /metrics shows by their id: so many, the busiest",
        |s, v| {
            s.metrics_webhooks = within(v, 0, METRICS_WEBHOOKS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "tracing.otlp",
        "TIDEGATE_TRACING_OTLP",
        Some("tracing-otlp"),
        "none",
        "Collector that spans of calls and of forwarded requests are sent to by OTLP over HTTP: http://127.0.0.1:4318",
        |s, v| {
            check_collector_url(v)?;
            s.tracing_otlp = Some(v.to_owned());
            Ok(())
        }
    ),
];
