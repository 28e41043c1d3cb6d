//! stand-in
use tidegate::settings::*;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let env: Vec<(String, String)> = std::env::vars().collect();
    tidegate::cli::serve::run(&Settings::resolve(1, None, &env, &[])?)
}
