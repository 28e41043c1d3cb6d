//! The frame's header on the wire (RFC 6455 section 5.2), and the body of a Close frame (RFC 6455 section 5.5.1).
//!
//! The rules of a header alone are checked here, as soon as its first two bytes are there; its meaning in sequence (a
//! continuation of which message?) is the connection's.

use super::failure::Failure;
use super::utf8;

/// The longest payload of a control frame (RFC 6455 section 5.5), and of the shortest header.
pub const CONTROL_PAYLOAD_MAX: usize = 125;
/// The longest header: two bytes, a length of eight, a key of four.
pub const HEADER_MAX: usize = 14;
/// The longest reason of a Close: its code takes two bytes of the payload.
pub const REASON_MAX: usize = CONTROL_PAYLOAD_MAX - 2;

/// "No status code was present" (RFC 6455 section 7.4.1): stands for an empty Close and is never on the wire.
pub const CODE_NONE: u16 = 1005;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_RSV3: u8 = 0x30;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// This length means that the next two bytes are the length.
const LENGTH_IN_TWO_BYTES: u8 = 126;
/// This length means that the next eight bytes are the length.
const LENGTH_IN_EIGHT_BYTES: u8 = 127;

/// The type of a frame (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that the last data frame left open.
    Continuation = 0x0,
    /// A message of UTF-8, or its first fragment.
    Text = 0x1,
    /// A message of bytes, or its first fragment.
    Binary = 0x2,
    /// The sender sends nothing after this.
    Close = 0x8,
    /// To be answered with a Pong of the same payload.
    Ping = 0x9,
    /// The answer to a Ping, or a heartbeat.
    Pong = 0xa,
}

impl Opcode {
    fn of(byte: u8) -> Result<Opcode, Failure> {
        match byte & OPCODE {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xa => Ok(Opcode::Pong),
            _ => Err(Failure::ReservedOpcode),
        }
    }

    /// Whether this is a Close, a Ping or a Pong.
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 >= Opcode::Close as u8
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// RSV1: with permessage-deflate, the message that begins here is compressed (RFC 7692 section 6).
    pub compressed: bool,
    /// The type of the frame.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub key: Option<[u8; 4]>,
    /// The payload's length in bytes.
    pub length: u64,
}

/// The receiver's rules for the next frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameRules {
    /// Frames must be masked (a server's rule) or must not be (a client's): RFC 6455 section 5.1.
    pub masked: bool,
    /// permessage-deflate was agreed on, so RSV1 has a meaning.
    pub deflate: bool,
}

impl Header {
    /// Reads a header from the front of `bytes`: it and its own length, or `None` until it is whole.
    ///
    /// # Errors
    /// The violation of RFC 6455, from the first two bytes on.
    pub fn parse(bytes: &[u8], rules: FrameRules) -> Result<Option<(Header, usize)>, Failure> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & RSV2_AND_RSV3 != 0 {
            return Err(Failure::ReservedBits);
        }
        let opcode = Opcode::of(first)?;
        let fin = first & FIN != 0;
        let compressed = first & RSV1 != 0;
        // RFC 7692 section 6.1: RSV1 is of a message's first frame only.
        if compressed && (!rules.deflate || opcode.is_control() || opcode == Opcode::Continuation) {
            return Err(Failure::ReservedBits);
        }
        let short = second & LENGTH;
        if opcode.is_control() {
            if !fin {
                return Err(Failure::FragmentedControl);
            }
            if usize::from(short) > CONTROL_PAYLOAD_MAX {
                return Err(Failure::LongControl);
            }
        }
        match (rules.masked, second & MASKED != 0) {
            (true, false) => return Err(Failure::NotMasked),
            (false, true) => return Err(Failure::Masked),
            _ => {}
        }
        let Some((length, rest)) = parse_length(short, rest)? else { return Ok(None) };
        let (key, rest) = match rules.masked {
            false => (None, rest),
            true => match rest.split_first_chunk::<4>() {
                None => return Ok(None),
                Some((key, rest)) => (Some(*key), rest),
            },
        };
        let header = Header { fin, compressed, opcode, key, length };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let fin = if self.fin { FIN } else { 0 };
        let compressed = if self.compressed { RSV1 } else { 0 };
        let masked = if self.key.is_some() { MASKED } else { 0 };
        out.push(fin | compressed | self.opcode as u8);
        if let Some(short) = u8::try_from(self.length).ok().filter(|short| *short < LENGTH_IN_TWO_BYTES) {
            out.push(masked | short);
        } else if let Ok(length) = u16::try_from(self.length) {
            out.push(masked | LENGTH_IN_TWO_BYTES);
            out.extend_from_slice(&length.to_be_bytes());
        } else {
            out.push(masked | LENGTH_IN_EIGHT_BYTES);
            out.extend_from_slice(&self.length.to_be_bytes());
        }
        if let Some(key) = self.key {
            out.extend_from_slice(&key);
        }
    }
}

