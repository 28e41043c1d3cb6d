//! The listeners of a configured address.

use std::io;

pub(super) use crate::io::listen::Listener;
use crate::io::listen::{open_tcp, open_unix};
use crate::settings::Address;

/// Opens a listener for each of `cores` cores on one address, and returns the address that was bound.
///
/// # Errors
/// As [`open_tcp`] and [`open_unix`].
pub(super) fn open(address: &Address, cores: usize) -> io::Result<(Vec<Listener>, Address)> {
    match address {
        Address::Tcp(address) => {
            let (listeners, bound) = open_tcp(*address, cores)?;
            Ok((listeners, Address::Tcp(bound)))
        }
        Address::Unix(path) => Ok((open_unix(path, cores)?, Address::Unix(path.clone()))),
    }
}
