//! Stand-in.
use std::path::PathBuf;
use crate::{base::clock::Clock, settings::{Address, Settings}, store::Store};
pub(super) fn greet(_s: &Store, t: &Option<PathBuf>, i: &Address, a: &Address, _: &Settings, _c: Clock) -> anyhow::Result<()> {
    println!("{i} {a} {t:?}"); Ok(())
}
