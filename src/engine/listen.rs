//! Listening sockets: one for each core with `SO_REUSEPORT`, so that the kernel spreads connections and no core
//! waits for another; a Unix socket is one, shared by all.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::settings::Address;

/// Connections that the kernel keeps for a core that has not accepted them yet.
const BACKLOG: i32 = 4096;

/// How long an address that is taken is asked for again. The kernel takes a ring apart after its process has been reaped,
/// and an accept that is in flight on it holds the listener until then: 7 ms, and 12 at most of 40 kills, on a machine
/// with nothing else to do. Who starts again at once after a crash must not be refused for that.
const TAKEN_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is asked for meanwhile.
const TAKEN_LOOK: Duration = Duration::from_millis(10);

/// One core's share of a listener.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Another handle on the same socket.
    pub(super) fn try_clone(&self) -> io::Result<Listener> {
        Ok(match self {
            Listener::Tcp(listener) => Listener::Tcp(listener.try_clone()?),
            Listener::Unix(listener) => Listener::Unix(listener.try_clone()?),
        })
    }

    /// The descriptor, to be watched.
    pub(super) fn fd(&self) -> io::Result<OwnedFd> {
        match self {
            Listener::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Listener::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
    }
}

/// Opens a listener for each of `cores` cores on one address. With port 0 the first gets a port and the others the
/// same. The address that was bound comes back.
///
/// # Errors
/// If the address is taken (by any process, also one that shares its port) and not let go within a second, is not ours,
/// or may not be used.
pub(super) fn open(address: &Address, cores: usize) -> io::Result<(Vec<Listener>, Address)> {
    let mut waited = Duration::ZERO;
    loop {
        match open_now(address, cores) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && waited < TAKEN_PATIENCE => {
                thread::sleep(TAKEN_LOOK);
                waited += TAKEN_LOOK;
            }
            other => return other,
        }
    }
}

fn open_now(address: &Address, cores: usize) -> io::Result<(Vec<Listener>, Address)> {
    match address {
        Address::Tcp(address) => {
            // A listener of another process with SO_REUSEPORT would share the port without a word: ask without it first.
            if address.port() != 0 {
                drop(bind(*address, false)?);
            }
            let first = bind(*address, true)?;
            let bound = first.local_addr()?;
            let mut listeners = vec![Listener::Tcp(first)];
            for _ in 1..cores {
                listeners.push(Listener::Tcp(bind(bound, true)?));
            }
            Ok((listeners, Address::Tcp(bound)))
        }
        Address::Unix(path) => {
            let listener = bind_unix(path)?;
            let listeners =
                (0..cores).map(|_| listener.try_clone().map(Listener::Unix)).collect::<io::Result<_>>()?;
            Ok((listeners, Address::Unix(path.clone())))
        }
    }
}

fn bind(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if share {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    // Accepted sockets inherit this: answers are gathered into whole writes already, and must not wait for an ack.
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    if share {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(TcpListener::from(socket))
}

/// A socket file that a process left behind is replaced; one that somebody listens on is not.
fn bind_unix(path: &PathBuf) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn is_stale(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    is_socket
        && matches!(std::os::unix::net::UnixStream::connect(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
