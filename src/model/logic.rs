//! The configurations of the nodes that decide or show, and send nothing: `ConditionalNode` and `DebugNode`
//! ([flows](crate::guide::flows#nodes)).

use serde_json::Value;

use super::common::TEXT_CHARS_MAX;
use super::error::ModelError;
use super::fields::Fields;
use super::spec::{ObjectSpec, rows};

/// The fields of a `ConditionalNode`'s config.
pub(super) static CONDITIONAL: ObjectSpec = ObjectSpec::new(
    "the config of a ConditionalNode",
    &[&rows! {
        "expression": text(1, TEXT_CHARS_MAX), required =>
            "Payload paths in {{ }}, literals, == === != !== < <= > >= && || ! + - * / %, parentheses, as in \
            JavaScript. `outputIds: [[nodes where it is false], [nodes where it is true]]`.";
    }],
);

/// The fields of a `DebugNode`'s config that are read or known.
pub(super) static DEBUG: ObjectSpec = ObjectSpec::new(
    "the config of a DebugNode",
    &[&rows! {
        "message": text(0, TEXT_CHARS_MAX) => "A template, logged at debug.";
        "property": text(0, TEXT_CHARS_MAX) => "Kept, without effect.";
        "level": text(0, TEXT_CHARS_MAX) => "Kept, without effect.";
    }],
);

/// The condition of a `ConditionalNode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionalConfig {
    /// The expression, as it was written; the registry compiles it.
    pub expression: String,
}

/// The configuration of a `DebugNode`. The other fields that the platform has (`property`, `level`) are kept and have
/// no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugConfig {
    /// Template of the message; empty for none.
    pub message: String,
}

impl ConditionalConfig {
    pub(super) fn read(value: &Value, path: &str) -> Result<ConditionalConfig, ModelError> {
        let mut fields = Fields::of(value, path, &CONDITIONAL)?;
        let expression = fields.required_string("expression")?;
        fields.finish_strict()?;
        Ok(ConditionalConfig { expression })
    }
}

impl DebugConfig {
    pub(super) fn read(value: &Value, path: &str) -> Result<DebugConfig, ModelError> {
        let mut fields = Fields::of(value, path, &DEBUG)?;
        let message = fields.string("message")?.unwrap_or_default();
        Ok(DebugConfig { message })
    }
}
