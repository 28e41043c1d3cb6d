//! Sources of the crate with loom's atomics in the place of the standard library's. Nothing is copied: a source names
//! its atomics by `crate::base::sync`, which here is the one below.

#[path = "../../../src/registry/backlog.rs"]
pub mod backlog;
#[path = "../../../src/limit/concurrency.rs"]
pub mod concurrency;
#[path = "../../../src/base/doze.rs"]
pub mod doze;

/// What those sources stand on.
pub mod base {
    /// As the crate's module of this name.
    pub mod sync {
        pub use loom::sync::Arc;
        pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
    }

    /// As much of an id as a backlog needs.
    pub mod id {
        /// The flow that it is of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Id(pub usize);
    }
}

/// The backlogs of so many flows of one process.
#[must_use]
pub fn backlogs<const FLOWS: usize>() -> [backlog::Backlog; FLOWS] {
    let process: base::sync::Arc<backlog::ProcessBacklog> = base::sync::Arc::default();
    std::array::from_fn(|flow| backlog::Backlog::new(base::id::Id(flow), base::sync::Arc::clone(&process)))
}
