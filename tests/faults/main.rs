//! Faults: the program as a child process where the system refuses it something, the disk lies, the clock jumps, and
//! callers do their worst. Each test says what is held to, and prints its figures (held, refused, lost, recovered in).
//!
//! Tests that need root, a mount, many descriptors or Debian's `faketime` are skipped where those are missing, which
//! `tools/test` counts and CI refuses.

#[path = "../common/mod.rs"]
mod common;
mod process;
#[path = "../sockets/mod.rs"]
#[allow(dead_code, reason = "what other tests that include this file use")]
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

// The long one comes first in the order that test runners take, so that the others run beside it.
mod by_the_clock;
mod clock_jumps;
mod crash_loop;
mod crowd;
mod data_folder;
mod database;
mod descriptors;
mod journal;
mod listeners;
mod memory;
mod resets;
mod stopping;
