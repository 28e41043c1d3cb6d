//! A request to a webhook, step by step ([HTTP requests](crate::guide::http_requests#steps)).
//!
//! [`at_head`] takes steps 2 to 7 when the head is there and before a byte of the body is looked at; [`at_body`]
//! takes step 8 when the body is whole. Step 1 is `http`'s; 9 and 10 are the engine's, with `deliver`.

mod shown;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

pub use shown::{ShownFields, shown_fields, shown_query};

use super::caller;
use super::respond::{Answer, Cors, Credential, Handshake, Options};
use crate::base::clock::Now;
use crate::base::id::{Id, Token};
use crate::base::ip_net::IpNet;
use crate::http::{Framing, Method, Request};
use crate::limit::{PermitKind, Shortage};
use crate::model::{CorsConfig, MethodSet};
use crate::registry::{Hook, HookOptions, Pin};
use crate::verify::alexa;
use crate::verify::jwt::{self, KeySetCache};
use crate::verify::provider::{self, Provider, ProviderVerdict};
use crate::verify::signature::{Challenge, Mismatch, SignedRequest};

/// Where webhooks live.
const PREFIX: &[u8] = b"/webhooks/";

/// The decision about a request once its head is complete.
#[derive(Debug)]
#[must_use]
pub enum AtHead<'g, 'b> {
    /// Answer now, drop the body; the connection stays where it can.
    Answer(Answer<'b>, Option<&'g Arc<Hook>>),
    /// Answer now and close: what follows cannot be told from a request, or is too much to read.
    Close(Answer<'b>, Option<&'g Arc<Hook>>),
    /// Take the body, at most `limit` bytes of it.
    Take { hook: &'g Arc<Hook>, limit: usize },
    /// Wait until these keys are fetched, which the request's token is verified with, and decide it again.
    Keys { url: Arc<str> },
    /// Wait for a token of the webhook's rate or a place of its concurrency, which another node may have, and decide it
    /// again.
    Permit { webhook: Id, kind: PermitKind },
    /// A WebSocket webhook, and the request asks for the upgrade.
    Upgrade { hook: &'g Arc<Hook> },
}

/// Where a request came in and by whom it is decided.
#[derive(Clone, Copy, Debug)]
pub struct IngressContext<'d> {
    /// The core that decides, for its share of the rate.
    pub core: usize,
    pub now: Now,
    /// `None` for a Unix socket, which has no address.
    pub peer: Option<IpAddr>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: &'d [IpNet],
    /// The key sets that the core knows.
    pub key_sets: &'d KeySetCache,
    /// The wait of the request since the last decision.
    pub waited: Waited,
    /// Whether it is one that was let in before, sent again by somebody with the right to.
    pub is_replay: bool,
}

/// The wait that precedes another decision about a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waited {
    /// It is decided for the first time.
    #[default]
    Nothing,
    /// A token of the rate; it may have found none.
    Permit,
    /// The keys of its access token; it has its token of the rate.
    Keys,
    /// A place of the concurrency; it may have found none. It has its token of the rate.
    Place,
}

/// Whether it asks if the listener lives. Where GET is there HEAD is too (RFC 9110, 9.1), and some monitors use it.
pub fn asks_for_health(request: &Request<'_>) -> bool {
    request.path() == b"/healthz" && matches!(request.method(), Method::Get | Method::Head)
}

/// Whether it asks if new requests are taken.
fn asks_for_readiness(request: &Request<'_>) -> bool {
    request.path() == b"/readyz" && matches!(request.method(), Method::Get | Method::Head)
}

