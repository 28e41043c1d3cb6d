//! The handshake of a worker ([workers](crate::guide::workers)): whether a request attaches a worker to a flow.

use super::request::asks_for_health;
use super::respond::Answer;
use crate::base::id::Id;
use crate::http::{Framing, Method, Request};
use crate::metrics::Outcome;
use crate::model::Right;
use crate::registry::Registry;
use crate::verify::access::AccessTokens;
use crate::verify::fields::credentials;
use crate::websocket::handshake::{self, Accept, HandshakeOptions, HandshakeRefusal, Protocols};

/// The subprotocol that a worker must offer.
pub(crate) const PROTOCOL: &str = "tidegate.worker.v1";
/// Bytes of a frame either way ([limits and refusals](crate::guide::limits_and_refusals#limits)).
pub(crate) const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The decision about a request on the workers' listener.
#[derive(Debug)]
#[must_use]
pub(crate) enum AtDoor<'b> {
    Answer(Answer<'static>),
    /// It may attach to the flow.
    Attach {
        flow: Id,
        accept: Accept<'b>,
    },
}

/// Refusal of an access token that is for something else.
const WITHOUT_RIGHT: &str = "The access token has no right to attach workers";

/// Decides a request on the workers' listener; `now` in milliseconds since 1970.
pub(crate) fn at_door<'b>(
    request: &Request<'b>,
    registry: &Registry,
    tokens: &AccessTokens,
    now: u64,
) -> AtDoor<'b> {
    if asks_for_health(request) {
        return AtDoor::Answer(Answer::Healthy);
    }
    // The token comes first: who has none learns nothing of what there is.
    let token = request.field("authorization").and_then(|value| credentials(value, BEARER));
    let Some(granted) = token.and_then(|token| tokens.find(token, now)) else {
        return AtDoor::Answer(Answer::TokenRequired);
    };
    if !granted.may(Right::Worker) {
        return AtDoor::Answer(Answer::Refused(Outcome::Unauthorized, 403, WITHOUT_RIGHT));
    }
    let Some(flow) = flow_of(request.path()) else {
        return AtDoor::Answer(Answer::WorkerPath);
    };
    if request.method() != Method::Get {
        return AtDoor::Answer(Answer::GetOnly);
    }
    if registry.flow(flow).is_none() {
        return AtDoor::Answer(Answer::FlowNotFound);
    }
    let protocols = Protocols::These(&[PROTOCOL]);
    let options = HandshakeOptions { deflate: false, context_takeover: false, protocols };
    match check(request, &options) {
        Err(answer) => AtDoor::Answer(answer),
        Ok(accept) if accept.protocol.is_none() => {
            AtDoor::Answer(Answer::UpgradeRefused("Sec-WebSocket-Protocol must offer tidegate.worker.v1"))
        }
        Ok(accept) => AtDoor::Attach { flow, accept },
    }
}

/// Checks a request that asks to become a WebSocket.
///
/// # Errors
/// The answer to send instead.
pub(crate) fn check<'o>(
    request: &Request<'o>,
    options: &HandshakeOptions<'o>,
) -> Result<Accept<'o>, Answer<'static>> {
    if request.framing() != Framing::None {
        return Err(Answer::UpgradeRefused("An upgrade request must have no body"));
    }
    // RFC 6455, 4.1: the method must be GET.
    if !request.upgrade_websocket() || request.method() != Method::Get {
        return Err(Answer::UpgradeRequired);
    }
    handshake::check(request.fields(), options).map_err(|refusal| match refusal {
        HandshakeRefusal::NoUpgrade => Answer::UpgradeRequired,
        HandshakeRefusal::Version => Answer::UpgradeVersion,
        other => Answer::UpgradeRefused(other.message()),
    })
}

/// `/flows/<flowId>/worker`
fn flow_of(path: &[u8]) -> Option<Id> {
    Id::from_bytes(path.strip_prefix(b"/flows/")?.strip_suffix(b"/worker")?)
}

/// The scheme of RFC 6750.
const BEARER: &[u8] = b"bearer";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_follows_its_scheme_in_any_case() {
        for (value, expected) in [
            (&b"Bearer abc"[..], Some(&b"abc"[..])),
            (b"bearer   abc", Some(b"abc")),
            (b"Bearerabc", None),
            (b"Basic abc", None),
            (b"", None),
        ] {
            assert_eq!(credentials(value, BEARER), expected, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_flow_is_named_by_its_whole_path() {
        assert!(flow_of(b"/flows/0123456789abcdef01234567/worker").is_some());
        for path in
            [&b"/flows/0123456789abcdef01234567/worker/"[..], b"/flows/0123/worker", b"/flows//worker", b"/"]
        {
            assert_eq!(flow_of(path), None, "{}", String::from_utf8_lossy(path));
        }
    }
}
