//! `Sec-WebSocket-Extensions` (RFC 6455 section 9.1) and the negotiation of permessage-deflate (RFC 7692 section 7.1).

use std::borrow::Cow;

use super::deflate::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use super::role::Role;

/// The name of the one extension that is known.
pub(crate) const PERMESSAGE_DEFLATE: &str = "permessage-deflate";

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
/// The smallest window that a peer may name (RFC 7692 section 7.1.2).
const OFFERED_BITS_MIN: u8 = 8;

/// The parameters that both ends agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateParameters {
    /// The server compresses every message by itself.
    pub server_no_context_takeover: bool,
    /// The client does.
    pub client_no_context_takeover: bool,
    /// The server's window, as a power of two, where it was named.
    pub server_max_window_bits: Option<u8>,
    /// The client's.
    pub client_max_window_bits: Option<u8>,
}

impl DeflateParameters {
    /// Whether what `sender` sends refers to its earlier messages.
    #[must_use]
    pub fn takes_over(&self, sender: Role) -> bool {
        match sender {
            Role::Server => !self.server_no_context_takeover,
            Role::Client => !self.client_no_context_takeover,
        }
    }

    /// The window that `sender` may use.
    #[must_use]
    pub fn window_bits(&self, sender: Role) -> u8 {
        let named = match sender {
            Role::Server => self.server_max_window_bits,
            Role::Client => self.client_max_window_bits,
        };
        named.unwrap_or(WINDOW_BITS_MAX)
    }

    /// Appends this as the value of the response's field.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(PERMESSAGE_DEFLATE.as_bytes());
        let mut flag = |set: bool, name: &str| {
            if set {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(name.as_bytes());
            }
        };
        flag(self.server_no_context_takeover, SERVER_NO_CONTEXT_TAKEOVER);
        flag(self.client_no_context_takeover, CLIENT_NO_CONTEXT_TAKEOVER);
        let mut bits = |bits: Option<u8>, name: &str| {
            if let Some(bits) = bits {
                out.extend_from_slice(format!("; {name}={bits}").as_bytes());
            }
        };
        bits(self.server_max_window_bits, SERVER_MAX_WINDOW_BITS);
        bits(self.client_max_window_bits, CLIENT_MAX_WINDOW_BITS);
    }
}

/// The field does not follow its grammar: the handshake fails (RFC 6455 section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The first of a client's offers that can be accepted, as it is answered. `fields` are the values of every
/// `Sec-WebSocket-Extensions` in order; unless `context_takeover`, neither side may take its window over.
///
/// # Errors
/// [`Malformed`] where a value does not follow the grammar. An offer whose parameters are wrong is only passed over.
pub(crate) fn negotiate<'b>(
    fields: impl Iterator<Item = &'b [u8]>,
    context_takeover: bool,
) -> Result<Option<DeflateParameters>, Malformed> {
    let mut accepted = None;
    for value in fields {
        for extension in parse(value)? {
            if accepted.is_none() && extension.is_deflate() {
                accepted = accept(&extension, context_takeover);
            }
        }
    }
    Ok(accepted)
}

fn accept(offer: &Extension<'_>, context_takeover: bool) -> Option<DeflateParameters> {
    let asked = Named::of(offer)?;
    let server_max_window_bits = match asked.server_max_window_bits {
        // A window of 2^8 cannot be kept to, so the offer is declined (RFC 7692 section 7.1.2.1).
        Some(bits) if bits? < WINDOW_BITS_MIN => return None,
        // Accepting an offer that names it is to name it too, whatever the value.
        Some(bits) => Some(bits?),
        None => None,
    };
    Some(DeflateParameters {
        server_no_context_takeover: asked.server_no_context_takeover || !context_takeover,
        client_no_context_takeover: asked.client_no_context_takeover || !context_takeover,
        server_max_window_bits,
        // What the client may limit itself to need not be answered: any window can be inflated.
        client_max_window_bits: None,
    })
}