/// Steps 2 to 7. Whether the process is ready is not known here: the caller puts a refusal in the place of
/// [`Answer::Ready`] if it is not.
pub fn at_head<'g, 'b>(door: IngressContext<'_>, pin: &'g Pin<'_>, request: &Request<'b>) -> AtHead<'g, 'b> {
    // 2. Path.
    let path = request.path();
    if request.method() == Method::Connect {
        return AtHead::Close(Answer::MethodNotAllowed(None), None);
    }
    if request.method() == Method::Options && path == b"*" {
        return dropped(request, Answer::Options(Options::default()), None, DROP_LIMIT_WITHOUT_WEBHOOK);
    }
    let Some((token, _)) = split_path(path) else {
        if asks_for_health(request) {
            return dropped(request, Answer::Healthy, None, DROP_LIMIT_WITHOUT_WEBHOOK);
        }
        if asks_for_readiness(request) {
            return dropped(request, Answer::Ready, None, DROP_LIMIT_WITHOUT_WEBHOOK);
        }
        return dropped(request, Answer::NotFound, None, DROP_LIMIT_WITHOUT_WEBHOOK);
    };
    let Some(hook) = pin.find(&token) else {
        return dropped(request, Answer::NotFound, None, DROP_LIMIT_WITHOUT_WEBHOOK);
    };
    let refuse = |answer| dropped(request, answer, Some(hook), u64::from(hook.payload_bytes));
    if let Some(options) = &hook.options {
        if options.ends_millis.is_some_and(|ends| door.now.unix_millis >= ends) {
            return dropped(request, Answer::NotFound, None, DROP_LIMIT_WITHOUT_WEBHOOK);
        }
        if !door.is_replay
            && let Some(answer) = refused_by_origin(options, door, request)
        {
            return refuse(answer);
        }
    }

    // 3. Method.
    match request.method() {
        Method::Delete | Method::Get | Method::Head | Method::Patch | Method::Post | Method::Put => {}
        Method::Options => return refuse(Answer::Options(options(hook, request))),
        _ => return refuse(Answer::MethodNotAllowed(methods(hook))),
    }

    // 4. Enabled.
    if !hook.enabled {
        return refuse(if hook.is_websocket { Answer::NotFound } else { Answer::Disabled });
    }
    match (hook.is_websocket, request.upgrade_websocket()) {
        (true, false) => return refuse(Answer::UpgradeRequired),
        (false, true) => {
            return AtHead::Close(
                Answer::UpgradeRefused("This webhook takes HTTP requests only"),
                Some(hook),
            );
        }
        _ => {}
    }

    // 5. Rate.
    if let Some(rate) = &hook.rate
        && !matches!(door.waited, Waited::Keys | Waited::Place)
        && !door.is_replay
        && let Err(throttled) = rate.take(door.core, door.now)
    {
        match rate.shortage(throttled, door.waited == Waited::Permit, door.now) {
            Shortage::Throttled(throttled) => return refuse(Answer::OverRate(throttled.retry_after_seconds)),
            Shortage::Ask => return AtHead::Permit { webhook: hook.webhook_id, kind: PermitKind::Token },
            Shortage::CutOff => return refuse(Answer::Busy(NO_PERMIT)),
        }
    }

    // 6. Basic authentication and `auth`.
    if let Some(options) = &hook.options
        && !door.is_replay
    {
        match check_credentials(options, door, request) {
            Credentials::Good => {}
            Credentials::Refused(answer) => return refuse(answer),
            Credentials::Keys(url) => return AtHead::Keys { url },
        }
    }
    // 9. Concurrency, as far as another node may have a place: it is taken later.
    if (hook.is_websocket || hook.wait_for_reply)
        && door.waited != Waited::Place
        && !door.is_replay
        && hook.concurrency.is_short(hook.concurrency_limit)
    {
        return AtHead::Permit { webhook: hook.webhook_id, kind: PermitKind::Place };
    }
    if hook.is_websocket {
        return AtHead::Upgrade { hook };
    }
    // Senders look whether a URL lives before they register it. Whatever it would trigger, nothing is triggered.
    if request.method() == Method::Head {
        return refuse(default_answer(hook));
    }

    // 7. Size, as far as it was declared.
    let limit = hook.payload_bytes;
    if let Framing::Length(length) = request.framing()
        && length > u64::from(limit)
    {
        return AtHead::Close(Answer::TooLarge, Some(hook));
    }
    AtHead::Take { hook, limit: limit as usize }
}

/// Methods of the webhook, where it does not take all.
fn methods(hook: &Hook) -> Option<MethodSet> {
    hook.options.as_ref()?.methods
}

