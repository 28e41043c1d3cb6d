//! A WebSocket echo on tokio-tungstenite, one thread: what the usual library costs.
//!
//! `wsecho-tungstenite [--cpu N] [--listen 127.0.0.1:0]` prints its address and serves until it is killed.

use std::net::SocketAddr;

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use tidegate_bench::system;

/// Echoes WebSocket messages, by tokio-tungstenite
#[derive(Parser)]
struct Arguments {
    /// Run on this CPU
    #[arg(long)]
    cpu: Option<usize>,
    /// Serve here; the address is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(cpu) = arguments.cpu {
        system::pin_to_cpu(cpu)?;
    }
    system::raise_open_files(1 << 20)?;
    let listener = system::listen(arguments.listen)?;
    println!("{}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    })
}
