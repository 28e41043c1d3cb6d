//! One TLS session, without its socket: ciphertext goes in, plaintext comes out, and the other way round. The protocol
//! is rustls's, in its form that keeps no buffers of its own, so that a session that is quiet holds its keys and nothing
//! else.
//!
//! The buffers of a session, and how long each holds bytes:
//!
//! | buffer | holds | until |
//! | --- | --- | --- |
//! | `incoming` | ciphertext that came, from the first byte that is not used up | its record is whole |
//! | `plaintext` | what a record brought and the reader had no room for | the next read |
//! | `outgoing` | ciphertext that the socket has not taken | it takes it |
//!
//! Nothing more is decrypted while `plaintext` holds something, and nothing more is encrypted while `outgoing` does.

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{Error, HandshakeKind, ServerConfig};

/// The largest record on the wire: a header, 2^14 bytes and what TLS 1.2 allows a cipher to add (RFC 5246, 6.2.3).
const RECORD_BYTES_MAX: usize = RECORD_HEADER_BYTES + 16 * 1024 + 2048;
const RECORD_HEADER_BYTES: usize = 5;
/// The usual room for ciphertext: a request of a device, a client's first flight.
const INCOMING_BYTES: usize = 4 * 1024;
/// The room where a read filled the one before, and its growth to there: a body that streams in comes in few reads.
const INCOMING_BYTES_LARGE: usize = 64 * 1024;
const INCOMING_GROWTH: usize = 4;
/// The most ciphertext that waits for what follows it: the largest handshake message that rustls puts together (64 KiB)
/// and a record.
const INCOMING_BYTES_MAX: usize = 64 * 1024 + RECORD_BYTES_MAX;
/// Plaintext that is encrypted at a time: four full records, as much as a socket's buffer mostly has room for.
const SEAL_BYTES_MAX: usize = 64 * 1024;
/// Most bytes that a record of ours adds to its plaintext: header, explicit nonce or content type, tag.
const RECORD_OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + EXPLICIT_NONCE_BYTES + 1 + TAG_BYTES;
/// Of AES-GCM in TLS 1.2 (RFC 5288, 3).
const EXPLICIT_NONCE_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// The largest plaintext of a record (RFC 8446, 5.1).
const RECORD_PLAINTEXT_BYTES: usize = 16 * 1024;
/// Types of records (RFC 8446, 5.1).
const CONTENT_ALERT: u8 = 21;
const CONTENT_APPLICATION_DATA: u8 = 23;
/// Level and description.
const ALERT_BYTES: usize = 2;

/// A session, from its first byte.
pub(crate) struct TlsSession {
    connection: UnbufferedServerConnection,
    incoming: Vec<u8>,
    /// How much of `incoming` is used up.
    used: usize,
    /// Room for the next read.
    room: usize,
    plaintext: Vec<u8>,
    /// How much of `plaintext` was given.
    given: usize,
    outgoing: Vec<u8>,
    /// The peer said that it sends nothing more.
    is_over: bool,
    /// A rule was broken: nothing is read or written any more.
    has_failed: bool,
    /// We said that we send nothing more.
    has_said_goodbye: bool,
}

/// The purpose of a step, once every received byte is processed.
#[derive(Clone, Copy)]
enum For<'b> {
    Reading,
    Sealing(&'b [u8]),
    Goodbye,
}

/// The result of a step.
enum Stepped {
    /// There may be more to do at once.
    On,
    /// A record brought plaintext.
    Plaintext,
    /// Nothing more without further bytes.
    Blocked,
    /// The purpose of the step is achieved.
    Done,
}

impl TlsSession {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<TlsSession, Error> {
        Ok(TlsSession {
            connection: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            used: 0,
            room: INCOMING_BYTES,
            plaintext: Vec::new(),
            given: 0,
            outgoing: Vec::new(),
            is_over: false,
            has_failed: false,
            has_said_goodbye: false,
        })
    }

