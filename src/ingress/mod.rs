//! Layer 6: the steps of a request ([HTTP requests](crate::guide::http_requests#steps)) and of a message
//! ([websockets](crate::guide::websockets)). It decides and writes answers; it reads no socket, keeps no state between
//! requests (except a WebSocket's [`session`]) and waits for nothing.

mod caller;
pub(crate) mod framing;
pub(crate) mod recorded;
pub mod request;
pub mod respond;
pub mod session;
pub(crate) mod socket;
pub(crate) mod worker;
