//! Masking (RFC 6455 section 5.3): XOR with a key of four bytes, eight bytes at a time.
//!
//! A frame may come in pieces, so a key is turned by as many bytes as were done: the next piece goes on where the
//! last one stopped.

/// Bytes XORed in one step; the compiler widens the loop over them further to the machine's vectors.
const STEP: usize = 8;

/// Masks `bytes` with `key`, or unmasks them: it is its own inverse. `key[0]` belongs to the first byte.
pub fn apply(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (steps, rest) = bytes.as_chunks_mut::<STEP>();
    for step in steps {
        *step = (u64::from_ne_bytes(*step) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The key for the bytes that follow after `done` bytes of the frame.
#[must_use]
pub fn turn(mut key: [u8; 4], done: usize) -> [u8; 4] {
    key.rotate_left(done % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn the_example_of_the_rfc_is_unmasked() {
        let mut bytes = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply(&mut bytes, KEY);
        assert_eq!(&bytes, b"Hello");
    }

    #[test]
    fn every_length_and_every_alignment_agrees_with_one_byte_at_a_time() {
        for length in 0..70 {
            for offset in 0..9 {
                let plain: Vec<u8> = (0..offset + length).map(|i| (i * 7) as u8).collect();
                let mut wide = plain.clone();
                apply(&mut wide[offset..], KEY);
                for (i, byte) in wide[offset..].iter().enumerate() {
                    assert_eq!(*byte, plain[offset + i] ^ KEY[i % 4]);
                }
            }
        }
    }

    #[test]
    fn pieces_with_a_turned_key_equal_the_whole() {
        let plain: Vec<u8> = (0..40).collect();
        let mut whole = plain.clone();
        apply(&mut whole, KEY);
        for split in 0..plain.len() {
            let mut pieces = plain.clone();
            let (head, tail) = pieces.split_at_mut(split);
            apply(head, KEY);
            apply(tail, turn(KEY, split));
            assert_eq!(pieces, whole);
        }
    }
}
