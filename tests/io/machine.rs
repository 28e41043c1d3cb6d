//! What only the kernels of this machine show: limits of the process, other threads, Unix sockets.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate::io::listen::open_unix;
use tidegate::io::{Completion, Io, Kernel, Operation};

use crate::host::{Client, Host, World};
use crate::real::{Real, RealWorld, Which};
use crate::scenarios;

/// Set in a process that a test has started of itself.
const CHILD: &str = "TIDEGATE_IO_CHILD";

pub fn ten_thousand_sockets_are_served<B: Which>(test: &str) {
    if std::env::var_os(CHILD).is_none() {
        return run_alone(Command::new(std::env::current_exe().expect("a program")), test);
    }
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit");
    // Both ends are this process's.
    let most = limit.maximum.map_or(10_000, |descriptors| descriptors.saturating_sub(200) / 2);
    scenarios::many_sockets_are_served::<RealWorld<B>>(most.min(10_000) as usize);
}

pub fn accepting_goes_on_after_descriptors_ran_out<B: Which>(test: &str) {
    if std::env::var_os(CHILD).is_none() {
        return run_alone(Command::new(std::env::current_exe().expect("a program")), test);
    }
    let used = std::fs::read_dir("/proc/self/fd").expect("is listed").count() as u64;
    let limit = getrlimit(Resource::Nofile);
    // Before anything is accepted: the ring keeps the limit of the moment at which accepting starts.
    setrlimit(Resource::Nofile, Rlimit { current: Some(used + 70), ..limit }).expect("below the hard limit");
    let reserve: Vec<_> = (0..40).map(|_| File::open("/dev/null").expect("opens")).collect();
    let mut host = Host::<RealWorld<B>>::new();
    let (served, mut client) = host.connection();
    host.receive(served);
    // They wait in the kernel until no descriptor is left for another.
    let waiting: Vec<_> = std::iter::from_fn(|| host.world.try_connect()).collect();
    assert!(waiting.len() > 10);
    host.until("accepting fails", |host| !host.accept_errors.is_empty());
    // It is reported once, and the others are served meanwhile.
    host.settle();
    let errors: Vec<_> = host.accept_errors.iter().map(std::io::Error::raw_os_error).collect();
    assert_eq!(errors, [Some(rustix::io::Errno::MFILE.raw_os_error())]);
    host.feed(&mut client, b"served");
    host.until("it arrives", |host| host.seen(served).received == b"served");
    let listener = host.listener;
    host.start(Operation::Accept { listener });
    host.until("it fails again", |host| host.accept_errors.len() == 2);
    drop(reserve);
    host.start(Operation::Accept { listener });
    host.until("those who waited are accepted", |host| host.accepted.len() == waiting.len());
}

pub fn wakes_of_other_threads_are_never_lost<B: Which>() {
    const THREADS: u64 = 4;
    const WAKES: u64 = 5_000;
    let mut kernel = Kernel::open(B::backend()).expect("a kernel");
    let sent = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (waker, sent) = (kernel.waker(), Arc::clone(&sent));
            std::thread::spawn(move || {
                for wake in 0..WAKES {
                    sent.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                    if (wake + thread) % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut completions = Vec::new();
    // Without a limit of time: a lost wake would never end.
    while sent.load(Ordering::Relaxed) < THREADS * WAKES {
        kernel.wait(0, None, &mut completions).expect("a wait");
        assert!(completions.len() <= 1 && completions.iter().all(|c| matches!(c, Completion::Woken)));
        completions.clear();
    }
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
}

pub fn a_unix_socket_that_cores_share_is_accepted_by_each<B: Which>() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("listener");
    let mut kernels: Vec<Kernel> = (0..2).map(|_| Kernel::open(B::backend()).expect("a kernel")).collect();
    let listeners = open_unix(&path, 2).expect("a path");
    let ids: Vec<_> = kernels
        .iter_mut()
        .zip(listeners)
        .map(|(kernel, listener)| {
            let id = kernel.add_listener(listener).expect("a listener");
            kernel.start(Operation::Accept { listener: id });
            id
        })
        .collect();
    let (mut completions, mut accepted) = (Vec::new(), 0);
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        if clients.len() < 100 {
            clients.push(UnixStream::connect(&path).expect("connects"));
        }
        for kernel in &mut kernels {
            kernel.wait(0, Some(0), &mut completions).expect("a wait");
            for completion in completions.drain(..) {
                let Completion::Accepted { peer, .. } = completion else { panic!("{completion:?}") };
                assert_eq!(peer, None);
                accepted += 1;
            }
        }
        if accepted == 100 {
            break;
        }
    }
    assert_eq!(accepted, 100);
    for (kernel, listener) in kernels.iter_mut().zip(ids) {
        kernel.start(Operation::StopAccepting { listener });
        while !completions.iter().any(|completion| matches!(completion, Completion::AcceptStopped { .. })) {
            kernel.wait(0, Some(1_000_000), &mut completions).expect("a wait");
        }
        completions.clear();
    }
    assert!(UnixStream::connect(&path).is_err());
}

pub fn a_backend_that_is_dropped_ends_what_is_in_flight<B: Which>() {
    for _ in 0..5 {
        let mut host = Host::<RealWorld<B>>::new();
        let mut connections: Vec<_> = (0..6).map(|_| host.connection()).collect();
        for (at, (socket, client)) in connections.iter_mut().enumerate() {
            if at % 2 == 0 {
                host.receive(*socket)
            } else {
                host.rest(*socket)
            }
            if at % 3 == 0 {
                host.send(*socket, &vec![7; 8 << 20]);
            }
            client.send(b"in flight").expect("connected");
        }
        // Some of it was never handed over.
        host.turn();
        let (socket, _) = host.connection();
        host.receive(socket);
        let clients: Vec<_> = connections.into_iter().map(|(_, client)| client).collect();
        drop(host);
        for mut client in clients {
            while client.send(b"more").is_some() {
                std::thread::yield_now();
            }
        }
    }
}

/// The tests of the ring, as a user who may lock the 8 MiB that a login gets.
pub fn an_ordinary_user_is_served() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut command = Command::new("sh");
    let program = std::env::current_exe().expect("a program");
    command.args([
        "-c",
        "ulimit -l 8192 && exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" \"$@\"",
    ]);
    command.arg(&program);
    if !Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("left out: setpriv is missing");
        return;
    }
    run_alone(command, "on_ring::bytes_are_echoed_however_they_are_cut");
}

/// Runs one test in a process of its own.
fn run_alone(mut command: Command, test: &str) {
    let output = command.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().expect("runs");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{test}:\n{out}\n{error}");
}

/// Rings for eight cores fit into what an ordinary user may lock, if need be smaller.
pub fn rings_for_many_cores_are_found_room_for() {
    use tidegate::io::{Backend, Preference, choose};
    let Backend::Ring(setup) = choose(Preference::Ring, 8).expect("io_uring serves") else {
        panic!("asked for")
    };
    let kernels: Vec<Kernel> =
        (0..8).map(|_| Kernel::open(Backend::Ring(setup)).expect("as it was found")).collect();
    drop(kernels);
    assert_eq!(Real::on(Backend::Ring(setup)).address().port(), 0);
}
