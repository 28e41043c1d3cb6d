//! permessage-deflate (RFC 7692 section 7.2): one message at a time through a compressor.
//!
//! A message is inflated when its last frame is there, so between two reads no connection holds an inflater. Without
//! context takeover the ones of the [`Scratch`] serve every connection of a core; with it a connection keeps its own
//! windows in a [`Takeover`].

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::failure::Failure;

/// The largest window of deflate (RFC 1951), as a power of two, and what counts where none was agreed on.
pub const WINDOW_BITS_MAX: u8 = 15;
/// The smallest window that the compressor can keep to; RFC 7692 allows 8.
pub const WINDOW_BITS_MIN: u8 = 9;
/// Shorter messages are sent as they are: there is too little to gain in them. The default threshold of `ws`, the
/// library that most peers run.
pub const COMPRESS_BYTES_MIN: usize = 1024;

/// zlib's own default is 6; 4 is the first level with lazy matching, at half of the time and within a few percent of
/// the size on JSON.
const LEVEL: u32 = 4;
/// The end of the empty block that a sync flush writes, left out on the wire (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The same with a final empty block behind it: the stream must end exactly there, or the message was cut within a
/// block.
const TAIL_AND_END: [u8; 6] = [0, 0, 0xff, 0xff, 0x03, 0x00];
/// Room that an output buffer gets at least, so that a flush is never cut (zlib wants more than 6 bytes).
const ROOM_BYTES_MIN: usize = 256;
/// A lent buffer larger than this is given up by [`Scratch::trim`]: the default payload limit.
const KEPT_BYTES_MAX: usize = 262_144;

/// Buffers that a core lends to its connections while they are called: compressors, and the inflated message.
#[derive(Debug, Default)]
pub struct Scratch {
    inflater: Option<Decompress>,
    deflater: Option<Deflater>,
    message: Vec<u8>,
    compressed: Vec<u8>,
}

/// A compressor and the window that it was made for.
#[derive(Debug)]
struct Deflater {
    window_bits: u8,
    compress: Compress,
}

/// The windows of one connection with context takeover, made when they are first needed.
#[derive(Debug, Default)]
pub struct Takeover {
    inflater: Option<Decompress>,
    deflater: Option<Compress>,
}

impl Takeover {
    /// Gives up the window of what was sent: a sender may always begin anew. What was received may be referred to by
    /// the peer and stays.
    pub fn release_sent(&mut self) {
        self.deflater = None;
    }
}

impl Scratch {
    /// Nothing is allocated until a compressed message comes or goes.
    #[must_use]
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// The message that was inflated last.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Takes the message that was inflated last, so that another can be compressed while it is looked at.
    #[must_use]
    pub fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.message)
    }

    /// Takes back what was lent.
    pub fn take_back(&mut self, message: Vec<u8>) {
        self.message = message;
    }

    /// Gives up buffers that one large message made grow.
    pub fn trim(&mut self) {
        for buffer in [&mut self.message, &mut self.compressed] {
            if buffer.capacity() > KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
    }

    /// Inflates a whole message into [`Self::message`]. With `kept`, its window goes on from the last message.
    ///
    /// # Errors
    /// [`Failure::BadDeflate`]; [`Failure::TooLarge`] as soon as more than `limit` bytes come out.
    pub fn inflate(
        &mut self,
        kept: Option<&mut Takeover>,
        payload: &[u8],
        limit: usize,
    ) -> Result<(), Failure> {
        let takes_over = kept.is_some();
        let slot = kept.map_or(&mut self.inflater, |kept| &mut kept.inflater);
        let inflater = slot.get_or_insert_with(|| Decompress::new(false));
        if !takes_over {
            inflater.reset(false);
        }
        self.message.clear();
        // A sender that cannot flush ends with a final block (RFC 7692 section 7.2.3.4), and may leave out the byte behind it.
        if inflate_into(&mut self.message, inflater, payload, limit)? {
            return Ok(());
        }
        if takes_over {
            inflate_into(&mut self.message, inflater, &TAIL, limit)?;
            return Ok(());
        }
        match inflate_into(&mut self.message, inflater, &TAIL_AND_END, limit)? {
            true => Ok(()),
            false => Err(Failure::BadDeflate),
        }
    }

    /// Compresses a whole message: the payload of its frame, or `None` where it is better sent as it is.
    pub fn deflate(&mut self, kept: Option<&mut Takeover>, payload: &[u8], window_bits: u8) -> Option<&[u8]> {
        if payload.len() < COMPRESS_BYTES_MIN || !(WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&window_bits) {
            return None;
        }
        if let Some(kept) = kept {
            let compress = kept.deflater.get_or_insert_with(|| new_compress(window_bits));
            if !deflate_into(&mut self.compressed, compress, payload) {
                kept.deflater = None;
                return None;
            }
            // Sent even if it came out longer: later messages may refer to this one.
            return Some(&self.compressed);
        }
        let deflater = match &mut self.deflater {
            Some(deflater) if deflater.window_bits == window_bits => {
                deflater.compress.reset();
                deflater
            }
            other => other.insert(Deflater { window_bits, compress: new_compress(window_bits) }),
        };
        let done = deflate_into(&mut self.compressed, &mut deflater.compress, payload);
        (done && self.compressed.len() < payload.len()).then_some(&self.compressed[..])
    }
}

