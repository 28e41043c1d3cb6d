//! Black-box tests of what comes before HTTP on the ingress: TLS with certificates of the tests' own, and PROXY headers.
//! The program runs as a child process and is spoken to by rustls, by tungstenite on rustls, by curl, and byte by byte.

mod authority;
mod client;
#[path = "../common/mod.rs"]
mod common;

/// Makes a module for each driver with a test for each of these functions, which take the driver's name.
macro_rules! on_each_driver {
    ($($test:ident),* $(,)?) => {
        mod on_io_uring {
            $(#[test] fn $test() { super::$test("io_uring"); })*
        }
        mod on_epoll {
            $(#[test] fn $test() { super::$test("epoll"); })*
        }
    };
}

mod certificates;
mod drain;
mod handshake;
mod listeners;
mod proxy;
mod reload;
mod traffic;
mod websocket;
