//! The same answer from hyper on one thread of tokio: what a careful server on the usual libraries costs. It reads
//! each body to its end and keeps nothing of it.
//!
//! `hyperd [--cpu N] [--listen 127.0.0.1:0]` prints its address and serves until it is killed.

use std::convert::Infallible;
use std::net::SocketAddr;

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tidegate_bench::{ANSWER_BODY, system};

/// Answers every request with the same bytes, by hyper
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
                let connection = http1::Builder::new()
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                // A client that goes away is the only error to be had; the load generator sees what it missed.
                let _ = connection.await;
            });
        }
    })
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER_BODY)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}
