//! Tidegate, a webhook ingress engine.

pub mod admin;
pub mod base;
pub mod cli;
pub mod control;
pub mod deliver;
pub mod engine;
pub mod http;
pub mod ingress;
pub mod limit;
pub mod metrics;
pub mod model;
pub mod registry;
pub mod reply;
pub mod settings;
pub mod store;
pub mod template;
pub mod trigger;
pub mod verify;
pub mod websocket;