    /// Whether the handshake is through.
    pub(crate) fn is_established(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Whether it was a resumption, once it is through.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether the peer said that it sends nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether a record has begun and is not whole.
    pub(crate) fn is_mid_record(&self) -> bool {
        self.used < self.incoming.len()
    }

    /// The buffer that ciphertext is to be appended to, with room for more; to be given back with
    /// [`Self::restore_incoming`]. None: more came than any peer may send at a time.
    pub(crate) fn take_incoming(&mut self) -> Option<Vec<u8>> {
        let mut incoming = std::mem::take(&mut self.incoming);
        incoming.drain(..self.used);
        self.used = 0;
        if incoming.len() >= INCOMING_BYTES_MAX {
            return None;
        }
        let room = match incoming[..] {
            // Whole records are read in one: what is missing of this one, or a usual read if that is more.
            [_, _, _, high, low, ..] => {
                let record = RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
                record.min(RECORD_BYTES_MAX).saturating_sub(incoming.len()).max(self.room)
            }
            _ => self.room,
        };
        incoming.reserve_exact(room);
        Some(incoming)
    }

    /// Takes the buffer back, and how many bytes it has more.
    pub(crate) fn restore_incoming(&mut self, incoming: Vec<u8>, received: usize) {
        if received == 0 {
            // A session that waits holds no room for what it waits for.
            self.incoming = if incoming.is_empty() { Vec::new() } else { incoming };
            return;
        }
        let is_full = incoming.len() == incoming.capacity();
        self.room =
            if is_full { INCOMING_BYTES_LARGE.min(self.room * INCOMING_GROWTH) } else { INCOMING_BYTES };
        self.incoming = incoming;
    }

    /// Appends received ciphertext.
    ///
    /// # Errors
    /// If more was received than any peer may send at a time.
    pub(crate) fn feed(&mut self, ciphertext: &[u8]) -> Result<(), Error> {
        let Some(mut incoming) = self.take_incoming() else {
            return Err(Error::General("a record that is too large".to_owned()));
        };
        incoming.extend_from_slice(ciphertext);
        self.restore_incoming(incoming, ciphertext.len());
        Ok(())
    }

    /// Number of bytes that plaintext of what was received can have at most.
    pub(crate) fn unread_bytes(&self) -> usize {
        self.incoming.len() - self.used + self.plaintext.len() - self.given
    }

    /// Takes what is to be sent.
    pub(crate) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Decrypts into the room behind `storage`'s length, as far as what came goes. Says how many bytes there are more.
    ///
    /// # Errors
    /// The violation of the protocol by the peer. An alert for it is in [`Self::outgoing`].
    pub(crate) fn read(&mut self, storage: &mut Vec<u8>) -> Result<usize, Error> {
        let before = storage.len();
        loop {
            self.give(storage);
            if storage.len() == storage.capacity() && self.is_mid_record() {
                break;
            }
            if self.given < self.plaintext.len() {
                break;
            }
            match self.step(storage, For::Reading)? {
                Stepped::On | Stepped::Plaintext => {}
                Stepped::Blocked | Stepped::Done => {
                    break;
                }
            }
        }
        if !self.is_mid_record() {
            // A quiet session holds no buffer.
            (self.incoming, self.used) = (Vec::new(), 0);
        }
        Ok(storage.len() - before)
    }

    /// Takes the handshake as far as what came goes. What the peer sent behind it is kept.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn shake_hands(&mut self) -> Result<(), Error> {
        loop {
            match self.step(&mut Vec::new(), For::Reading)? {
                Stepped::On => {}
                // The peer's first request came along.
                Stepped::Plaintext => return Ok(()),
                Stepped::Blocked | Stepped::Done => {
                    return Ok(());
                }
            }
        }
    }

