//! The standard library's types for memory that threads share, under a name of the crate's own. `tests/models` includes
//! sources that use it together with a module of the same name that is loom's, and so checks the code itself and no
//! copy.

pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