/// The parameters of one permessage-deflate: a window is there, and may be there without a value.
#[derive(Debug, Default)]
struct Named {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<Option<u8>>,
    client_max_window_bits: Option<Option<u8>>,
}

impl Named {
    /// `None` for an unknown or repeated parameter, or a value that is wrong for its name.
    fn of(extension: &Extension<'_>) -> Option<Named> {
        let mut named = Named::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is(SERVER_NO_CONTEXT_TAKEOVER) {
                flag(&mut named.server_no_context_takeover, value)?;
            } else if is(CLIENT_NO_CONTEXT_TAKEOVER) {
                flag(&mut named.client_no_context_takeover, value)?;
            } else if is(SERVER_MAX_WINDOW_BITS) {
                // Only the client's window may come without a value.
                window(&mut named.server_max_window_bits, Some(value?))?;
            } else if is(CLIENT_MAX_WINDOW_BITS) {
                window(&mut named.client_max_window_bits, value)?;
            } else {
                return None;
            }
        }
        Some(named)
    }
}

fn flag(slot: &mut bool, value: Option<&[u8]>) -> Option<()> {
    (value.is_none() && !std::mem::replace(slot, true)).then_some(())
}

fn window(slot: &mut Option<Option<u8>>, value: Option<&[u8]>) -> Option<()> {
    let bits = match value {
        None => None,
        Some(value) => Some(window_bits(value)?),
    };
    slot.replace(bits).is_none().then_some(())
}

/// "A decimal integer value without leading zeroes between 8 to 15 inclusive."
fn window_bits(value: &[u8]) -> Option<u8> {
    let bits = match value {
        [digit @ b'0'..=b'9'] => digit - b'0',
        [b'1', digit @ b'0'..=b'9'] => 10 + digit - b'0',
        _ => return None,
    };
    (OFFERED_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits).then_some(bits)
}

/// One element of the list: a name and its parameters.
#[derive(Debug)]
struct Extension<'b> {
    name: &'b [u8],
    parameters: Vec<ExtensionParameter<'b>>,
}

/// A name, and a value behind `=`.
type ExtensionParameter<'b> = (&'b [u8], Option<Cow<'b, [u8]>>);

impl Extension<'_> {
    fn is_deflate(&self) -> bool {
        self.name.eq_ignore_ascii_case(PERMESSAGE_DEFLATE.as_bytes())
    }
}

/// `extension-list = 1#extension`, `extension = token *( ";" token [ "=" (token | quoted-string) ] )`. Empty elements
/// of the list are passed over, as RFC 9110 section 5.6.1 asks of a recipient.
fn parse(value: &[u8]) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut rest = Scanner(value);
    let mut list = Vec::new();
    loop {
        rest.white_space();
        if rest.0.is_empty() {
            return Ok(list);
        }
        if rest.take(b',') {
            continue;
        }
        let mut extension = Extension { name: rest.token()?, parameters: Vec::new() };
        rest.white_space();
        while rest.take(b';') {
            rest.white_space();
            let name = rest.token()?;
            rest.white_space();
            let mut value = None;
            if rest.take(b'=') {
                rest.white_space();
                value = Some(rest.token_or_quoted()?);
                rest.white_space();
            }
            extension.parameters.push((name, value));
        }
        list.push(extension);
        if !rest.0.is_empty() && !rest.take(b',') {
            return Err(Malformed);
        }
    }
}

struct Scanner<'b>(&'b [u8]);

