//! What the tools for measuring share: a ring, readers for what servers answer, the load itself, and the comparison.
//!
//! # Layout
//! - `ring`: io_uring with a ring of provided buffers; the floor server and the load stand on it.
//! - `answer`, `frames`, `targets`: HTTP answers, WebSocket frames, and the paths that are asked for.
//! - `load`: the load generator; `tools/load` is a thin wrapper around it.
//! - `compare`: servers, rows and the table of targets; `tools/compare` prints it.
//! - `scale`, `plot`: what a webhook, a connection and a waiting reply cost as they grow, measured and drawn;
//!   `tools/scale` is a thin wrapper around them.
//! - `system`: what the operating system says of processes and lets them do.

pub mod answer;
pub mod compare;
pub mod frames;
pub mod load;
pub mod plot;
pub mod ring;
pub mod scale;
pub mod system;
pub mod targets;

/// The head and body that every server of the comparison answers with, of the size of Tidegate's own.
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\naccess-control-allow-origin: *\r\ndate: Thu, 19 Feb 2026 17:26:00 GMT\r\n\r\n{\"success\":true}";
/// Its body.
pub const ANSWER_BODY: &[u8] = b"{\"success\":true}";
