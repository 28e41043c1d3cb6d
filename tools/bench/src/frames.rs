//! WebSocket frames (RFC 6455), as much as echoing and counting needs.

/// A frame's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, binary, or the rest of one.
    Message,
    Close,
    Ping,
    Pong,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub first_byte: u8,
    pub is_last: bool,
    /// Bytes of the header itself.
    pub header_bytes: usize,
    pub payload_bytes: u64,
    pub mask: Option<[u8; 4]>,
}

/// Reads a header, if it is whole. An opcode that RFC 6455 does not know is an error.
///
/// # Errors
/// The opcode.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, u8> {
    let [first_byte, second, ..] = *bytes else { return Ok(None) };
    let kind = match first_byte & 0x0F {
        0..=2 => Kind::Message,
        8 => Kind::Close,
        9 => Kind::Ping,
        10 => Kind::Pong,
        other => return Err(other),
    };
    let (payload_bytes, mut place) = match second & 0x7F {
        126 => match bytes.get(2..4) {
            Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            _ => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|eight| eight.try_into().ok()) {
            Some(eight) => (u64::from_be_bytes(eight), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    let mask = if second & 0x80 == 0 {
        None
    } else {
        let Some(four) = bytes.get(place..place + 4).and_then(|four| four.try_into().ok()) else {
            return Ok(None);
        };
        place += 4;
        Some(four)
    };
    Ok(Some(Header {
        kind,
        first_byte,
        is_last: first_byte & 0x80 != 0,
        header_bytes: place,
        payload_bytes,
        mask,
    }))
}

/// Writes a frame with this first byte (`0x81` for a whole text message), masked if there is a mask.
pub fn write(out: &mut Vec<u8>, first_byte: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    out.push(first_byte);
    let bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..126 => out.push(bit | length as u8),
        length @ 126..65_536 => {
            out.push(bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let from = out.len() + mask.map_or(0, |mask| mask.len());
    out.extend_from_slice(mask.as_ref().map_or(&[], |mask| &mask[..]));
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        unmask(&mut out[from..], mask);
    }
}

/// Masks or unmasks, eight bytes at a time.
pub fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let eight: [u8; 8] = (&*chunk).try_into().unwrap_or_default();
        chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Messages as a server sends them, counted.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Vec<u8>,
    /// Payload bytes of the present frame that are still to come, and whether it ends a message.
    left: u64,
    ends: bool,
    /// Payload bytes of the present message.
    message_bytes: u64,
}

/// What a server must not send while it is asked to echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// An opcode that there is not.
    Opcode(u8),
    /// A masked frame from a server.
    Masked,
    /// The server closes; its code.
    Closed(u16),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Opcode(opcode) => write!(f, "a frame with the opcode {opcode}"),
            Broken::Masked => f.write_str("a masked frame from the server"),
            Broken::Closed(code) => write!(f, "the server closed the WebSocket with {code}"),
        }
    }
}

/// Control frames carry at most this much (RFC 6455, 5.5), so one fits with its header.
const CONTROL_BYTES_MAX: u64 = 125;

impl Reader {
    /// Takes bytes; `each` is told the length of every message that ends within them, `ping` the payload of pings.
    ///
    /// # Errors
    /// If a server must not send this, or it closes.
    pub fn take(
        &mut self,
        received: &[u8],
        mut each: impl FnMut(u64),
        mut ping: impl FnMut(&[u8]),
    ) -> Result<(), Broken> {
        let joined;
        let mut bytes = received;
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.partial);
            bytes = &joined;
        }
        loop {
            if self.left > 0 {
                let here = self.left.min(bytes.len() as u64);
                self.left -= here;
                bytes = &bytes[here as usize..];
                if self.left > 0 {
                    return Ok(());
                }
                if std::mem::take(&mut self.ends) {
                    each(std::mem::take(&mut self.message_bytes));
                }
            }
            let Some(header) = header(bytes).map_err(Broken::Opcode)? else {
                self.partial.extend_from_slice(bytes);
                return Ok(());
            };
            if header.mask.is_some() {
                return Err(Broken::Masked);
            }
            let payload = &bytes[header.header_bytes..];
            if header.kind == Kind::Message {
                self.message_bytes += header.payload_bytes;
                self.left = header.payload_bytes;
                self.ends = header.is_last;
                bytes = payload;
                if self.left == 0 && std::mem::take(&mut self.ends) {
                    each(std::mem::take(&mut self.message_bytes));
                }
                continue;
            }
            let length = header.payload_bytes.min(CONTROL_BYTES_MAX) as usize;
            let Some(control) = payload.get(..length) else {
                self.partial.extend_from_slice(bytes);
                return Ok(());
            };
            match (header.kind, control) {
                (Kind::Close, [a, b, ..]) => return Err(Broken::Closed(u16::from_be_bytes([*a, *b]))),
                (Kind::Close, _) => return Err(Broken::Closed(1005)),
                (Kind::Ping, payload) => ping(payload),
                _ => {}
            }
            bytes = &payload[length..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_frame_is_read_again_however_it_is_cut() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, 0x81, &payload, None);
            write(&mut bytes, 0x89, b"hi", None);
            write(&mut bytes, 0x82, &payload, None);
            for step in [bytes.len(), 1] {
                let (mut reader, mut lengths, mut pings) = (Reader::default(), Vec::new(), 0);
                for part in bytes.chunks(step) {
                    reader.take(part, |length| lengths.push(length), |_| pings += 1).expect("a good frame");
                }
                assert_eq!((lengths, pings), (vec![length as u64; 2], 1));
            }
        }
    }

    #[test]
    fn a_mask_undoes_itself() {
        let mut bytes = Vec::new();
        write(&mut bytes, 0x81, b"hello, world", Some([1, 2, 3, 4]));
        let header = header(&bytes).expect("an opcode").expect("whole");
        let mask = header.mask.expect("masked");
        assert_ne!(&bytes[header.header_bytes..], b"hello, world");
        unmask(&mut bytes[header.header_bytes..], mask);
        assert_eq!(&bytes[header.header_bytes..], b"hello, world");
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        let take = |bytes: &[u8]| Reader::default().take(bytes, |_| {}, |_| {});
        assert_eq!(take(&[0x83, 0]), Err(Broken::Opcode(3)));
        assert_eq!(take(&[0x81, 0x80, 1, 2, 3, 4]), Err(Broken::Masked));
        assert_eq!(take(&[0x88, 2, 0x03, 0xF0]), Err(Broken::Closed(1008)));
    }
}
