//! Layer 3: whether a request is genuine. Bytes and a [`Now`](crate::base::clock::Now) in, a verdict out; no I/O, no
//! clock.
//!
//! - [`access`]: access tokens of the API and of workers;
//! - [`alexa`]: the signed requests of Amazon Alexa;
//! - [`auth`]: a header or a parameter that every call must carry;
//! - [`basic`]: basic authentication ([verification](crate::guide::verification#verification));
//! - [`jwt`]: JSON Web Tokens;
//! - [`provider`]: the handshakes of `verificationType`: facebook, fitbit, twilio;
//! - [`signature`]: the signatures of senders;
//! - [`secret`], [`fields`], [`query`]: how a secret is compared, and how a header field or a parameter is read.
//!
//! Not here: rendering credentials from templates (`registry/` does it, when the model changes), and fetching
//! certificate chains (`control/chains`).

pub mod access;
pub mod alexa;
pub(crate) mod auth;
pub(crate) mod basic;
pub(crate) mod fields;
pub mod jwt;
pub(crate) mod provider;
pub(crate) mod query;
pub(crate) mod secret;
pub(crate) mod signature;
