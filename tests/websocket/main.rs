//! Black-box tests of WebSocket webhooks (section 6 of the specification): the program as a child process, spoken to
//! frame by frame and by other people's clients.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the tests of workers, which use all of it")]
#[path = "../sockets/mod.rs"]
mod sockets;

/// Makes a module for each driver with a test for each of these functions, which take the driver's name.
#[allow(unused_macros, reason = "not every file needs it")]
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

mod callers;
mod chaos;
mod clients;
mod frames;
mod lifecycle;
mod payload;
mod upgrade;