/// "The minimal number of bytes MUST be used to encode the length", and the high bit of eight is 0.
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Failure> {
    match short {
        LENGTH_IN_TWO_BYTES => {
            let Some((length, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            let length = u16::from_be_bytes(*length);
            if length < u16::from(LENGTH_IN_TWO_BYTES) {
                return Err(Failure::LengthNotMinimal);
            }
            Ok(Some((u64::from(length), rest)))
        }
        LENGTH_IN_EIGHT_BYTES => {
            let Some((length, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            let length = u64::from_be_bytes(*length);
            if length > i64::MAX as u64 {
                return Err(Failure::LengthHighBit);
            }
            if length <= u64::from(u16::MAX) {
                return Err(Failure::LengthNotMinimal);
            }
            Ok(Some((length, rest)))
        }
        short => Ok(Some((u64::from(short), rest))),
    }
}

/// Whether a Close on the wire may carry `code` (RFC 6455 section 7.4, and the registry that it founded).
#[must_use]
pub fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The code of a Close frame's payload ([`CODE_NONE`] for an empty one); its reason is what follows two bytes.
///
/// # Errors
/// A payload of one byte, a code that may not be sent, a reason that is not UTF-8.
pub fn parse_close(payload: &[u8]) -> Result<u16, Failure> {
    match payload {
        [] => Ok(CODE_NONE),
        [_] => Err(Failure::CloseOfOneByte),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_close_code(code) {
                return Err(Failure::CloseCode);
            }
            if !utf8::is_utf8(reason) {
                return Err(Failure::CloseReason);
            }
            Ok(code)
        }
    }
}

/// As much of `reason` as a Close can carry, cut between characters.
#[must_use]
pub fn fitting_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: FrameRules = FrameRules { masked: true, deflate: false };
    const CLIENT: FrameRules = FrameRules { masked: false, deflate: false };
    const DEFLATE: FrameRules = FrameRules { masked: false, deflate: true };

    fn refused(bytes: &[u8], rules: FrameRules, failure: Failure) {
        assert_eq!(Header::parse(bytes, rules), Err(failure), "{bytes:x?}");
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_waits_until_it_is_whole() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 40, i64::MAX as u64] {
            for key in [None, Some([1, 2, 3, 4])] {
                for (fin, compressed, opcode) in [
                    (true, true, Opcode::Text),
                    (false, false, Opcode::Binary),
                    (true, false, Opcode::Continuation),
                ] {
                    let header = Header { fin, compressed, opcode, key, length };
                    let rules = FrameRules { masked: key.is_some(), deflate: true };
                    let mut bytes = Vec::new();
                    header.write(&mut bytes);
                    assert!(bytes.len() <= HEADER_MAX);
                    for cut in 0..bytes.len() {
                        assert_eq!(Header::parse(&bytes[..cut], rules), Ok(None));
                    }
                    bytes.push(0xff);
                    assert_eq!(Header::parse(&bytes, rules), Ok(Some((header, bytes.len() - 1))));
                }
            }
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let text = Header { fin: true, compressed: false, opcode: Opcode::Text, key: None, length: 5 };
        assert_eq!(Header::parse(b"\x81\x05Hello", CLIENT), Ok(Some((text, 2))));
        let masked = Header { key: Some([0x37, 0xfa, 0x21, 0x3d]), ..text };
        assert_eq!(Header::parse(b"\x81\x85\x37\xfa\x21\x3d\x7f", SERVER), Ok(Some((masked, 6))));
        let long = Header { opcode: Opcode::Binary, length: 65_536, ..text };
        assert_eq!(Header::parse(b"\x82\x7f\0\0\0\0\0\x01\0\0", CLIENT), Ok(Some((long, 10))));
    }

    #[test]
    fn reserved_bits_are_refused_and_rsv1_only_where_deflate_was_agreed_on() {
        for bits in [0x10, 0x20, 0x30, 0x70] {
            refused(&[0x81 | bits, 0], DEFLATE, Failure::ReservedBits);
        }
        refused(&[0xc1, 0], CLIENT, Failure::ReservedBits);
        assert!(Header::parse(&[0xc1, 0], DEFLATE).is_ok());
        refused(&[0xc0, 0], DEFLATE, Failure::ReservedBits);
        refused(&[0xc9, 0], DEFLATE, Failure::ReservedBits);
    }

    #[test]
    fn reserved_opcodes_are_refused() {
        for opcode in (3..=7).chain(11..=15) {
            refused(&[0x80 | opcode, 0], CLIENT, Failure::ReservedOpcode);
        }
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [8, 9, 10] {
            refused(&[opcode, 0], CLIENT, Failure::FragmentedControl);
            refused(&[0x80 | opcode, 126], CLIENT, Failure::LongControl);
            refused(&[0x80 | opcode, 127], CLIENT, Failure::LongControl);
            assert!(Header::parse(&[0x80 | opcode, 125], CLIENT).is_ok());
        }
    }

    #[test]
    fn a_client_masks_and_a_server_does_not() {
        refused(&[0x81, 0x05], SERVER, Failure::NotMasked);
        refused(&[0x81, 0x85], CLIENT, Failure::Masked);
    }

    #[test]
    fn a_length_takes_as_few_bytes_as_it_can() {
        refused(b"\x82\x7e\x00\x7d", CLIENT, Failure::LengthNotMinimal);
        refused(b"\x82\x7f\0\0\0\0\0\0\xff\xff", CLIENT, Failure::LengthNotMinimal);
        refused(b"\x82\x7f\x80\0\0\0\0\0\0\0", CLIENT, Failure::LengthHighBit);
    }

    #[test]
    fn a_close_has_a_code_that_may_be_sent_and_a_reason_of_text() {
        let close = |code: u16, reason: &[u8]| parse_close(&[&code.to_be_bytes(), reason].concat());
        assert_eq!(parse_close(b""), Ok(CODE_NONE));
        assert_eq!(parse_close(b"\x03"), Err(Failure::CloseOfOneByte));
        for code in
            [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
        {
            assert_eq!(close(code, "wörter".as_bytes()), Ok(code));
        }
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert_eq!(close(code, b""), Err(Failure::CloseCode), "{code}");
        }
        assert_eq!(close(1000, b"\xce"), Err(Failure::CloseReason));
        assert_eq!(close(1000, b"\xed\xa0\x80"), Err(Failure::CloseReason));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(fitting_reason("short"), "short");
        assert_eq!(fitting_reason(&"a".repeat(200)).len(), REASON_MAX);
        assert_eq!(fitting_reason(&"ä".repeat(100)).len(), REASON_MAX - 1);
    }
}
