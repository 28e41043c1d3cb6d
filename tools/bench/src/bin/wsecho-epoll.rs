//! A WebSocket echo by hand on epoll, one thread, one write for all that was read: the least that an echo costs.
//! It knows whole frames only, which is what the load generator sends.
//!
//! `wsecho-epoll [--cpu N] [--listen 127.0.0.1:0]` prints its address and serves until it is killed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use clap::Parser;
use tidegate_bench::frames::{self, Kind};
use tidegate_bench::system;

/// Echoes WebSocket messages, by hand on epoll
#[derive(Parser)]
struct Arguments {
    /// Run on this CPU
    #[arg(long)]
    cpu: Option<usize>,
    /// Serve here; the address is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// Events that one wait brings.
const EVENTS: usize = 256;
/// Bytes that one read brings.
const READ_BYTES: usize = 64 * 1024;
/// A client that does not read what it asked for is let go.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// An upgrade request that has no end by then is none.
const HEAD_BYTES_MAX: usize = 16 * 1024;

struct Connection {
    stream: TcpStream,
    incoming: Incoming,
    unsent: Vec<u8>,
}

/// What came in and was not used yet.
#[derive(Default)]
struct Incoming {
    is_open: bool,
    /// A frame or a head that is not whole.
    partial: Vec<u8>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(cpu) = arguments.cpu {
        system::pin_to_cpu(cpu)?;
    }
    system::raise_open_files(1 << 20)?;
    let listener = system::listen(arguments.listen)?;
    println!("{}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    // SAFETY: the descriptor is new and owned by nobody else.
    let epoll = unsafe { OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
    watch(&epoll, listener.as_raw_fd(), libc::EPOLLIN)?;
    serve(&epoll, &listener)
}

fn serve(epoll: &OwnedFd, listener: &TcpListener) -> anyhow::Result<()> {
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let mut scratch = vec![0; READ_BYTES];
    let mut out = Vec::with_capacity(READ_BYTES);
    loop {
        // SAFETY: there is room for as many events as is said.
        let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, -1) };
        for event in &events[..usize::try_from(count).unwrap_or(0)] {
            let fd = event.u64 as usize;
            if fd as i32 == listener.as_raw_fd() {
                accept(epoll, listener, &mut connections)?;
                continue;
            }
            let stays = connections[fd].as_mut().is_none_or(|one| one.serve(&mut scratch, &mut out));
            if !stays {
                connections[fd] = None;
            }
        }
    }
}

fn accept(
    epoll: &OwnedFd,
    listener: &TcpListener,
    connections: &mut Vec<Option<Connection>>,
) -> anyhow::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(true)?;
        let fd = stream.as_raw_fd();
        if connections.len() <= fd as usize {
            connections.resize_with(fd as usize + 1, || None);
        }
        connections[fd as usize] =
            Some(Connection { stream, incoming: Incoming::default(), unsent: Vec::new() });
        // Edges: what cannot be sent now is sent when the socket says so.
        watch(epoll, fd, libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET)?;
    }
}

impl Connection {
    /// Reads what is there and answers it with one write. False: the connection is over.
    fn serve(&mut self, scratch: &mut [u8], out: &mut Vec<u8>) -> bool {
        let Connection { stream, incoming, unsent } = self;
        out.clear();
        out.append(unsent);
        loop {
            let read = match stream.read(scratch) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            let stays = incoming.take(&mut scratch[..read], out);
            if !stays {
                return false;
            }
            // Less than there was room for: nothing more is there, and an edge tells of what comes.
            if read < scratch.len() {
                break;
            }
        }
        let mut sent = 0;
        while sent < out.len() {
            match stream.write(&out[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        unsent.extend_from_slice(&out[sent..]);
        unsent.len() <= UNSENT_BYTES_MAX
    }
}

impl Incoming {
    /// Echoes what is whole, keeps the rest. False: the connection is over.
    fn take(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> bool {
        if self.is_open && self.partial.is_empty() {
            let Some(used) = echo(bytes, out) else { return false };
            self.partial.extend_from_slice(&bytes[used..]);
            return true;
        }
        self.partial.extend_from_slice(bytes);
        if !self.is_open {
            let Some(end) = memchr::memmem::find(&self.partial, b"\r\n\r\n") else {
                return self.partial.len() <= HEAD_BYTES_MAX;
            };
            let Some(accept) = key(&self.partial[..end]).map(|key| accept_value(&key)) else { return false };
            out.extend_from_slice(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ",
            );
            out.extend_from_slice(accept.as_bytes());
            out.extend_from_slice(b"\r\n\r\n");
            self.partial.drain(..end + 4);
            self.is_open = true;
        }
        match echo(&mut self.partial, out) {
            Some(used) => {
                self.partial.drain(..used);
                true
            }
            None => false,
        }
    }
}

/// Echoes every whole message; says how many bytes were used. None: the connection is over.
fn echo(bytes: &mut [u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut used = 0;
    loop {
        let rest = &mut bytes[used..];
        let Some(header) = frames::header(rest).ok()? else { return Some(used) };
        let end = header.header_bytes.checked_add(usize::try_from(header.payload_bytes).ok()?)?;
        let Some(payload) = rest.get_mut(header.header_bytes..end) else { return Some(used) };
        frames::unmask(payload, header.mask?);
        match header.kind {
            Kind::Message => frames::write(out, header.first_byte, payload, None),
            Kind::Ping => frames::write(out, 0x8A, payload, None),
            Kind::Pong => {}
            Kind::Close => return None,
        }
        used += end;
    }
}

fn key(head: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(head).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    Some(value.trim().to_owned())
}

/// RFC 6455, 4.2.2.
fn accept_value(key: &str) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes())
}

fn watch(epoll: &OwnedFd, fd: i32, events: i32) -> io::Result<()> {
    let mut event = libc::epoll_event { events: events as u32, u64: fd as u64 };
    // SAFETY: both descriptors are open, and the event outlives the call.
    checked(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
    Ok(())
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
