//! The body of a reply that is passed on while it is received: a bounded queue of bytes between the thread that receives
//! them and the core that sends them to the caller.
//!
//! **Invariants**: the reader sees the bytes in order, and [`StreamProgress::Complete`] only behind all of them, and only
//! if they are as many as were declared and no more than a reply may have; a writer that is dropped before its end leaves
//! a stream that is broken; a reader that is dropped wakes the writer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};

/// Bytes that wait for the caller before no more are received, besides the piece that was received last.
pub const STREAM_BYTES_MAX: usize = 64 * 1024;

/// Tells the reader's core that there is something to read; returns whether it could be told.
pub(super) type StreamNotify = Box<dyn Fn() -> bool + Send + Sync>;

/// Why a piece of a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRefused {
    /// The body is larger than a reply may be, or than was declared.
    TooLarge,
    /// Nobody reads it any more.
    Closed,
}

/// Progress of a stream, as of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum StreamProgress {
    /// There is more to be read at once.
    More,
    /// All that was received has been read; the reader is told of more.
    Waits,
    /// The body has been read to its end.
    Complete,
    /// The rest of the body will never be received.
    Broken,
}

/// Creates a stream for the part of a body behind its first `first` bytes.
///
/// The body is to have `length` bytes in all, if that is known, and may have `bytes_max`.
#[must_use]
pub fn stream(first: usize, length: Option<u64>, bytes_max: usize) -> (StreamWriter, ReplyStream) {
    let state = State { received: first as u64, ..State::default() };
    let shared = Arc::new(Shared { length, bytes_max: bytes_max as u64, state: Mutex::new(state) });
    (StreamWriter(Arc::clone(&shared)), ReplyStream(Arc::new(Reader(shared))))
}

struct Shared {
    length: Option<u64>,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    /// Bytes of the pieces.
    waiting: usize,
    /// Bytes of the body so far, its beginning among them.
    received: u64,
    end: Option<StreamEnd>,
    notify: Option<StreamNotify>,
    /// The reader has read everything and is to be told of more.
    is_awaited: bool,
    /// The reader is gone.
    is_closed: bool,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamEnd {
    Complete,
    Broken,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic between two changes leaves a queue that can be read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell_reader(&mut self) {
        if self.is_awaited && self.notify.as_ref().is_some_and(|notify| notify()) {
            self.is_awaited = false;
        }
    }

    fn end(&mut self, end: StreamEnd) {
        if self.end.is_none() {
            self.end = Some(end);
            self.tell_reader();
        }
    }
}

/// The side of a stream that receives the body. Dropped before [`StreamWriter::finish`], it leaves the stream broken.
pub struct StreamWriter(Arc<Shared>);

impl StreamWriter {
    /// Adds a piece.
    ///
    /// # Errors
    /// If the body is over its limit with it, or nobody reads it.
    pub fn push(&self, piece: Bytes) -> Result<(), StreamRefused> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(StreamRefused::Closed);
        }
        let received = state.received + piece.len() as u64;
        if received > self.0.length.unwrap_or(u64::MAX).min(self.0.bytes_max) {
            state.end(StreamEnd::Broken);
            return Err(StreamRefused::TooLarge);
        }
        state.received = received;
        if !piece.is_empty() {
            state.waiting += piece.len();
            state.pieces.push_back(piece);
            state.tell_reader();
        }
        Ok(())
    }

    /// Ends the body. It is broken if it has fewer bytes than were declared.
    pub fn finish(self) {
        let mut state = self.0.lock();
        let is_whole = self.0.length.is_none_or(|length| length == state.received);
        state.end(if is_whole { StreamEnd::Complete } else { StreamEnd::Broken });
    }

    /// Waits until there is room for a piece; returns `false` if nobody reads the body any more.
    pub async fn room(&self) -> bool {
        std::future::poll_fn(|context| self.poll_room(context)).await
    }

    /// Waits until nobody reads the body any more.
    pub async fn closed(&self) {
        std::future::poll_fn(|context| self.poll(context, |state| state.is_closed.then_some(()))).await;
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<bool> {
        self.poll(context, |state| {
            (state.is_closed || state.waiting < STREAM_BYTES_MAX).then_some(!state.is_closed)
        })
    }

    fn poll<T>(&self, context: &mut Context<'_>, ready: impl FnOnce(&State) -> Option<T>) -> Poll<T> {
        let mut state = self.0.lock();
        match ready(&state) {
            Some(value) => Poll::Ready(value),
            None => {
                state.writer = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the body is still being received, for others than its reader.
    #[must_use]
    pub fn watch(&self) -> StreamWatch {
        StreamWatch(Arc::downgrade(&self.0))
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.0.lock().end(StreamEnd::Broken);
    }
}

/// Tells whether the body of a stream is still being received.
#[derive(Clone)]
pub struct StreamWatch(Weak<Shared>);

impl fmt::Debug for StreamWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWatch").finish_non_exhaustive()
    }
}

impl StreamWatch {
    /// Whether the stream has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.upgrade().is_some_and(|shared| shared.lock().end.is_none())
    }
}

/// The side of a stream that passes the body on. When the last clone is dropped, the writer learns that nobody reads.
#[derive(Clone)]
pub struct ReplyStream(Arc<Reader>);

struct Reader(Arc<Shared>);

