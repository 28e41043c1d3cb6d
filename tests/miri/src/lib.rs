//! The layers that bytes from outside reach first, and the state that cores share, included and not copied: their unit
//! tests are this package's.
//!
//! Nothing there is `unsafe`, but what it stands on is: memchr, simdutf8, httparse, zlib-rs. Miri, which needs none of
//! what the upper layers bring (a ring, a database), says whether they are used within their bounds, and whether threads
//! that share a limit race.

#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "upper layers, which use the rest, are not included"
)]

#[path = "../../../src/base/mod.rs"]
pub mod base;
#[path = "../../../src/http/mod.rs"]
pub mod http;
#[path = "../../../src/limit/mod.rs"]
pub mod limit;
#[path = "../../../src/proxy.rs"]
pub mod proxy;
#[path = "../../../src/websocket/mod.rs"]
pub mod websocket;
