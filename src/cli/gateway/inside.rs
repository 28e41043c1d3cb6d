//! Requests that are sent over a connection within the process: tests of a webhook, and replays of records.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::admin::TestRequest;

/// Bytes of a response's head that are read.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Sends bytes over the connection and returns the status of the final response.
pub(super) async fn send_bytes(
    stream: std::os::unix::net::UnixStream,
    request: &[u8],
) -> anyhow::Result<u16> {
    stream.set_nonblocking(true)?;
    let mut stream = tokio::net::UnixStream::from_std(stream)?;
    let (mut reading, mut writing) = stream.split();
    let send = async {
        // A response may come before all of it is taken, and the connection end with that.
        let _ = writing.write_all(request).await;
        std::future::pending::<()>().await;
    };
    let receive = async {
        let mut received = Vec::new();
        loop {
            while let Some((status, end)) = status_of(&received)? {
                if status >= 200 {
                    return Ok(status);
                }
                received.drain(..end);
            }
            anyhow::ensure!(received.len() < HEAD_BYTES_MAX, "the response has no end of its head");
            anyhow::ensure!(
                reading.read_buf(&mut received).await? > 0,
                "the connection ended without a response"
            );
        }
    };
    tokio::select! {
        () = send => anyhow::bail!("the request was not sent"),
        status = receive => status,
    }
}

/// Status of the response that the bytes begin with, and where its head ends; `None` if it is not complete.
fn status_of(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    const FIELDS_MAX: usize = 128;
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(bytes)? {
        httparse::Status::Complete(end) => Ok(response.code.map(|code| (code, end))),
        httparse::Status::Partial => Ok(None),
    }
}

type ResponseParts = (u16, Vec<(String, String)>, Vec<u8>);

/// Sends the request over the connection and reads the whole response.
pub(super) async fn send(
    stream: std::os::unix::net::UnixStream,
    target: String,
    request: TestRequest,
) -> anyhow::Result<ResponseParts> {
    stream.set_nonblocking(true)?;
    let stream = TokioIo::new(tokio::net::UnixStream::from_std(stream)?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let mut builder =
        hyper::Request::builder().method(request.method.as_str()).uri(target).header("host", "localhost");
    for (name, value) in &request.headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    let response =
        sender.send_request(builder.body(Full::new(Bytes::from(request.body.unwrap_or_default())))?).await?;
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = response.into_body().collect().await?.to_bytes().to_vec();
    driver.abort();
    Ok((status, headers, body))
}
