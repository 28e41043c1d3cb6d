//! Messages to a service manager (sd_notify): that the program serves, and that it stops. The protocol is a datagram to
//! the socket that `NOTIFY_SOCKET` names; without that variable nothing is sent.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::base::log::bounded_log;

/// The variable that names the socket.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// A state of the program that is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Connections are accepted.
    Ready,
    /// It drains.
    Stopping,
}

impl State {
    fn message(self) -> &'static str {
        match self {
            State::Ready => "READY=1\nSTATUS=Serving",
            State::Stopping => "STOPPING=1\nSTATUS=Finishing what is in flight",
        }
    }
}

/// Tells the service manager, where there is one.
pub(super) fn tell(state: State) {
    let Some(socket) = std::env::var_os(SOCKET_VARIABLE) else { return };
    if let Err(error) = send(&socket, state) {
        bounded_log!(warn, %error, ?state, "the service manager cannot be told");
    }
}

fn send(socket: &OsStr, state: State) -> io::Result<()> {
    let bytes = socket.as_bytes();
    // A name that begins with `@` is in the abstract namespace, with a zero byte in the place of the sign.
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.send_to_addr(state.message().as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(receiver: &UnixDatagram) -> String {
        let mut bytes = [0; 128];
        let length = receiver.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_socket_of_a_path_and_an_abstract_one_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let receiver = UnixDatagram::bind(&path).expect("bound");
        send(path.as_os_str(), State::Ready).expect("sent");
        assert_eq!(received(&receiver), "READY=1\nSTATUS=Serving");
        let name = format!("tidegate-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let receiver = UnixDatagram::bind_addr(&address).expect("bound");
        send(OsStr::new(&format!("@{name}")), State::Stopping).expect("sent");
        assert!(received(&receiver).starts_with("STOPPING=1\n"));
        assert!(send(OsStr::new("/nowhere/at/all"), State::Ready).is_err());
    }
}