/// Step 3, for a webhook with options: the method and the caller's address. HEAD triggers nothing, and senders use it
/// whatever method they deliver with.
fn refused_by_origin(
    options: &HookOptions,
    door: IngressContext<'_>,
    request: &Request<'_>,
) -> Option<Answer<'static>> {
    match request.method() {
        Method::Head => {}
        Method::Delete | Method::Get | Method::Patch | Method::Post | Method::Put => {
            if options.methods.is_some_and(|methods| !methods.has(request.method())) {
                return Some(Answer::MethodNotAllowed(options.methods));
            }
        }
        _ => return None,
    }
    let networks = options.networks.as_deref()?;
    let address = caller::address(door.peer, door.trusted_proxies, request);
    let is_allowed = address.is_some_and(|address| networks.iter().any(|net| net.contains(address)));
    (!is_allowed).then_some(Answer::AddressNotAllowed)
}

/// Outcome of step 6.
enum Credentials {
    Good,
    Refused(Answer<'static>),
    /// Nobody can tell before these keys are fetched.
    Keys(Arc<str>),
}

/// Step 6, for a webhook with options.
fn check_credentials(options: &HookOptions, door: IngressContext<'_>, request: &Request<'_>) -> Credentials {
    if let Some(basic) = &options.basic
        && !basic.check(sole(request, "authorization"))
    {
        return Credentials::Refused(Answer::Unauthorized(Credential::Basic));
    }
    let Some(auth) = &options.auth else { return Credentials::Good };
    let known = auth.key_set_url().map(|url| (url, door.key_sets.known(url, door.now)));
    let set = known.and_then(|(_, known)| known.set);
    let refused = || {
        let credential = if auth.has_claims() { Credential::Bearer } else { Credential::ApiKey };
        Credentials::Refused(Answer::Unauthorized(credential))
    };
    match (auth.check(&request.fields(), request.query(), set.map(|set| &**set), door.now), known) {
        (jwt::Verdict::Good, _) => Credentials::Good,
        (jwt::Verdict::UnknownKey, Some((url, known))) if known.may_fetch && door.waited != Waited::Keys => {
            Credentials::Keys(Arc::clone(url))
        }
        // It is not said of the caller that its token is wrong.
        (jwt::Verdict::UnknownKey, Some((_, known))) if known.set.is_none() => {
            Credentials::Refused(Answer::Busy(NO_KEYS))
        }
        (jwt::Verdict::UnknownKey | jwt::Verdict::Refused, _) => refused(),
    }
}

/// The answer to a token whose keys are not known.
pub const NO_KEYS: &str = "The keys of the token's issuer cannot be had, try again";

/// The answer to a call of which nobody can tell whether it is over the rate.
pub const NO_PERMIT: &str = "The cluster does not answer, try again";

/// The claims of the request's token, a JSON object, where the webhook asks for a token. [`at_head`] has verified it.
#[must_use]
pub fn claims(hook: &Hook, request: &Request<'_>) -> Option<Vec<u8>> {
    hook.auth().filter(|auth| auth.has_claims())?;
    jwt::unverified_claims(sole(request, "authorization")?)
}

/// The CORS fields of a response: those of the webhook, or else the server's.
#[must_use]
pub fn cors<'r>(server: bool, hook: Option<&Hook>, request: &Request<'r>) -> Cors<'r> {
    match hook.and_then(|hook| hook.options.as_ref()?.cors.as_deref()) {
        None if server => Cors::Any,
        Some(CorsConfig::Any) => Cors::Any,
        None | Some(CorsConfig::Off) => Cors::Off,
        Some(CorsConfig::Origins(origins)) => {
            let is_listed = |sent: &&[u8]| origins.iter().any(|origin| origin.as_bytes() == *sent);
            Cors::Listed(sole(request, "origin").filter(is_listed))
        }
    }
}

/// A path that may be told where it is for no webhook: what stands in the place of a token may be one that was mistyped.
#[must_use]
pub fn path_without_token(path: &[u8]) -> &[u8] {
    if path.starts_with(PREFIX) { PREFIX } else { path }
}

/// Reads the parts of an OPTIONS request that its answer depends on.
fn options<'b>(hook: &Hook, request: &Request<'b>) -> Options<'b> {
    let origin = request.field("webhook-request-origin");
    Options {
        methods: methods(hook),
        asked_headers: request.field("access-control-request-headers"),
        // The rate is looked at for senders that ask alone: it locks.
        webhook: origin.map(|origin| Handshake { origin, requests_per_minute: requests_per_minute(hook) }),
    }
}