    /// Encrypts the first of `bytes` and says how many that was.
    ///
    /// # Errors
    /// Where nothing can be sent any more.
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let bytes = &bytes[..bytes.len().min(SEAL_BYTES_MAX)];
        self.work_for(For::Sealing(bytes))?;
        Ok(bytes.len())
    }

    /// Says that nothing more is sent (RFC 8446, 6.1), once.
    pub(crate) fn say_goodbye(&mut self) {
        if self.has_failed || std::mem::replace(&mut self.has_said_goodbye, true) {
            return;
        }
        if !self.is_established() {
            return;
        }
        // Who broke a rule has its alert.
        let _ = self.work_for(For::Goodbye);
    }

    /// Bytes of buffers.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.incoming.capacity() + self.plaintext.capacity() + self.outgoing.capacity()
    }

    /// The ciphertext to send.
    #[cfg(test)]
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Takes off what was sent.
    #[cfg(test)]
    pub(crate) fn sent(&mut self, bytes: usize) {
        if bytes >= self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..bytes);
        }
    }

    /// Moves what is left of a record into the storage.
    fn give(&mut self, storage: &mut Vec<u8>) {
        let left = &self.plaintext[self.given..];
        let some = left.len().min(storage.capacity() - storage.len());
        storage.extend_from_slice(&left[..some]);
        self.given += some;
        if self.given == self.plaintext.len() && self.given > 0 {
            (self.plaintext, self.given) = (Vec::new(), 0);
        }
    }

    /// Looks at all that came, then does what is asked. Plaintext that comes up is kept: no more than is in `incoming`.
    fn work_for(&mut self, purpose: For<'_>) -> Result<(), Error> {
        loop {
            match self.step(&mut Vec::new(), purpose)? {
                Stepped::On | Stepped::Plaintext => {}
                Stepped::Done => return Ok(()),
                Stepped::Blocked => return Err(Error::HandshakeNotComplete),
            }
        }
    }

    fn step(&mut self, storage: &mut Vec<u8>, purpose: For<'_>) -> Result<Stepped, Error> {
        if self.has_failed {
            return Err(Error::General("the session has failed".to_owned()));
        }
        // Never less than what came: the parts of a handshake message that are put together lie in it.
        let UnbufferedStatus { mut discard, state } =
            self.connection.process_tls_records(&mut self.incoming[self.used..]);
        let stepped = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    let room = if self.plaintext.is_empty() { storage.capacity() - storage.len() } else { 0 };
                    let (fits, left) = record.payload.split_at(record.payload.len().min(room));
                    storage.extend_from_slice(fits);
                    self.plaintext.extend_from_slice(left);
                }
                Ok(Stepped::Plaintext)
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, &mut self.outgoing);
                Ok(Stepped::On)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // It is in `outgoing`, which leaves before anything else is written.
                data.done();
                Ok(Stepped::On)
            }
            Ok(ConnectionState::WriteTraffic(traffic)) => fulfil(traffic, purpose, &mut self.outgoing),
            Ok(ConnectionState::PeerClosed) => {
                self.is_over = true;
                Ok(Stepped::On)
            }
            Ok(ConnectionState::Closed | ConnectionState::BlockedHandshake) => Ok(Stepped::Blocked),
            // Early data is not offered, and of states that may come in later versions none is asked for.
            Ok(_) => Err(Error::General("a state of TLS that is not served".to_owned())),
            Err(error) => Err(error),
        };
        self.used += discard;
        if stepped.is_err() {
            self.fail();
        }
        stepped
    }

    /// Fetches the alert that tells the peer what it did wrong, and what goes before it. Nothing is asked of rustls after
    /// that: it would look at the bad record again.
    fn fail(&mut self) {
        self.has_failed = true;
        let mut has_alert = false;
        while !has_alert {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.incoming[self.used..]);
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let start = self.outgoing.len();
                    encode(&mut data, &mut self.outgoing);
                    has_alert = is_alert(&self.outgoing[start..]);
                }
                _ => break,
            }
            self.used += discard;
        }
        (self.incoming, self.used) = (Vec::new(), 0);
    }
}

/// Whether a record is an alert. That of TLS 1.3, encrypted, says so by its length alone: no other record of ours is as
/// short.
fn is_alert(record: &[u8]) -> bool {
    match record.first() {
        Some(&CONTENT_ALERT) => true,
        Some(&CONTENT_APPLICATION_DATA) => record.len() == RECORD_HEADER_BYTES + ALERT_BYTES + 1 + TAG_BYTES,
        _ => false,
    }
}

/// Does what the step is taken for, where traffic can be written.
fn fulfil<D>(
    mut traffic: WriteTraffic<'_, D>,
    purpose: For<'_>,
    outgoing: &mut Vec<u8>,
) -> Result<Stepped, Error> {
    let short = |error| match error {
        EncryptError::InsufficientSize(size) => Some(size),
        EncryptError::EncryptExhausted => None,
    };
    let written = match purpose {
        For::Reading => return Ok(Stepped::Blocked),
        For::Sealing(bytes) => {
            let records = bytes.len().div_ceil(RECORD_PLAINTEXT_BYTES);
            let room = bytes.len() + records * RECORD_OVERHEAD_BYTES;
            append(outgoing, room, |room| traffic.encrypt(bytes, room).map_err(short))
        }
        For::Goodbye => {
            let room = RECORD_OVERHEAD_BYTES + ALERT_BYTES;
            append(outgoing, room, |room| traffic.queue_close_notify(room).map_err(short))
        }
    };
    if written { Ok(Stepped::Done) } else { Err(Error::EncryptError) }
}

/// Appends a record of the handshake, or an alert.
fn encode<D>(data: &mut EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) {
    append(outgoing, 0, |room| {
        data.encode(room).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size),
            EncodeError::AlreadyEncoded => None,
        })
    });
}

/// Appends what `write` puts into a room of so many bytes, or of as many as it asks for. False: it writes nothing.
fn append(
    outgoing: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> bool {
    let start = outgoing.len();
    loop {
        outgoing.resize(start + room, 0);
        match write(&mut outgoing[start..]) {
            Ok(bytes) => {
                outgoing.truncate(start + bytes);
                return true;
            }
            Err(Some(size)) if size.required_size > room => room = size.required_size,
            Err(_) => {
                outgoing.truncate(start);
                return false;
            }
        }
    }
}
