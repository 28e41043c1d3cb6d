//! The allocator of this test: the system's, with a count of what every thread but the test's own asks of it, and on
//! demand a note of where each was asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

/// Places that are noted at most.
const PLACES_MAX: u64 = 400;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
/// How many places are to be noted still.
static WANTED: AtomicU64 = AtomicU64::new(0);
static PLACES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether this thread's allocations are left out: the test's own, and those that noting makes.
    static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call is passed on to the system's allocator as it is, which keeps the contract; what is added allocates
// only while its own allocations are left out, and touches none of the memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `realloc`'s contract, and what it has came from the system's allocator.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and what it has came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn note() {
    // A thread that ends has no such variable any more; what it still allocates is nobody's request.
    if LEFT_OUT.try_with(Cell::get).unwrap_or(true) {
        return;
    }
    COUNT.fetch_add(1, Relaxed);
    if WANTED.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
        leave_out(true);
        let place = Backtrace::force_capture();
        PLACES.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        leave_out(false);
    }
}

/// Leaves out what this thread allocates from now on, or counts it again.
pub fn leave_out(so: bool) {
    LEFT_OUT.with(|left_out| left_out.set(so));
}

/// Allocations of all threads that are counted, so far.
pub fn count() -> u64 {
    COUNT.load(Relaxed)
}

/// Where the allocations come from that happen meanwhile: each place once, with how many it made.
pub fn places(mut meanwhile: impl FnMut()) -> String {
    WANTED.store(PLACES_MAX, Relaxed);
    meanwhile();
    WANTED.store(0, Relaxed);
    let places = std::mem::take(&mut *PLACES.lock().unwrap_or_else(PoisonError::into_inner));
    let mut counts: Vec<(String, usize)> = Vec::new();
    for stack in places.iter().map(|place| own_part(&place.to_string())) {
        match counts.iter_mut().find(|(known, _)| *known == stack) {
            Some((_, count)) => *count += 1,
            None => counts.push((stack, 1)),
        }
    }
    counts.iter().map(|(stack, count)| format!("{count} by\n{stack}")).collect()
}

/// The frames of a stack that are known by file and line and are not of the standard library, innermost first, down
/// to the loop of the core.
fn own_part(stack: &str) -> String {
    let lines: Vec<&str> = stack.lines().map(str::trim).collect();
    let mut text = String::new();
    for pair in lines.windows(2) {
        let (frame, Some(place)) = (pair[0], pair[1].strip_prefix("at ")) else { continue };
        if frame.contains("catch_unwind") || frame.contains("AssertUnwindSafe") {
            break;
        }
        if !place.starts_with("/rustc/") && !place.contains("tests/allocations/") {
            text.push_str("    ");
            text.push_str(place);
            text.push('\n');
        }
    }
    text
}
