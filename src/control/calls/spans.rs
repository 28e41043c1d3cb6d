//! Spans of calls and of attempts to deliver, sent to a collector by OTLP (protobuf over HTTP).

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::http::{Request, Response};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::queue::Queue;
use crate::base::log::bounded_log;
use crate::base::trace::TraceContext;
use crate::control::download::{DownloadError, download};
use crate::control::forward::outgoing_tls;
use crate::engine::ServedCall;

/// How often the thread looks for spans: a collector gets them in batches.
const SPANS_PAUSE: Duration = Duration::from_millis(500);
/// How long a batch may take.
const EXPORT_TIME: Duration = Duration::from_secs(10);
/// Bytes of a collector's answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The part of the path that OTLP fixes.
const TRACES_PATH: &str = "/v1/traces";
/// How spans of webhooks are named: a name must not be another for each webhook.
const ROUTE: &str = "/webhooks/{token}";

/// An attempt to deliver, of which a caller's trace tells.
#[derive(Clone, Debug)]
pub(super) struct AttemptSpan {
    pub(super) context: TraceContext,
    pub(super) parent: u64,
    pub(super) began_unix_millis: u64,
    pub(super) duration_nanos: u64,
    pub(super) method: &'static str,
    /// Scheme and authority of the target.
    pub(super) target: Arc<str>,
    /// `webhook-id` of the delivery.
    pub(super) delivery: Arc<str>,
    /// `None`: the target did not answer, and `error` says why.
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
}

/// The subject of a span.
pub(super) enum Spanned {
    Call(Box<ServedCall>),
    Attempt(Box<AttemptSpan>),
}

/// Sends what comes into the queue to a collector, until the queue is closed.
///
/// # Errors
/// If the exporter or the runtime cannot be set up.
pub(super) fn exporter(endpoint: &str) -> io::Result<impl FnOnce(&Queue<Spanned>) + Send + use<>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let url = endpoint.trim_end_matches('/');
    let url = if url.ends_with(TRACES_PATH) { url.to_owned() } else { format!("{url}{TRACES_PATH}") };
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector { tls: outgoing_tls(None).map_err(io::Error::other)? })
        .with_endpoint(url)
        .with_timeout(EXPORT_TIME)
        .build()
        .map_err(io::Error::other)?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    exporter.set_resource(&Resource::builder().with_service_name("tidegate").with_attribute(version).build());
    Ok(move |queue: &Queue<Spanned>| {
        queue.serve(SPANS_PAUSE, |spans| {
            let batch: Vec<SpanData> = spans.drain(..).map(span_data).collect();
            let count = batch.len() as u64;
            let exported =
                runtime.block_on(async { tokio::time::timeout(EXPORT_TIME, exporter.export(batch)).await });
            let error = match exported {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it did not answer in time".to_owned(),
            };
            queue.drop_more(count);
            bounded_log!(
                warn,
                error,
                spans = count,
                "the collector of tracing.otlp does not take spans: they are dropped"
            );
        });
    })
}

fn span_data(spanned: Spanned) -> SpanData {
    match spanned {
        Spanned::Call(call) => of_call(&call),
        Spanned::Attempt(attempt) => of_attempt(&attempt),
    }
}

fn of_call(call: &ServedCall) -> SpanData {
    let route = if call.webhook.is_some() { ROUTE } else { "" };
    let mut attributes = vec![
        KeyValue::new("http.request.method", call.method.to_string()),
        KeyValue::new("http.response.status_code", i64::from(call.status)),
        KeyValue::new("http.request.body.size", i64::try_from(call.bytes).unwrap_or(i64::MAX)),
        KeyValue::new("tidegate.path", call.path.to_string()),
    ];
    let mut add = |key: &'static str, value: Option<Value>| {
        attributes.extend(value.map(|value| KeyValue::new(key, value)));
    };
    add("http.route", (!route.is_empty()).then(|| route.into()));
    add("client.address", call.peer.map(|peer| peer.to_string().into()));
    add("tidegate.webhook", call.webhook.map(|webhook| webhook.to_string().into()));
    add("tidegate.request_id", call.request_id.as_ref().map(|id| id.to_string().into()));
    add("tidegate.refusal", call.refusal.as_ref().map(|refusal| refusal.to_string().into()));
    // A call without a span is not among them.
    let (context, parent) = call.span.map_or((None, None), |span| (Some(span.context), span.parent));
    let ended = SystemTime::UNIX_EPOCH + Duration::from_millis(call.unix_millis);
    let began = ended - Duration::from_nanos(call.duration_nanos);
    let name = if call.method.is_empty() { "HTTP".to_owned() } else { format!("{} {route}", call.method) };
    SpanData {
        attributes,
        // OpenTelemetry's conventions for HTTP servers: a caller's mistake is no error of the server's.
        status: if call.status >= 500 { Status::error("") } else { Status::Unset },
        ..span(context, parent, SpanKind::Server, name.trim_end().to_owned(), began, ended)
    }
}

fn of_attempt(attempt: &AttemptSpan) -> SpanData {
    let mut attributes = vec![
        KeyValue::new("http.request.method", attempt.method),
        KeyValue::new("server.address", attempt.target.to_string()),
        KeyValue::new("tidegate.delivery", attempt.delivery.to_string()),
    ];
    attributes
        .extend(attempt.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
    let is_success = attempt.status.is_some_and(|status| status < 400);
    let began = SystemTime::UNIX_EPOCH + Duration::from_millis(attempt.began_unix_millis);
    let ended = began + Duration::from_nanos(attempt.duration_nanos);
    let name = attempt.method.to_owned();
    SpanData {
        attributes,
        status: if is_success {
            Status::Unset
        } else {
            Status::error(attempt.error.clone().unwrap_or_default())
        },
        ..span(Some(attempt.context), Some(attempt.parent), SpanKind::Client, name, began, ended)
    }
}

fn span(
    context: Option<TraceContext>,
    parent: Option<u64>,
    span_kind: SpanKind,
    name: String,
    start_time: SystemTime,
    end_time: SystemTime,
) -> SpanData {
    let (trace, span) = context.map_or((0, 0), |context| (context.trace, context.span));
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(trace),
            SpanId::from(span),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: span_kind == SpanKind::Server,
        span_kind,
        name: name.into(),
        start_time,
        end_time,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("tidegate").build(),
    }
}

/// Reaches the collector, by a connection for each batch.
struct Collector {
    tls: TlsConnector,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

/// A stream, plain or with TLS.
trait CollectorStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> CollectorStream for S {}

impl Collector {
    async fn connect(&self, request: &Request<Bytes>) -> io::Result<Box<dyn CollectorStream>> {
        let uri = request.uri();
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        if !is_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        Ok(Box::new(self.tls.connect(name, stream).await?))
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'a, 'f>(&'a self, request: Request<Bytes>) -> Sent<'f>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(self.send(request))
    }
}

impl Collector {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let stream = self.connect(&request).await?;
        let (mut parts, body) = request.into_parts();
        let uri = std::mem::take(&mut parts.uri);
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        parts.headers.insert("host", authority.parse()?);
        parts.uri = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
        let answer = download(stream, Request::from_parts(parts, Full::new(body)), ANSWER_BYTES_MAX).await;
        match answer {
            Ok(body) => Ok(Response::new(body.into())),
            Err(DownloadError::Status(status)) => Ok(Response::builder().status(status).body(Bytes::new())?),
            Err(DownloadError::Broken) => Err("the connection broke".into()),
            Err(DownloadError::TooLarge) => Err("its answer is too large".into()),
        }
    }
}
