//! The door of the admin listener: whose name was asked for, which page asks, and whether it may.
//!
//! `Host` and `Origin` are looked at first and on every path: they are what keeps a web page in an operator's browser
//! from reaching a listener on the loopback interface (by rebinding a name of its own, or by plain requests).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::AdminState;
use super::error::{ApiError, Kind};
use super::listener::Peer;
use super::platform::is_not_offered;
use super::route::Access;
use super::routes::access_of;
use super::unread::UnreadBody;
use crate::base::log::bounded_log;
use crate::verify::access::Granted;

/// Lets a request through to its handler, or answers it.
pub(super) async fn enter(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    let (unread, mut request) = UnreadBody::lend(request);
    let mut response = match check(&state, &request) {
        Ok(_) if is_not_offered(request.uri().path()) => {
            ApiError::new(Kind::NotFound, NOT_OFFERED).into_response()
        }
        Ok(granted) => {
            if let Some(granted) = granted {
                request.extensions_mut().insert(granted);
            }
            next.run(request).await
        }
        Err(AccessRefusal::At(error)) => error.into_response(),
        Err(AccessRefusal::WrongToken(error)) => {
            let peer = request.extensions().get().and_then(|Peer(address)| *address);
            let peer = peer.map(tracing::field::display);
            bounded_log!(warn, listener = "admin", peer, "an access token was refused");
            // Only this request waits; others are answered meanwhile.
            tokio::time::sleep(state.guess_delay).await;
            error.into_response()
        }
    };
    unread.settle(&mut response);
    finish(response)
}

/// The message of a path that the platform has and Tidegate has not.
const NOT_OFFERED: &str = "not offered here";

enum AccessRefusal {
    At(ApiError),
    WrongToken(ApiError),
}

/// The owner and the rights of the request's token; `None` if the path is open.
fn check(state: &AdminState, request: &Request) -> Result<Option<Granted>, AccessRefusal> {
    let host = host_of(request.uri(), request.headers());
    let Some(host) = host.filter(|host| is_served(host, &state.hosts)) else {
        let message = "Host must be an IP address, localhost, or one of the setting admin.hosts";
        let error = ApiError::validation(message).with_status(StatusCode::MISDIRECTED_REQUEST);
        return Err(AccessRefusal::At(error));
    };
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    // Each of them has to be our own: which of two counts would be a guess.
    if !origins.all(|origin| is_own_origin(origin, &host)) {
        let message = "Origin must be this listener's own: pages of other origins are not served";
        let error = ApiError::new(Kind::Forbidden, message);
        return Err(AccessRefusal::At(error));
    }
    let is_open = match access_of(request.uri().path()) {
        Access::Open => true,
        Access::OpenIfSet => state.open_metrics,
        Access::Read | Access::Write | Access::Reply | Access::All => request.method() == Method::OPTIONS,
    };
    if is_open {
        return Ok(None);
    }
    let unauthorized = |message: &str| ApiError::new(Kind::Unauthorized, message);
    let Some(given) = bearer(request.headers()) else {
        return Err(AccessRefusal::At(unauthorized("Authorization must be `Bearer <access token>`")));
    };
    let granted = state.tokens.find(given, state.clock.now().unix_millis);
    granted.map(Some).ok_or_else(|| AccessRefusal::WrongToken(unauthorized("the access token is not valid")))
}

/// Adds the fields that every answer carries: no cache keeps it, and no browser guesses its type.
fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The token of `Authorization: Bearer`, the scheme in any case (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let value = fields.next()?.as_bytes();
    // Two of them: which one counts would be a guess.
    if fields.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Host and port asked for: of the target where it names one, else of `Host`.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    if let Some(authority) = uri.authority() {
        return Some(authority.clone()).filter(is_host_and_port);
    }
    let mut fields = headers.get_all(header::HOST).iter();
    let host = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    Authority::try_from(host.as_bytes()).ok().filter(is_host_and_port)
}

/// Whether an authority is a host, and perhaps a port, to its last byte. The parser takes a user before them, and lets
/// anything follow an address in brackets.
fn is_host_and_port(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn is_served(asked: &Authority, hosts: &[String]) -> bool {
    let host = asked.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(host) || own.eq_ignore_ascii_case(asked.as_str()))
}

/// Whether an origin is the one that was asked: the same host and port, whichever scheme stands before them, and nothing
/// else (RFC 6454, section 7.1: an origin has no user).
fn is_own_origin(origin: &HeaderValue, asked: &Authority) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let Ok(authority) = Authority::try_from(authority) else { return false };
    is_host_and_port(&authority)
        && authority.host().eq_ignore_ascii_case(asked.host())
        && authority.port_u16().unwrap_or(default_port) == asked.port_u16().unwrap_or(default_port)
}
