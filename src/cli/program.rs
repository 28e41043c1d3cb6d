//! A program that is called over HTTP for each trigger: `--forward` of `tidegate worker` and `tidegate listen`.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use super::handler::{ALIVE_EVERY, Handled, Handler, Trigger, bytes_reply, printed_reply};
use super::{CommandError, output};
use crate::ingress::worker::FRAME_BYTES_MAX;

/// How long a program may take to answer. A waiting caller is gone after 60 s by default; the rest is for longer settings.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(600);
/// Headers of a connection, which concern nobody behind it (RFC 9110, 7.6.1), and those that the sender sets itself.
const OWN_HEADERS: [&str; 12] = [
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A program and the connections to it.
pub(super) struct ChildProgram {
    /// `http://host:port/path?query`
    url: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Runtime,
}

/// The answer of a program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl ChildProgram {
    /// Reads the URL of `--forward`; nothing is connected yet.
    ///
    /// # Errors
    /// A URL that is none, or of another scheme than `http`.
    pub(super) fn new(url: &str) -> Result<ChildProgram, CommandError> {
        let must = || CommandError::Usage(format!("--forward {url:?} must be http://host:port/path"));
        let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let parsed: Uri = with_scheme.parse().map_err(|_| must())?;
        if parsed.scheme_str() != Some("http") || parsed.host().is_none_or(str::is_empty) {
            return Err(must());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(anyhow::Error::from)?;
        // A connection for each call: nobody looks at one that is idle, to see it closed.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Ok(ChildProgram { url: parsed, client, runtime })
    }

    /// The URL with what a call adds to it: more of a path, and a query.
    fn target(&self, path: &str, query: &str) -> anyhow::Result<Uri> {
        let base = self.url.path().trim_end_matches('/');
        let path = if path == "/" || path.is_empty() { self.url.path() } else { &format!("{base}{path}") };
        let queries: Vec<&str> = [self.url.query().unwrap_or_default(), query]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let mark = if queries.is_empty() { "" } else { "?" };
        let mut parts = self.url.clone().into_parts();
        parts.path_and_query = Some(format!("{path}{mark}{}", queries.join("&")).parse()?);
        Ok(Uri::from_parts(parts)?)
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// The reason for which there is no answer.
    pub(super) fn send(&self, call: ProgramCall<'_>, alive: &mut dyn FnMut()) -> anyhow::Result<Answered> {
        let method = Method::from_bytes(call.method.as_bytes())?;
        let mut builder = Request::builder().method(method).uri(self.target(call.path, call.query)?);
        for (name, value) in call.headers {
            if !OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                builder = builder.header(name.as_str(), value.as_bytes());
            }
        }
        let request = builder.body(Full::new(Bytes::from(call.body)))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| anyhow!(reasons(&error)))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, FRAME_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow!("its answer cannot be read: {error}"))?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            anyhow::Ok(Answered {
                status: parts.status.as_u16(),
                headers: parts
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                    .collect(),
                body: body.to_bytes().to_vec(),
            })
        };
        self.runtime.block_on(with_signs_of_life(exchange, alive))
    }
}

/// A request for a program.
pub(super) struct ProgramCall<'c> {
    pub(super) method: &'c str,
    /// The addition to the path of the URL; `/` and the empty one add nothing.
    pub(super) path: &'c str,
    pub(super) query: &'c str,
    pub(super) headers: &'c [(String, String)],
    pub(super) body: Vec<u8>,
}

/// Drives an exchange to its end or to [`ANSWER_LIMIT`], and calls `alive` meanwhile.
async fn with_signs_of_life(
    exchange: impl Future<Output = anyhow::Result<Answered>>,
    alive: &mut dyn FnMut(),
) -> anyhow::Result<Answered> {
    let mut exchange = pin!(exchange);
    let looks = ANSWER_LIMIT.as_secs() / ALIVE_EVERY.as_secs();
    for _ in 0..looks {
        if let Ok(ended) = tokio::time::timeout(ALIVE_EVERY, &mut exchange).await {
            return ended;
        }
        alive();
    }
    Err(anyhow!("there is no answer within {} s", ANSWER_LIMIT.as_secs()))
}

