//! A handler of the triggers that a worker of the command line gets, and the replies that it makes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

/// How often a worker whose handler is busy tells the server that it lives: the server waits 30 s for something to come.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// A trigger, as a handler gets it.
pub(super) struct Trigger<'t> {
    pub(super) payload: &'t RawValue,
    /// It came over a WebSocket.
    pub(super) is_websocket: bool,
    /// A caller waits for a reply, or a WebSocket can be sent one.
    pub(super) has_reply: bool,
}

/// The outcome of a trigger.
pub(super) enum Handled {
    /// It is done.
    Ack,
    /// It is done; the members of a reply's frame besides `type`, `seq` and `replyId`, as JSON with commas between.
    Reply(String),
    /// It is given back.
    Failed,
}

/// Something that does what is to be done with a trigger. Meanwhile it calls `alive` every [`ALIVE_EVERY`].
pub(super) trait Handler: Send {
    /// Handles one trigger.
    ///
    /// # Errors
    /// If the worker has to end: its output is gone, for example.
    fn handle(&mut self, trigger: &Trigger<'_>, alive: &mut dyn FnMut()) -> anyhow::Result<Handled>;
}

/// The body of a reply: JSON as JSON with all its digits, other text as text, bytes as bytes.
pub(super) fn printed_reply(printed: &[u8]) -> String {
    match std::str::from_utf8(printed) {
        Ok(text) => match serde_json::from_str::<&RawValue>(text) {
            Ok(body) => format!("\"body\":{}", body.get()),
            Err(_) => format!("\"body\":{}", serde_json::Value::from(text)),
        },
        Err(_) => bytes_reply(printed),
    }
}

/// The body of a reply whose bytes go out as they are.
pub(super) fn bytes_reply(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("\"body\":{}", serde_json::Value::from(text)),
        Err(_) => format!("\"body\":\"{}\",\"encoding\":\"base64\"", STANDARD.encode(bytes)),
    }
}