/// Calls that a webhook admits in a minute, rounded down; none where it has no limit.
fn requests_per_minute(hook: &Hook) -> Option<u64> {
    const SECONDS_PER_MINUTE: u64 = 60;
    let (tokens, window_seconds) = hook.rate.as_ref()?.limit();
    Some(u64::from(tokens) * SECONDS_PER_MINUTE / u64::from(window_seconds.max(1)))
}

/// The decision about a request once its body is complete.
#[derive(Debug)]
#[must_use]
pub enum AtBody {
    /// Answer now; there is no trigger.
    Answer(Answer<'static>),
    /// It is genuine, or nobody asks: on to concurrency and the triggers.
    Pass,
    /// It is genuine if this is: [`alexa::finish`] says so, with the chain that signed it.
    Chain(Box<alexa::Pending>),
}

/// Step 8: the handshakes of providers, which carry no signature; then the signature; then Alexa's rules. `body` is
/// as it came; `public_url` is how callers reach the ingress, without a slash at its end.
pub fn at_body(now: Now, hook: &Hook, request: &Request<'_>, body: &[u8], public_url: &str) -> AtBody {
    if let ProviderVerdict::Answer(answer) = hook.provider.verify(request.method_bytes(), request.query()) {
        return AtBody::Answer(Answer::Challenge {
            status: answer.status,
            content_type: answer.content_type.unwrap_or_default(),
            body: answer.body,
        });
    }
    if let Some(signature) = &hook.signature {
        let fields = request.fields();
        let (mark, query) = request.query().map_or((&b""[..], &b""[..]), |query| (b"?", query));
        let url = [public_url.as_bytes(), request.path(), mark, query].concat();
        let signed = SignedRequest { url: &url, fields: &fields, body };
        if let Some(challenge) = signature.unsigned_challenge(&signed) {
            return AtBody::Answer(challenged(challenge));
        }
        match signature.check(&signed, now) {
            Ok(verified) => {
                if let Some(challenge) = signature.challenge(verified, body) {
                    return AtBody::Answer(challenged(challenge));
                }
            }
            Err(mismatch) => {
                return AtBody::Answer(Answer::Unverified(
                    Mismatch::STATUS,
                    Cow::Owned(mismatch.to_string()),
                ));
            }
        }
    }
    if matches!(hook.provider, Provider::Alexa) {
        return match alexa::begin(&request.fields(), body, now) {
            Ok(pending) => AtBody::Chain(Box::new(pending)),
            Err(refusal) => AtBody::Answer(refused_by_alexa(&refusal)),
        };
    }
    AtBody::Pass
}

fn challenged(challenge: Challenge) -> Answer<'static> {
    Answer::Challenge { status: 200, content_type: challenge.content_type, body: challenge.body }
}

/// The answer to a request of Alexa's that breaks a rule.
#[must_use]
pub fn refused_by_alexa(refusal: &alexa::AlexaRefusal) -> Answer<'static> {
    Answer::Unverified(alexa::AlexaRefusal::STATUS, Cow::Owned(refusal.to_string()))
}

/// Bytes of a body that is read and dropped where no webhook says how much it takes: the default payload limit ([limits
/// and refusals](crate::guide::limits_and_refusals#limits)).
const DROP_LIMIT_WITHOUT_WEBHOOK: u64 = 262_144;

/// A refusal of steps 2 to 6: the body is read and dropped up to the limit, so that the connection can stay; not
/// where the client waits to be asked for its body, nor where it declared more.
fn dropped<'g, 'b>(
    request: &Request<'b>,
    answer: Answer<'b>,
    hook: Option<&'g Arc<Hook>>,
    limit: u64,
) -> AtHead<'g, 'b> {
    let too_long = matches!(request.framing(), Framing::Length(length) if length > limit);
    if too_long || request.expects_continue() {
        AtHead::Close(answer, hook)
    } else {
        AtHead::Answer(answer, hook)
    }
}

