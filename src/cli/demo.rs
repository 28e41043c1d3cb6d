//! Stand-in.
use crate::{
    base::clock::Clock,
    settings::{Address, Settings},
    store::Store,
};
use std::path::PathBuf;
pub(super) fn greet(
    _s: &Store,
    t: &Option<PathBuf>,
    i: &Address,
    a: &Address,
    _: &Settings,
    _c: Clock,
) -> anyhow::Result<()> {
    println!("{i} {a} {t:?}");
    Ok(())
}
