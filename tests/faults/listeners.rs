//! Section 14: a listener that cannot be opened stops the start, with words that name its setting.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use crate::process::Started;

/// Each listener: its part of the variable, its key in the file.
const LISTENERS: [(&str, &str); 3] =
    [("INGRESS", "ingress.listen"), ("ADMIN", "admin.listen"), ("WORKERS", "workers.listen")];

#[test]
fn a_port_that_is_taken_stops_the_start_and_its_setting_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (listener, key) in LISTENERS {
        let folder = tempfile::tempdir().expect("a folder");
        let variable = format!("TIDEGATE_{listener}_LISTEN");
        let started = Started::new(&folder.path().join("data"), |command| {
            command.env(&variable, &address);
        });
        started.refused().says(&[key, &variable, &address, "in use"]);
    }
}

#[test]
fn a_port_that_is_shared_by_its_holder_is_taken_all_the_same() {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    // As two servers of this kind would: with SO_REUSEPORT the kernel would let the second one in without a word.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_reuseport(&socket, true).expect("an option");
    rustix::net::bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    rustix::net::listen(&socket, 1).expect("it listens");
    let address = TcpListener::from(socket);
    let address_text = address.local_addr().expect("an address").to_string();
    for (listener, key) in LISTENERS {
        let folder = tempfile::tempdir().expect("a folder");
        let variable = format!("TIDEGATE_{listener}_LISTEN");
        let started = Started::new(&folder.path().join("data"), |command| {
            command.env(&variable, &address_text);
        });
        started.refused().says(&[key, &address_text]);
    }
}

#[test]
fn a_port_that_is_let_go_within_a_moment_is_waited_for() {
    // As after a crash: the kernel holds the listener until it has taken the ring of the process apart.
    const MOMENT: std::time::Duration = std::time::Duration::from_millis(400);
    for listener in ["INGRESS", "WORKERS"] {
        let taken = TcpListener::bind("127.0.10.2:0").expect("a port");
        let address = taken.local_addr().expect("an address").to_string();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(MOMENT);
            drop(taken);
        });
        let folder = tempfile::tempdir().expect("a folder");
        let started = Started::new(&folder.path().join("data"), |command| {
            command.env(format!("TIDEGATE_{listener}_LISTEN"), &address);
        });
        started.serves().stop();
        holder.join().expect("it lets go");
    }
}

#[test]
fn an_address_of_another_machine_stops_the_start_and_its_setting_is_named() {
    // RFC 5737: an address of documentation, which no machine has.
    const ELSEWHERE: &str = "192.0.2.1:80";
    for (listener, key) in LISTENERS {
        let folder = tempfile::tempdir().expect("a folder");
        let started = Started::new(&folder.path().join("data"), |command| {
            command.env(format!("TIDEGATE_{listener}_LISTEN"), ELSEWHERE);
        });
        started.refused().says(&[key, ELSEWHERE]);
    }
}

#[test]
fn a_unix_socket_that_is_served_or_a_file_in_its_place_stops_the_start() {
    for (listener, key) in LISTENERS {
        let folder = tempfile::tempdir().expect("a folder");
        let served = folder.path().join("served.sock");
        let _listener = UnixListener::bind(&served).expect("a socket");
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").expect("a file");
        for path in [served, file.clone(), folder.path().join("missing/a.sock")] {
            let started = Started::new(&folder.path().join("data"), |command| {
                command.env(format!("TIDEGATE_{listener}_LISTEN"), format!("unix:{}", path.display()));
            });
            started.refused().says(&[key, path.to_str().expect("text")]);
        }
        assert_eq!(std::fs::read(&file).expect("it is there"), b"kept");
    }
}
