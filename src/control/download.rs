//! One request over a connection of its own, and its bounded answer.

use std::error::Error;

use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::{Body, Bytes};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DownloadError {
    /// The connection broke, or what was received is not HTTP.
    Broken,
    /// A status other than 200.
    Status(u16),
    /// More than the bytes that are taken.
    TooLarge,
}

/// Sends the request and returns the body of its answer, of at most `bytes_max` bytes.
///
/// # Errors
/// [`DownloadError`].
pub(super) async fn download<B>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<B>,
    bytes_max: usize,
) -> Result<Vec<u8>, DownloadError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(bytes_max)
        .handshake::<_, B>(TokioIo::new(stream))
        .await
        .map_err(|_| DownloadError::Broken)?;
    // Ends with this function, however that ends: the set stops its tasks when it is dropped.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(|_| DownloadError::Broken)?;
    if response.status() != hyper::StatusCode::OK {
        return Err(DownloadError::Status(response.status().as_u16()));
    }
    let mut body = response.into_body();
    let mut received = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| DownloadError::Broken)?;
        let Some(data) = frame.data_ref() else { continue };
        if received.len() + data.len() > bytes_max {
            return Err(DownloadError::TooLarge);
        }
        received.extend_from_slice(data);
    }
    Ok(received)
}
