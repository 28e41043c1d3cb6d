//! Floor 6: what happens to a request or a message, step by step, as section 4 and 6 of the specification say. It
//! decides and writes answers; it reads no socket, keeps no state between requests (but for a WebSocket's
//! [`session`]) and waits for nothing.

mod caller;
pub mod request;
pub mod respond;
pub mod session;
pub mod socket;
pub mod worker;
