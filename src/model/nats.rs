//! The configuration of a `NatsNode` ([deliveries](crate::guide::deliveries#natsnode)).

use serde_json::Value;

use super::common::{NAME_CHARS_MAX, TEXT_CHARS_MAX};
use super::error::ModelError;
use super::fields::Fields;
use super::forward::{HEADERS, read_headers};
use super::spec::{ObjectSpec, rows};

/// The fields of a `NatsNode`'s config.
pub(super) static NATS: ObjectSpec = ObjectSpec::new(
    "the config of a NatsNode",
    &[
        &rows! {
            "subject": text(1, TEXT_CHARS_MAX) => "A template. Missing: `tidegate.<applicationId>.<webhookId>`.";
            "stream": text(1, NAME_CHARS_MAX) =>
                "The stream of JetStream that must take it. Missing: any that takes the subject.";
        },
        &[HEADERS],
    ],
);

/// `NatsNode`: publish to JetStream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsConfig {
    /// Template of the subject; `None` for `tidegate.<applicationId>.<webhookId>`.
    pub subject: Option<String>,
    /// The stream that must take it, where it is named.
    pub stream: Option<String>,
    /// Headers of its own: names as written, and templates of their values.
    pub headers: Vec<(String, String)>,
}

impl NatsConfig {
    pub(super) fn read(value: &Value, path: &str) -> Result<NatsConfig, ModelError> {
        let mut fields = Fields::of(value, path, &NATS)?;
        let subject = fields.string("subject")?;
        let stream = fields.string("stream")?;
        // NATS: a stream's name holds no white space, period, asterisk, greater-than or path separator.
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c);
        if stream.as_deref().is_some_and(|name| name.contains(is_bad)) {
            return Err(
                fields.error("stream", "must be the name of a stream: no space, `.`, `*`, `>`, `/` or `\\`")
            );
        }
        let headers = read_headers(&mut fields, is_of_nats)?;
        fields.finish_strict()?;
        Ok(NatsConfig { subject, stream, headers })
    }
}

/// Headers that NATS obeys begin so: one of them (`Nats-Rollup`) empties a stream.
fn is_of_nats(name: &str) -> bool {
    name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("nats-"))
}
