//! The two backends of this machine's kernel, and clients over loopback.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use tidegate::io::file::make_zeroed;
use tidegate::io::listen::open_tcp;
use tidegate::io::{Backend, DiskFile, Kernel, Listener, Preference, Safety, choose};

use crate::host::{Client, Heard, World};

/// A kernel of this machine.
pub struct Real {
    kernel: Kernel,
    address: SocketAddr,
    began: Instant,
}

pub trait Which {
    fn backend() -> Backend;
}

pub struct OnRing;

impl Which for OnRing {
    fn backend() -> Backend {
        choose(Preference::Ring, 1).expect("io_uring serves on the machines that test this")
    }
}

pub struct OnEpoll;

impl Which for OnEpoll {
    fn backend() -> Backend {
        choose(Preference::Epoll, 1).expect("epoll serves anywhere")
    }
}

impl Real {
    pub fn on(backend: Backend) -> Real {
        let kernel = Kernel::open(backend).expect("the kernel is opened");
        Real { kernel, address: SocketAddr::from(([127, 0, 0, 1], 0)), began: Instant::now() }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// [`World`] for one of the two.
pub struct RealWorld<B>(pub Real, std::marker::PhantomData<B>);

impl<B: Which> World for RealWorld<B> {
    type Io = Kernel;
    type Client = RealClient;

    fn open() -> RealWorld<B> {
        RealWorld(Real::on(B::backend()), std::marker::PhantomData)
    }

    fn io(&mut self) -> &mut Kernel {
        &mut self.0.kernel
    }

    fn listener(&mut self) -> Listener {
        let (mut listeners, address) =
            open_tcp(SocketAddr::from(([127, 0, 0, 1], 0)), 1).expect("a port is free");
        self.0.address = address;
        listeners.remove(0)
    }

    fn try_connect(&mut self) -> Option<RealClient> {
        let stream = TcpStream::connect_timeout(&self.0.address, Duration::from_secs(10)).ok()?;
        Some(RealClient::new(stream))
    }

    fn pair(&mut self) -> (OwnedFd, RealClient) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (server, _) = listener.accept().expect("is accepted");
        (OwnedFd::from(server), RealClient::new(client))
    }

    fn file(&mut self, bytes: usize, safety: Safety) -> DiskFile {
        // On a disk, as the journal's are, where the build is on one.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let path = folder.path().join("file");
        make_zeroed(&path, bytes as u64, b"").expect("there is room");
        DiskFile::open(&path, safety).expect("it is there")
    }

    fn now(&mut self) -> u64 {
        self.0.began.elapsed().as_nanos() as u64
    }
}

pub struct RealClient {
    pub stream: TcpStream,
}

impl RealClient {
    pub fn new(stream: TcpStream) -> RealClient {
        stream.set_nonblocking(true).expect("a socket");
        RealClient { stream }
    }
}

impl Client for RealClient {
    fn send(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.stream.write(bytes) {
            Ok(length) => Some(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> Heard {
        let mut piece = [0; 65_536];
        match self.stream.read(&mut piece) {
            Ok(0) => Heard::End,
            Ok(length) => {
                into.extend_from_slice(&piece[..length]);
                Heard::Bytes
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Heard::Nothing,
            Err(_) => Heard::Reset,
        }
    }

    fn shutdown_write(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a connected socket");
    }

    fn reset(self) {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("a socket");
    }

    fn shrink_receive_buffer(&mut self, bytes: usize) {
        sockopt::set_socket_recv_buffer_size(&self.stream, bytes).expect("a socket");
    }
}
