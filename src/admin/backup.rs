//! `GET /backup`: the model as one file, while the server serves. A data folder that holds it as `model.redb` is one that
//! `tidegate serve` starts from.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::IntoResponse;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::call::{Call, Outcome};
use crate::base::log::bounded_log;
use crate::store::StoreError;

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 256 * 1024;
/// BackupChunks that wait for a reader that is slower than the disk.
const CHUNKS_WAITING: usize = 4;

pub(super) async fn backup(call: Call) -> Outcome {
    let copied = call.state.look(|store| {
        let mut file = store.back_up()?;
        let path = store.folder().path();
        let failed = |error: std::io::Error| StoreError::io(path, &error);
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.rewind().map_err(failed)?;
        Ok((file, length))
    });
    let (file, length) = copied.await?;
    bounded_log!(info, bytes = length, "a copy of the model is downloaded");
    let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
    tokio::task::spawn_blocking(move || read_chunks(file, &sender));
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"model.redb\"".to_owned()),
    ];
    Ok((headers, Body::new(BackupChunks(chunks))).into_response())
}

/// Reads the file to its end, or until its reader is gone.
fn read_chunks(mut file: File, sender: &mpsc::Sender<Result<Bytes, std::io::Error>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = file.read(&mut chunk);
        let (chunk, is_last) = match read {
            Ok(0) => return,
            Ok(length) => {
                chunk.truncate(length);
                (Ok(Bytes::from(chunk)), false)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            // The connection breaks, and the client sees fewer bytes than were announced.
            Err(error) => (Err(error), true),
        };
        if sender.blocking_send(chunk).is_err() || is_last {
            return;
        }
    }
}

/// The body of the answer.
struct BackupChunks(mpsc::Receiver<Result<Bytes, std::io::Error>>);

impl hyper::body::Body for BackupChunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