impl<'b> Scanner<'b> {
    fn white_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn token(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.0.iter().take_while(|byte| is_token_byte(**byte)).count();
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// "When using the quoted-string syntax variant, the value after quoted-string unescaping MUST conform to token."
    fn token_or_quoted(&mut self) -> Result<Cow<'b, [u8]>, Malformed> {
        if !self.take(b'"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut token = Vec::new();
        loop {
            let (mut byte, mut rest) = self.0.split_first().ok_or(Malformed)?;
            match byte {
                b'"' => {
                    self.0 = rest;
                    return if token.is_empty() { Err(Malformed) } else { Ok(Cow::Owned(token)) };
                }
                b'\\' => (byte, rest) = rest.split_first().ok_or(Malformed)?,
                _ => {}
            }
            if !is_token_byte(*byte) {
                return Err(Malformed);
            }
            token.push(*byte);
            self.0 = rest;
        }
    }
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(values: &[&str], context_takeover: bool) -> Result<Option<String>, Malformed> {
        let parameters = negotiate(values.iter().map(|value| value.as_bytes()), context_takeover)?;
        Ok(parameters.map(|parameters| {
            let mut out = Vec::new();
            parameters.write(&mut out);
            String::from_utf8(out).unwrap()
        }))
    }

    fn check(offer: &str, without_takeover: Option<&str>, with_takeover: Option<&str>) {
        assert_eq!(answered(&[offer], false), Ok(without_takeover.map(str::to_owned)), "{offer}");
        assert_eq!(answered(&[offer], true), Ok(with_takeover.map(str::to_owned)), "{offer}");
    }

    const NONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn an_offer_is_answered_with_what_holds() {
        check("permessage-deflate", Some(NONE), Some("permessage-deflate"));
        check("Permessage-Deflate ; client_max_window_bits", Some(NONE), Some("permessage-deflate"));
        check("permessage-deflate; client_max_window_bits=8", Some(NONE), Some("permessage-deflate"));
        check(
            "permessage-deflate; server_no_context_takeover",
            Some(NONE),
            Some("permessage-deflate; server_no_context_takeover"),
        );
        check(
            "permessage-deflate; client_no_context_takeover",
            Some(NONE),
            Some("permessage-deflate; client_no_context_takeover"),
        );
        check(
            "permessage-deflate;server_max_window_bits=\"1\\0\";client_max_window_bits",
            Some(&format!("{NONE}; server_max_window_bits=10")),
            Some("permessage-deflate; server_max_window_bits=10"),
        );
        check(
            "permessage-deflate; server_max_window_bits=15",
            Some(&format!("{NONE}; server_max_window_bits=15")),
            Some("permessage-deflate; server_max_window_bits=15"),
        );
    }

    #[test]
    fn an_offer_with_a_wrong_parameter_is_passed_over() {
        for parameter in [
            "unknown",
            "server_no_context_takeover=1",
            "client_no_context_takeover=x",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=8",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=+9",
            "server_max_window_bits=999999999999",
            "client_max_window_bits=7",
            "client_max_window_bits=010",
            "client_max_window_bits=x",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits; client_max_window_bits=9",
        ] {
            check(&format!("permessage-deflate; {parameter}"), None, None);
            check(
                &format!("permessage-deflate; {parameter}, permessage-deflate"),
                Some(NONE),
                Some("permessage-deflate"),
            );
        }
    }

    #[test]
    fn other_extensions_are_passed_over_and_fields_make_one_list() {
        check("x-webkit-deflate-frame", None, None);
        check("bbf-usp-protocol; a=\"b\", permessage-deflate", Some(NONE), Some("permessage-deflate"));
        check("", None, None);
        check(" , ,permessage-deflate,,", Some(NONE), Some("permessage-deflate"));
        let fields = ["foo", "permessage-deflate; server_max_window_bits=9", "permessage-deflate"];
        assert_eq!(answered(&fields, true), Ok(Some("permessage-deflate; server_max_window_bits=9".into())));
    }

    #[test]
    fn a_value_against_the_grammar_fails_the_handshake() {
        for value in [
            "permessage-deflate;",
            "permessage-deflate; =5",
            "permessage-deflate; a=",
            "permessage-deflate; a=\"",
            "permessage-deflate; a=\"\"",
            "permessage-deflate; a=\"b c\"",
            "permessage-deflate; a=\"b\\",
            "permessage-deflate client_max_window_bits",
            "permessage-deflate; a=b c",
            "(x)",
            "permessage-deflate, ;",
            "ä",
        ] {
            assert_eq!(answered(&[value], false), Err(Malformed), "{value}");
            assert_eq!(answered(&["permessage-deflate", value], false), Err(Malformed), "{value}");
        }
    }
}
