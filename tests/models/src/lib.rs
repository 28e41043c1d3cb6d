//! Sources of the crate with loom's atomics in the place of the standard library's. Nothing is copied: a source names
//! its atomics by `crate::base::sync`, which here is the one below.

#[allow(dead_code, reason = "what only the crate itself uses")]
#[path = "../../../src/registry/backlog.rs"]
pub mod backlog;
#[path = "../../../src/limit/concurrency.rs"]
pub mod concurrency;

/// The rate limiter: its cells, and the refusal that reads one of them without its lock.
#[path = "../../../src/limit"]
pub mod limit {
    #[path = "cell.rs"]
    mod cell;
    #[path = "rate.rs"]
    pub mod rate;
    #[path = "spent.rs"]
    mod spent;
}

/// What those sources stand on.
#[path = "../../../src/base"]
pub mod base {
    pub mod sleep_flag;
    pub mod turn;

    /// As the crate's module of this name.
    pub mod sync {
        pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
        pub use loom::sync::{Arc, Mutex, MutexGuard};
        // Loom has none. What is made once is made before a model's threads start.
        pub use std::sync::{OnceLock, PoisonError};
    }

    /// As much of the clock as the rate limiter needs.
    pub mod clock {
        pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

        /// The time of a call.
        #[derive(Clone, Copy, Debug)]
        pub struct Now {
            pub nanos: u64,
            pub unix_millis: u64,
        }
    }

    /// As much of an id as a backlog needs.
    pub mod id {
        /// The flow that it is of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Id(pub usize);
    }
}

/// Bytes of a flow that wait at a time.
pub const FLOW_BYTES_MAX: usize = backlog::FLOW_BYTES_MAX;
/// Those of the process.
pub const PROCESS_BYTES_MAX: usize = backlog::PROCESS_BYTES_MAX;

/// The backlogs of so many flows of one process.
#[must_use]
pub fn backlogs<const FLOWS: usize>() -> [backlog::Backlog; FLOWS] {
    let process: base::sync::Arc<backlog::ProcessBacklog> = base::sync::Arc::default();
    std::array::from_fn(|flow| backlog::Backlog::new(base::id::Id(flow), base::sync::Arc::clone(&process)))
}