impl ReplyStream {
    /// Number of bytes of the whole body, if it is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.0.0.length
    }

    /// Sets how the reader is told.
    pub fn notify_by(&self, notify: StreamNotify) {
        self.0.0.lock().notify = Some(notify);
    }

    /// Reads up to `bytes_max` bytes.
    pub fn read(&self, bytes_max: usize, mut write: impl FnMut(&[u8])) -> StreamProgress {
        let mut state = self.0.0.lock();
        let mut left = bytes_max;
        while left > 0
            && let Some(piece) = state.pieces.front_mut()
        {
            let bytes = piece.len().min(left);
            write(&piece[..bytes]);
            piece.advance(bytes);
            if piece.is_empty() {
                state.pieces.pop_front();
            }
            left -= bytes;
            state.waiting -= bytes;
        }
        if state.waiting < STREAM_BYTES_MAX
            && let Some(writer) = state.writer.take()
        {
            writer.wake();
        }
        match state.end {
            _ if !state.pieces.is_empty() => StreamProgress::More,
            Some(StreamEnd::Complete) => StreamProgress::Complete,
            Some(StreamEnd::Broken) => StreamProgress::Broken,
            None => {
                state.is_awaited = true;
                StreamProgress::Waits
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.pieces.clear();
        state.waiting = 0;
        state.notify = None;
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }
}

impl PartialEq for ReplyStream {
    fn eq(&self, other: &ReplyStream) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ReplyStream {}

impl fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyStream").field("length", &self.length()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn read(reader: &ReplyStream, bytes_max: usize) -> (Vec<u8>, StreamProgress) {
        let mut bytes = Vec::new();
        let progress = reader.read(bytes_max, |piece| bytes.extend_from_slice(piece));
        (bytes, progress)
    }

    fn has_room(writer: &StreamWriter) -> Poll<bool> {
        writer.poll_room(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn bytes_are_read_in_order_and_complete_only_behind_the_last() {
        let (writer, reader) = stream(0, None, 100);
        assert_eq!(read(&reader, 10), (Vec::new(), StreamProgress::Waits));
        writer.push(Bytes::from_static(b"abc")).unwrap();
        writer.push(Bytes::new()).unwrap();
        writer.push(Bytes::from_static(b"def")).unwrap();
        let watch = writer.watch();
        assert!(watch.is_open());
        writer.finish();
        assert!(!watch.is_open());
        assert_eq!(read(&reader, 2), (b"ab".to_vec(), StreamProgress::More));
        assert_eq!(read(&reader, 2), (b"cd".to_vec(), StreamProgress::More));
        assert_eq!(read(&reader, 0), (Vec::new(), StreamProgress::More));
        assert_eq!(read(&reader, 9), (b"ef".to_vec(), StreamProgress::Complete));
    }

    #[test]
    fn a_writer_that_is_dropped_or_has_too_little_leaves_a_broken_stream() {
        let (writer, reader) = stream(0, None, 100);
        writer.push(Bytes::from_static(b"abc")).unwrap();
        drop(writer);
        assert_eq!(read(&reader, 1), (b"a".to_vec(), StreamProgress::More));
        assert_eq!(read(&reader, 9), (b"bc".to_vec(), StreamProgress::Broken));
        let (writer, reader) = stream(2, Some(4), 100);
        writer.push(Bytes::from_static(b"3")).unwrap();
        writer.finish();
        assert_eq!(read(&reader, 9), (b"3".to_vec(), StreamProgress::Broken));
        let (writer, reader) = stream(2, Some(4), 100);
        writer.push(Bytes::from_static(b"34")).unwrap();
        writer.finish();
        assert_eq!(read(&reader, 9), (b"34".to_vec(), StreamProgress::Complete));
    }

    #[test]
    fn a_body_over_its_limit_or_its_length_is_broken() {
        for (length, bytes_max) in [(None, 4), (Some(4), 100)] {
            let (writer, reader) = stream(2, length, bytes_max);
            writer.push(Bytes::from_static(b"34")).unwrap();
            assert_eq!(writer.push(Bytes::from_static(b"5")), Err(StreamRefused::TooLarge));
            writer.finish();
            assert_eq!(read(&reader, 9), (b"34".to_vec(), StreamProgress::Broken));
        }
    }

    #[test]
    fn a_reader_that_reads_slowly_holds_the_writer_back() {
        let (writer, reader) = stream(0, None, usize::MAX);
        assert_eq!(has_room(&writer), Poll::Ready(true));
        writer.push(vec![0; STREAM_BYTES_MAX].into()).unwrap();
        assert_eq!(has_room(&writer), Poll::Pending);
        assert_eq!(read(&reader, 1).1, StreamProgress::More);
        assert_eq!(has_room(&writer), Poll::Ready(true));
        drop(reader.clone());
        assert_eq!(has_room(&writer), Poll::Ready(true));
        drop(reader);
        assert_eq!(has_room(&writer), Poll::Ready(false));
        assert_eq!(writer.push(Bytes::from_static(b"x")), Err(StreamRefused::Closed));
    }

    #[test]
    fn a_reader_is_told_once_for_all_that_it_has_not_read_and_again_if_it_could_not_be_told() {
        let (writer, reader) = stream(0, None, 100);
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        // The first attempt to tell it fails.
        reader.notify_by(Box::new(move || count.fetch_add(1, Ordering::Relaxed) > 0));
        writer.push(Bytes::from_static(b"a")).unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 0, "it has not asked yet");
        assert_eq!(read(&reader, 9).1, StreamProgress::Waits);
        for _ in 0..3 {
            writer.push(Bytes::from_static(b"b")).unwrap();
        }
        assert_eq!(told.load(Ordering::Relaxed), 2);
        assert_eq!(read(&reader, 9), (b"bbb".to_vec(), StreamProgress::Waits));
        drop(writer);
        assert_eq!(told.load(Ordering::Relaxed), 3);
    }
}
