//! The program. Everything it does is in the library; here is only which allocator it does it with.

// AddressSanitizer watches the system's allocator alone (tools/sanitize).
#[cfg(not(sanitized))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tidegate::cli::run()
}
