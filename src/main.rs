//! stand-in
use tidegate::settings::*;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let v = |n: &str, d: &str| std::env::var(n).unwrap_or(d.into());
    tidegate::cli::serve::run(&Settings {
        data: v("DATA", "tidegate-data").into(), cores: v("CORES", "1").parse()?,
        ingress: Ingress { listen: Address::Tcp(v("INGRESS", "127.0.0.1:8080").parse()?), trusted_proxies: vec![], cors: true },
        admin: Admin { listen: Address::Tcp(v("ADMIN", "127.0.0.1:8081").parse()?), hosts: vec![], open_metrics: false },
        access_token: Some(Secret("secret".into())),
        limits: Limits { requests_per_window: v("RATE", "100").parse()?, window_seconds: 10, concurrency: 100, payload_bytes: 262144, reply_timeout_seconds: 60, connections: 100000, body_bytes_per_core: 256 << 20 },
        driver: match v("DRIVER", "auto").as_str() { "epoll" => Driver::Epoll, "io_uring" => Driver::IoUring, _ => Driver::Auto },
    })
}
