//! Security from outside: secrets that must show up nowhere, the door of the admin listener, heads that cannot be split
//! by what callers and authors send, and the rights of what lies in the data folder.

#[path = "../common/mod.rs"]
mod common;
mod door;
mod heads;
mod secrets;
mod tokens;