/// The most bytes that a message of `limit` bytes is allowed to take compressed. No encoder expands by more than an
/// eighth (fixed codes of nine bits a byte); the rest is for a few blocks and flushes that carry nothing.
#[must_use]
pub fn compressed_bytes_max(limit: usize) -> usize {
    const BLOCKS_BYTES: usize = 1024;
    limit.saturating_add(limit / 8).saturating_add(BLOCKS_BYTES)
}

fn new_compress(window_bits: u8) -> Compress {
    Compress::new_with_window_bits(Compression::new(LEVEL), false, window_bits)
}

/// Inflates all of `input` behind what is in `out`; whether the stream ended with its last byte. A stream that ended
/// earlier begins anew, without its window: who ends one has reset its compressor.
fn inflate_into(
    out: &mut Vec<u8>,
    inflater: &mut Decompress,
    mut input: &[u8],
    limit: usize,
) -> Result<bool, Failure> {
    loop {
        if out.len() == out.capacity() {
            let left = limit.saturating_add(1).saturating_sub(out.len());
            out.reserve(out.len().max(ROOM_BYTES_MIN).min(left.max(1)));
        }
        let (read, written) = (inflater.total_in(), out.len());
        let status =
            inflater.decompress_vec(input, out, FlushDecompress::Sync).map_err(|_| Failure::BadDeflate)?;
        // Never more than the length of `input`, which is a usize.
        let read = (inflater.total_in() - read) as usize;
        input = &input[read..];
        if out.len() > limit {
            return Err(Failure::TooLarge);
        }
        if status == Status::StreamEnd {
            inflater.reset(false);
            if input.is_empty() {
                return Ok(true);
            }
        } else if out.len() < out.capacity() {
            if input.is_empty() {
                return Ok(false);
            }
            if read == 0 && out.len() == written {
                return Err(Failure::BadDeflate);
            }
        }
    }
}

