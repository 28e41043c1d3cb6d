//! How old a request may be.

/// How far `request.timestamp` may lie from now, either way: Amazon's 150 seconds.
pub(super) const TOLERANCE_MILLIS: u64 = 150_000;
/// How old the events of a skill may be: Amazon's hour. They may not lie further in the future than others.
pub(super) const EVENT_AGE_MILLIS_MAX: u64 = 3_600_000;

const _: () = assert!(TOLERANCE_MILLIS.is_multiple_of(1000) && EVENT_AGE_MILLIS_MAX.is_multiple_of(1000));