/// How much of a dropped body is read before the connection ends.
#[must_use]
pub fn drop_limit(hook: Option<&Hook>) -> u64 {
    hook.map_or(DROP_LIMIT_WITHOUT_WEBHOOK, |hook| u64::from(hook.payload_bytes))
}

/// A field that may stand once: none if it is missing or repeated, so that nobody reads another one than we do.
fn sole<'b>(request: &Request<'b>, lower_name: &str) -> Option<&'b [u8]> {
    let mut values = request
        .fields()
        .filter(|(name, _)| name.eq_ignore_ascii_case(lower_name.as_bytes()))
        .map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// `/webhooks/<token>[/more]` as the token and what follows it (empty or beginning with `/`).
#[must_use]
#[inline]
pub fn split_path(path: &[u8]) -> Option<(Token, &[u8])> {
    let rest = path.strip_prefix(PREFIX)?;
    // Nearly every token was made here. That it is one is seen by its characters: a slash is none of them.
    if let Some((token, more)) = rest.split_first_chunk()
        && (more.is_empty() || more[0] == b'/')
        && let Some(token) = Token::from_made(*token)
    {
        return Some((token, more));
    }
    split_given(rest)
}

/// The same for a token of another length, behind the prefix.
#[cold]
fn split_given(rest: &[u8]) -> Option<(Token, &[u8])> {
    let (token, more) = rest.split_at(memchr::memchr(b'/', rest).unwrap_or(rest.len()));
    Some((Token::from_bytes(token)?, more))
}

/// The path behind the token, for a request to this webhook; `/` for any other.
#[must_use]
pub fn behind_token<'p>(hook: &Hook, path: &'p [u8]) -> &'p [u8] {
    path.get(PREFIX.len() + hook.token.text_len()..).unwrap_or(b"/")
}

/// The status of a request that was taken, where no reply says otherwise.
#[must_use]
pub fn default_answer(hook: &Hook) -> Answer<'static> {
    match hook.provider {
        Provider::Fitbit(_) | Provider::Twilio => plain(hook.provider.default_response(hook.response_code)),
        Provider::None | Provider::Facebook(_) | Provider::Alexa => {
            match hook.options.as_ref().and_then(|options| options.response_body.as_ref()) {
                None => Answer::Success(hook.response_code),
                Some(body) => Answer::Configured(hook.response_code, Arc::clone(body)),
            }
        }
    }
}

/// The answer that the caller gets in place of a flow's reply; `None` if it gets the reply.
#[must_use]
pub fn instead_of_reply(hook: &Hook) -> Option<Answer<'static>> {
    hook.provider.instead_of_reply().map(plain)
}

fn plain(answer: provider::ProviderAnswer) -> Answer<'static> {
    Answer::Plain {
        status: answer.status,
        content_type: answer.content_type.unwrap_or_default(),
        body: answer.body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN";

    #[test]
    fn a_path_is_split_behind_its_token() {
        let path = |more: &str| format!("/webhooks/{TOKEN}{more}").into_bytes();
        for (more, expected) in
            [("", Some("")), ("/", Some("/")), ("/a/b", Some("/a/b")), ("+", None), ("%2F", None)]
        {
            let path = path(more);
            let got = split_path(&path).map(|(token, more)| (token, more.to_vec()));
            let token = Token::from_bytes(TOKEN.as_bytes()).unwrap();
            assert_eq!(got, expected.map(|more| (token, more.as_bytes().to_vec())), "{more:?}");
        }
        assert!(split_path(b"/webhooks/short").is_none());
        assert!(split_path(b"/webhooks/").is_none());
        // A given token, so placed that another slash stands where that of a made one would.
        for length in [8, 9, 39, 41, 128] {
            let token = "t".repeat(length);
            for more in ["", "/", "/a", &format!("/{}", "x".repeat(64)), &format!("/{}", "x/".repeat(32))] {
                let path = format!("/webhooks/{token}{more}").into_bytes();
                let expected = (Token::from_bytes(token.as_bytes()).unwrap(), more.as_bytes());
                assert_eq!(split_path(&path), Some(expected), "{token} {more:?}");
            }
        }
        assert!(split_path(b"/Webhooks/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN").is_none());
    }
}
