//! A reply as a node has just made it: its parts lie where they were written or where they came from, so that it can go
//! out without a copy. [`Rendered::into_reply`] makes one that lasts.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::caller::CallerKind;
use super::error::ReplyError;
use super::response::{self, HttpReply, Reply};
use crate::template::Work;

/// Bytes of a sheet that is kept; a larger one was for a large reply.
const KEEP_BYTES: usize = 64 * 1024;

/// Where nodes write their replies, one after the other: lent to [`super::ReplyNode::render`].
#[derive(Debug, Default)]
pub struct Sheet {
    pub(super) text: Vec<u8>,
    /// Where each header's name begins and ends, and where its value ends.
    pub(super) headers: Vec<[usize; 3]>,
    scratch: Vec<u8>,
    /// The rest of the work budget that the nodes of an event share.
    pub(super) work: Work,
}

impl Sheet {
    /// Begins an event of so many bytes: its nodes share one budget of work, however many they are.
    pub fn begin_event(&mut self, bytes: usize) {
        self.work = Work::of_event(bytes);
    }

    /// The buffer and the rest of the work budget, for nodes without a reply.
    pub fn scratch_and_work(&mut self) -> (&mut Vec<u8>, &mut Work) {
        (&mut self.scratch, &mut self.work)
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.headers.clear();
    }

    /// Gives up what one large reply took.
    pub fn trim(&mut self) {
        if self.text.capacity() > KEEP_BYTES {
            self.text = Vec::new();
        }
        if self.scratch.capacity() > KEEP_BYTES {
            self.scratch = Vec::new();
        }
    }

    /// Text, as all that templates write is.
    fn str(&self, range: Range<usize>) -> &str {
        self.text.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.headers.iter().map(|&[start, middle, end]| (self.str(start..middle), self.str(middle..end)))
    }
}

/// To whom a reply goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyTo<'a> {
    /// The sender of the trigger: the `replyId` is the payload's own.
    Trigger,
    /// Whom this `replyId` names.
    Named(Cow<'a, str>),
}

/// Where a body lies.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// It is the node's own.
    Constant(&'a Bytes),
    /// In the payload.
    Found(&'a [u8]),
    /// On the sheet.
    Written(Range<usize>),
    /// It was decoded.
    Decoded(Vec<u8>),
}

/// The reply that a node rendered from a payload.
#[derive(Debug)]
pub struct Rendered<'a> {
    pub(super) to: ReplyTo<'a>,
    pub(super) only_for: CallerKind,
    pub(super) response_code: Option<i64>,
    pub(super) body: Option<Body<'a>>,
    pub(super) is_binary: bool,
    pub(super) sheet: &'a Sheet,
}

impl Rendered<'_> {
    /// To whom it goes.
    #[must_use]
    pub fn to(&self) -> &ReplyTo<'_> {
        &self.to
    }

    /// The only kind of caller that may get it.
    #[must_use]
    pub fn only_for(&self) -> CallerKind {
        self.only_for
    }

    /// The body or message, as [`Reply::body`].
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        Some(match self.body.as_ref()? {
            Body::Constant(bytes) => bytes,
            Body::Found(bytes) => bytes,
            Body::Written(range) => &self.sheet.text[range.clone()],
            Body::Decoded(bytes) => bytes,
        })
    }

    /// As [`Reply::is_binary`].
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.is_binary
    }

    /// As [`super::to_http`].
    ///
    /// # Errors
    /// As [`super::to_http`].
    pub fn to_http(&self, webhook_code: u16, body_bytes_max: usize) -> Result<HttpReply<'_>, ReplyError> {
        let body = self.body().unwrap_or_default();
        response::http(self.response_code, self.sheet.headers(), body, webhook_code, body_bytes_max)
    }

    /// A reply that lasts.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        let body = match self.body {
            None => None,
            Some(Body::Constant(bytes)) => Some(bytes.clone()),
            Some(Body::Found(bytes)) => Some(Bytes::copy_from_slice(bytes)),
            Some(Body::Written(range)) => Some(Bytes::copy_from_slice(&self.sheet.text[range])),
            Some(Body::Decoded(bytes)) => Some(Bytes::from(bytes)),
        };
        let headers = self.sheet.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Reply {
            only_for: Some(self.only_for),
            response_code: self.response_code,
            headers: headers.collect(),
            body,
            is_binary: self.is_binary,
            stream: None,
            close: None,
        }
    }
}
