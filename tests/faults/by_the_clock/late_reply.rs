//! A reply that comes when its core has been idle for longer than a response may wait: its time begins when it is
//! written, and begins anew with each part that the caller takes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{RESPONSE, start};
use crate::common::{PATIENCE, Server};
use crate::sockets::Worker;

/// The core does nothing for this long: more than a response's time.
const IDLE_CORE: Duration = Duration::from_secs(RESPONSE + 3);
/// More than the buffers on the way hold, less than a REST body may have.
const REPLY_BYTES: usize = 1_900_000;
/// The caller takes its response in so many parts, with a rest before each: longer in all than a response's time.
const PARTS: usize = 17;
const REST: Duration = Duration::from_secs(2);
/// A small window, so that the response waits with the server.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// Small segments: the kernel gives a sender room for twenty of them at first, and those of the loopback are of 64 KiB.
const SEGMENT_BYTES: libc::c_int = 1_400;

/// The `replyId` of the request that waits, from a worker that then leaves: nothing of it wakes the core afterwards.
fn reply_id(server: &Server, flow: &str) -> String {
    let mut worker = Worker::attach(server, flow, 1);
    let data = worker.take();
    worker.socket.close(1000, "").closed();
    data["replyId"].as_str().expect("a string").to_owned()
}

/// A caller whose server cannot leave the whole response with the kernel.
fn caller(address: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES).expect("a socket");
    let (bytes, length) = (SEGMENT_BYTES, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the kernel reads an integer of this length and keeps nothing of it.
    let set = unsafe {
        let value = (&raw const bytes).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG, value, length)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    connect(&socket, &address).expect("it accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

pub fn a_late_reply_reaches_a_caller_that_takes_it_slowly(driver: &str) {
    let server = start(driver);
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"payloadBytes": REPLY_BYTES}}));
    let flow = server.flow(&hook, json!([{"type": "WorkerNode"}]));
    let mut stream = caller(server.ingress);
    stream.write_all(&hook.get()).expect("it takes it");
    let reply_id = reply_id(&server, &flow);
    thread::sleep(IDLE_CORE);
    let reply = json!({"body": "x".repeat(REPLY_BYTES - 2)});
    assert_eq!(server.done("POST", &format!("/replies/{reply_id}"), &reply)["accepted"], json!(true));
    let begun = Instant::now();
    let mut received = Vec::new();
    for part in 1..=PARTS {
        thread::sleep(REST);
        let most = (REPLY_BYTES / PARTS * part).saturating_sub(received.len());
        let before = received.len();
        (&stream).take(most as u64).read_to_end(&mut received).expect("it is not cut");
        assert!(received.len() > before, "{driver}: cut after {before} bytes and {:?}", begun.elapsed());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned();
    assert!(received.starts_with(b"HTTP/1.1 200 "), "{}", text(&received));
    let head = memchr::memmem::find(&received, b"\r\n\r\n").expect("a head") + 4;
    let length = head + REPLY_BYTES - 2;
    let missing = length.checked_sub(received.len()).expect("no more than the response");
    let mut rest = vec![0; missing];
    stream.read_exact(&mut rest).expect("it is not cut");
    received.append(&mut rest);
    assert!(received[head..].iter().all(|&byte| byte == b'x'));
    assert!(begun.elapsed() > Duration::from_secs(RESPONSE), "it was taken too fast to show anything");
    println!("{driver}: a late reply of {length} bytes was taken in {:.1} s", begun.elapsed().as_secs_f64());
}
