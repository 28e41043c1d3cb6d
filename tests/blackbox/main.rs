//! Black-box tests: the program as a child process, spoken to over real sockets. What is tested here is what the
//! specification promises to callers and operators; each file has one part of it.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the tests of WebSockets, which use all of it")]
#[path = "../sockets/mod.rs"]
mod sockets;

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

mod admission;
mod body_limit;
mod clients;
mod conditions;
mod crash;
mod drain;
mod limits;
mod names;
mod payload;
mod pipeline;
mod platform;
mod records;
mod registry;
mod replies;
mod request;
mod strict;
mod system;
mod turns;
mod waiting;
