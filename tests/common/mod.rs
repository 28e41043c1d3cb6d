//! What black-box tests share: the program as a child process ([`Server`]), its REST API, and a client that sends the
//! bytes it is told to and reads one response at a time ([`Wire`]).

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of the harness")]

pub mod nats;
mod rest;
mod server;
#[allow(dead_code, reason = "not every test that includes this file leaves checks out")]
pub mod skip;
pub mod tcp_relay;
mod wire;

pub use rest::{Hook, echo_fields, reply_node};
pub use server::{ACCESS_TOKEN, Server};
pub use wire::{Response, Wire, request};

use std::time::{Duration, Instant};

/// Nothing that a test waits for takes this long, on however busy a machine: a test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at something that is about to happen.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until `look` finds something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(LOOK);
    }
}
