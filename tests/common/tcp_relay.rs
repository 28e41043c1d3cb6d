//! A relay between a client and a server, for faults of the network: connections through it can be cut, held up, and let
//! through again.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Bytes that are passed on at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// They pass.
    None,
    /// They wait, and connections stay open: a black hole.
    Stalled,
    /// Connections are reset, and new ones too.
    Cut,
}

struct State {
    fault: Fault,
    open: Vec<TcpStream>,
}

/// A relay to one server.
pub struct TcpRelay {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl TcpRelay {
    /// A relay to a server.
    pub fn to(server: SocketAddr) -> TcpRelay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State { fault: Fault::None, open: Vec::new() };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let of_thread = Arc::clone(&shared);
        // It ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accept(&of_thread, client, server);
            }
        });
        TcpRelay { address, shared }
    }

    /// Cuts all connections, and refuses new ones.
    pub fn cut(&self) {
        self.set(Fault::Cut);
    }

    /// Holds up all that is sent, in both directions.
    pub fn stall(&self) {
        self.set(Fault::Stalled);
    }

    /// Lets everything through.
    pub fn heal(&self) {
        self.set(Fault::None);
    }

    fn set(&self, fault: Fault) {
        let mut state = self.shared.0.lock().expect("no thread panics with it");
        state.fault = fault;
        if fault == Fault::Cut {
            for stream in state.open.drain(..) {
                // It may be closed already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.1.notify_all();
    }
}

fn accept(shared: &Arc<(Mutex<State>, Condvar)>, client: TcpStream, server: SocketAddr) {
    let mut state = shared.0.lock().expect("no thread panics with it");
    if state.fault == Fault::Cut {
        return;
    }
    // A server that is down: the client sees its connection end.
    let Ok(server) = TcpStream::connect(server) else { return };
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
        let shared = Arc::clone(shared);
        std::thread::spawn(move || pump(&shared, from, to));
    }
    state.open.extend([client, server]);
}

/// Passes bytes on until one side ends.
fn pump(shared: &(Mutex<State>, Condvar), mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        let state = shared.0.lock().expect("no thread panics with it");
        drop(
            shared
                .1
                .wait_while(state, |state| state.fault == Fault::Stalled)
                .expect("no thread panics with it"),
        );
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    // The other side learns that it is over; it may be already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
