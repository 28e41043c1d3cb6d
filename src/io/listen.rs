//! Listening sockets: one for each core with `SO_REUSEPORT`, so that the kernel spreads connections and no core waits
//! for another; a Unix socket is one, shared by all.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Connections that the kernel keeps for a core that has not accepted them yet.
pub const BACKLOG: i32 = 4096;

/// Time during which binding an address in use is tried again. The kernel takes a ring apart after its process has been
/// reaped, and an accept in flight on it holds the listener until then: 7 ms, and 12 at most of 40 kills, on an idle
/// machine. A process that starts again right after a crash must not be refused for that.
const IN_USE_RETRY: Duration = Duration::from_secs(1);
/// Pause between two attempts.
const IN_USE_PAUSE: Duration = Duration::from_millis(10);

/// One core's share of a listener.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Returns another handle on the same socket.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Listener> {
        Ok(match self {
            Listener::Tcp(listener) => Listener::Tcp(listener.try_clone()?),
            Listener::Unix(listener) => Listener::Unix(listener.try_clone()?),
        })
    }

    /// Chooses whether an accept on it waits. Handles on the same socket share this.
    ///
    /// # Errors
    /// If the socket refuses.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.set_nonblocking(nonblocking),
            Listener::Unix(listener) => listener.set_nonblocking(nonblocking),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Opens a TCP listener for each of `cores` cores on one address. With port 0 the first gets a port and the others the
/// same. Returns the bound address as well.
///
/// # Errors
/// If the address is in use (by any process, also one that shares its port) for a second, is not local, or is not
/// permitted.
pub fn open_tcp(address: SocketAddr, cores: usize) -> io::Result<(Vec<Listener>, SocketAddr)> {
    retry_in_use(|| {
        // A listener of another process with SO_REUSEPORT would share the port silently: bind without it first.
        if address.port() != 0 {
            drop(bind(address, false)?);
        }
        let first = bind(address, true)?;
        let bound = first.local_addr()?;
        let mut listeners = vec![Listener::Tcp(first)];
        for _ in 1..cores {
            listeners.push(Listener::Tcp(bind(bound, true)?));
        }
        Ok((listeners, bound))
    })
}

/// Opens a Unix listener and returns a handle on it for each of `cores` cores. Replaces a socket file that no process
/// listens on.
///
/// # Errors
/// As [`open_tcp`].
pub fn open_unix(path: &Path, cores: usize) -> io::Result<Vec<Listener>> {
    retry_in_use(|| {
        let listener = bind_unix(&path.to_path_buf())?;
        (0..cores).map(|_| listener.try_clone().map(Listener::Unix)).collect()
    })
}

fn retry_in_use<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut waited = Duration::ZERO;
    loop {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && waited < IN_USE_RETRY => {
                thread::sleep(IN_USE_PAUSE);
                waited += IN_USE_PAUSE;
            }
            other => return other,
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
    // Accepted sockets inherit this: responses are gathered into whole writes already, and must not wait for an ack.
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    if share {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(TcpListener::from(socket))
}

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

/// Returns whether `path` is a socket file that no process listens on.
fn is_stale(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    is_socket
        && matches!(std::os::unix::net::UnixStream::connect(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