/// Compresses `input` into `out`, flushed, without the tail; whether that worked.
fn deflate_into(out: &mut Vec<u8>, compress: &mut Compress, mut input: &[u8]) -> bool {
    out.clear();
    out.reserve(input.len() / 2 + ROOM_BYTES_MIN);
    loop {
        if out.capacity() - out.len() < ROOM_BYTES_MIN {
            out.reserve(out.len().max(ROOM_BYTES_MIN));
        }
        let read = compress.total_in();
        if compress.compress_vec(input, out, FlushCompress::Sync).is_err() {
            return false;
        }
        input = &input[(compress.total_in() - read) as usize..];
        // Room that is left over says that the flush is whole.
        if input.is_empty() && out.len() < out.capacity() {
            break;
        }
    }
    if !out.ends_with(&TAIL) {
        return false;
    }
    out.truncate(out.len() - TAIL.len());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100_000;

    fn inflated(payload: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let mut scratch = Scratch::new();
        scratch.inflate(None, payload, limit)?;
        Ok(scratch.message().to_vec())
    }

    /// Text that compresses and does not repeat itself exactly.
    fn text(length: usize) -> Vec<u8> {
        (0u32..)
            .flat_map(|i| format!("{{\"value\":{}}}", i.wrapping_mul(2_654_435_761)).into_bytes())
            .take(length)
            .collect()
    }

    /// Bytes that no compressor makes shorter.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .take(length)
        .collect()
    }

    #[test]
    fn the_examples_of_the_rfc_are_inflated() {
        let hello = Ok(b"Hello".to_vec());
        // RFC 7692 section 7.2.3.1, one block; 7.2.3.3, a block without compression; 7.2.3.4, BFINAL; 7.2.3.5, two blocks.
        assert_eq!(inflated(b"\xf2\x48\xcd\xc9\xc9\x07\x00", LIMIT), hello);
        assert_eq!(inflated(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", LIMIT), hello);
        assert_eq!(inflated(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", LIMIT), hello);
        assert_eq!(inflated(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", LIMIT), hello);
        assert_eq!(inflated(b"\x00", LIMIT), Ok(Vec::new()));
    }

    #[test]
    fn a_window_that_is_taken_over_is_referred_to() {
        // RFC 7692 section 7.2.3.2.
        let mut scratch = Scratch::new();
        let mut kept = Takeover::default();
        for payload in [&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], b"\xf2\x00\x11\x00\x00"] {
            scratch.inflate(Some(&mut kept), payload, LIMIT).unwrap();
            assert_eq!(scratch.message(), b"Hello");
        }
        assert_eq!(inflated(b"\xf2\x00\x11\x00\x00", LIMIT), Err(Failure::BadDeflate));
    }

    #[test]
    fn what_was_compressed_is_inflated_with_every_window() {
        let mut scratch = Scratch::new();
        for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
            for length in [COMPRESS_BYTES_MIN, 5_000, 65_536, LIMIT] {
                let text = text(length);
                let payload = scratch.deflate(None, &text, window_bits).expect("it gets shorter").to_vec();
                assert!(payload.len() < text.len());
                scratch.inflate(None, &payload, LIMIT).unwrap();
                assert_eq!(scratch.message(), text);
            }
        }
    }

    #[test]
    fn with_takeover_the_second_message_is_shorter_than_the_first() {
        let mut scratch = Scratch::new();
        let (mut sender, mut receiver) = (Takeover::default(), Takeover::default());
        let text = text(4_000);
        let mut lengths = Vec::new();
        for round in 0..4 {
            if round == 3 {
                sender.release_sent();
            }
            let payload = scratch.deflate(Some(&mut sender), &text, WINDOW_BITS_MAX).unwrap().to_vec();
            scratch.inflate(Some(&mut receiver), &payload, LIMIT).unwrap();
            assert_eq!(scratch.message(), text);
            lengths.push(payload.len());
        }
        assert!(lengths[1] * 4 < lengths[0], "{lengths:?}");
        assert_eq!(lengths[3], lengths[0]);
    }

    #[test]
    fn short_messages_and_noise_are_sent_as_they_are() {
        let mut scratch = Scratch::new();
        assert_eq!(scratch.deflate(None, &text(COMPRESS_BYTES_MIN - 1), WINDOW_BITS_MAX), None);
        assert_eq!(scratch.deflate(None, &noise(20_000), WINDOW_BITS_MAX), None);
        assert_eq!(scratch.deflate(None, &text(20_000), WINDOW_BITS_MIN - 1), None);
        let mut kept = Takeover::default();
        let noise = noise(20_000);
        let payload = scratch.deflate(Some(&mut kept), &noise, WINDOW_BITS_MAX).unwrap().to_vec();
        assert!(payload.len() <= compressed_bytes_max(noise.len()));
        assert_eq!(inflated(&payload, LIMIT), Ok(noise));
    }

    #[test]
    fn the_limit_counts_what_comes_out_and_exactly_the_limit_passes() {
        let mut scratch = Scratch::new();
        let zeroes = vec![0; LIMIT];
        let payload = scratch.deflate(None, &zeroes, WINDOW_BITS_MAX).unwrap().to_vec();
        assert!(payload.len() < 1_000);
        assert_eq!(inflated(&payload, LIMIT), Ok(zeroes));
        assert_eq!(inflated(&payload, LIMIT - 1), Err(Failure::TooLarge));
        assert_eq!(inflated(&payload, 0), Err(Failure::TooLarge));
        assert_eq!(inflated(b"\x00", 0), Ok(Vec::new()));
    }

    #[test]
    fn a_bomb_takes_no_more_memory_than_the_limit() {
        let mut scratch = Scratch::new();
        let payload = scratch.deflate(None, &vec![0; 16 << 20], WINDOW_BITS_MAX).unwrap().to_vec();
        let mut scratch = Scratch::new();
        assert_eq!(scratch.inflate(None, &payload, LIMIT), Err(Failure::TooLarge));
        assert!(scratch.message.capacity() <= 2 * LIMIT, "{}", scratch.message.capacity());
    }

    #[test]
    fn noise_and_messages_that_were_cut_are_refused() {
        assert_eq!(inflated(b"\xff\xff\xff", LIMIT), Err(Failure::BadDeflate));
        assert_eq!(inflated(b"\x07", LIMIT), Err(Failure::BadDeflate));
        let mut scratch = Scratch::new();
        let text = text(3_000);
        let payload = scratch.deflate(None, &text, WINDOW_BITS_MAX).unwrap().to_vec();
        for cut in 1..payload.len() {
            assert_ne!(inflated(&payload[..cut], LIMIT), Ok(text.clone()), "{cut} of {}", payload.len());
        }
    }

    #[test]
    fn after_a_bad_message_the_lent_inflater_serves_the_next() {
        let mut scratch = Scratch::new();
        assert_eq!(scratch.inflate(None, b"\xff\xff\xff", LIMIT), Err(Failure::BadDeflate));
        assert_eq!(scratch.inflate(None, b"\xf2\x48\xcd\xc9\xc9\x07\x00", LIMIT), Ok(()));
        assert_eq!(scratch.message(), b"Hello");
    }

    #[test]
    fn trimming_gives_up_what_one_large_message_took() {
        let mut scratch = Scratch::new();
        let payload = scratch.deflate(None, &vec![7; 1 << 20], WINDOW_BITS_MAX).unwrap().to_vec();
        scratch.inflate(None, &payload, 1 << 20).unwrap();
        scratch.trim();
        assert_eq!(scratch.message.capacity(), 0);
    }
}
