//! The configurations of the nodes that decide or show, and send nothing: `ConditionalNode` and `DebugNode`
//! ([flows](crate::guide::flows#nodes)).

use serde_json::Value;

use super::common::TEXT_CHARS_MAX;
use super::error::ModelError;
use super::fields::Fields;

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
        let mut fields = Fields::of(value, path)?;
        let expression = fields.required_string("expression", 1..=TEXT_CHARS_MAX)?;
        fields.finish_strict("the config of a ConditionalNode")?;
        Ok(ConditionalConfig { expression })
    }
}

impl DebugConfig {
    pub(super) fn read(value: &Value, path: &str) -> Result<DebugConfig, ModelError> {
        let mut fields = Fields::of(value, path)?;
        let message = fields.string("message", 0..=TEXT_CHARS_MAX)?.unwrap_or_default();
        Ok(DebugConfig { message })
    }
}
