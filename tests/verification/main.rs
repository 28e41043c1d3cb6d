//! Section 8 through the whole program, over real sockets: the handshakes of providers, the signatures of senders,
//! Alexa's chains from a server of the test's own, and the bodies that section 5 reads.

mod alexa;
mod alexa_server;
mod credentials;
mod harness;
mod payloads;
mod presets;
mod providers;
mod sdks;
mod signatures;
#[path = "../common/skip.rs"]
mod skip;
