//! The listeners of a configured address.

use std::io;

use crate::io::Listener;
use crate::io::listen::{open_tcp, open_unix};
use crate::settings::Address;

/// Opens a listener for each of `cores` cores on one address, and returns the address that was bound.
///
/// # Errors
/// If the address is in use, not local, or may not be used.
pub(super) fn open(address: &Address, cores: usize) -> io::Result<(Vec<Listener>, Address)> {
    match address {
        Address::Tcp(address) => {
            let (listeners, bound) = open_tcp(*address, cores)?;
            Ok((listeners, Address::Tcp(bound)))
        }
        Address::Unix(path) => Ok((open_unix(path, cores)?, Address::Unix(path.clone()))),
    }
}