/// An error with those behind it, in one line.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

impl Answered {
    /// The reply that is this answer: status, headers and body as they came.
    pub(super) fn reply(&self) -> String {
        let mut headers: Map<String, Value> = Map::new();
        for (name, value) in &self.headers {
            if OWN_HEADERS.contains(&name.as_str()) {
                continue;
            }
            match headers.get_mut(name) {
                // RFC 9110, 5.3: fields of one name are one list.
                Some(Value::String(values)) => *values += &format!(", {value}"),
                _ => drop(headers.insert(name.clone(), Value::from(value.as_str()))),
            }
        }
        let headers = Value::Object(headers);
        format!("\"responseCode\":{},\"headers\":{headers},{}", self.status, bytes_reply(&self.body))
    }
}

/// POSTs each payload to a program: `tidegate worker --forward`.
pub(super) struct Poster {
    program: ChildProgram,
    shown: String,
}

impl Poster {
    /// Reads the URL.
    ///
    /// # Errors
    /// As [`ChildProgram::new`].
    pub(super) fn new(url: &str) -> Result<Poster, CommandError> {
        Ok(Poster { program: ChildProgram::new(url)?, shown: url.to_owned() })
    }
}

impl Handler for Poster {
    fn handle(&mut self, trigger: &Trigger<'_>, alive: &mut dyn FnMut()) -> anyhow::Result<Handled> {
        let headers = [("content-type".to_owned(), "application/json".to_owned())];
        let body = trigger.payload.get().as_bytes().to_vec();
        let call = ProgramCall { method: "POST", path: "", query: "", headers: &headers, body };
        let answered = self.program.send(call, alive).with_context(|| self.shown.clone());
        let refused = match answered {
            Ok(answered) if (200..300).contains(&answered.status) => {
                // On a WebSocket, an empty body sends nothing.
                return Ok(match trigger.is_websocket {
                    true if answered.body.is_empty() => Handled::Ack,
                    true => Handled::Reply(printed_reply(&answered.body)),
                    false => Handled::Reply(answered.reply()),
                });
            }
            Ok(answered) => format!("{} answered {}", self.shown, answered.status),
            Err(error) => format!("{error:#}"),
        };
        output::complain(&refused);
        Ok(Handled::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_adds_its_path_and_query_to_those_of_the_url() {
        for (url, path, query, expected) in [
            ("http://localhost:3000", "/", "", "http://localhost:3000/"),
            ("localhost:3000/hook", "/", "", "http://localhost:3000/hook"),
            ("http://localhost:3000/hook/", "/", "", "http://localhost:3000/hook/"),
            ("http://localhost:3000/hook/", "/up", "a=b", "http://localhost:3000/hook/up?a=b"),
            ("http://localhost:3000/hook?x=1", "/up", "a=b", "http://localhost:3000/hook/up?x=1&a=b"),
            ("http://localhost:3000/hook?x=1", "/", "", "http://localhost:3000/hook?x=1"),
        ] {
            let Ok(program) = ChildProgram::new(url) else { panic!("{url}") };
            assert_eq!(program.target(path, query).unwrap().to_string(), expected);
        }
        for bad in ["https://localhost", "ftp://a", "http://", "", "http://a b/"] {
            assert!(ChildProgram::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_a_reply_without_what_belongs_to_its_connection() {
        let headers = [
            ("content-type", "text/plain"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("connection", "close"),
            ("content-length", "2"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let mut answered = Answered { status: 201, headers, body: b"hi".to_vec() };
        let reply = answered.reply();
        assert_eq!(
            reply,
            r#""responseCode":201,"headers":{"content-type":"text/plain","x-a":"1, 2"},"body":"hi""#
        );
        answered.body = vec![0xff];
        assert!(answered.reply().ends_with(r#""body":"/w==","encoding":"base64""#));
    }
}
