//! The seal of a `replyId`: a place (core, slot, generation) becomes text that cannot be guessed, and back.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::base::id::Id;
use crate::base::slots::Key;

/// Turns a place into the part of a `replyId` that follows the webhook's id, and back.
///
/// The place and the tail of the webhook's id are one AES block under a key of this process: without the key nobody can
/// tell two ids apart or make one that opens to a place (6 of the block's 16 bytes must be right, and the generation must
/// be the slot's own).
pub(crate) struct Seal {
    cipher: Aes128,
}

/// Destination of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) core: u16,
    pub(crate) key: Key,
    pub(crate) webhook: Id,
}

/// Characters of a `replyId`: 24 of the webhook's id, a dot, 16 bytes in base64url.
const REPLY_ID_LENGTH: usize = 24 + 1 + 22;

impl Seal {
    /// A seal with a key of its own.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(crate) fn new() -> Result<Seal, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Seal { cipher: Aes128::new(&key.into()) })
    }

    /// Returns the `replyId` of a place.
    pub(crate) fn close(&self, place: &Place) -> String {
        let mut block = [0; 16];
        block[..2].copy_from_slice(&place.core.to_le_bytes());
        block[2..6].copy_from_slice(&place.key.index.to_le_bytes());
        block[6..10].copy_from_slice(&place.key.generation.to_le_bytes());
        block[10..].copy_from_slice(&place.webhook.raw()[6..]);
        let mut block = block.into();
        self.cipher.encrypt_block(&mut block);
        let mut text = String::with_capacity(REPLY_ID_LENGTH);
        text.extend(place.webhook.digits().map(char::from));
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(block, &mut text);
        text
    }

    /// Returns the place of a `replyId`; `None` if this process never made it.
    pub(crate) fn open(&self, reply_id: &str) -> Option<Place> {
        if reply_id.len() != REPLY_ID_LENGTH {
            return None;
        }
        let (webhook, sealed) = reply_id.split_once('.')?;
        // One spelling: capital digits would be a second.
        let webhook = Id::from_bytes(webhook.as_bytes()).filter(|id| id.digits() == webhook.as_bytes())?;
        let mut block = [0; 16];
        if BASE64_URL_SAFE_NO_PAD.decode_slice(sealed, &mut block) != Ok(block.len()) {
            return None;
        }
        let mut block = block.into();
        self.cipher.decrypt_block(&mut block);
        if block[10..] != webhook.raw()[6..] {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let core = u16::from_le_bytes([block[0], block[1]]);
        Some(Place { core, key: Key { index: word(2), generation: word(6) }, webhook })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_place_opens_to_itself_and_to_nothing_else() {
        let seal = Seal::new().unwrap();
        let webhook: Id = "0123456789abcdef01234567".parse().unwrap();
        let place = Place { core: 3, key: Key { index: 70_000, generation: 9 }, webhook };
        let id = seal.close(&place);
        assert_eq!(id.len(), REPLY_ID_LENGTH);
        assert_eq!(seal.open(&id), Some(place));
        assert_eq!(Seal::new().unwrap().open(&id), None, "another process's key");
        for at in 0..id.len() {
            let mut bad = id.clone().into_bytes();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bad).unwrap();
            // The last character carries two bits that a lenient reader would drop.
            assert!(at + 1 == id.len() || seal.open(&bad).is_none_or(|found| found != place), "{bad}");
        }
    }
}
